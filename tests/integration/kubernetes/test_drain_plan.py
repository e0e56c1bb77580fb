# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module drain_plan against a real kube-apiserver: what it reads, and the taint of outdated nodes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import batches, client
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.drain import mark_outdated
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.snapshot import read
from ansible_collections.flotilla.kubernetes.plugins.modules import drain_plan
from nodes import Node

TAINT = "flotilla.kubernetes/outdated"


@pytest.fixture
def pair(server: Any) -> list[Node]:
    nodes = [Node(server), Node(server)]
    for node in nodes:
        made = node.call("GET", f"/api/v1/nodes/{node.name}")
        made["status"] = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}}
        node.call("PUT", f"/api/v1/nodes/{node.name}/status", made)
    return nodes


def test_one_look_in_pages_is_enough(pair: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAGE_SIZE", 3)
    for number in range(7):
        pair[0].pod(f"web-{number}")
    pair[0].budget("web", 0)
    pair[1].pod("free-1")
    names = [node.name for node in pair]
    found = batches.plan(read(pair[0].client()), names, batches.Wishes(2, frozenset(names)), datetime.now(timezone.utc))
    assert {blocker.pod for blocker in found.blocked} == {f"{names[0]}/web-{number}" for number in range(7)}
    assert {blocker.pdb for blocker in found.blocked} == {f"{names[0]}/web"} and found.batches == [[names[1]]]


def taints(node: Node) -> dict[str, str]:
    found = node.call("GET", f"/api/v1/nodes/{node.name}")["spec"].get("taints", [])
    # Without a controller, the taint that a new node gets stays on it.
    return {taint["key"]: taint["effect"] for taint in found if taint["key"] != "node.kubernetes.io/not-ready"}


def test_outdated_nodes_carry_a_soft_taint_and_the_others_of_the_pool_lose_it(pair: list[Node]) -> None:
    first, second = pair
    names = [first.name, second.name]
    own = {"spec": {"taints": [{"key": "dedicated", "value": "web", "effect": "NoSchedule"}]}}
    first.client().merge(f"/api/v1/nodes/{first.name}", own)

    def mark(outdated: list[str], check_mode: bool = False) -> dict[str, Any]:
        return mark_outdated(first.client(), TAINT, outdated, names, check_mode)

    assert mark(names, check_mode=True)["changed"] and taints(second) == {}
    answer = mark(names)
    assert answer["changed"] and answer["diff"]["after"] == dict.fromkeys(names, True)
    assert taints(second) == {TAINT: "PreferNoSchedule"} and taints(first) == {"dedicated": "NoSchedule", TAINT: "PreferNoSchedule"}
    assert mark(names)["changed"] is False
    assert mark([second.name])["diff"]["before"] == {first.name: True} and taints(first) == {"dedicated": "NoSchedule"}
    mark([])
    assert taints(second) == {}
    assert mark_outdated(first.client(), None, names, names, False) == {"changed": False}


def test_a_taint_that_is_not_ours_is_refused(pair: list[Node]) -> None:
    with pytest.raises(FlotillaError) as caught:
        mark_outdated(pair[0].client(), "dedicated", [pair[0].name], [], False)
    assert caught.value.code == "TAINT_INVALID" and taints(pair[0]) == {}


def test_the_module_says_all_of_it(pair: list[Node], ask: Callable[..., dict[str, Any]]) -> None:
    names = [node.name for node in pair]
    pair[0].pod("web-1")
    pair[0].budget("web", 0)
    pair[1].pod("alone", None)
    answer = ask(drain_plan, nodes=names, max_unavailable="100%", outdated_taint=TAINT, check_mode=True)
    assert answer["changed"] and answer["batches"] == [] and taints(pair[0]) == {}
    assert {(entry["node"], entry["code"], entry["permanent"]) for entry in answer["blocked"]} == {
        (names[0], "PDB_NEVER_ALLOWS", True),
        (names[1], "POD_WITHOUT_CONTROLLER", True),
    }
    answer = ask(drain_plan, nodes=names, delete_bare_pods=True)
    assert answer["changed"] is False and answer["batches"] == [[names[1]]] and answer["held"] == ""
    assert ask(drain_plan, nodes=[], pool=names, outdated_taint=TAINT)["batches"] == []
    refused = ask(drain_plan, nodes=names, max_unavailable="0")
    assert refused["failed"] and refused["code"] == "MAX_UNAVAILABLE_INVALID"
