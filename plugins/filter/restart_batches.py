# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: restart_batches
short_description: Which nodes restart a service at the same time, and in which order
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - For services whose restart leaves pods alone, so that no node is drained. Nodes that are away come first, all at once, for they can but
    win; then control planes one after another; then the pools, each in parts of its C(max_unavailable).
positional: machines, pools, away
options:
  _input:
    description: Names of the nodes that are to restart something.
    type: list
    elements: str
    required: true
  machines:
    description: All machines of the cluster, as RV(flotilla.kubernetes.local_machines#module:machines) has them.
    type: list
    elements: dict
    required: true
  pools:
    description: The pools of the definition. Those that are canaries come first, else their order counts.
    type: list
    elements: dict
    required: true
  away:
    description: Names of the nodes that are not Ready.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show who goes with whom
  ansible.builtin.debug:
    msg: "{{ ['payments-general-1f2e3d4c'] | flotilla.kubernetes.restart_batches(flotilla_machines, flotilla_cluster.pools) }}"
"""

RETURN = r"""
_value:
  description: The batches in order, each with its C(nodes) and its C(soak), how long everything has to hold before the next one.
  type: list
  elements: dict
  sample: [{nodes: [payments-general-1f2e3d4c], soak: 0s}]
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.batches import canaries_first, resolve_limit

AT_ONCE = "0s"


def restart_batches(
    nodes: Sequence[str], machines: Sequence[Mapping[str, Any]], pools: Sequence[Mapping[str, Any]], away: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return the batches, the same for the same cluster."""
    serving = [machine for machine in machines if machine["name"] in nodes and machine["name"] not in away]
    control_planes = sorted(machine["name"] for machine in serving if machine["role"] == "control_plane")
    batches = [_batch(sorted(set(nodes).intersection(away))), *(_batch([name]) for name in control_planes)]
    known = {pool["name"] for pool in pools}
    for pool in canaries_first(pools):
        rollout = pool.get("rollout", {})
        try:
            size = resolve_limit(str(rollout.get("max_unavailable", 1)), sum(machine["pool"] == pool["name"] for machine in machines))
        except FlotillaError as error:
            raise AnsibleFilterError(str(error)) from error
        members = sorted(machine["name"] for machine in serving if machine["pool"] == pool["name"])
        parts = [_batch(members[first : first + size]) for first in range(0, len(members), size)]
        if parts:
            parts[-1]["soak"] = rollout.get("soak", AT_ONCE)
        batches += parts
    others = sorted(machine["name"] for machine in serving if machine["pool"] not in known and machine["name"] not in control_planes)
    batches = [batch for batch in [*batches, *(_batch([name]) for name in others)] if batch["nodes"]]
    # Nothing comes after the last one that could be spared.
    return [*batches[:-1], *({**batch, "soak": AT_ONCE} for batch in batches[-1:])]


def _batch(nodes: list[str]) -> dict[str, Any]:
    return {"nodes": nodes, "soak": AT_ONCE}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"restart_batches": restart_batches}
