#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: local_network
short_description: Network of a cluster on this machine
version_added: "0.1.0"
description:
  - Makes or removes the network of a cluster whose C(cloud) is C(local). It is a podman network with a resolver and a
    time source of its own, so that an install depends on nothing outside.
  - Counts what leaves the network in nftables, and drops it when C(local.egress) of the definition is C(deny).
  - Raises the kernel settings that many kubelets on one host need, remembers their former values in the network's labels, and
    puts them back when the last network of the local cloud on the host is removed.
  - Makes the node image on first use, which takes about a minute and needs a Debian mirror.
options:
  cluster:
    description:
      - The cluster definition as the inventory plugin or the role gives it in C(flotilla_cluster), merged and validated.
      - Used here are C(name), C(foundation), C(image.family), C(control_plane), C(pools), C(network) and C(local).
    type: dict
    required: true
  state:
    description:
      - With V(present) the network exists as the definition says.
      - With V(absent) nothing of it is left. The module refuses while machines or a load balancer are on the network.
    type: str
    choices: [present, absent]
    default: present
requirements:
  - podman, nftables, iproute2, procps, and mmdebstrap for the node image, on the host where the module runs
  - root, or sudo without a password
notes:
  - Runs on the cluster's own host with C(connection=local); several runs of one cluster at once wait for each other or fail clearly.
  - A second run with the same input changes nothing.
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.local_machines
  - module: flotilla.kubernetes.local_load_balancer
"""

EXAMPLES = r"""
- name: Make the network
  flotilla.kubernetes.local_network:
    cluster: "{{ flotilla_cluster }}"
  register: infrastructure_network

- name: Nothing left the network
  ansible.builtin.assert:
    that: infrastructure_network.network.egress.packets == 0

- name: Remove the network
  flotilla.kubernetes.local_network:
    cluster: "{{ flotilla_cluster }}"
    state: absent
"""

RETURN = r"""
differs:
  description: Whether something differed from what was asked for, also where C(changed_when) hides it.
  type: bool
  returned: success
network:
  description: The network; empty with O(state=absent).
  type: dict
  returned: success
  contains:
    name:
      description: Name of the podman network.
      type: str
      sample: flotilla-demo
    cidr:
      description: Its addresses.
      type: str
      sample: 172.30.86.0/24
    gateway:
      description: The host's address on it.
      type: str
      sample: 172.30.86.1
    resolver:
      description: Address of the name server. Without egress it answers NXDOMAIN for every name.
      type: str
      sample: 172.30.86.2
    time_source:
      description: Address of the NTP server, which serves the host's clock.
      type: str
      sample: 172.30.86.2
    bridge:
      description: Name of the bridge interface; null while the network does not exist (check mode).
      type: str
      sample: podman1
    uid:
      description: The random identity of the cluster, made with the network; null while it does not exist.
      type: str
      sample: 4521ec50a31c4acd
    egress:
      description: What happens to packets that leave the network, and how many there were since the rules were made.
      type: dict
      contains:
        policy:
          description: V(allow) or V(deny).
          type: str
        packets:
          description: Packets to anywhere but the network and the host itself, counted whether dropped or not.
          type: int
        bytes:
          description: Their bytes.
          type: int
        host_packets:
          description: New TCP and UDP connections to the host itself.
          type: int
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clouds.local import network
from ..module_utils._clouds.local.session import Session
from ..module_utils._errors import FlotillaError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "dict", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    change = network.present if module.params["state"] == "present" else network.absent
    try:
        result = change(Session(), module.params["cluster"], module.check_mode)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    for warning in result.warnings:
        module.warn(warning)
    module.exit_json(
        changed=result.changed, differs=result.changed, network=result.value, diff={"before": result.before, "after": result.after}
    )


if __name__ == "__main__":
    main()
