#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_adopt
short_description: Write the definition of a cluster that somebody else made
version_added: "0.1.0"
description:
  - Makes a cluster definition with C(cloud=existing) of what M(flotilla.kubernetes.machine_info) and
    M(flotilla.kubernetes.kubeadm_cluster_info) found, registered on each machine as C(flotilla_look) and C(flotilla_foreign).
  - The definition has C(existing.settings=keep), so that playbooks leave what runs on the machines as it is.
  - Never changes a file that is there.
  - Runs on the controller as an action; there is nothing to run on a machine.
options:
  path:
    description: File that gets the definition.
    type: path
    required: true
  name:
    description: Name of the cluster; that of the file without its suffix when left out.
    type: str
  control_planes:
    description: Names of the hosts that are control planes.
    type: list
    elements: str
    required: true
  workers:
    description: Names of the hosts that are workers.
    type: list
    elements: str
  pools:
    description: Hosts of each pool, by the pool's name. Without it, workers with the same labels and taints are one pool.
    type: dict
  claim:
    description:
      - Tags the machines of a cloud as those of the definition in O(path), which is there and names that cloud, instead of writing one.
        So far C(aws), in a VPC of yours.
      - What is tagged is shown first. Nothing is tagged without O(plan_id).
    type: bool
    default: false
  plan_id:
    description: Id of the plan of O(claim) that somebody has agreed to.
    type: str
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.kubeadm_cluster_info
"""

EXAMPLES = r"""
- name: Write the definition
  flotilla.kubernetes.cluster_adopt:
    path: inventories/office/clusters/shop.yml
    control_planes: "{{ groups.masters }}"
    workers: "{{ groups.nodes }}"

- name: Tag its machines as those of a definition with cloud aws
  flotilla.kubernetes.cluster_adopt:
    path: inventories/production-aws/clusters/shop.yml
    control_planes: "{{ groups.masters }}"
    workers: "{{ groups.nodes }}"
    claim: true
    plan_id: 5f2b8a91c0d4
"""

RETURN = r"""
plan_id:
  description: Id of the plan, with which somebody agrees to it.
  returned: with O(claim)
  type: str
  sample: 5f2b8a91c0d4
claims:
  description: The machines.
  returned: with O(claim)
  type: list
  elements: dict
  contains:
    id: {description: The cloud's id of the machine., type: str, returned: success, sample: i-0123456789abcdef0}
    node: {description: Name of its Node., type: str, returned: success, sample: master-1}
    pool: {description: Its pool., type: str, returned: success, sample: control-plane}
    tags: {description: Tags that it did not carry., type: dict, returned: success}
path:
  description: The file.
  returned: success
  type: str
  sample: /srv/inventories/office/clusters/shop.yml
definition:
  description: The definition.
  returned: success
  type: dict
findings:
  description: What was not taken over, or is worth knowing, each with C(code), C(object), C(message) and C(remedy).
  returned: success
  type: list
  elements: dict
refusals:
  description: What is in the way of a definition, in the same form.
  returned: when there is none
  type: list
  elements: dict
"""

# There is nothing here: the action of the same name does the work.
