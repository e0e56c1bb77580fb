# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: upgrade_workers
short_description: The workers that an upgrade still has to visit, pool by pool
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Workers whose kubelet has another version, and those that a run left drained, of the first pool that has some. Canaries come first.
positional: version, pools, machines, left_out, rolls, replaced
options:
  _input:
    description: What M(flotilla.kubernetes.cluster_versions) returned.
    type: dict
    required: true
  version:
    description: Version of the upgrade.
    type: str
    required: true
  pools:
    description: The pools of the definition. Those that are canaries come first, else their order counts.
    type: list
    elements: dict
    required: true
  machines:
    description: The machines of the cluster, as the C(*_machines) modules return them.
    type: list
    elements: dict
    required: true
  left_out:
    description: Names of workers that this run does not visit again.
    type: list
    elements: str
    default: []
  rolls:
    description: What P(flotilla.kubernetes.upgrade_rolls#filter) found.
    type: list
    elements: dict
    default: []
  replaced:
    description: Whether pools with C(rollout.strategy=replace) are gone through by O(rolls). Else every pool is visited in place.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show who is left
  ansible.builtin.debug:
    msg: "{{ versions | flotilla.kubernetes.upgrade_workers('1.36.3', flotilla_cluster.pools, flotilla_machines) }}"
"""

RETURN = r"""
_value:
  description:
    - C(pool), its C(nodes) that are left, C(begun), those of them that a run left drained, C(pool_nodes), all of the pool, the
      C(max_unavailable), the C(drain_timeout) and the C(soak) of the pool. C(pool) and C(nodes) are empty when no pool has any left.
    - C(roll) is what was found of a pool whose machines are replaced, and empty for others. Such a pool has no C(nodes) while machines of
      it have to join first.
  type: dict
  sample:
    pool: general
    nodes: [payments-general-1f2e3d4c]
    begun: []
    pool_nodes: [payments-general-1f2e3d4c]
    max_unavailable: "1"
    drain_timeout: 10m
    soak: 0s
    roll: {}
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..module_utils._kubernetes.batches import canaries_first
from ..module_utils._machines.roll import is_replaced


def upgrade_workers(
    live: Mapping[str, Any],
    version: str,
    pools: Sequence[Mapping[str, Any]],
    machines: Sequence[Mapping[str, Any]],
    left_out: Sequence[str] = (),
    rolls: Sequence[Mapping[str, Any]] = (),
    replaced: bool = False,
) -> dict[str, Any]:
    """Return what is left, the same in every run that finds the cluster as it is."""
    found = {roll["pool"]: roll for roll in rolls}
    for pool in canaries_first(pools):
        if replaced and is_replaced(pool):
            if pool["name"] in found:
                return _replaced(pool, found[pool["name"]], [*live["drained"], *left_out])
            continue
        members = sorted(machine["name"] for machine in machines if machine["pool"] == pool["name"])
        nodes = [
            node for node in members if node not in left_out and (live["kubelets"].get(node, version) != version or node in live["drained"])
        ]
        if nodes:
            together = str(pool.get("rollout", {}).get("max_unavailable", 1))
            return _left(pool, nodes, [node for node in nodes if node in live["drained"]], members, together)
    return _left({"name": ""}, [], [], [], "1")


def _replaced(pool: Mapping[str, Any], roll: Mapping[str, Any], away: Sequence[str]) -> dict[str, Any]:
    """Return what is left of a pool whose machines are replaced: who does not serve, or is out of reach, leaves first."""
    nodes = list(roll["outdated"]) if roll["leaving"] else []
    begun = [node for node in nodes if node in away or node not in roll["nodes"]][: roll["leaving"]]
    # The machines that leave have successors already, so it is these that may be away.
    return {**_left(pool, nodes, begun, list(roll["nodes"]), str(max(1, roll["leaving"]))), "roll": dict(roll)}


def _left(pool: Mapping[str, Any], nodes: list[str], begun: list[str], members: list[str], together: str) -> dict[str, Any]:
    rollout = pool.get("rollout", {})
    return {
        "pool": pool["name"],
        "nodes": nodes,
        "begun": begun,
        "pool_nodes": members,
        "max_unavailable": together,
        "drain_timeout": rollout.get("drain_timeout", "10m"),
        "soak": rollout.get("soak", "0s"),
        "roll": {},
    }


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"upgrade_workers": upgrade_workers}
