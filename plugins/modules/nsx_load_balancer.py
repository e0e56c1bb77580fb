#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nsx_load_balancer
short_description: API load balancer of a cluster in NSX
version_added: "0.1.0"
description:
  - Makes or removes the load balancer in front of the API servers of a cluster whose network is in NSX. It is a load balancer service at
    the cluster's Tier-1, a virtual server with an address of C(nsx.floating_ip_pool) or C(nsx.load_balancer_address), a pool, and a monitor
    of every member's C(/readyz) over HTTPS.
  - Only C(api_endpoint.allowed_cidrs) and the cluster's own machines reach it.
  - A member that is drained or leaves gets no new connections from then on (C(GRACEFUL_DISABLED)), and those that it has get
    O(drain_timeout) to end; the module goes on as soon as none is left.
  - A record for C(api_endpoint.dns_name) is yours to make.
options:
  cluster:
    description:
      - The cluster definition as the inventory plugin or the role gives it in C(flotilla_cluster), merged and validated.
      - Used here are C(name), C(foundation), C(api_endpoint) and C(nsx).
    type: dict
    required: true
extends_documentation_fragment: [flotilla.kubernetes.load_balancer]
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
  - module: flotilla.kubernetes.nsx_network
"""

EXAMPLES = r"""
- name: Make the API endpoint before the machines
  flotilla.kubernetes.nsx_load_balancer:
    cluster: "{{ flotilla_cluster }}"
  register: infrastructure_load_balancer

- name: Send connections to the control planes that have joined
  flotilla.kubernetes.nsx_load_balancer:
    cluster: "{{ flotilla_cluster }}"
    members:
      - {id: 4217a34b-7d0e-6b9b-6c4f-9b1f0e3b2d11, address: 10.20.0.10}
      - {id: 42170c6e-90d3-f0f7-4a3e-5f1f9a2f3c55, address: 10.20.0.11, state: drained}
"""

RETURN = r"""
endpoint:
  description: Where the cluster's API answers; empty where there is no load balancer.
  type: dict
  returned: success
  contains:
    host:
      description: Address of the load balancer, or the name that the definition gives it; null in check mode while there is none.
      type: str
      sample: 192.0.2.18
    port:
      description: Its port.
      type: int
      sample: 6443
members:
  description: The members with their health, ordered by id.
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: The machine's id.
      type: str
    address:
      description: Its address.
      type: str
    state:
      description: V(active) or V(drained).
      type: str
    health:
      description: >-
        V(healthy), V(unhealthy) or V(unknown), as NSX says with O(state=observed) or O(wait_timeout); V(drained), or V(unknown) where
        nobody asked.
      type: str
    detail:
      description: Why it is not healthy, in the words of NSX.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clouds.entry import LOAD_BALANCER, run_load_balancer
from ..module_utils._clouds.nsx import load_balancer
from ..module_utils._clouds.nsx.session import session_for


def main() -> None:
    """Run the module."""
    run_load_balancer(AnsibleModule(argument_spec=LOAD_BALANCER, supports_check_mode=True), load_balancer, session_for)


if __name__ == "__main__":
    main()
