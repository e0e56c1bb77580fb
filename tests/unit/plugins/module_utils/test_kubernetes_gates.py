# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the gates over recorded answers of an API server."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import client as api
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import gates

EXPECTED = gates.Expectation(frozenset({"cp", "w"}), {"cp": "192.0.2.1"})


def node(name: str, ready: str = "True") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"node-role.kubernetes.io/control-plane": ""} if name == "cp" else {}},
        "status": {
            "conditions": [{"type": "Ready", "status": ready, "message": "network plugin not ready"}],
            "nodeInfo": {"kubeletVersion": "v1.36.3", "containerRuntimeVersion": "containerd://2.2.9"},
            "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
        },
    }


def pod(name: str, ready: str = "True", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}], **status}}


def slice_of(*addresses: str, ready: bool = True) -> dict[str, Any]:
    return {"endpoints": [{"addresses": [address], "conditions": {"ready": ready}} for address in addresses]}


HEALTHY: dict[str, list[dict[str, Any]]] = {
    "/api/v1/nodes": [node("cp"), node("w")],
    "/api/v1/namespaces/kube-system/pods": [*(pod(f"{name}-cp") for name in gates.CONTROL_PLANE_COMPONENTS), pod("coredns-1")],
    "/apis/apps/v1/daemonsets": [
        {
            "metadata": {"namespace": "kube-system", "name": "kube-proxy", "generation": 2},
            "status": {"desiredNumberScheduled": 2, "numberReady": 2, "observedGeneration": 2},
        }
    ],
    "kubernetes": [slice_of("192.0.2.1")],
    "kube-dns": [slice_of("10.244.0.2")],
}


class Fake:
    """Answers lists from `answers`; the key of an EndpointSlice list is the name of its Service."""

    address = "192.0.2.1:6443"

    def __init__(self, answers: dict[str, list[dict[str, Any]]]) -> None:
        self._answers = answers

    def items(self, path: str) -> list[dict[str, Any]]:
        return self._answers[path.rsplit("%3D", 1)[-1]]


def codes(answers: dict[str, Any], *names: str) -> list[str]:
    wanted = names or ("nodes", "system_pods", "daemon_sets", "services")
    return [finding.code for finding in gates.examine(Fake(answers), EXPECTED, wanted)]


def test_a_healthy_cluster_has_no_finding() -> None:
    assert codes(HEALTHY) == []


def broken(path: str, change: Any) -> dict[str, Any]:
    answers = copy.deepcopy(HEALTHY)
    change(answers[path])
    return answers


@pytest.mark.parametrize(
    ("path", "change", "code"),
    [
        ("/api/v1/nodes", lambda items: items.pop(), "NODE_MISSING"),
        ("/api/v1/nodes", lambda items: items.append(node("old", "Unknown")), "NODE_WITHOUT_MACHINE"),
        ("/api/v1/nodes", lambda items: items.append(node("stranger")), "NODE_WITHOUT_MACHINE"),
        ("/api/v1/nodes", lambda items: items[1]["status"].pop("conditions"), "NODE_NOT_READY"),
        ("/api/v1/namespaces/kube-system/pods", lambda items: items.append(pod("x", "False")), "SYSTEM_POD_NOT_READY"),
        ("/api/v1/namespaces/kube-system/pods", lambda items: items.pop(0), "SYSTEM_POD_MISSING"),
        ("/apis/apps/v1/daemonsets", lambda items: items[0]["status"].update(numberReady=1), "DAEMON_SET_INCOMPLETE"),
        ("/apis/apps/v1/daemonsets", lambda items: items[0]["status"].update(observedGeneration=1), "DAEMON_SET_INCOMPLETE"),
        ("kubernetes", lambda items: items.clear(), "SERVICE_WITHOUT_ENDPOINTS"),
        ("kube-dns", lambda items: items[0].update(slice_of("10.244.0.2", ready=False)), "SERVICE_WITHOUT_ENDPOINTS"),
    ],
)
def test_one_thing_broken_gives_exactly_its_finding(path: str, change: Any, code: str) -> None:
    assert codes(broken(path, change)) == [code]


def test_an_evicted_pod_with_an_owner_is_no_finding_and_one_without_is() -> None:
    evicted = pod("x", "False", phase="Failed")
    path = "/api/v1/namespaces/kube-system/pods"
    assert codes(broken(path, lambda items: items.append(evicted))) == ["SYSTEM_POD_NOT_READY"]
    evicted["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet"}]
    assert codes(broken(path, lambda items: items.append(evicted))) == []


def test_a_daemon_set_of_a_user_is_no_finding() -> None:
    theirs = {"metadata": {"namespace": "shop", "name": "x", "generation": 1}, "status": {"desiredNumberScheduled": 2, "numberReady": 0}}
    assert codes(broken("/apis/apps/v1/daemonsets", lambda items: items.append(theirs))) == []


def test_a_finished_pod_is_no_finding() -> None:
    answers = broken("/api/v1/namespaces/kube-system/pods", lambda items: items.append(pod("job", "False", phase="Succeeded")))
    assert codes(answers) == []


def test_a_waiting_container_gives_its_reason() -> None:
    waiting = {"containerStatuses": [{"name": "dns", "state": {"waiting": {"reason": "ErrImageNeverPull", "message": "no image"}}}]}
    answers = broken("/api/v1/namespaces/kube-system/pods", lambda items: items.append(pod("x", "False", **waiting)))
    assert "dns: ErrImageNeverPull no image" in gates.examine(Fake(answers), EXPECTED, ["system_pods"])[0].message


def test_an_api_server_that_does_not_answer_is_a_finding() -> None:
    class Dead(Fake):
        def items(self, path: str) -> list[dict[str, Any]]:
            raise ConnectionRefusedError("refused")

    assert [finding.code for finding in gates.examine(Dead({}), EXPECTED, ["nodes"])] == ["API_UNREACHABLE"]


def test_nothing_is_expected_of_a_node_that_is_known_to_be_out_of_reach() -> None:
    answers = copy.deepcopy(HEALTHY)
    answers["/api/v1/nodes"].append(node("dead", "Unknown"))
    answers["/api/v1/namespaces/kube-system/pods"].append({**pod("kube-proxy-dead", "False"), "spec": {"nodeName": "dead"}})
    answers["/apis/apps/v1/daemonsets"][0]["status"]["desiredNumberScheduled"] = 3
    asked = ["nodes", "system_pods", "daemon_sets"]
    seen = gates.examine(Fake(answers), EXPECTED, asked)
    assert [finding.code for finding in seen] == ["NODE_WITHOUT_MACHINE", "SYSTEM_POD_NOT_READY", "DAEMON_SET_INCOMPLETE"]
    assert gates.examine(Fake(answers), replace(EXPECTED, absent=frozenset({"dead"})), asked) == []


def test_nodes_are_described_for_people() -> None:
    described = gates.describe_nodes(Fake(HEALTHY))
    assert described[0] == {
        "name": "cp", "roles": ["control-plane"], "ready": True, "not_ready_since": "", "schedulable": True, "version": "1.36.3",
        "address": "192.0.2.1", "runtime": "containerd://2.2.9",
    }  # fmt: skip


def test_lists_are_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def request(_self: Any, method: str, path: str, *_rest: Any) -> str:
        asked.append(path)
        first = "continue=" not in path
        return json.dumps({"items": [{"n": 1 if first else 2}], "metadata": {"continue": "next" if first else ""}})

    monkeypatch.setattr(api.Client, "request", request)
    client = api.Client.__new__(api.Client)
    assert list(client.items("/api/v1/pods?labelSelector=a")) == [{"n": 1}, {"n": 2}]
    assert asked == ["/api/v1/pods?labelSelector=a&limit=500", "/api/v1/pods?labelSelector=a&limit=500&continue=next"]


def test_configuration_is_a_stream_of_json_documents() -> None:
    text = api.as_json_documents([{"kind": "A"}, {"kind": "B"}])
    assert [json.loads(part)["kind"] for part in text.split("\n---\n")] == ["A", "B"]


def workload(ready: int, wanted: int) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": "cart"}, "spec": {"replicas": wanted}, "status": {"readyReplicas": ready}}


@pytest.mark.parametrize(
    ("ready", "wanted", "less"), [(3, 3, False), (2, 3, True), (0, 3, True), (2, 2, False), (1, 2, True), (5, 5, False)]
)
def test_a_workload_is_as_ready_as_before_unless_its_owner_asks_for_less(ready: int, wanted: int, less: bool) -> None:
    path = "/apis/apps/v1/deployments"
    before = gates.read_workloads(Fake({path: [workload(3, 3)], "/apis/apps/v1/statefulsets": []}))
    assert before == {"deployment/shop/cart": 3}
    now = Fake({path: [workload(ready, wanted)], "/apis/apps/v1/statefulsets": []})
    expected = gates.Expectation(frozenset(), {}, workloads=before)
    assert [finding.code for finding in gates.workloads_ready(now, expected)] == ["WORKLOAD_LESS_READY"] * less


def test_a_workload_that_is_gone_and_one_that_is_new_are_no_finding() -> None:
    other = {**workload(0, 1), "metadata": {"namespace": "shop", "name": "new"}}
    now = Fake({"/apis/apps/v1/deployments": [other], "/apis/apps/v1/statefulsets": []})
    expected = gates.Expectation(frozenset(), {}, workloads={"deployment/shop/cart": 3})
    assert gates.workloads_ready(now, expected) == []


def test_a_kubelet_that_still_reports_the_old_version_is_a_finding() -> None:
    one = node("a")
    one["status"]["nodeInfo"] = {"kubeletVersion": "v1.35.4"}
    answers = Fake({"/api/v1/nodes": [one]})
    wanted = gates.Expectation(frozenset(["a"]), {}, kubelet_versions={"a": "1.36.3"})
    assert [finding.code for finding in gates.nodes_ready(answers, wanted)] == ["KUBELET_VERSION"]
    assert gates.nodes_ready(answers, gates.Expectation(frozenset(["a"]), {}, kubelet_versions={"a": "1.35.4"})) == []


def test_what_a_node_said_before_it_booted_does_not_count() -> None:
    one = node("a")
    ready = next(condition for condition in one["status"]["conditions"] if condition["type"] == "Ready")
    ready["lastHeartbeatTime"] = "2026-11-23T04:00:00Z"
    answers, reported = Fake({"/api/v1/nodes": [one]}), 1795406400.0
    for booted, expected in ((reported - 1, []), (reported, ["NODE_NOT_READY"]), (reported + 60, ["NODE_NOT_READY"])):
        found = gates.nodes_ready(answers, gates.Expectation(frozenset(["a"]), {}, reported_after={"a": booted}))
        assert [finding.code for finding in found] == expected
    assert gates.nodes_ready(answers, gates.Expectation(frozenset(["a"]), {}, reported_after={"b": reported + 60})) == []
