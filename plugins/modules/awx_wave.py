#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: awx_wave
short_description: Launch one job per cluster of a wave, and wait for them
version_added: "0.1.0"
description:
  - Runs in a job of AWX, Tower or an automation controller and launches other jobs there, with M(awx.awx.job_launch), in the order, windows
    and limits of the fleet files. A job that an earlier wave has launched for a cluster, and that is still at work, is waited for.
  - With O(plan) it is an upgrade. A cluster that is not as it was planned any more is left out; one in whose midst a run ended is gone
    on with.
  - Runs on the controller of Ansible as an action, once for all clusters of a play that has looked at them.
  - Fails if nothing else may be begun, be it a canary that failed or more clusters than may.
options:
  plan:
    description: Plan as P(flotilla.kubernetes.carry_plan#filter) made it. Without one all clusters are worked on, by the fleet files.
    type: str
  stage:
    description: V(canary), the number of a wave, or V(all).
    type: str
    required: true
  stages:
    description: How many numbered waves there are; the last one takes all that are left.
    type: int
    required: true
  job_template:
    description: What is launched for each cluster, with the variable C(flotilla_cluster_name).
    type: str
    required: true
  organization:
    description: Organization of the job template.
    type: str
  launch_with:
    description: Of each foundation C(inventory), C(credentials) and C(instance_groups) of its jobs.
    type: dict
    required: true
  variables:
    description: Further variables of each job. Empty ones are left out.
    type: dict
    default: {}
  max_failed:
    description: How many clusters of a wave may fail, instead of what the fleet file says. Of a canary wave none may.
    type: str
  window_end:
    description: Moment after which no cluster is begun, such as V(2026-12-01T06:00:00+01:00).
    type: str
  freezes:
    description: Freeze windows besides those of the fleet files, as these write them.
    type: list
    elements: dict
    default: []
  interval:
    description: Seconds between two looks at the jobs.
    type: float
    default: 10
extends_documentation_fragment: [flotilla.kubernetes.awx]
attributes:
  check_mode:
    support: full
    description: Shows what would be launched now, and launches nothing.
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Upgrade the canaries
  flotilla.kubernetes.awx_wave:
    plan: "{{ flotilla_carried_plan }}"
    stage: canary
    stages: 4
    job_template: flotilla upgrade
    launch_with:
      production: {inventory: flotilla production, credentials: [aws production], instance_groups: [site a]}
  run_once: true
"""

RETURN = r"""
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
      description: V(done), V(failed) or V(left_out); in check mode V(start) or V(wait).
      type: str
    why:
      description: Why it is not done.
      type: str
    job:
      description: Id of its job; 0 if none was launched.
      type: int
"""

# There is nothing here: the action of the same name does the work.
