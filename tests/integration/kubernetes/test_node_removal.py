# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module node_removal against a real kube-apiserver: several nodes at once, dead and unknown ones, volumes, and Nodes to delete."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import node_removal
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.drain import NO_TRAFFIC_TAINT, Options
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.node_removal import ATTACHMENTS, NodeRemoval
from nodes import Node

Server = Any


def ready(node: Node, status: str = "True") -> Node:
    made = node.call("GET", f"/api/v1/nodes/{node.name}")
    made["status"] = {"conditions": [{"type": "Ready", "status": status}]}
    node.call("PUT", f"/api/v1/nodes/{node.name}/status", made)
    return node


@pytest.fixture
def pair(server: Server) -> list[Node]:
    return [ready(Node(server)), ready(Node(server))]


def removal(nodes: list[Node], names: list[str] | None = None, timeout: int = 60, **options: bool) -> NodeRemoval:
    return NodeRemoval(nodes[0].client(), names or [node.name for node in nodes], Options(timeout, 0, **options))


def run(nodes: list[Node], names: list[str] | None = None, seconds: float = 3, **options: Any) -> dict[str, Any]:
    token = None
    while True:
        answer = removal(nodes, names, **options).advance(token, seconds)
        if answer["finished"]:
            return answer
        token = answer["progress_token"]


def attach(node: Node) -> str:
    name = f"csi-{node.name}"
    spec = {"attacher": "example.org", "nodeName": node.name, "source": {"persistentVolumeName": "data"}}
    node.call("POST", ATTACHMENTS, {"metadata": {"name": name}, "spec": spec})
    return name


def test_all_nodes_are_closed_before_the_first_pod_leaves_and_emptied_at_once(pair: list[Node]) -> None:
    for node in pair:
        node.pod("web-1")
    pair[0].budget("web", 0)
    predicted = removal(pair).predict()
    assert predicted["changed"] and len(predicted["evicted"]) == 2 and all(node.schedulable for node in pair)
    first = removal(pair).advance(None, 0)
    assert not first["finished"] and not any(node.schedulable for node in pair)
    pair[0].allow("web", 1)
    token = first["progress_token"]
    while not (answer := removal(pair).advance(token, 3))["finished"]:
        token = answer["progress_token"]
    assert {key: answer[key] for key in predicted} == predicted
    assert [node.pods for node in pair] == [[], []]
    assert run(pair)["changed"] is False


def test_what_must_not_be_lost_on_any_of_them_stops_all(pair: list[Node]) -> None:
    pair[0].pod("web-1")
    pair[1].pod("alone", None)
    with pytest.raises(FlotillaError) as caught:
        run(pair)
    assert caught.value.code == "DRAIN_REFUSED" and f"{pair[1].name}/alone" in str(caught.value)
    assert all(node.schedulable for node in pair) and pair[0].pods == ["web-1"]


def test_one_that_is_held_back_does_not_hold_back_the_others(pair: list[Node]) -> None:
    for node in pair:
        node.pod("web-1")
    pair[0].budget("web", 0)
    with pytest.raises(FlotillaError) as caught:
        run(pair, timeout=2)
    assert caught.value.code == "DRAIN_TIMEOUT" and pair[0].name in str(caught.value) and pair[1].name not in str(caught.value)
    assert pair[0].schedulable and pair[0].pods == ["web-1"] and pair[1].pods == [] and not pair[1].schedulable


@pytest.mark.parametrize("status", ["Unknown", "False"])
def test_a_dead_node_and_an_unknown_one_need_nothing(pair: list[Node], status: str) -> None:
    ready(pair[0], status).pod("web-1", None)
    answer = run(pair, [pair[0].name, "nobody"])
    assert answer["changed"] is False and pair[0].pods == ["web-1"]


def test_volumes_are_waited_for(pair: list[Node]) -> None:
    name = attach(pair[0])
    token = removal(pair).advance(None, 0)["progress_token"]
    answer = removal(pair).advance(token, 0)
    assert not answer["finished"] and "1 volumes to detach" in answer["progress"][0]
    with pytest.raises(FlotillaError) as caught:
        run(pair, timeout=1)
    assert caught.value.code == "VOLUMES_ATTACHED" and name in str(caught.value)
    pair[0].call("DELETE", f"{ATTACHMENTS}/{name}")
    assert removal(pair).advance(token, 3)["finished"]


def taints(node: Node) -> list[tuple[str, str]]:
    """Return a node's taints, less those that the API server gives a node without a machine."""
    found = node.call("GET", f"/api/v1/nodes/{node.name}")["spec"].get("taints", [])
    return [(taint["key"], taint["effect"]) for taint in found if not taint["key"].startswith("node.kubernetes.io/")]


def test_load_balancers_have_time_to_notice(pair: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_removal, "NOTICE", 3600)
    assert run(pair[:1])["finished"], "nobody sends requests to nodes of a cluster without such Services"
    port = {"port": 80, "nodePort": 30081}
    service = {"metadata": {"name": "outside", "namespace": "default"}, "spec": {"type": "NodePort", "ports": [port]}}
    pair[1].call("POST", "/api/v1/namespaces/default/services", service)
    try:
        first = removal(pair[1:]).advance(None, 0)
        assert not first["finished"] and taints(pair[1]) == [(NO_TRAFFIC_TAINT, "NoSchedule")]
        second = removal(pair[1:]).advance(first["progress_token"], 1)
        assert not second["finished"] and "load balancers" in second["progress"][0]
        monkeypatch.setattr(node_removal, "NOTICE", 1)
        assert run(pair[1:])["finished"]
    finally:
        pair[1].call("DELETE", "/api/v1/namespaces/default/services/outside")


def test_one_that_stays_gets_requests_again(pair: list[Node]) -> None:
    pair[0].pod("web-1")
    pair[0].budget("web", 0)
    with pytest.raises(FlotillaError):
        run(pair[:1], timeout=2)
    assert taints(pair[0]) == [] and pair[0].schedulable


def test_the_nodes_of_machines_that_are_gone_are_deleted(pair: list[Node]) -> None:
    names = [node.name for node in pair]
    assert removal(pair, [names[0], "nobody"]).delete(check_mode=True)["changed"]
    assert removal(pair, [names[0], "nobody"]).delete(check_mode=False)["diff"]["before"] == {"nodes": [names[0]]}
    assert removal(pair, [names[0]]).delete(check_mode=False)["changed"] is False
    there = {node["metadata"]["name"] for node in pair[1].call("GET", "/api/v1/nodes")["items"]}
    assert names[0] not in there and names[1] in there
