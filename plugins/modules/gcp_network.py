#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gcp_network
short_description: Network of a cluster in Google Cloud
version_added: "0.1.0"
description:
  - Makes or removes the network of a cluster whose C(cloud) is C(gcp). It is a VPC network with one subnetwork
    in the region, a Cloud Router with Cloud NAT and its address, and firewall rules by role with the least that Kubernetes needs.
  - What exists is found by its name, and its description says whose it is. What differs from the definition is put right, what somebody
    opened in the cluster's rules by hand among it; rules of other names are left alone.
  - With C(gcp.network) network and subnetwork are yours, maybe of another project that shares them. They are checked and never changed;
    only the cluster's firewall rules are made there, and with C(gcp.network.firewall_rules=false) not even those.
options:
  cluster:
    description:
      - The cluster definition as the inventory plugin or the role gives it in C(flotilla_cluster), merged and validated.
      - Used here are C(name), C(foundation), C(control_plane.zones), C(pools), C(network.plugin), C(api_endpoint),
        C(access.allowed_cidrs) and C(gcp).
    type: dict
    required: true
  state:
    description:
      - With V(present) the network exists as the definition says.
      - With V(absent) nothing of the cluster's network is left. The module refuses, before it removes anything, while something
        that is not the network's own is attached, and lists it in RV(attached).
    type: str
    choices: [present, absent]
    default: present
requirements:
  - google-cloud-compute, where the module runs
notes:
  - Runs on the cluster's own host with C(connection=local).
  - Credentials come from Google's usual chain (C(GOOGLE_APPLICATION_CREDENTIALS), gcloud, or the machine's own).
  - A second run with the same input changes nothing.
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.local_network
"""

EXAMPLES = r"""
- name: Make the network
  flotilla.kubernetes.gcp_network:
    cluster: "{{ flotilla_cluster }}"
  register: infrastructure_network

- name: Remove the network
  flotilla.kubernetes.gcp_network:
    cluster: "{{ flotilla_cluster }}"
    state: absent
"""

RETURN = r"""
differs:
  description: Whether something differed from what was asked for, also where C(changed_when) hides it.
  type: bool
  returned: success
network:
  description: The network; empty with O(state=absent). What check mode would make is null.
  type: dict
  returned: success
  contains:
    name:
      description: Name of the VPC network.
      type: str
      sample: payments
    project:
      description: Its project.
      type: str
      sample: payments-production
    region:
      description: The region.
      type: str
      sample: europe-west1
    network:
      description: URL of the network, without its beginning.
      type: str
      sample: projects/payments-production/global/networks/payments
    subnetwork:
      description: URL of the subnetwork, without its beginning.
      type: str
      sample: projects/payments-production/regions/europe-west1/subnetworks/payments
    cidr:
      description: Network of the machines.
      type: str
      sample: 10.20.0.0/20
    nat_address:
      description: Address from which machines reach the internet; null without Cloud NAT.
      type: str
    network_tags:
      description: Role (V(control_plane), V(worker)) to the tag by which firewall rules know its machines.
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

from ..module_utils._clouds.entry import NETWORK, run_network
from ..module_utils._clouds.gcp import network
from ..module_utils._clouds.gcp.session import session_for


def main() -> None:
    """Run the module."""
    run_network(AnsibleModule(argument_spec=NETWORK, supports_check_mode=True), network, session_for)


if __name__ == "__main__":
    main()
