# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds drains back, what fits where, and which nodes go together."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import batches, disruption
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.snapshot import matches, parse_quantity, pod_requests
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "support"))

from cluster_objects import Objects

NOW = datetime(2026, 11, 23, tzinfo=timezone.utc)


def planned(objects: Objects, nodes: list[str] | None = None, limit: int = 100, pool: list[str] | None = None, **wishes: Any):
    names = [node["metadata"]["name"] for node in objects.nodes] if nodes is None else nodes
    consent = disruption.Consent(wishes.pop("emptydir_data", False), wishes.pop("bare_pods", False))
    wanted = batches.Wishes(limit, frozenset(names if pool is None else pool), wishes.pop("zone_aware", True), consent)
    return batches.plan(objects.snapshot(), names, wanted, NOW)


def three(**node: Any) -> Objects:
    objects = Objects()
    for number in (1, 2, 3):
        objects.node(f"n{number}", **node)
    return objects


def codes(plan: batches.DrainPlan) -> list[tuple[str, str, bool]]:
    return [(blocker.node, blocker.code, blocker.permanent) for blocker in plan.blocked]


# Each breaks n1 and leaves n2 and n3 as they were; its twin differs only in what is wrong.
BROKEN = {
    "PDB_NEVER_ALLOWS": (lambda o: (o.workload("web", ["n1"]), o.budget("web", minAvailable=1)), True),
    "PDB_OVERLAP": (lambda o: (o.workload("web", ["n1"]), o.budget("web", maxUnavailable=2), o.budget("web", "b", maxUnavailable=2)), True),
    "PDB_NOT_HEALTHY": (lambda o: (o.workload("web", ["n1"], replicas=2), o.budget("web", maxUnavailable=1)), False),
    "POD_WITHOUT_CONTROLLER": (lambda o: o.pod("alone-1", "n1"), True),
    "POD_KEEPS_DATA": (lambda o: o.workload("web", ["n1"], volumes=[{"name": "scratch", "emptyDir": {}}]), True),
    "POD_DOES_NOT_END": (lambda o: o.workload("web", ["n1"], metadata={"deletionTimestamp": "2026-11-22T23:58:00Z"}), False),
}  # fmt: skip
SOUND = {
    "PDB_NEVER_ALLOWS": lambda o: (o.workload("web", ["n1"]), o.budget("web", minAvailable=0)),
    "PDB_OVERLAP": lambda o: (o.workload("web", ["n1"]), o.budget("web", maxUnavailable=2), o.budget("x", "b", maxUnavailable=2)),
    "PDB_NOT_HEALTHY": lambda o: (o.workload("web", ["n1", "n2"]), o.budget("web", maxUnavailable=1)),
    "POD_WITHOUT_CONTROLLER": lambda o: o.pod("alone-1", "n1", phase="Succeeded"),
    "POD_KEEPS_DATA": lambda o: o.workload("web", ["n1"], volumes=[{"name": "scratch", "configMap": {}}]),
    "POD_DOES_NOT_END": lambda o: o.workload("web", ["n1"], metadata={"deletionTimestamp": "2026-11-23T00:00:20Z"}),
}


@pytest.mark.parametrize("code", BROKEN)
def test_what_holds_a_drain_back_is_told_and_its_sound_twin_is_not(code: str) -> None:
    broken, sound = three(), three()
    build, permanent = BROKEN[code]
    build(broken)
    SOUND[code](sound)
    assert set(codes(planned(broken))) == {("n1", code, permanent)}
    assert [name for batch in planned(broken).batches for name in batch] == ["n2", "n3"]
    assert codes(planned(sound)) == []
    assert sorted(name for batch in planned(sound).batches for name in batch) == ["n1", "n2", "n3"]


def test_a_node_that_can_not_end_pods_or_is_not_there() -> None:
    objects = three()
    objects.node("n4", ready=False)
    assert codes(planned(objects, ["n1", "n4", "n9"])) == [("n4", "NODE_NOT_READY", False), ("n9", "NODE_UNKNOWN", True)]


def test_a_budget_that_the_controller_has_not_seen_or_can_not_compute() -> None:
    objects = three()
    objects.workload("web", ["n1", "n2"])
    objects.budget("web", maxUnavailable=1)
    objects.snapshot()
    status = objects.budgets[0]["status"]
    status["observedGeneration"] = 0
    assert codes(planned(objects)) == [("n1", "PDB_NOT_OBSERVED", False), ("n2", "PDB_NOT_OBSERVED", False)]
    condition = {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "no scale"}
    status.update(observedGeneration=1, disruptionsAllowed=0, conditions=[condition])
    assert codes(planned(objects)) == [("n1", "PDB_NOT_COMPUTED", True), ("n2", "PDB_NOT_COMPUTED", True)]
    problem = disruption.budget_problems(objects.snapshot())[0]
    assert problem.budget == "shop/web" and problem.pods == ("shop/web-0", "shop/web-1") and "no scale" in problem.reason


@pytest.mark.parametrize(("policy", "blocked"), [(None, True), ("AlwaysAllow", False)])
def test_pods_that_are_not_ready_go_when_their_budget_lets_them(policy: str | None, blocked: bool) -> None:
    objects = three()
    objects.workload("web", ["n1", "n1"], ready=False)
    objects.budget("web", maxUnavailable=1, **({"unhealthyPodEvictionPolicy": policy} if policy else {}))
    assert bool(planned(objects).blocked) is blocked


def test_a_pod_that_is_not_ready_goes_when_the_others_suffice() -> None:
    objects = three()
    objects.workload("web", ["n1", "n2", "n3"])
    objects.pods[0]["status"]["conditions"][0]["status"] = "False"
    objects.budget("web", minAvailable=2)
    assert codes(planned(objects)) == [("n2", "PDB_NOT_HEALTHY", False), ("n3", "PDB_NOT_HEALTHY", False)]


def test_consent_lets_go_what_would_be_lost() -> None:
    objects = three()
    objects.pod("alone-1", "n1", volumes=[{"name": "scratch", "emptyDir": {}}])
    assert codes(planned(objects)) == [("n1", "POD_WITHOUT_CONTROLLER", True)]
    assert codes(planned(objects, bare_pods=True)) == [("n1", "POD_KEEPS_DATA", True)]
    assert codes(planned(objects, bare_pods=True, emptydir_data=True)) == []


def test_pods_of_daemon_sets_and_static_pods_are_nobodys_business() -> None:
    objects = three()
    objects.workload("proxy", ["n1", "n2", "n3"], "DaemonSet", cpu="3", volumes=[{"name": "scratch", "emptyDir": {}}])
    objects.budget("proxy", minAvailable=3)
    objects.pod(
        "etcd-n1", "n1", {"kind": "Node", "name": "n1", "uid": "n1"}, metadata={"annotations": {"kubernetes.io/config.mirror": "x"}}
    )
    assert planned(objects).batches == [["n1", "n2", "n3"]] and disruption.budget_problems(objects.snapshot()) == []


def test_a_budget_is_not_overdrawn_by_a_batch() -> None:
    objects = Objects()
    names = [objects.node(f"n{number}") for number in range(6)]
    objects.workload("web", names)
    objects.budget("web", maxUnavailable=2)
    assert planned(objects).batches[0] == ["n0", "n1"]
    assert "the budget shop/web: 3 pods on it and n0, n1, and 2 may be away" in planned(objects).waits["n2"]


def test_a_node_that_needs_more_than_its_budget_has_goes_by_itself() -> None:
    objects = three()
    objects.workload("web", ["n1", "n1", "n2"])
    objects.budget("web", maxUnavailable=1)
    assert planned(objects).batches == [["n1", "n3"], ["n2"]]


def test_no_two_pods_of_a_stateful_set_at_once() -> None:
    objects = three()
    objects.workload("db", ["n1", "n2", "n3"], "StatefulSet")
    objects.budget("db", maxUnavailable=3)
    assert planned(objects).batches == [["n1"], ["n2"], ["n3"]]


@pytest.mark.parametrize(("replicas", "size"), [(2, 1), (4, 1), (8, 2), (12, 3)])
def test_what_nobody_protected_keeps_three_quarters(replicas: int, size: int) -> None:
    objects = Objects()
    objects.workload("web", [objects.node(f"n{number}") for number in range(replicas)])
    assert max(len(batch) for batch in planned(objects).batches) == size


def test_a_batch_is_of_one_zone() -> None:
    objects = Objects()
    for number in range(6):
        objects.node(f"n{number}", zone=f"z{number % 2}")
    assert planned(objects, limit=3).batches == [["n0", "n2", "n4"], ["n1", "n3", "n5"]]
    assert planned(objects, limit=3, zone_aware=False).batches == [["n0", "n1", "n2"], ["n3", "n4", "n5"]]


def test_pods_that_fit_nowhere_are_told_and_wait_for_a_node_that_is_empty() -> None:
    objects = three(cpu="1")
    objects.workload("large", ["n1"], cpu="900m")
    objects.workload("small", ["n2", "n3"], cpu="200m")
    plan = planned(objects)
    assert [(line["node"], line["pod"]) for line in plan.does_not_fit] == [("n1", "shop/large-0")]
    assert "too little cpu" in plan.does_not_fit[0]["reason"]
    assert plan.batches == [["n2"], ["n1"], ["n3"]]


def test_a_node_whose_pods_fit_nowhere_goes_last_and_alone() -> None:
    objects = three(cpu="1")
    objects.node("n4", cpu="2")
    objects.workload("small", ["n1", "n2", "n3"], cpu="100m")
    objects.workload("large", ["n4"], cpu="1500m")
    assert planned(objects).batches == [["n1"], ["n2"], ["n3"], ["n4"]]


def test_a_budget_that_needs_places_which_there_are_not() -> None:
    objects = three(cpu="1")
    objects.workload("web", ["n1"] * 4, cpu="250m")
    objects.workload("other", ["n2", "n3"], cpu="900m")
    objects.budget("web", maxUnavailable=1)
    assert codes(planned(objects)) == [("n1", "PDB_NEEDS_ROOM", True)]


def test_what_is_away_already_counts_and_goes_first() -> None:
    objects = three()
    objects.nodes[2]["spec"]["unschedulable"] = True
    assert planned(objects, limit=1).batches == [["n3"], ["n1"], ["n2"]]
    assert planned(objects, limit=2).batches == [["n3", "n1"], ["n2"]]
    plan = planned(objects, ["n1", "n2"], 1, ["n1", "n2", "n3"])
    assert plan.batches == [] and plan.blocked == [] and "n3" in plan.held


@pytest.mark.parametrize(
    ("text", "total", "number"), [("1", 100, 1), ("7", 3, 7), ("25%", 100, 25), ("10%", 5, 1), ("34%", 3, 1), ("100%", 3, 3)]
)
def test_limits(text: str, total: int, number: int) -> None:
    assert batches.resolve_limit(text, total) == number


@pytest.mark.parametrize("text", ["0", "-1", "0%", "101%", "", "%", "half", "1.5"])
def test_limits_that_are_none(text: str) -> None:
    with pytest.raises(FlotillaError) as caught:
        batches.resolve_limit(text, 10)
    assert caught.value.code == "MAX_UNAVAILABLE_INVALID" and repr(text) in str(caught.value)


def test_single_replicas() -> None:
    objects = three()
    objects.workload("one", ["n1"])
    objects.workload("two", ["n1", "n2"])
    objects.workload("proxy", ["n1"], "DaemonSet")
    objects.workload("data", ["n2"], "StatefulSet")
    assert [one.owner.title for one in disruption.single_replicas(objects.snapshot())] == ["Deployment shop/one", "StatefulSet shop/data"]


# Where a pod that leaves n1 can not go, though two nodes are empty; the twin is the same without it.
NO_PLACE = {
    "node selector": {"nodeSelector": {"disk": "fast"}},
    "is not tolerated": {},
    "kept apart": {
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
                ]
            }
        }
    },
    "wants to be with": {
        "affinity": {
            "podAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "stays"}}}
                ]
            }
        }
    },
    "spreading": {
        "topologySpreadConstraints": [
            {
                "topologyKey": "kubernetes.io/hostname",
                "maxSkew": 1,
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "web"}},
            }
        ]
    },
    "host port": {"containers": [{"name": "main", "ports": [{"hostPort": 80}]}]},
    "volume of data": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]},
}


@pytest.mark.parametrize("reason", NO_PLACE)
def test_the_rules_by_which_a_pod_has_no_place(reason: str) -> None:
    def cluster(spec: dict[str, Any], taints: list[dict[str, str]]) -> Objects:
        objects = Objects()
        objects.node("n1", labels={"disk": "fast"})
        objects.node("n2", taints=taints)
        objects.node("n3", taints=taints)
        objects.workload("web", ["n1", "n2", "n3"], **spec)
        objects.workload("stays", ["n1"], "DaemonSet")
        objects.volumes.append({"metadata": {"name": "v"}, "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [ON_N1]}}}})
        objects.claims.append({"metadata": {"namespace": "shop", "name": "data"}, "spec": {"volumeName": "v"}})
        return objects

    taints = [{"key": "dedicated", "effect": "NoSchedule"}] if reason == "is not tolerated" else []
    found = planned(cluster(NO_PLACE[reason], taints), ["n1"]).does_not_fit
    assert [line["pod"] for line in found] == ["shop/web-0"] and reason in found[0]["reason"]
    soft = [{"key": "flotilla.kubernetes/outdated", "effect": "PreferNoSchedule"}]
    assert planned(cluster({}, soft), ["n1"]).does_not_fit == []


ON_N1 = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}


APART = "requiredDuringSchedulingIgnoredDuringExecution"
OF_WEB = {"labelSelector": {"matchLabels": {"app": "web"}}}


def spread(**more: Any) -> dict[str, Any]:
    constraint = {"topologyKey": "kubernetes.io/hostname", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", **OF_WEB, **more}
    return {"topologySpreadConstraints": [constraint]}


def fits(objects: Objects) -> bool:
    """Tell whether the pods of n1 find places."""
    return not planned(objects, ["n1"]).does_not_fit


@pytest.mark.parametrize(("policy", "fit"), [({}, False), ({"nodeTaintsPolicy": "Honor"}, True)])
def test_a_node_that_is_drained_counts_for_spreading_unless_taints_do(policy: dict[str, str], fit: bool) -> None:
    objects = three()
    objects.workload("web", ["n1", "n2", "n3"], **spread(**policy))
    assert fits(objects) is fit


@pytest.mark.parametrize(("policy", "fit"), [({}, True), ({"nodeAffinityPolicy": "Ignore"}, False)])
def test_nodes_where_a_pod_may_not_run_do_not_count_for_spreading_unless_told_to(policy: dict[str, str], fit: bool) -> None:
    objects = Objects()
    for name, disk in (("n1", "fast"), ("n2", "fast"), ("n3", "slow")):
        objects.node(name, labels={"disk": disk})
    objects.workload("web", ["n1", "n2"], nodeSelector={"disk": "fast"}, **spread(nodeTaintsPolicy="Honor", **policy))
    assert fits(objects) is fit


def test_pods_that_leave_do_not_count_for_spreading() -> None:
    objects = three()
    objects.workload("web", ["n1", "n2", "n3"], **spread())
    objects.pods[1]["metadata"]["deletionTimestamp"] = "2026-11-23T00:00:20Z"
    assert fits(objects)


@pytest.mark.parametrize(("domains", "fit"), [(2, True), (3, False)])
def test_too_few_domains_count_as_empty_ones(domains: int, fit: bool) -> None:
    objects = Objects()
    for name, zone in (("n1", "a"), ("n2", "a"), ("n3", "b")):
        objects.node(name, zone)
    objects.workload("web", ["n1", "n2", "n3"], **spread(topologyKey="topology.kubernetes.io/zone", minDomains=domains))
    assert fits(objects) is fit


def test_pods_that_are_there_keep_others_away() -> None:
    objects = three()
    objects.workload("web", ["n1"])
    objects.workload("guard", ["n2"], affinity={"podAntiAffinity": {APART: [{"topologyKey": "kubernetes.io/hostname", **OF_WEB}]}})
    assert fits(objects)
    objects.workload("guard2", ["n3"], affinity={"podAntiAffinity": {APART: [{"topologyKey": "kubernetes.io/hostname", **OF_WEB}]}})
    assert not fits(objects)


@pytest.mark.parametrize(("selector", "fit"), [({}, False), ({"namespaceSelector": {}}, False), ({"namespaces": ["other"]}, True)])
def test_other_namespaces_are_others_business(selector: dict[str, Any], fit: bool) -> None:
    objects = three()
    term = {"topologyKey": "kubernetes.io/hostname", **OF_WEB, **selector}
    objects.workload("web", ["n1", "n2", "n3"], affinity={"podAntiAffinity": {APART: [term]}})
    assert fits(objects) is fit


@pytest.mark.parametrize(
    ("nodes", "kind", "key", "fit"),
    [
        (["n1"], "Deployment", "kubernetes.io/hostname", False),  # the old one still ends when the new one looks for a place
        (["n1"], "StatefulSet", "kubernetes.io/hostname", True),  # the new one comes after the end of the old one
        (["n1", "n1"], "StatefulSet", "kubernetes.io/hostname", False),
        (["n1", "n2"], "Deployment", "kubernetes.io/hostname", True),
        (["n1"], "Deployment", "topology.kubernetes.io/zone", True),
    ],
)
def test_pods_that_want_to_be_together(nodes: list[str], kind: str, key: str, fit: bool) -> None:
    objects = three(zone="a")
    objects.workload("web", nodes, kind, affinity={"podAffinity": {APART: [{"topologyKey": key, **OF_WEB}]}})
    assert fits(objects) is fit


def test_pods_are_packed_when_spreading_them_leaves_one_out() -> None:
    objects = Objects()
    objects.node("n1")
    objects.node("n2", cpu="4")
    objects.node("n3", cpu="1", labels={"disk": "fast"})
    objects.workload("full", ["n2"], "DaemonSet", cpu="3")
    objects.workload("any", ["n1"], cpu="1")
    objects.workload("fast", ["n1"], cpu="1", nodeSelector={"disk": "fast"})
    assert fits(objects)
    objects.workload("more", ["n1"], cpu="1")
    assert not fits(objects)


def test_pods_go_to_nodes_that_are_done_rather_than_to_those_that_are_next() -> None:
    objects = Objects()
    objects.node("n0", zone="a")
    objects.workload("full", ["n0"], "DaemonSet", cpu="3")  # the others have more room
    objects.workload("web", [objects.node(f"n{number}", zone="b") for number in (1, 2, 3, 4)])
    objects.budget("web", maxUnavailable=2)
    assert planned(objects, limit=2).batches == [["n0"], ["n1", "n2"], ["n3", "n4"]]


def test_pods_do_not_go_to_a_node_that_somebody_closed() -> None:
    objects = three()
    objects.workload("web", ["n1"])
    for node in objects.nodes[1:]:
        node["spec"]["unschedulable"] = True
    found = planned(objects, ["n2", "n3", "n1"]).does_not_fit
    assert [(line["node"], line["reason"]) for line in found] == [("n1", "no other node takes pods")]


def test_a_budget_that_needs_nobody_still_holds_pods_that_are_not_ready() -> None:
    objects = three()
    objects.workload("web", ["n1", "n1"], ready=False)
    objects.budget("web", minAvailable=0)
    assert codes(planned(objects)) == [("n1", "PDB_NOT_HEALTHY", False)] * 2


def test_pods_that_do_not_run_yet_are_not_held() -> None:
    objects = three()
    objects.workload("web", ["n1"], ready=False, phase="Pending")
    objects.budget("web", minAvailable=1)
    assert planned(objects).blocked == []


@pytest.mark.parametrize(("allowed", "blocked"), [(1, True), (2, False)])
def test_a_budget_that_outlives_the_pods_without_a_place(allowed: int, blocked: bool) -> None:
    objects = three(cpu="1")
    objects.workload("web", ["n1"] * 3, cpu="300m")
    objects.workload("other", ["n2"], cpu="300m")
    objects.workload("others", ["n3"], cpu="900m")
    objects.budget("web", maxUnavailable=allowed)
    plan = planned(objects, ["n1"])
    assert len(plan.does_not_fit) == 1 and bool(plan.blocked) is blocked


def test_what_is_missing_already_counts_for_what_nobody_protected() -> None:
    objects = Objects()
    objects.workload("web", [objects.node(f"n{number}") for number in range(8)])
    assert len(planned(objects).batches[0]) == 2
    objects.pods[-1]["status"]["conditions"][0]["status"] = "False"
    assert len(planned(objects).batches[0]) == 1


@pytest.mark.parametrize(
    ("text", "thousandths"),
    [("1", 1000), ("100m", 100), ("0.5", 500), (".5", 500), ("1e3", 10**6), ("1Ki", 1_024_000), ("2Gi", 2 * 1024**3 * 1000), ("1n", 1)],
)
def test_quantities(text: str, thousandths: int) -> None:
    assert parse_quantity(text) == thousandths


def test_requests_as_the_scheduler_counts_them() -> None:
    def container(cpu: str, **more: str) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    spec = {"containers": [container("1"), container("2")], "initContainers": [container("3.5")]}
    assert pod_requests(spec) == {"cpu": 3500, "pods": 1000}
    spec["initContainers"] = [container("1", restartPolicy="Always"), container("3.5")]
    assert pod_requests(spec)["cpu"] == 4500
    assert pod_requests({**spec, "overhead": {"cpu": "250m"}})["cpu"] == 4750
    assert pod_requests({**spec, "resources": {"requests": {"cpu": "9"}}})["cpu"] == 9000


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}, True),
        ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
    ],
)
def test_selectors(selector: dict[str, Any] | None, selected: bool) -> None:
    assert matches(selector, {"a": "1"}) is selected


@st.composite
def clusters(draw: Any) -> tuple[Objects, int, bool]:
    objects = Objects()
    names = [objects.node(f"n{number}", zone=draw(st.sampled_from(["", "a", "b"])), cpu="2") for number in range(draw(st.integers(1, 7)))]
    for number in range(draw(st.integers(0, 5))):
        where = draw(st.lists(st.sampled_from(names), min_size=1, max_size=6))
        kind = draw(st.sampled_from(["Deployment", "StatefulSet"]))
        for pod in objects.workload(f"w{number}", where, kind, cpu=draw(st.sampled_from(["0", "100m", "500m", "1"]))):
            pod["status"]["conditions"][0]["status"] = draw(st.sampled_from(["True"] * 4 + ["False"]))
        if draw(st.booleans()):
            objects.budget(f"w{number}", **{draw(st.sampled_from(["maxUnavailable", "minAvailable"])): draw(st.integers(0, 3))})
    return objects, draw(st.integers(1, 4)), draw(st.booleans())


@settings(max_examples=150, deadline=None)
@given(clusters())
def test_a_plan_never_breaks_a_rule_and_leaves_no_node_out(given_cluster: tuple[Objects, int, bool]) -> None:
    objects, limit, zone_aware = given_cluster
    plan = planned(objects, limit=limit, zone_aware=zone_aware)
    snapshot = objects.snapshot()
    batched = [name for batch in plan.batches for name in batch]
    assert len(set(batched)) == len(batched)
    assert set(batched) | {blocker.node for blocker in plan.blocked} == set(snapshot.nodes) and not plan.held
    assert not set(batched) & {blocker.node for blocker in plan.blocked}
    assert all(len(batch) <= limit for batch in plan.batches)
    if zone_aware:
        assert all(len({snapshot.nodes[name].zone for name in batch}) == 1 for batch in plan.batches)
    # Only the first is known to find the pods where they are now.
    first = plan.batches[0] if plan.batches else []
    for budget in snapshot.budgets:
        pods = [pod for pod in snapshot.pods if pod.node in first and matches(budget.selector, pod.labels)]
        free = budget.always_evict_unhealthy or 0 < budget.desired <= budget.healthy
        asked = Counter(pod.node for pod in pods if pod.ready or not free)
        assert len(asked) <= 1 or sum(asked.values()) <= budget.allowed
    for owner in {pod.owner for pod in snapshot.pods if pod.owner.kind == "StatefulSet"}:
        assert len({pod.node for pod in snapshot.pods if pod.node in first and pod.owner == owner}) <= 1
    assert planned(objects, limit=limit, zone_aware=zone_aware) == plan, "the same view gives the same plan"


@settings(max_examples=60, deadline=None)
@given(clusters(), st.integers(0, 3600))
def test_who_waits_longest_does_not_matter_to_budgets(given_cluster: tuple[Objects, int, bool], seconds: int) -> None:
    objects, limit, _zones = given_cluster
    later = batches.Wishes(limit, frozenset(), False)
    names = [node["metadata"]["name"] for node in objects.nodes]
    plans = [batches.plan(objects.snapshot(), names, later, NOW + timedelta(seconds=wait)) for wait in (0, seconds)]
    assert plans[0] == plans[1]
