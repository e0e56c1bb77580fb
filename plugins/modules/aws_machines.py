#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aws_machines
short_description: Machines of a cluster in AWS
version_added: "0.1.0"
description:
  - Creates, starts, changes and removes the EC2 instances of a cluster whose C(cloud) is C(aws).
  - The definition asks for a number of machines per pool; the module decides which to create where and which to remove. Many are made with
    one call per pool and zone, with tags and a token, so that a run that was cut off makes none twice.
  - Root disks are gp3 and encrypted, 40 GiB where the definition says no size; the metadata service asks for a token (IMDSv2).
  - The image is settled with a pool's first machine; later machines of the pool take the same one.
  - The SSH host key becomes a tag of the machine on first contact. It is returned, so that every later connection is a checked one.
options:
  cluster:
    description:
      - The cluster definition as the inventory plugin or the role gives it in C(flotilla_cluster), merged and validated.
      - Used here are C(name), C(foundation), C(control_plane), C(pools), C(image), C(access) and C(aws).
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
extends_documentation_fragment: [flotilla.kubernetes.machines, flotilla.kubernetes.machines.cloud]
requirements:
  - boto3 and the OpenSSH client, where the module runs
notes:
  - Runs on the cluster's own host with C(connection=local). Credentials come from boto3's usual chain.
  - A second run with the same input changes nothing.
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.aws_network
  - module: flotilla.kubernetes.aws_load_balancer
  - module: flotilla.kubernetes.aws_image_info
"""

EXAMPLES = r"""
- name: Make the machines
  flotilla.kubernetes.aws_machines:
    cluster: "{{ flotilla_cluster }}"
  register: infrastructure_machines

- name: Scale down, machines drained by the tasks between the two
  flotilla.kubernetes.aws_machines:
    cluster: "{{ flotilla_cluster }}"
    removal: defer
  register: infrastructure_machines

- name: Remove what is drained
  flotilla.kubernetes.aws_machines:
    cluster: "{{ flotilla_cluster }}"
    state: absent
    ids: "{{ infrastructure_machines.leaving | map(attribute='id') }}"

- name: Remove all machines
  flotilla.kubernetes.aws_machines:
    cluster: "{{ flotilla_cluster }}"
    state: absent
"""

RETURN = r"""
machines:
  description:
    - The machines that exist, ordered by name, those of RV(leaving) among them.
    - In check mode those that would stay; new ones are in RV(planned).
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: EC2's id of the instance.
      type: str
      sample: i-0d924aabb950fc477
    name:
      description: Name of machine and node.
      type: str
      sample: payments-general-950fc477
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
      description: Availability zone of the machine.
      type: str
    state:
      description: V(running), V(stopped), V(pending), or EC2's word for anything else.
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
steps:
  description: What was done, or in check mode would be done, with the reason of each step; what is in RV(leaving) was not done.
  type: list
  elements: dict
  returned: success
  contains:
    action:
      description: V(create), V(start), V(update), V(replace), V(keep) or V(delete).
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
failed:
  description: What did not become what it was to be, with AWS's own reason.
  type: list
  elements: dict
  returned: when machines failed
  contains:
    pool:
      description: Name of the pool.
      type: str
    zone:
      description: Zone of the machine.
      type: str
    machine:
      description: Name of the machine; null where it was never made.
      type: str
    code:
      description: Code of the error.
      type: str
    message:
      description: The reason.
      type: str
made:
  description: Ids of the machines that the failed run made all the same, and that are kept.
  type: list
  elements: str
  returned: when machines failed
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clouds.aws import machines
from ..module_utils._clouds.aws.session import session_for
from ..module_utils._clouds.entry import MACHINES, run_machines


def main() -> None:
    """Run the module."""
    run_machines(AnsibleModule(argument_spec=MACHINES, supports_check_mode=True), machines, session_for)


if __name__ == "__main__":
    main()
