#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: local_load_balancer
short_description: API load balancer of a cluster on this machine
version_added: "0.1.0"
description:
  - Makes or removes the load balancer in front of the API servers of a cluster whose C(cloud) is C(local). It is HAProxy in a
    container, with a health check of every member's C(/readyz) over HTTPS every second.
  - Its address is known before there is any machine, so it can be made first, with no members.
  - Changed members are loaded without closing connections to the others.
  - Connections of a drained member that are still open after O(drain_timeout) are closed, unless O(close) is V(false).
options:
  cluster:
    description:
      - The cluster definition as the inventory plugin or the role gives it in C(flotilla_cluster), merged and validated.
      - Used here are C(name), C(foundation), C(image.family), C(api_endpoint.port) and C(local).
    type: dict
    required: true
extends_documentation_fragment: [flotilla.kubernetes.load_balancer]
requirements:
  - podman on the host where the module runs
  - root, or sudo without a password
notes:
  - Runs on the cluster's own host with C(connection=local); several runs of one cluster at once wait for each other or fail clearly.
  - A second run with the same input changes nothing.
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.local_network
  - module: flotilla.kubernetes.local_machines
"""

EXAMPLES = r"""
- name: Make the API endpoint before the machines
  flotilla.kubernetes.local_load_balancer:
    cluster: "{{ flotilla_cluster }}"
  register: infrastructure_load_balancer

- name: Send connections to the control planes that have joined
  flotilla.kubernetes.local_load_balancer:
    cluster: "{{ flotilla_cluster }}"
    members:
      - {id: demo-control-plane-d924aabb, address: 172.30.86.10}
      - {id: demo-control-plane-1f0c2a77, address: 172.30.86.11, state: drained}
"""

RETURN = r"""
endpoint:
  description: Where the cluster's API answers; empty where there is no load balancer.
  type: dict
  returned: success
  contains:
    host:
      description: Address of the load balancer.
      type: str
      sample: 172.30.86.3
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
      description: V(healthy), V(unhealthy), V(drained), or V(unknown) before the first check (and in check mode).
      type: str
    detail:
      description: What the last health check saw, in HAProxy's words.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clouds.entry import LOAD_BALANCER, run_load_balancer
from ..module_utils._clouds.local import load_balancer
from ..module_utils._clouds.local.session import Session


def main() -> None:
    """Run the module."""
    run_load_balancer(AnsibleModule(argument_spec=LOAD_BALANCER, supports_check_mode=True), load_balancer, lambda _cluster: Session())


if __name__ == "__main__":
    main()
