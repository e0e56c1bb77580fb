# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: carried_plan
short_description: What one job of a workflow does of a plan
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Reads the text that P(flotilla.kubernetes.carry_plan#filter) made. Fails without one.
positional: stage, stages
options:
  _input:
    description: The text.
    type: str
    required: true
  stage:
    description: V(canary), the number of a wave, or V(all).
    type: str
    default: all
  stages:
    description: How many numbered waves the workflow has; the last one has all that are left.
    type: int
    default: 1
  definition:
    description: Definition of a cluster as it is now. Fails unless the plan upgrades this cluster, and to this definition.
    type: dict
"""

EXAMPLES = r"""
- name: Look at the clusters of a wave
  hosts: "{{ (flotilla_carried_plan | flotilla.kubernetes.carried_plan('1', 4)).pattern }}"
  gather_facts: false
  tasks: []
"""

RETURN = r"""
_value:
  description:
    - C(plan_id) and C(expires) of the plan, C(expired) whether it is too old, C(clusters) the names of the clusters of this stage,
      C(pattern) their own hosts as a pattern that fits no host if there are none, and C(soak) for how many seconds they are watched.
  type: dict
"""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils._awx.plan import ALL, carried, clusters_of, is_expired, planned, stage_of
from ..module_utils._definition.hosts import cluster_host_name
from ..module_utils._errors import FlotillaError
from ..module_utils._fleet.plan import definition_digest


def carried_plan(text: Any, stage: Any = ALL, stages: Any = 1, definition: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what a stage has to do."""
    try:
        plan = carried(str(text or ""))
        waves = stage_of(plan, str(stage), int(stages))
        if definition is not None:
            planned(plan, str(definition["name"]), definition_digest(definition), str(definition["kubernetes_version"]))
    except FlotillaError as error:
        raise AnsibleFilterError(str(error)) from error
    names = [str(one["name"]) for one in clusters_of(waves)]
    return {
        "plan_id": plan["plan_id"],
        "expires": plan["expires"],
        "expired": is_expired(plan, dt.datetime.now(dt.timezone.utc)),
        "clusters": names,
        "pattern": ":".join(map(cluster_host_name, names)) or "all:!all",
        "soak": max((float(wave["soak"]) for wave in waves), default=0.0),
    }


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"carried_plan": carried_plan}
