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
  - Workers whose kubelet has another version, and those that a run left drained, of the first pool that has some.
positional: version, pools, machines
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
    description: The pools of the definition, in the order in which they are upgraded.
    type: list
    elements: dict
    required: true
  machines:
    description: The machines of the cluster, as the C(*_machines) modules return them.
    type: list
    elements: dict
    required: true
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
      C(max_unavailable) of the pool. C(nodes) is empty when no pool has any left.
  type: dict
  sample: {pool: general, nodes: [payments-general-1f2e3d4c], begun: [], pool_nodes: [payments-general-1f2e3d4c], max_unavailable: "1"}
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def upgrade_workers(
    live: Mapping[str, Any], version: str, pools: Sequence[Mapping[str, Any]], machines: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what is left, the same in every run that finds the cluster as it is."""
    for pool in pools:
        members = sorted(machine["name"] for machine in machines if machine["pool"] == pool["name"])
        nodes = [node for node in members if live["kubelets"].get(node, version) != version or node in live["drained"]]
        if nodes:
            limit = str(pool.get("rollout", {}).get("max_unavailable", 1))
            begun = [node for node in nodes if node in live["drained"]]
            return {"pool": pool["name"], "nodes": nodes, "begun": begun, "pool_nodes": members, "max_unavailable": limit}
    return {"pool": "", "nodes": [], "begun": [], "pool_nodes": [], "max_unavailable": "1"}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"upgrade_workers": upgrade_workers}
