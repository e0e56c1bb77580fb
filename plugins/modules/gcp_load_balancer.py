#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gcp_load_balancer
short_description: API load balancer of a cluster in Google Cloud
version_added: "0.1.0"
description:
  - Makes or removes the load balancer in front of the API servers of a cluster whose C(cloud) is C(gcp). It is a passthrough
    Network Load Balancer, internal or external, over an instance group per zone, with a health check of each one's C(/readyz) over HTTPS.
  - Its address is reserved before there is any machine, so it can be made first, with no members.
  - What a member itself sends to the address comes back to that member, whether it serves or not.
  - Members are known by id, which is the machine's name; their address is only returned again. Connections of a drained member that are
    still open after O(drain_timeout) are closed.
options:
  cluster:
    description:
      - The cluster definition as the inventory plugin or the role gives it in C(flotilla_cluster), merged and validated.
      - Used here are C(name), C(foundation), C(control_plane.zones), C(pools), C(api_endpoint) and C(gcp).
    type: dict
    required: true
  members:
    description: The control planes; every member that is not in the list is removed.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: The machine's id.
        type: str
        required: true
      address:
        description: Address of its API server, which listens on port 6443.
        type: str
        required: true
      state:
        description:
          - V(active) members get connections while they are healthy.
          - V(drained) members get no new ones; those that are open have O(drain_timeout) to end.
          - V(waiting) is for control planes that may not serve yet, and have to reach another one by the load balancer's address until they
            do. What is a member already stays one; no other becomes one, except the first by its id where there would be none at all.
        type: str
        choices: [active, drained, waiting]
        default: active
extends_documentation_fragment: [flotilla.kubernetes.load_balancer]
requirements:
  - google-cloud-compute, where the module runs
notes:
  - Runs on the cluster's own host with C(connection=local).
  - Credentials come from Google's usual chain (C(GOOGLE_APPLICATION_CREDENTIALS), gcloud, or the machine's own).
  - New members are healthy a little later than they are members.
  - A second run with the same input changes nothing.
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.gcp_network
  - module: flotilla.kubernetes.gcp_machines
"""

EXAMPLES = r"""
- name: Make the API endpoint before the machines
  flotilla.kubernetes.gcp_load_balancer:
    cluster: "{{ flotilla_cluster }}"
  register: infrastructure_load_balancer

- name: Send connections to the control planes that have joined
  flotilla.kubernetes.gcp_load_balancer:
    cluster: "{{ flotilla_cluster }}"
    members:
      - {id: payments-control-plane-3c1f0a77, address: 10.20.0.10}
      - {id: payments-control-plane-924aabb0, address: 10.20.0.11, state: drained}
      - {id: payments-control-plane-c04d11fe, address: 10.20.0.12, state: waiting}
"""

RETURN = r"""
endpoint:
  description: Where the cluster's API answers; empty where there is no load balancer.
  type: dict
  returned: success
  contains:
    host:
      description: Address of the load balancer; null in check mode while there is none.
      type: str
      sample: 10.20.0.2
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
      description: V(active), V(drained), or V(waiting) for one that is no member yet.
      type: str
    health:
      description: V(healthy), V(unhealthy), V(drained), or V(unknown) before Google knows (and in check mode).
      type: str
    detail:
      description: Why it is so, in Google's words.
      type: str
"""

import copy
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clouds.entry import LOAD_BALANCER, run_load_balancer
from ..module_utils._clouds.gcp import load_balancer
from ..module_utils._clouds.gcp.session import session_for


def _arguments() -> dict[str, Any]:
    spec = copy.deepcopy(LOAD_BALANCER)
    spec["members"]["options"]["state"]["choices"].append("waiting")
    return spec


def main() -> None:
    """Run the module."""
    run_load_balancer(AnsibleModule(argument_spec=_arguments(), supports_check_mode=True), load_balancer, session_for)


if __name__ == "__main__":
    main()
