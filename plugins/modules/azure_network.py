#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: azure_network
short_description: Network of a cluster in Azure
version_added: "0.1.0"
description:
  - Makes or removes the network of a cluster whose C(cloud) is C(azure). It is a resource group, a virtual network with a subnet for
    machines, a NAT gateway with its address, and by role a network security group with the least that Kubernetes needs.
  - What exists is found by its name and its tags. What differs from the definition is put right, rules that somebody opened by hand
    among it; rules that the cloud controller made for Services are left alone.
  - With C(azure.resource_group) the group is yours and stays; with C(azure.subnets) network and subnets are yours. They are checked and
    never changed. With C(azure.security_groups) nothing is made for the firewall either.
options:
  cluster:
    description:
      - The cluster definition as the inventory plugin or the role gives it in C(flotilla_cluster), merged and validated.
      - Used here are C(name), C(foundation), C(control_plane.zones), C(pools), C(network.plugin), C(api_endpoint),
        C(access.allowed_cidrs) and C(azure).
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
  - azure-identity, azure-mgmt-compute >= 37, azure-mgmt-network and azure-mgmt-resource, where the module runs
notes:
  - Runs on the cluster's own host with C(connection=local). Credentials come from azure-identity's usual chain, or from C(AZURE_TENANT),
    C(AZURE_CLIENT_ID) and C(AZURE_SECRET), as AWX sets them; C(AZURE_SUBSCRIPTION_ID) stands in for C(azure.subscription_id).
  - A second run with the same input changes nothing.
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.azure_machines
"""

EXAMPLES = r"""
- name: Make the network
  flotilla.kubernetes.azure_network:
    cluster: "{{ flotilla_cluster }}"
  register: infrastructure_network

- name: Remove the network
  flotilla.kubernetes.azure_network:
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
      description: Name of the virtual network.
      type: str
      sample: payments-vnet
    location:
      description: The location.
      type: str
      sample: westeurope
    resource_group:
      description: Name of the resource group.
      type: str
      sample: flotilla-payments
    cidr:
      description: The network's first address prefix.
      type: str
      sample: 10.20.0.0/16
    subnets:
      description: Use (V(machines), V(load_balancer)) to id of the subnet.
      type: dict
    security_groups:
      description: Role (V(control_plane), V(worker)) to id of the network security group.
      type: dict
    uid:
      description: The identity of the cluster, made with its resource group; null while that does not exist.
      type: str
      sample: 4521ec50a31c4acd
attached:
  description: What is in the way of the removal.
  type: list
  elements: str
  returned: when O(state=absent) refuses
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clouds.azure import network
from ..module_utils._clouds.azure.session import session_for
from ..module_utils._clouds.entry import NETWORK, run_network


def main() -> None:
    """Run the module."""
    run_network(AnsibleModule(argument_spec=NETWORK, supports_check_mode=True), network, session_for)


if __name__ == "__main__":
    main()
