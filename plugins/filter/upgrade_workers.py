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
positional: version, pools, machines, left_out
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
"""

EXAMPLES = r"""
- name: Show who is left
  ansible.builtin.debug:
    msg: "{{ versions | flotilla.kubernetes.upgrade_workers('1.36.3', flotilla_cluster.pools, flotilla_machines) }}"
"""

RETURN = r"""
_value:
  description:
    - C(pool), its C(nodes) that are left, C(begun), those of them that a run left drained, C(pool_nodes), all of the pool, and the
      C(max_unavailable) and the C(soak) of the pool. C(nodes) is empty when no pool has any left.
  type: dict
  sample:
    pool: general
    nodes: [payments-general-1f2e3d4c]
    begun: []
    pool_nodes: [payments-general-1f2e3d4c]
    max_unavailable: "1"
    soak: 0s
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..module_utils._kubernetes.batches import canaries_first


def upgrade_workers(
    live: Mapping[str, Any],
    version: str,
    pools: Sequence[Mapping[str, Any]],
    machines: Sequence[Mapping[str, Any]],
    left_out: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what is left, the same in every run that finds the cluster as it is."""
    for pool in canaries_first(pools):
        rollout = pool.get("rollout", {})
        members = sorted(machine["name"] for machine in machines if machine["pool"] == pool["name"])
        nodes = [
            node for node in members if node not in left_out and (live["kubelets"].get(node, version) != version or node in live["drained"])
        ]
        if nodes:
            return {
                "pool": pool["name"],
                "nodes": nodes,
                "begun": [node for node in nodes if node in live["drained"]],
                "pool_nodes": members,
                "max_unavailable": str(rollout.get("max_unavailable", 1)),
                "soak": rollout.get("soak", "0s"),
            }
    return {"pool": "", "nodes": [], "begun": [], "pool_nodes": [], "max_unavailable": "1", "soak": "0s"}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"upgrade_workers": upgrade_workers}
