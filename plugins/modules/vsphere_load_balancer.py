#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vsphere_load_balancer
short_description: API endpoint of a cluster in vSphere
version_added: "0.1.0"
description:
  - Says where the API of a cluster is whose C(cloud) is C(vsphere), in the form of the other clouds' modules.
  - vSphere has no load balancer of its own. With V(kube_vip) and V(haproxy_keepalived) the control planes hand the address on among
    themselves, which the role C(api_endpoint) sets up; with V(external) it is yours. So this module changes nothing.
options:
  cluster:
    description:
      - The cluster definition as the inventory plugin or the role gives it in C(flotilla_cluster), merged and validated.
      - Used here are C(name) and C(api_endpoint).
    type: dict
    required: true
  members:
    description: The control planes.
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
        description: Whether it is to serve.
        type: str
        choices: [active, drained]
        default: active
extends_documentation_fragment: [flotilla.kubernetes.load_balancer]
notes:
  - Runs on the cluster's own host with C(connection=local).
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.vsphere_machines
"""

EXAMPLES = r"""
- name: Learn where the API is
  flotilla.kubernetes.vsphere_load_balancer:
    cluster: "{{ flotilla_cluster }}"
    state: observed
  register: infrastructure_load_balancer
"""

RETURN = r"""
endpoint:
  description: Where the cluster's API answers; empty with O(state=absent).
  type: dict
  returned: success
  contains:
    host:
      description: C(api_endpoint.address) of the definition.
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
      description: V(active) or V(drained).
      type: str
    health:
      description: V(healthy) for those that are to serve, whose health is looked at by what hands on the address; else V(unhealthy).
      type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clouds.entry import LOAD_BALANCER, run_load_balancer
from ..module_utils._clouds.vsphere import load_balancer


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=LOAD_BALANCER, supports_check_mode=True)
    # No vCenter is asked, so nobody has to sign in.
    run_load_balancer(module, load_balancer, lambda _cluster: None)


if __name__ == "__main__":
    main()
