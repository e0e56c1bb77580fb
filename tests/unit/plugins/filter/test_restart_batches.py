# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of who restarts a service at the same time as whom."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.kubernetes.plugins.filter.restart_batches import restart_batches

POOLS = [
    {"name": "rest", "rollout": {"max_unavailable": "50%"}},
    {"name": "canary", "rollout": {"canary": True, "soak": "10m"}},
]
MACHINES = [
    *({"name": name, "pool": "control-plane", "role": "control_plane"} for name in "ba"),
    *({"name": f"r{number}", "pool": "rest", "role": "worker"} for number in range(5)),
    *({"name": f"c{number}", "pool": "canary", "role": "worker"} for number in range(2)),
    {"name": "old", "pool": "gone", "role": "worker"},
]
EVERYBODY = [machine["name"] for machine in MACHINES]


def nodes(batches: list[dict[str, Any]]) -> list[list[str]]:
    return [batch["nodes"] for batch in batches]


def test_control_planes_come_one_by_one_then_canaries_then_parts_of_the_pools() -> None:
    batches = restart_batches(EVERYBODY, MACHINES, POOLS)
    assert nodes(batches) == [["a"], ["b"], ["c0"], ["c1"], ["r0", "r1"], ["r2", "r3"], ["r4"], ["old"]]
    assert [batch["soak"] for batch in batches] == ["0s", "0s", "0s", "10m", "0s", "0s", "0s", "0s"]


def test_a_part_of_a_pool_is_one_of_all_its_machines() -> None:
    assert nodes(restart_batches(["r1", "r3", "r4"], MACHINES, POOLS)) == [["r1", "r3"], ["r4"]]
    assert restart_batches([], MACHINES, POOLS) == []


def test_nothing_soaks_for_nobody() -> None:
    assert restart_batches(["c0"], MACHINES, POOLS) == [{"nodes": ["c0"], "soak": "0s"}]


def test_who_is_away_comes_first_and_nobody_else_for_it() -> None:
    assert nodes(restart_batches(["b", "r1", "r0", "c1"], MACHINES, POOLS, ["r1", "b", "r4"])) == [["b", "r1"], ["c1"], ["r0"]]


def test_a_limit_that_is_none_is_an_error() -> None:
    with pytest.raises(AnsibleFilterError, match="max_unavailable"):
        restart_batches(["r0"], MACHINES, [{"name": "rest", "rollout": {"max_unavailable": "none"}}])
