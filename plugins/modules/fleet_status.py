#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_status
short_description: Show what every cluster of a fleet is
version_added: "0.1.0"
description:
  - Makes one status of what a play on the own hosts of clusters has seen of them, of their backups and of the reports of their last runs,
    as a table for people, as JSON, as JUnit XML and as one HTML page that needs no network. Changes nothing.
  - Reads the variables C(flotilla_seen) and C(flotilla_seen_others) of each host, which are results of M(flotilla.kubernetes.cluster_info).
    The playbook C(fleet_status) leaves them.
  - Runs on the controller as an action, once for all hosts of the play; there is nothing to run on a machine.
options:
  report:
    description: File that gets the status as JSON; beside it are the page and JUnit XML, with the endings C(.html) and C(.xml).
    type: path
    default: build/fleet-status.json
  fail_on:
    description: What fails the task, after all is written. V(critical) is a cluster that is not healthy, or did not answer.
    type: str
    choices: [critical, warning, never]
    default: critical
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.cluster_info
"""

EXAMPLES = r"""
- name: Show what was seen
  flotilla.kubernetes.fleet_status:
    report: build/fleet-status.json
    fail_on: never
  run_once: true
"""

RETURN = r"""
status:
  description: The status.
  returned: success
  type: dict
  contains:
    schema:
      description: Raised when a field changes its meaning.
      type: int
    created:
      description: When it was made.
      type: str
    counts:
      description: How many clusters are V(critical), V(unknown), V(warning) and V(healthy).
      type: dict
    releases:
      description: The minors that upstream supports or clusters run, each with upstream's last day and how many clusters run it.
      type: list
      elements: dict
    clusters:
      description: The clusters, what is worst first, each with versions, nodes, C(items) that need a hand, and its last runs.
      type: list
      elements: dict
files:
  description: What was written.
  returned: always
  type: list
  elements: str
  sample: [build/fleet-status.json, build/fleet-status.xml, build/fleet-status.html]
lines:
  description: What was printed.
  returned: success
  type: list
  elements: str
"""

# There is nothing here: the action of the same name does the work.
