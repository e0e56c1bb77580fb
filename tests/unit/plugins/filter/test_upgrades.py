# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the way and the order of an upgrade, as they follow from what is live."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.kubernetes.plugins.filter.upgrade_hops import upgrade_hops
from ansible_collections.flotilla.kubernetes.plugins.filter.upgrade_order import upgrade_order
from ansible_collections.flotilla.kubernetes.plugins.filter.upgrade_workers import upgrade_workers

OLD, NEW = "1.35.4", "1.36.3"


def live(pods: dict[str, str], kubelets: dict[str, str], leader: str = "", drained: tuple[str, ...] = ()) -> dict[str, Any]:
    components = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    return {
        "control_planes": {node: {**dict.fromkeys(components, version), "etcd": "3.6.6"} for node, version in pods.items()},
        "kubelets": kubelets,
        "oldest": min(pods.values()),
        "etcd_leader": leader,
        "drained": list(drained),
        "interrupted": sorted({*drained, *(node for node in pods if kubelets.get(node) != pods[node])}),
    }


def test_the_leader_of_etcd_comes_last_and_who_has_everything_is_left_out() -> None:
    found = live(dict.fromkeys("abc", OLD), dict.fromkeys("abcw", OLD), leader="a")
    assert upgrade_order(found, NEW) == ["b", "c", "a"]
    assert upgrade_order(live({"a": NEW, "b": OLD}, {"a": NEW, "b": OLD}, leader="b"), NEW) == ["b"]
    assert upgrade_order(live(dict.fromkeys("abc", NEW), dict.fromkeys("abc", NEW)), NEW) == []


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(live({"a": OLD, "b": OLD, "c": NEW}, dict.fromkeys("abc", OLD), leader="c"), id="pods but not the kubelet"),
        pytest.param(live(dict.fromkeys("abc", OLD), dict.fromkeys("abc", OLD), "c", ("c",)), id="drained"),
        pytest.param(live({"a": OLD, "b": OLD, "c": NEW}, {"a": OLD, "b": OLD, "c": NEW}, "c", ("c",)), id="all but pods"),
    ],
)
def test_where_a_run_was_interrupted_the_next_one_begins(found: dict[str, Any]) -> None:
    assert upgrade_order(found, NEW) == ["c", "a", "b"]


POOLS = [{"name": "rest"}, {"name": "canary", "rollout": {"canary": True, "max_unavailable": "25%", "soak": "10m"}}]
MACHINES = [
    {"name": "c", "pool": "canary"},
    {"name": "u", "pool": "rest"},
    {"name": "v", "pool": "rest"},
    {"name": "a", "pool": "control-plane"},
]


def test_one_pool_comes_after_the_other_and_those_left_drained_are_known() -> None:
    found = upgrade_workers(live({"a": NEW}, {"a": NEW, "c": OLD, "u": OLD, "v": NEW}), NEW, POOLS, MACHINES)
    assert (found["pool"], found["nodes"], found["begun"], found["max_unavailable"], found["soak"]) == ("canary", ["c"], [], "25%", "10m")
    found = upgrade_workers(live({"a": NEW}, {"a": NEW, "c": NEW, "u": OLD, "v": NEW}, drained=("v",)), NEW, POOLS, MACHINES)
    assert (found["pool"], found["nodes"], found["begun"], found["pool_nodes"]) == ("rest", ["u", "v"], ["v"], ["u", "v"])
    assert upgrade_workers(live({"a": NEW}, {"a": NEW, "c": NEW, "u": NEW, "v": NEW}), NEW, POOLS, MACHINES)["nodes"] == []


def test_what_was_left_out_is_not_visited_again() -> None:
    found = live({"a": NEW}, {"a": NEW, "c": OLD, "u": OLD, "v": OLD}, drained=("u",))
    assert upgrade_workers(found, NEW, POOLS, MACHINES, ["c", "u"])["nodes"] == ["v"]
    assert upgrade_workers(found, NEW, POOLS, MACHINES, ["c", "u", "v"])["nodes"] == []


def test_a_kubelet_of_a_control_plane_that_was_left_behind_is_not_forgotten() -> None:
    assert upgrade_hops(live({"a": NEW, "b": NEW}, {"a": NEW, "b": OLD}), NEW) == [{"version": NEW, "workers": True}]
    assert upgrade_hops(live({"a": NEW, "b": NEW}, {"a": NEW, "b": NEW, "w": NEW}), NEW) == []
    assert upgrade_hops(live({"a": NEW}, {"a": NEW, "w": NEW}, drained=("w",)), NEW) == [{"version": NEW, "workers": True}]


def test_minors_are_passed_one_by_one_and_a_downgrade_is_refused() -> None:
    way = upgrade_hops(live({"a": "1.34.4"}, {"a": "1.34.4", "w": "1.34.4"}), NEW)
    assert way == [{"version": OLD, "workers": False}, {"version": NEW, "workers": True}]
    with pytest.raises(AnsibleFilterError, match=r"cluster runs Kubernetes 1\.36\.3, which is newer than 1\.35\.4"):
        upgrade_hops(live({"a": NEW}, {"a": NEW}), OLD)
