# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: carry_plan
short_description: The plan of a fleet as an artifact of AWX
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Leaves those clusters in a plan that a person asked for, and returns it as one line of text, which a job can leave to the jobs after it.
  - Fails if no cluster is left, or if the text is too large for an artifact.
positional: version, clusters
options:
  _input:
    description: RV(flotilla.kubernetes.fleet_plan#module:plan).
    type: dict
    required: true
  version:
    description:
      - Clusters whose definitions say this version. V(latest-patch) for those whose definitions say a patch of the minor that they run.
      - Empty for all.
    type: str
    default: ""
  clusters:
    description: Names or patterns of clusters, separated by commas or white space. Empty for all.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Leave the plan to the jobs after this one
  ansible.builtin.set_stats:
    data:
      flotilla_carried_plan: "{{ (planned.plan | flotilla.kubernetes.carry_plan('1.36.3')).text }}"
    aggregate: false
"""

RETURN = r"""
_value:
  description:
    - C(text) is the plan as text, C(plan_id) its id, C(expires) until when it is good, C(clusters) the names in it, and C(left_out) the
      others, each with C(name) and C(why).
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils._awx.plan import carry, choose, clusters_of
from ..module_utils._errors import FlotillaError


def carry_plan(plan: Mapping[str, Any], version: str = "", clusters: str = "") -> dict[str, Any]:
    """Return the text and what is in it."""
    try:
        chosen = choose(plan, str(version or ""), str(clusters or ""))
        text = carry(chosen)
    except FlotillaError as error:
        raise AnsibleFilterError(str(error)) from error
    return {
        "text": text,
        "plan_id": chosen["plan_id"],
        "expires": chosen["expires"],
        "clusters": [one["name"] for one in clusters_of(chosen["waves"])],
        "left_out": [{"name": one["name"], "why": one["why"]} for one in chosen["left_out"]],
    }


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"carry_plan": carry_plan}
