#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_plan
short_description: Plan the upgrade of a fleet
version_added: "0.1.0"
description:
  - Makes one plan of what a play on the own hosts of clusters has seen of them, by the fleet files of the inventory, as a table for people
    and as data. Changes nothing.
  - Reads the variables C(flotilla_versions), C(flotilla_upgrade_hops) and C(flotilla_preflight) of each host, or C(flotilla_unseen), which
    says why there are none. The playbook C(fleet_plan) leaves them.
  - Runs on the controller as an action, once for all hosts of the play; there is nothing to run on a machine.
options:
  lasts:
    description: How long the plan is good for.
    type: str
    default: 24h
  report:
    description: File that gets the plan as JSON.
    type: path
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Plan
  flotilla.kubernetes.fleet_plan:
    report: build/fleet.json
  run_once: true
"""

RETURN = r"""
plan:
  description: The plan.
  returned: always
  type: dict
  contains:
    plan_id:
      description: Its id.
      type: str
      sample: 5f2b8a91c0d4
    digest:
      description: Changes when something does that the plan rests on.
      type: str
    created:
      description: When it was made.
      type: str
    expires:
      description: Until when it is good.
      type: str
    minutes:
      description: About how many minutes it takes, without waiting for windows.
      type: float
    waves:
      description: The waves in their order, each with its terms and its clusters.
      type: list
      elements: dict
    left_out:
      description: Clusters that no wave has, each with the reason.
      type: list
      elements: dict
lines:
  description: What was printed.
  returned: always
  type: list
  elements: str
"""

# There is nothing here: the action of the same name does the work.
