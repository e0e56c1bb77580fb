#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aws_load_balancer
short_description: API load balancer of a cluster in AWS
version_added: "0.1.0"
description:
  - Makes or removes the load balancer in front of the API servers of a cluster whose C(cloud) is C(aws). It is a Network Load Balancer,
    internal or public, with a health check of every member's C(/readyz) over HTTPS.
  - Its name is known before there is any machine, so it can be made first, with no members.
  - With C(api_endpoint.dns_name) and C(aws.hosted_zone_id) the name is a record in that zone of Route 53.
  - Members are known by id; their address is only returned again. Connections of a drained member that are still open after
    O(drain_timeout) are closed.
options:
  cluster:
    description:
      - The cluster definition as the inventory plugin or the role gives it in C(flotilla_cluster), merged and validated.
      - Used here are C(name), C(foundation), C(control_plane.zones), C(pools), C(api_endpoint) and C(aws).
    type: dict
    required: true
extends_documentation_fragment: [flotilla.kubernetes.load_balancer]
requirements:
  - boto3, where the module runs
notes:
  - Runs on the cluster's own host with C(connection=local). Credentials come from boto3's usual chain.
  - A load balancer is active one to three minutes after it was made; the module waits for that. New members are healthy later.
  - A second run with the same input changes nothing.
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.aws_network
  - module: flotilla.kubernetes.aws_machines
"""

EXAMPLES = r"""
- name: Make the API endpoint before the machines
  flotilla.kubernetes.aws_load_balancer:
    cluster: "{{ flotilla_cluster }}"
  register: infrastructure_load_balancer

- name: Send connections to the control planes that have joined
  flotilla.kubernetes.aws_load_balancer:
    cluster: "{{ flotilla_cluster }}"
    members:
      - {id: i-0d924aabb3c1f0a77, address: 10.20.0.10}
      - {id: i-01f0c2a77d924aabb, address: 10.20.32.11, state: drained}
"""

RETURN = r"""
endpoint:
  description: Where the cluster's API answers; empty where there is no load balancer.
  type: dict
  returned: success
  contains:
    host:
      description: Name of the load balancer; null in check mode while there is none.
      type: str
      sample: payments-api-0123456789abcdef.elb.eu-west-1.amazonaws.com
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
      description: V(healthy), V(unhealthy), V(drained), or V(unknown) before AWS knows (and in check mode).
      type: str
    detail:
      description: Why it is so, in AWS's words.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clouds.aws import load_balancer
from ..module_utils._clouds.aws.session import session_for
from ..module_utils._clouds.entry import LOAD_BALANCER, run_load_balancer


def main() -> None:
    """Run the module."""
    run_load_balancer(AnsibleModule(argument_spec=LOAD_BALANCER, supports_check_mode=True), load_balancer, session_for)


if __name__ == "__main__":
    main()
