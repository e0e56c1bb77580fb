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
    container, with a health check of every member's C(/readyz) over HTTPS twice a second.
  - Its address is known before there is any machine, so it can be made first, with no members.
  - Changed members are loaded without closing connections to the others.
options:
  cluster:
    description:
      - The cluster definition as the inventory plugin or the role gives it in C(flotilla_cluster), merged and validated.
      - Used here are C(name), C(foundation), C(image.family), C(api_endpoint.port) and C(local).
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
          - V(drained) members get no new ones; those that are open are closed after O(drain_timeout).
        type: str
        choices: [active, drained]
        default: active
  drain_timeout:
    description: Seconds that open connections have to end by themselves when a member is drained.
    type: int
    default: 10
  wait_timeout:
    description:
      - Seconds within which the load balancer has to find every V(active) member healthy. V(0) does not wait, as members are registered
        before they serve.
    type: int
    default: 0
  state:
    description:
      - Whether the load balancer is to exist.
      - With V(observed) nothing is planned or changed; what there is, is returned.
    type: str
    choices: [present, absent, observed]
    default: present
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
