#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: local_machines
short_description: Machines of a cluster on this machine
version_added: "0.1.0"
description:
  - Creates, starts and removes the machines of a cluster whose C(cloud) is C(local). A machine is a container
    that boots systemd and an SSH server.
  - The definition asks for a number of machines per pool; the module decides which to create and which to remove. A machine that
    was stopped, for example by a reboot of the host, is started. What an interrupted run left half made is removed and made anew.
  - Every machine has an SSH host key that the controller made. Its public half is returned, so the first connection is
    already a checked one.
options:
  cluster:
    description:
      - The cluster definition as the inventory plugin or the role gives it in C(flotilla_cluster), merged and validated.
      - Used here are C(name), C(foundation), C(control_plane), C(pools), C(image), C(access) and C(local).
    type: dict
    required: true
  state:
    description:
      - With V(present) the machines are as the definition says.
      - With V(absent) there are none, and their disks are gone.
      - With V(observed) nothing is planned or changed; what there is, is returned.
    type: str
    choices: [present, absent, observed]
    default: present
  wait_timeout:
    description: Seconds that a machine has to answer SSH after it was started.
    type: int
    default: 120
extends_documentation_fragment: [flotilla.kubernetes.machines]
requirements:
  - podman and the OpenSSH client on the host where the module runs
  - root, or sudo without a password
notes:
  - Runs on the cluster's own host with C(connection=local); several runs of one cluster at once wait for each other or fail clearly.
  - A second run with the same input changes nothing.
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.local_network
  - module: flotilla.kubernetes.local_load_balancer
"""

EXAMPLES = r"""
- name: Make the machines
  flotilla.kubernetes.local_machines:
    cluster: "{{ flotilla_cluster }}"
  register: infrastructure_machines

- name: Remove the machines
  flotilla.kubernetes.local_machines:
    cluster: "{{ flotilla_cluster }}"
    state: absent
"""

RETURN = r"""
machines:
  description: The machines that exist, ordered by name. In check mode those that would stay; new ones are in RV(planned).
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: Identity of the machine on this host.
      type: str
      sample: demo-workers-950fc477
    name:
      description: Name of machine and node.
      type: str
      sample: demo-workers-950fc477
    cluster:
      description: Name of the cluster.
      type: str
    pool:
      description: Name of the pool, C(control-plane) for control planes.
      type: str
    role:
      description: V(control_plane) or V(worker).
      type: str
    zone:
      description: Zone of the definition that the machine counts for.
      type: str
    state:
      description: V(running), V(stopped), V(incomplete), or podman's word for anything else.
      type: str
    addresses:
      description: Addresses C(private) and C(public), each null where there is none.
      type: dict
    host_key:
      description: Public SSH host key as in known_hosts.
      type: str
    spec_hash:
      description: Hash of what the definition asked for when the machine was made.
      type: str
    uid:
      description: Random identity of the cluster.
      type: str
planned:
  description: In check mode the machines that would be created, with the fields of RV(machines); they have no host key yet.
  type: list
  elements: dict
  returned: success
steps:
  description: What was done, or in check mode would be done, with the reason of each step.
  type: list
  elements: dict
  returned: success
  contains:
    action:
      description: V(create), V(start), V(replace), V(keep) or V(delete).
      type: str
    pool:
      description: Name of the pool.
      type: str
    role:
      description: V(control_plane) or V(worker).
      type: str
    zone:
      description: Zone of the machine.
      type: str
    machine:
      description: Name of the machine; null for a machine that is to be created.
      type: str
    reason:
      description: Why, in words.
      type: str
neighbours:
  description: Names of the machines of each other cluster of the foundation.
  type: dict
  returned: when O(neighbours=true)
leaving:
  description: With O(removal=defer) the machines that the caller is to take away next, in this order; with the fields of RV(machines).
  type: list
  elements: dict
  returned: when O(state=present)
consented:
  description: Ids of all machines that this plan and those after it take away.
  type: list
  elements: str
  returned: when O(state=present)
plan_id:
  description: Identity of the plan, the same as long as cloud and definition ask for the same steps.
  type: str
  returned: when O(state=present)
  sample: 5f2b8a91c0d4
failed:
  description: Names of the machines that did not become reachable.
  type: list
  elements: str
  returned: when machines did not become reachable
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clouds.local import machines
from ..module_utils._clouds.local.session import Session
from ..module_utils._errors import FlotillaError
from ..module_utils._machines.decision import ARGUMENTS, Wish


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "dict", "required": True},
            "state": {"type": "str", "choices": ["present", "absent", "observed"], "default": "present"},
            "wait_timeout": {"type": "int", "default": 120},
            "neighbours": {"type": "bool", "default": False},
            "ids": {"type": "list", "elements": "str"},
            **ARGUMENTS,
        },
        supports_check_mode=True,
    )
    params = module.params
    if params["ids"] is not None and params["state"] != "absent":
        module.fail_json(msg="ids is for state=absent.")
    try:
        if params["state"] == "observed":
            result = machines.observed(Session(), params["cluster"])
            if params["neighbours"]:
                result.value["neighbours"] = machines.neighbours(Session(), params["cluster"])
        elif params["state"] == "present":
            result = machines.present(
                Session(), params["cluster"], wait_timeout=params["wait_timeout"], wish=Wish.of(params), check_mode=module.check_mode
            )
        else:
            result = machines.absent(Session(), params["cluster"], ids=params["ids"], check_mode=module.check_mode)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    for warning in result.warnings:
        module.warn(warning)
    module.exit_json(changed=result.changed, diff={"before": result.before, "after": result.after}, **result.value)


if __name__ == "__main__":
    main()
