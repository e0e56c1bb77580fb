#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_run
short_description: Run a playbook in the clusters of a fleet, wave by wave
version_added: "0.1.0"
description:
  - Runs a playbook that changes one cluster in all clusters of the inventory, in the waves, windows and limits of the fleet files. Each
    cluster is a run of its own, by ansible-runner, with its own process, inventory, log and artifacts.
  - With O(plan) it is an upgrade. It is refused unless what the play has seen of the clusters (as for M(flotilla.kubernetes.fleet_plan)) is
    still what the plan rests on.
  - Runs on the controller as an action, once for all hosts of the play. A process of its own drives the run and the action follows it, so
    the end of the playbook is not the end of the clusters' runs. The same task again attaches to a run that is at work, or goes on with one
    that was stopped.
  - Fails unless every cluster is done.
options:
  plan:
    description: File with the plan of the playbook C(fleet_plan).
    type: path
  playbook:
    description:
      - What is run in each cluster. The name of one of C(cluster_apply), C(cluster_upgrade), C(cluster_backup), C(cluster_status),
        C(cluster_heal), C(cluster_policies), C(cluster_patch_os), C(cluster_rotate_certificates) and C(cluster_defragment_etcd), or the
        path of a playbook of your own.
      - A playbook of your own gets an inventory with one cluster and the variable C(flotilla_cluster_name).
    type: str
    default: cluster_upgrade
  directory:
    description: Folder that gets a folder for each run.
    type: path
    default: build/fleet
  keep:
    description: How many runs remain there; older ones are removed.
    type: int
    default: 10
  resume:
    description: Id of a run without plan that ended, and of which the clusters that are not done shall be tried again.
    type: str
    default: ""
  report:
    description: File that gets the result as JSON.
    type: path
requirements:
  - ansible-runner >= 2.4
attributes:
  check_mode:
    support: full
    description: Shows what would be begun now, and begins nothing.
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Upgrade the fleet as planned
  flotilla.kubernetes.fleet_run:
    plan: build/fleet.json
  run_once: true

- name: Back up every cluster
  flotilla.kubernetes.fleet_run:
    playbook: cluster_backup
  run_once: true
"""

RETURN = r"""
run_id:
  description: Id of the run; with a plan that of the plan.
  returned: always
  type: str
  sample: 5f2b8a91c0d4
folder:
  description: Where its journal and the logs of the clusters are.
  returned: unless in check mode
  type: str
clusters:
  description: What became of each cluster.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    wave:
      description: Foundation and wave.
      type: str
    result:
      description: V(done), V(failed) or V(left_out); in check mode V(start) for those that would be begun now, V(wait) for later ones.
      type: str
    why:
      description: Why it is not done.
      type: str
    log:
      description: The log of its last run; empty if nothing was run in it.
      type: str
"""

# There is nothing here: the action of the same name does the work.
