#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: azure_load_balancer
short_description: API load balancer of a cluster in Azure
version_added: "0.1.0"
description:
  - Makes or removes the load balancer in front of the API servers of a cluster whose C(cloud) is C(azure). It is a Standard Load Balancer,
    internal or public, with a probe of every member's C(/readyz) over HTTPS.
  - Members are known by the network interfaces of their machines. What else an interface says is left as it is.
  - A record for C(api_endpoint.dns_name) is yours to make.
  - Members are known by id; their address is only returned again.
options:
  cluster:
    description:
      - The cluster definition as the inventory plugin or the role gives it in C(flotilla_cluster), merged and validated.
      - Used here are C(name), C(foundation), C(control_plane.zones), C(pools), C(api_endpoint) and C(azure).
    type: dict
    required: true
extends_documentation_fragment: [flotilla.kubernetes.load_balancer]
requirements:
  - azure-identity, azure-mgmt-compute >= 37, azure-mgmt-network and azure-mgmt-resource, where the module runs
notes:
  - Runs on the cluster's own host with C(connection=local). Credentials come from azure-identity's usual chain, or from C(AZURE_TENANT),
    C(AZURE_CLIENT_ID) and C(AZURE_SECRET), as AWX sets them; C(AZURE_SUBSCRIPTION_ID) stands in for C(azure.subscription_id).
  - A second run with the same input changes nothing.
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.azure_network
  - module: flotilla.kubernetes.azure_machines
"""

EXAMPLES = r"""
- name: Make the API endpoint before the machines
  flotilla.kubernetes.azure_load_balancer:
    cluster: "{{ flotilla_cluster }}"
  register: infrastructure_load_balancer

- name: Send connections to the control planes that have joined
  flotilla.kubernetes.azure_load_balancer:
    cluster: "{{ flotilla_cluster }}"
    members:
      - {id: 4b4f3a8e-41c5-4f62-9a0f-0e31b56b2d11, address: 10.20.0.10}
      - {id: 90d3f0f7-6c1e-4a3e-8f5c-1f9a2f3c7c55, address: 10.20.0.11, state: drained}
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
      sample: 10.20.0.4
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
      description: V(healthy) or V(unhealthy) with O(state=observed) or O(wait_timeout); V(drained), or V(unknown) where nobody asked.
      type: str
    detail:
      description: Why it is not healthy, in Azure's words.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clouds.azure import load_balancer
from ..module_utils._clouds.azure.session import session_for
from ..module_utils._clouds.entry import LOAD_BALANCER, run_load_balancer


def main() -> None:
    """Run the module."""
    run_load_balancer(AnsibleModule(argument_spec=LOAD_BALANCER, supports_check_mode=True), load_balancer, session_for)


if __name__ == "__main__":
    main()
