#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aws_network
short_description: Network of a cluster in AWS
version_added: "0.1.0"
description:
  - Makes or removes the network of a cluster whose C(cloud) is C(aws). It is a VPC with a private and a public
    subnet in every zone, an internet gateway, NAT gateways, route tables, and security groups by role with the least that Kubernetes needs.
  - What exists is found by its tags. What differs from the definition is put right, rules that somebody opened by hand
    among it; rules that the cloud controller made for Services are left alone.
  - With C(aws.vpc) the VPC and its subnets are yours. They are checked and never changed; only security groups are made there,
    and with C(aws.security_groups) not even those.
options:
  cluster:
    description:
      - The cluster definition as the inventory plugin or the role gives it in C(flotilla_cluster), merged and validated.
      - Used here are C(name), C(foundation), C(control_plane.zones), C(pools), C(network.plugin), C(api_endpoint),
        C(access.allowed_cidrs) and C(aws).
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
  - boto3, where the module runs
notes:
  - Runs on the cluster's own host with C(connection=local). Credentials come from boto3's usual chain.
  - A second run with the same input changes nothing.
  - What AWS would make twice when asked twice is made only when it was missing for 6 seconds; a second one that nothing uses is removed.
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.local_network
"""

EXAMPLES = r"""
- name: Make the network
  flotilla.kubernetes.aws_network:
    cluster: "{{ flotilla_cluster }}"
  register: infrastructure_network

- name: Remove the network
  flotilla.kubernetes.aws_network:
    cluster: "{{ flotilla_cluster }}"
    state: absent
"""

RETURN = r"""
differs:
  description: Whether something differed from what was asked for, also where C(changed_when) hides it.
  type: bool
  returned: success
network:
  description: The network; empty with O(state=absent). Ids of what check mode would make are null.
  type: dict
  returned: success
  contains:
    name:
      description: Id of the VPC.
      type: str
      sample: vpc-0fd5a1c9c2a0c1d2e
    region:
      description: The region.
      type: str
      sample: eu-west-1
    vpc_id:
      description: Id of the VPC.
      type: str
    cidr:
      description: Its first network.
      type: str
      sample: 10.20.0.0/16
    subnets:
      description: Kind (V(private), V(public), V(load_balancer)) to zone to id of the subnet.
      type: dict
    security_groups:
      description: Role (V(control_plane), V(worker), V(load_balancer)) to a list of ids.
      type: dict
    nat_gateways:
      description: Zone to id of the NAT gateway.
      type: dict
    uid:
      description: The random identity of the cluster, made with the network; null while it does not exist.
      type: str
      sample: 4521ec50a31c4acd
attached:
  description: What is in the way of the removal.
  type: list
  elements: str
  returned: when O(state=absent) refuses
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clouds.aws import network
from ..module_utils._clouds.aws.session import session_for
from ..module_utils._clouds.entry import NETWORK, run_network


def main() -> None:
    """Run the module."""
    run_network(AnsibleModule(argument_spec=NETWORK, supports_check_mode=True), network, session_for)


if __name__ == "__main__":
    main()
