#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_plan
short_description: Show what a run would do to a cluster
version_added: "0.1.0"
description:
  - Stands at the end of a run in check mode and makes one plan of what the roles of this collection found in it, as a table for people and
    as data. Fails without check mode.
  - Shows what differs by names of objects, files and keys, never by values.
  - Runs on the controller as an action; there is nothing to run on a machine.
options:
  cluster:
    description: The merged, validated cluster definition.
    type: dict
    required: true
  machines:
    description: The machines that exist, as a C(*_machines) module returns them.
    type: list
    elements: dict
  plan:
    description: The fact C(flotilla_plan) of the role P(flotilla.kubernetes.infrastructure#role).
    type: dict
  report:
    description: File that gets the plan as JSON.
    type: path
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Show what a run would do
  flotilla.kubernetes.cluster_plan:
    cluster: "{{ flotilla_cluster }}"
    machines: "{{ flotilla_machines }}"
    plan: "{{ flotilla_plan }}"
    report: build/payments.json
"""

RETURN = r"""
plan_id:
  description: Id of the plan of the machines, with which somebody agrees to it.
  returned: always
  type: str
  sample: 5f2b8a91c0d4
steps:
  description: What a run would do, in its order. None where the cluster is as its definition says.
  returned: always
  type: list
  elements: dict
  contains:
    where:
      description: V(cloud), V(machines), V(nodes) or V(cluster), for what is inside of it.
      type: str
    object:
      description: Name of the machine or of the thing.
      type: str
    action:
      description: What would be done.
      type: str
    reason:
      description: Why.
      type: str
notices:
  description: What people have to know, though a run changes nothing of it, such as NetworkPolicies that nobody enforces.
  returned: always
  type: list
  elements: str
kept:
  description: Whether members of the cluster stay as somebody else made them (C(existing.settings=keep)), and were not compared.
  returned: always
  type: bool
lines:
  description: What was printed.
  returned: always
  type: list
  elements: str
"""

# There is nothing here: the action of the same name does the work.
