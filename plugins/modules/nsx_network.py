#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nsx_network
short_description: Network of a cluster in NSX
version_added: "0.1.0"
description:
  - Makes or removes the network of a cluster in NSX by the Policy API, as the section C(nsx) of its definition or of its network profile
    says. It is a Tier-1 gateway at the chosen Tier-0, a segment for control planes and one for workers with DHCP, their networks from an
    IP block, an address for connections to the outside with its NAT rule, and a section of the distributed firewall with the least that
    Kubernetes needs.
  - What exists is found by its path and its tags. What differs from the definition is put right; what can not change is refused with the
    reason before anything is changed. A thing that somebody else changed meanwhile is read again and never overwritten.
  - With C(nsx.tier1) the Tier-1 is yours. It is checked and never changed.
  - It returns when NSX has made what is wanted, and fails with the manager's own words where it can not.
options:
  cluster:
    description:
      - The cluster definition as the inventory plugin or the role gives it in C(flotilla_cluster), merged and validated.
      - Used here are C(name), C(foundation), C(network.plugin), C(api_endpoint), C(access.allowed_cidrs), C(bundle.delivery.method) and
        C(nsx).
    type: dict
    required: true
  state:
    description:
      - With V(present) the network exists as the definition says.
      - With V(absent) nothing that carries the cluster's tags is left. The module refuses, before it removes anything, while something
        that is not the network's own is attached, and lists it in RV(attached).
    type: str
    choices: [present, absent]
    default: present
requirements:
  - requests >= 2.28, where the module runs
notes:
  - Runs on the cluster's own host with C(connection=local). It signs in with C(NSXT_USERNAME) and C(NSXT_PASSWORD), or as a principal
    identity with C(NSXT_CLIENT_AUTH_CERT_FILE) and C(NSXT_CLIENT_AUTH_KEY_FILE); C(NSXT_CA_FILE) has the authority that vouches for the
    manager, and C(NSXT_MANAGER_HOST) stands in for C(nsx.manager).
  - A second run with the same input changes nothing.
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.nsx_load_balancer
"""

EXAMPLES = r"""
- name: Make the network
  flotilla.kubernetes.nsx_network:
    cluster: "{{ flotilla_cluster }}"
  register: infrastructure_network

- name: Remove the network
  flotilla.kubernetes.nsx_network:
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
    tier0:
      description: Path of the Tier-0.
      type: str
      sample: /infra/tier-0s/tenant-a
    tier1:
      description: Path of the Tier-1.
      type: str
      sample: /infra/tier-1s/flotilla-payments
    segments:
      description: >-
        Role (V(control_plane), V(worker)) to C(name), C(path), C(cidr) and C(gateway) of its segment; the last two are null in check mode
        while a network from a block is not there.
      type: dict
    dhcp:
      description: Whether machines get their addresses from NSX.
      type: bool
    dns_servers:
      description: The name servers of machines.
      type: list
      elements: str
    outbound_address:
      description: The address under which machines reach others; null where it is their own, or in check mode while there is none.
      type: str
      sample: 192.0.2.17
    uid:
      description: The identity of the cluster, made with its first thing; null in check mode while there is none.
      type: str
      sample: 4521ec50a31c4acd
attached:
  description: What is in the way of the removal.
  type: list
  elements: str
  returned: when O(state=absent) refuses
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clouds.entry import NETWORK, run_network
from ..module_utils._clouds.nsx import network
from ..module_utils._clouds.nsx.session import session_for


def main() -> None:
    """Run the module."""
    run_network(AnsibleModule(argument_spec=NETWORK, supports_check_mode=True), network, session_for)


if __name__ == "__main__":
    main()
