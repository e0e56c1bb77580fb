# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module node_drain against a real kube-apiserver: evictions, budgets, refusals, and a run that was killed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.drain import (
    DRAIN_ANNOTATION,
    SKIP,
    WAIT,
    Drain,
    Options,
    set_taint,
)
from ansible_collections.flotilla.kubernetes.plugins.modules import node_drain
from nodes import Node


def drain(node: Node, **options: Any) -> Drain:
    given = {"timeout": 60, "grace_period": 0, **options}
    return Drain(node.client(), node.name, Options(**given))


def run(node: Node, state: str = "drained", check_mode: bool = False, **options: Any) -> dict[str, Any]:
    params = {"state": state, "progress_token": None}
    params.update({name: options.pop(name, None) for name in ("outdated_taint", "respect_cordon")})
    while True:
        answer = node_drain.run(drain(node, **options), params, check_mode)
        if answer.get("finished", True):
            return answer
        params["progress_token"] = answer["progress_token"]


def test_takes_the_pods_off_and_leaves_those_of_the_node(node: Node) -> None:
    for number in range(12):
        node.pod(f"web-{number}")
    node.pod("proxy", "DaemonSet")
    node.pod("static", None, metadata={"annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": []})
    predicted = run(node, check_mode=True)
    assert predicted["changed"] and len(predicted["evicted"]) == 12 and len(node.pods) == 14 and node.schedulable
    done = run(node)
    assert {key: done[key] for key in ("changed", "evicted", "diff")} == {key: predicted[key] for key in ("changed", "evicted", "diff")}
    assert node.pods == ["proxy", "static"] and not node.schedulable
    again = run(node)
    assert again["changed"] is False and again["evicted"] == []


def test_lets_pods_come_again(node: Node) -> None:
    run(node)
    assert run(node, "schedulable", check_mode=True)["changed"] and not node.schedulable
    assert run(node, "schedulable")["changed"] and node.schedulable
    assert DRAIN_ANNOTATION not in node.call("GET", f"/api/v1/nodes/{node.name}")["metadata"].get("annotations", {})
    assert run(node, "schedulable")["changed"] is False


@pytest.mark.parametrize(
    ("option", "pod"),
    [("delete_bare_pods", {"owner": None}), ("delete_emptydir_data", {"volumes": [{"name": "scratch", "emptyDir": {}}]})],
)
def test_what_would_be_lost_is_refused_before_anything_is_changed(node: Node, option: str, pod: dict) -> None:
    node.pod("other-1")
    node.pod("web-1", **pod)
    for check_mode in (True, False):
        with pytest.raises(FlotillaError) as caught:
            run(node, check_mode=check_mode)
        assert caught.value.code == "DRAIN_REFUSED" and option in str(caught.value) and f"{node.name}/web-1" in str(caught.value)
    assert node.schedulable and node.pods == ["other-1", "web-1"]
    run(node, **{option: True})
    assert node.pods == []


def test_a_budget_holds_back_until_it_has_room(node: Node) -> None:
    for name in ("web-1", "web-2", "free-1"):
        node.pod(name)
    node.budget("web", 0)
    answer = drain(node).advance(None, 0)
    assert answer["finished"] is False and "2 held back, such as" in answer["progress"][0]
    assert "The disruption budget web needs 1 healthy pods and has 1 currently" in answer["progress"][0]
    assert node.pods == ["web-1", "web-2"], "what no budget holds goes at once"
    node.allow("web", 1)
    seen = set()
    for _attempt in range(60):
        answer = drain(node).advance(answer["progress_token"], 3)
        seen.add(len(node.pods))
        if answer["finished"]:
            break
        if len(node.pods) == 1:
            node.allow("web", 1)
    assert answer["finished"] and answer["changed"] and node.pods == []
    assert answer["evicted"] == [f"{node.name}/{name}" for name in ("free-1", "web-1", "web-2")]


def test_the_deadline_names_what_is_left_and_gives_the_node_back(node: Node) -> None:
    node.pod("web-1")
    node.pod("free-1")
    node.budget("web", 0)
    with pytest.raises(FlotillaError) as caught:
        run(node, timeout=1)
    assert caught.value.code == "DRAIN_TIMEOUT" and f"{node.name}/web-1: The disruption budget web" in str(caught.value)
    assert [entry["pod"] for entry in caught.value.details["blocked"]] == [f"{node.name}/web-1"]
    # What never passes is told from what may, and how to mend it.
    assert "(minAvailable: 1) needs 1 healthy pods, and there are to be 1: none may ever go" in str(caught.value)
    assert f"the budget {node.name}/web 'maxUnavailable: 1'" in caught.value.remedy
    assert node.schedulable and node.pods == ["web-1"]


def test_a_node_that_somebody_else_closed_stays_closed(node: Node) -> None:
    node.pod("web-1")
    node.budget("web", 0)
    found = node.call("GET", f"/api/v1/nodes/{node.name}")
    found["spec"]["unschedulable"] = True
    node.call("PUT", f"/api/v1/nodes/{node.name}", found)
    with pytest.raises(FlotillaError) as caught:
        run(node, timeout=1)
    assert not node.schedulable and "stays unschedulable" in str(caught.value)


def test_the_node_of_a_killed_run_is_given_back_too(node: Node) -> None:
    node.pod("web-1")
    node.budget("web", 0)
    assert drain(node).advance(None, 0)["finished"] is False  # the run ends here, and its token with it
    assert not node.schedulable
    with pytest.raises(FlotillaError):
        run(node, timeout=1)
    assert node.schedulable


def test_pods_that_are_over_or_leaving_need_no_option(node: Node) -> None:
    node.pod("done-1", None, volumes=[{"name": "scratch", "emptyDir": {}}])
    made = node.call("GET", f"/api/v1/namespaces/{node.name}/pods/done-1")
    made["status"]["phase"] = "Succeeded"
    node.call("PUT", f"/api/v1/namespaces/{node.name}/pods/done-1/status", made)
    run(node)
    assert node.pods == []


def test_a_node_that_is_not_there(node: Node) -> None:
    node.name = "nobody"
    with pytest.raises(FlotillaError) as caught:
        run(node)
    assert caught.value.code == "NODE_UNKNOWN"


def test_a_token_holds_what_the_next_slice_needs(node: Node) -> None:
    node.pod("web-1")
    node.budget("web", 0)
    first = json.loads(drain(node).advance(None, 0)["progress_token"])
    assert first["before"] == {"schedulable": True, "pods": [f"{node.name}/web-1"]}


TAINT = "flotilla.kubernetes/outdated"


def closed_by_somebody(node: Node) -> None:
    node.client().merge(f"/api/v1/nodes/{node.name}", {"spec": {"unschedulable": True}})


def test_a_node_with_pods_that_would_be_lost_can_be_left_out(node: Node) -> None:
    node.pod("alone", None)
    node.pod("web-1")
    for check_mode in (True, False):
        answer = run(node, check_mode=check_mode, unprotected=SKIP)
        assert answer["drained"] is False and answer["changed"] is False and "delete_bare_pods" in answer["reason"]
        assert [entry["pod"] for entry in answer["blocked"]] == [f"{node.name}/alone"]
    assert node.schedulable and node.pods == ["alone", "web-1"]
    assert run(node, unprotected=SKIP, delete_bare_pods=True)["drained"] and node.pods == []


def test_pods_that_would_be_lost_can_be_waited_for(node: Node) -> None:
    node.pod("alone", None)
    node.pod("web-1")
    answer = drain(node, unprotected=WAIT).advance(None, 0)
    assert node.pods == ["alone"] and "alone has no controller" in answer["progress"][0]
    node.call("DELETE", f"/api/v1/namespaces/{node.name}/pods/alone", {"gracePeriodSeconds": 0})
    assert drain(node, unprotected=WAIT).advance(answer["progress_token"], 3)["drained"]
    node.pod("again", None)
    with pytest.raises(FlotillaError) as caught:
        run(node, unprotected=WAIT, timeout=1)
    assert caught.value.code == "DRAIN_TIMEOUT" and "again has no controller" in str(caught.value) and node.schedulable


def test_an_upgraded_node_takes_pods_as_it_did_before(node: Node) -> None:
    set_taint(node.client(), node.name, TAINT, True)
    run(node)
    assert run(node, "schedulable", check_mode=True, outdated_taint=TAINT)["diff"]["before"] == {"schedulable": False, "outdated": True}
    assert run(node, "schedulable", outdated_taint=TAINT, respect_cordon=True)["changed"] and node.schedulable
    assert TAINT not in json.dumps(node.call("GET", f"/api/v1/nodes/{node.name}")["spec"])
    assert run(node, "schedulable", outdated_taint=TAINT)["changed"] is False


def test_a_node_that_somebody_else_closed_can_stay_so_after_an_upgrade(node: Node) -> None:
    closed_by_somebody(node)
    run(node)
    answer = run(node, "schedulable", respect_cordon=True)
    assert answer["changed"] is False and answer["diff"]["after"] == {"schedulable": False} and not node.schedulable
    assert run(node, "schedulable")["changed"] and node.schedulable


def test_the_module_asks_for_consent_and_does_a_slice(node: Node, ask: Callable[..., dict[str, Any]]) -> None:
    node.pod("web-1")
    refused = ask(node_drain, node=node.name, stuck="force")
    assert refused["failed"] and "force_pods" in refused["msg"] and node.schedulable
    assert ask(node_drain, node=node.name, check_mode=True)["evicted"] == [f"{node.name}/web-1"]
    node.budget("web", 0)
    answer = ask(node_drain, node=node.name, timeout="1s", grace_period=0)
    assert answer["code"] == "DRAIN_TIMEOUT" and answer["failed"] and node.schedulable
    node.allow("web", 1)
    answer = ask(node_drain, node=node.name, grace_period=0)
    assert answer["finished"] and answer["drained"] and answer["forced"] == [] and node.pods == []
    assert ask(node_drain, node=node.name, state="schedulable")["changed"] and node.schedulable
