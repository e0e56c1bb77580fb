# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: run_fence
short_description: Whether a run may take a cluster, and as which generation
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Judges what M(flotilla.kubernetes.node_fence) saw on all nodes of a cluster. A run that neither ended nor was silent for a minute on
    every node is still at work.
positional: run, takeover
options:
  _input:
    description: The C(sign) of each node, by its name.
    type: dict
    required: true
  run:
    description: Name of the run that wants to take the cluster.
    type: str
    required: true
  takeover:
    description: Name of a run that is not waited for, because somebody knows that it is dead or may be stopped.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: See who is at work
  ansible.builtin.debug:
    msg: "{{ dict(hosts | zip(hosts | map('extract', hostvars, ['seen', 'sign']))) | flotilla.kubernetes.run_fence('awx-4711') }}"
"""

RETURN = r"""
_value:
  description:
    - C(fence), the run with its generation; C(busy), a line per node where another run is at work; C(wait), seconds until they are silent.
  type: dict
  sample: {fence: {run: awx-4711, generation: 12}, busy: [], wait: 0}
"""

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

SILENCE = 60.0  # seconds


def run_fence(signs: Mapping[str, Mapping[str, Any]], run: str, takeover: str = "") -> dict[str, Any]:
    """Return the fence of ``run`` and which runs are at work."""
    mine = [sign["generation"] for sign in signs.values() if sign["run"] == run]
    generation = max(mine) if mine else max((sign["generation"] for sign in signs.values()), default=0) + 1
    strangers = {node: sign for node, sign in signs.items() if sign["run"] not in ("", run, takeover) and not sign["ended"]}
    busy = {node: sign for node, sign in sorted(strangers.items()) if sign["age"] < SILENCE}
    return {
        "fence": {"run": run, "generation": generation},
        "busy": [f"the run {sign['run']} was at work on {node} {sign['age']:.0f} s ago" for node, sign in busy.items()],
        "wait": ceil(max((SILENCE - sign["age"] for sign in busy.values()), default=0)),
    }


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"run_fence": run_fence}
