# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans and drains against a real API server, controller-manager and scheduler; only machines and containers are simulated."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import draining
import fake_kubelet
import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import disruption, drain, pace
from control_plane import ApiServer, wait_for
from fake_kubelet import Cluster, FakeKubelet, Witness

# More of them: FLOTILLA_DRAIN_SEEDS=50 tools/run python -m pytest tests/integration/kubernetes/test_drain_batches.py -k seed
SEEDS = range(int(os.environ.get("FLOTILLA_DRAIN_SEEDS", "2")))
OWN_LABEL = "node.example.org/own"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Iterator[ApiServer]:
    with draining.real_control_plane(tmp_path_factory.mktemp("live"), programs) as server:
        yield server


@pytest.fixture(scope="module")
def kubelets(live: ApiServer) -> Iterator[FakeKubelet]:
    with FakeKubelet(live) as kubelet:
        yield kubelet


@pytest.fixture
def cluster(live: ApiServer, kubelets: FakeKubelet, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Nothing yet; what a test makes goes with it."""
    monkeypatch.setattr(drain, "BLOCKED_PAUSE", 0.5)
    monkeypatch.setattr(pace, "LOOK", 0.3)
    made = Cluster(live, fake_kubelet.Connection(live))
    yield made
    kubelets.broken.clear()
    kubelets.hanging.clear()
    made.clear()


def close(cluster: Cluster, nodes: list[str], closed: bool) -> None:
    for name in nodes:
        body = {"spec": {"unschedulable": closed or None}}
        assert cluster.connection.call("PATCH", f"/api/v1/nodes/{name}", body, "application/merge-patch+json")[0] == 200


def place(cluster: Cluster, nodes: list[str], on: list[str], name: str, replicas: int, budget: dict[str, Any] | None = None, **spec: Any):
    """Make a workload all of whose pods are on certain nodes, and its budget; return when both are settled."""
    others = [node for node in nodes if node not in on]
    close(cluster, others, True)
    cluster.workload(name, replicas, **spec)
    if budget is not None:
        cluster.budget(name, **budget)
    settle(cluster, {name: replicas})
    close(cluster, others, False)


def settle(cluster: Cluster, apps: dict[str, int], broken: bool = False) -> None:
    """Wait until applications have their pods on nodes and the disruption controller knows them."""

    def settled() -> bool:
        there: Counter[str] = Counter()
        ready: Counter[str] = Counter()
        for pod in cluster.pods():
            if "deletionTimestamp" not in pod["metadata"]:
                name = pod["metadata"].get("labels", {}).get("app", "")
                there[name] += bool(pod["spec"].get("nodeName"))
                ready[name] += any((one["type"], one["status"]) == ("Ready", "True") for one in pod["status"].get("conditions", []))
        if any(there[name] != number or (ready[name] != number and not broken) for name, number in apps.items()):
            return False
        for budget in cluster.connection.get("/apis/policy/v1/poddisruptionbudgets")["items"]:
            status = budget.get("status", {})
            if any(one.get("reason") == "SyncFailed" for one in status.get("conditions", [])):
                continue
            seen = status.get("observedGeneration") == 1 and not status.get("disruptedPods")
            if not seen or status.get("currentHealthy") != ready[budget["spec"]["selector"]["matchLabels"]["app"]]:
                return False
        return True

    wait_for("pods and budgets are settled", settled, explain=lambda: cluster.server.processes.log("kube-scheduler"))


def test_a_roll_overdraws_nothing_and_every_pod_moves_once(cluster: Cluster, live: ApiServer) -> None:
    nodes = [cluster.node(f"n{number}", zone=f"z{number % 2}") for number in range(8)]
    wanted = {"web": 8, "api": 6, "db": 3, "free": 8, "pair": 2}
    budgets = {"web": {"maxUnavailable": 2}, "api": {"minAvailable": "60%"}, "pair": {"minAvailable": 1}}
    least = {"web": 6, "api": 4, "db": 2, "free": 6, "pair": 1}
    with Witness(live, wanted) as witness:
        for name, replicas in wanted.items():
            cluster.workload(name, replicas, "StatefulSet" if name == "db" else "Deployment")
            if name in budgets:
                cluster.budget(name, **budgets[name])
        wait_for("all pods are ready", witness.all_ready)
        settle(cluster, wanted)
        before = {node: cluster.pods(node) for node in nodes}
        rolled = draining.roll(live, nodes, witness, 3)
    assert sorted(name for batch in rolled.batches for name in batch) == nodes
    assert len(rolled.batches[0]) > 1
    assert {name: witness.least(name) for name in wanted if witness.least(name) < least[name]} == {}
    # Before the first batch is through there is no node that is not drained later.
    again = sum(len(before[node]) for node in rolled.batches[0])
    moved = sum(len(witness.ended[name]) for name in wanted)
    assert sum(wanted.values()) <= moved <= sum(wanted.values()) + again
    assert not any(
        node["spec"].get("taints") or node["spec"].get("unschedulable") for node in cluster.connection.get("/api/v1/nodes")["items"]
    )


def test_a_hundred_nodes_take_a_third_of_the_rounds_at_most(cluster: Cluster, live: ApiServer) -> None:
    """In rounds, which a busy machine does not change; tests/benchmarks/bench_drain.py takes the time of both ways."""
    nodes, wanted = draining.large(cluster)
    with Witness(live, wanted) as witness:
        wait_for("all pods are ready", witness.all_ready, 300)
        rolled = draining.roll(live, nodes, witness, 20)
        short = {name: witness.least(name) for name, rule in draining.LARGE.items() if witness.least(name) < draining.allowed(*rule)}
    assert short == {} and sorted(name for batch in rolled.batches for name in batch) == nodes
    assert len(rolled.batches) * 3 <= len(nodes)


def test_the_witness_sees_a_budget_that_is_overdrawn(cluster: Cluster, live: ApiServer) -> None:
    cluster.node("n0")
    with Witness(live, {"web": 4}) as witness:
        cluster.workload("web", 4)
        cluster.budget("web", maxUnavailable=1)
        wait_for("all pods are ready", witness.all_ready)
        for pod in cluster.pods()[:3]:
            cluster.connection.call("DELETE", f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}")
        wait_for("all pods are ready again", lambda: len(witness.ended["web"]) == 3 and witness.all_ready())
    assert witness.least("web") == 1


@pytest.mark.parametrize(("kind", "replicas", "least"), [("StatefulSet", 3, 2), ("Deployment", 4, 3), ("Deployment", 8, 6)])
@pytest.mark.parametrize("paced", [True, False])
def test_what_no_budget_protects_does_not_go_all_at_once(
    cluster: Cluster, live: ApiServer, monkeypatch: pytest.MonkeyPatch, kind: str, replicas: int, least: int, paced: bool
) -> None:
    if not paced:
        monkeypatch.setattr(pace.Pace, "hold_back", lambda self, due: {})
    nodes = [cluster.node("n0"), cluster.node("n1")]
    place(cluster, nodes, ["n0"], "web", replicas, kind=kind)
    with Witness(live, {"web": replicas}) as witness:
        wait_for("all pods are seen", witness.all_ready)
        draining.drained(live, "n0")
        wait_for("all pods are ready again", witness.all_ready)
    assert witness.least("web") == least if paced else witness.least("web") < least


def test_who_fits_nowhere_is_not_waited_for(cluster: Cluster, live: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "HOMELESS", 1.0)
    cluster.node("n0")
    cluster.workload("web", 3)
    settle(cluster, {"web": 3})
    found = draining.planned(live, ["n0"])
    assert found.batches == [["n0"]] and {line["reason"] for line in found.does_not_fit} == {"no other node takes pods"}
    assert draining.drained(live, "n0", timeout=60)["drained"]


def left_on(cluster: Cluster, node: str) -> set[str]:
    return {f"default/{pod['metadata']['name']}" for pod in cluster.pods(node)}


def observe(server: ApiServer, node: str, predicted: set[str]) -> set[str]:
    """Drain a node until exactly the pods that were ``predicted`` are left for two seconds; return those that are left."""
    options = drain.Options(600, unprotected=drain.WAIT)
    cluster = Cluster(server, fake_kubelet.Connection(server))
    work, token, same = drain.Drain(draining.client(server), node, options), None, time.monotonic()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = work.advance(token, 0.3)
        if answer["finished"]:
            break
        token = answer["progress_token"]
        if left_on(cluster, node) != predicted:
            same = time.monotonic()
        elif predicted and time.monotonic() - same > 2:
            break
    work.uncordon()
    return left_on(cluster, node)


def test_each_kind_of_blocker_is_predicted_and_observed(cluster: Cluster, kubelets: FakeKubelet, live: ApiServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(disruption, "STUCK_AFTER", disruption.timedelta(seconds=0))
    names = ["never", "zero", "overlap", "sick", "alone", "scratch", "room", "hangs", "twin", "spare"]
    nodes = [cluster.node(name, **({OWN_LABEL: "1"} if name == "room" else {})) for name in names]
    kubelets.broken.add("sick-")
    kubelets.hanging.add("hangs-")
    close(cluster, nodes, True)

    def on(node: str, name: str, replicas: int, budget: dict[str, Any] | None = None, **spec: Any) -> None:
        close(cluster, [node], False)
        cluster.workload(name, replicas, **spec)
        if budget is not None:
            cluster.budget(name, **budget)
        settle(cluster, {name: replicas}, broken=name == "sick")
        close(cluster, [node], True)

    on("never", "never", 2, {"minAvailable": 2})
    on("zero", "zero", 2, {"maxUnavailable": 0})
    on("overlap", "overlap", 2, {"maxUnavailable": 1})
    cluster.budget("overlap", "second", maxUnavailable=1)
    on("sick", "sick", 2, {"minAvailable": 1})
    on("scratch", "scratch", 1, volumes=[{"name": "scratch", "emptyDir": {}}])
    on("room", "room", 3, {"maxUnavailable": 1}, nodeSelector={OWN_LABEL: "1"})
    on("hangs", "hangs", 1)
    on("twin", "twin", 3, {"maxUnavailable": 1})
    spec = {"nodeName": "alone", "containers": [{"name": "main", "image": "registry.k8s.io/pause:3.10"}]}
    cluster.make("/api/v1/namespaces/default/pods", {"metadata": {"name": "alone"}, "spec": spec})
    settle(cluster, {})
    close(cluster, nodes, False)
    hanging = next(iter(left_on(cluster, "hangs")))
    cluster.connection.call("DELETE", f"/api/v1/namespaces/{hanging.replace('/', '/pods/')}", {"gracePeriodSeconds": 1})
    time.sleep(1.1)

    found = draining.planned(live, nodes, 100)
    assert {blocker.node: (blocker.code, blocker.permanent) for blocker in found.blocked} == {
        "never": ("PDB_NEVER_ALLOWS", True),
        "zero": ("PDB_NEVER_ALLOWS", True),
        "overlap": ("PDB_OVERLAP", True),
        "sick": ("PDB_NOT_HEALTHY", False),
        "alone": ("POD_WITHOUT_CONTROLLER", True),
        "scratch": ("POD_KEEPS_DATA", True),
        "room": ("PDB_NEEDS_ROOM", True),
        "hangs": ("POD_DOES_NOT_END", False),
    }
    assert sorted(name for batch in found.batches for name in batch) == ["spare", "twin"]
    predicted = {node: {blocker.pod for blocker in found.blocked if blocker.node == node} for node in nodes}
    room = left_on(cluster, "room")
    together = [node for node in nodes if node not in ("room", "spare")]  # somewhere the pods have to go
    with ThreadPoolExecutor(len(together)) as pool:
        observed = dict(zip(together, pool.map(lambda node: observe(live, node, predicted[node]), together)))
    assert observed == {node: predicted[node] for node in together}
    # The plan names one of the pods that hold each other up; which of them goes first is nobody's choice.
    with pytest.raises(FlotillaError) as caught:
        draining.drained(live, "room", timeout=8)
    assert len(room & left_on(cluster, "room")) == 2 and "disruption budget room" in str(caught.value)


@pytest.mark.parametrize("seed", SEEDS)
def test_seed_what_is_predicted_is_observed(cluster: Cluster, kubelets: FakeKubelet, live: ApiServer, seed: int) -> None:
    dice = random.Random(seed)
    nodes = [cluster.node(f"n{number}") for number in range(4)]
    replicas = {f"app{number}": dice.randint(1, 4) for number in range(6)}
    kubelets.broken.update(f"{name}-" for name in replicas if dice.random() < 0.2)
    for name, number in replicas.items():
        cluster.workload(name, number, dice.choice(["Deployment", "Deployment", "StatefulSet"]))
        if dice.random() < 0.7:
            rule = {dice.choice(["minAvailable", "maxUnavailable"]): dice.choice([0, 1, 2, "50%"])}
            policy = {"unhealthyPodEvictionPolicy": "AlwaysAllow"} if dice.random() < 0.3 else {}
            cluster.budget(name, **rule, **policy)
    broken = {name for name in replicas if f"{name}-" in kubelets.broken}
    steady = {name: number for name, number in replicas.items() if name not in broken}
    minimum = {}
    settle(cluster, replicas, broken=True)
    settle(cluster, steady)
    for budget in cluster.connection.get("/apis/policy/v1/poddisruptionbudgets")["items"]:
        name = budget["metadata"]["name"]
        minimum[name] = min(budget["status"]["desiredHealthy"], replicas[name])  # a budget may ask for more than there are to be
    with Witness(live, steady) as witness:
        for node in nodes:
            found = draining.planned(live, [node], pool=nodes)
            predicted = {blocker.pod for blocker in found.blocked}
            assert (found.batches == [[node]]) is (not predicted)
            assert observe(live, node, predicted) == predicted, found
            settle(cluster, replicas, broken=True)
            settle(cluster, steady)
    for name in steady:
        assert witness.least(name) >= minimum.get(name, 0)


def rules(dice: random.Random, app: str) -> dict[str, Any]:
    """Return what of a pod's spec restricts where it may run.

    None depends on pods of others that move at the same time: what is placed then depends on who comes first.
    """
    anchor = {"labelSelector": {"matchLabels": {"app": "anchor"}}}
    same = {"labelSelector": {"matchLabels": {"app": app}}}
    key = dice.choice(["kubernetes.io/hostname", "topology.kubernetes.io/zone"])
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    disk = {"key": "disk", "operator": dice.choice(["In", "NotIn"]), "values": ["fast"]}
    spread = {"topologyKey": key, "maxSkew": dice.randint(1, 2), "whenUnsatisfiable": "DoNotSchedule", **same}
    if dice.random() < 0.3:
        spread["nodeTaintsPolicy"] = "Honor"
    return dice.choice(
        [
            {},
            {"nodeSelector": {"disk": "fast"}},
            {"tolerations": [{"key": "dedicated", "operator": "Exists"}]},
            {"affinity": {"nodeAffinity": {required: {"nodeSelectorTerms": [{"matchExpressions": [disk]}]}}}},
            {"affinity": {"podAntiAffinity": {required: [{"topologyKey": key, **same}]}}},
            {"affinity": {"podAffinity": {required: [{"topologyKey": key, **same}]}}},
            {"affinity": {"podAffinity": {required: [{"topologyKey": key, **anchor}]}}},
            {"affinity": {"podAntiAffinity": {required: [{"topologyKey": key, **anchor}]}}},
            {"topologySpreadConstraints": [spread]},
        ]
    )


def homeless(cluster: Cluster) -> Counter[str]:
    """Return application -> how many of its pods the scheduler has no place for."""
    found: Counter[str] = Counter()
    for pod in cluster.pods():
        if any(one.get("reason") == "Unschedulable" for one in pod["status"].get("conditions", [])) and not pod["spec"].get("nodeName"):
            found[pod["metadata"]["labels"]["app"]] += 1
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_seed_what_fits_is_what_the_scheduler_places(cluster: Cluster, live: ApiServer, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(pace.Pace, "hold_back", lambda self, due: {})
    dice = random.Random(1000 + seed)
    nodes = [
        cluster.node(f"n{number}", zone=f"z{number % 3}", **({"disk": "fast"} if dice.random() < 0.5 else {}))
        for number in range(dice.randint(3, 6))
    ]
    for node in nodes[1:]:
        if dice.random() < 0.3:
            taints = {"spec": {"taints": [{"key": "dedicated", "value": "x", "effect": "NoSchedule"}]}}
            cluster.connection.call("PATCH", f"/api/v1/nodes/{node}", taints, "application/merge-patch+json")
    replicas = {f"app{number}": dice.randint(1, 3) for number in range(6)}
    for name, number in replicas.items():
        cluster.workload(name, number, cpu="10m", **rules(dice, name))
    replicas["large"] = dice.randint(1, len(nodes))
    cluster.workload("large", replicas["large"], cpu="3500m")
    spec = {"nodeName": dice.choice(nodes), "containers": [{"name": "main", "image": "registry.k8s.io/pause:3.10"}]}
    static = {"name": "anchor", "labels": {"app": "anchor"}, "annotations": {"kubernetes.io/config.mirror": "x"}}
    cluster.make("/api/v1/namespaces/default/pods", {"metadata": static, "spec": spec})
    replicas["anchor"] = 1

    def steady() -> bool:
        pods = cluster.pods()
        placed = sum(bool(pod["spec"].get("nodeName")) and "deletionTimestamp" not in pod["metadata"] for pod in pods)
        return len(pods) == sum(replicas.values()) == placed + homeless(cluster).total()

    wait_for("all pods are placed or have no place", steady)
    while homeless(cluster):  # whether they would go to a node that is emptied is not the question here
        for name in homeless(cluster):
            cluster.connection.call("DELETE", f"/apis/apps/v1/namespaces/default/deployments/{name}")
            replicas.pop(name, None)
        wait_for("only those are left that have a place", steady)
    for node in nodes:
        found = draining.planned(live, [node], pool=nodes)
        predicted = Counter(line["pod"].split("/")[1].split("-")[0] for line in found.does_not_fit)
        draining.drained(live, node)
        deadline = time.monotonic() + 30
        while not (steady() and homeless(cluster) == predicted) and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(1.2)  # the scheduler tries again after a second
        assert homeless(cluster) == predicted, found
        print(f"seed {seed}, {node}: without a place {dict(predicted)}")
        close(cluster, [node], False)
        deadline = time.monotonic() + 10
        while not steady() or homeless(cluster):
            if time.monotonic() >= deadline:  # others took the places that only they could have had
                return
            time.sleep(0.2)


def test_stuck_pods_are_left_out_or_forced_with_consent(cluster: Cluster, kubelets: FakeKubelet, live: ApiServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(disruption, "STUCK_AFTER", disruption.timedelta(seconds=0))
    nodes = [cluster.node("n0"), cluster.node("n1")]
    place(cluster, nodes, ["n0"], "web", 2, {"maxUnavailable": 0})
    place(cluster, nodes, ["n0"], "hangs", 1)
    place(cluster, nodes, ["n0"], "free", 1)
    kubelets.hanging.add("hangs-")
    skipped = draining.drained(live, "n0", timeout=2, stuck=drain.SKIP)
    assert skipped["drained"] is False and "disruption budget web" in skipped["reason"] and skipped["diff"]["after"]["schedulable"]
    assert {entry["pod"].rsplit("/")[1].split("-")[0] for entry in skipped["blocked"]} >= {"web"}
    with pytest.raises(FlotillaError) as caught:
        draining.drained(live, "n0", timeout=15, grace_period=1, stuck=drain.FORCE, force_after=1, force_pods=("default/web-*", "other/*"))
    assert "hangs" in str(caught.value) and "its node has not ended it" in str(caught.value) and "takes pods again" in str(caught.value)
    assert not [title for title in left_on(cluster, "n0") if title.startswith("default/web-")]
    forced = draining.drained(live, "n0", timeout=30, stuck=drain.FORCE, force_after=0, force_pods=("default/hangs-*",))
    assert forced["drained"] and [title.split("-")[0] for title in forced["forced"]] == ["default/hangs"]


def test_a_pod_that_its_finalizers_keep_is_told_with_them(cluster: Cluster, live: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disruption, "STUCK_AFTER", disruption.timedelta(seconds=0))
    nodes = [cluster.node("n0"), cluster.node("n1")]
    place(cluster, nodes, ["n0"], "web", 1)
    path = f"/api/v1/namespaces/{next(iter(left_on(cluster, 'n0'))).replace('/', '/pods/')}"
    cluster.connection.call("PATCH", path, {"metadata": {"finalizers": ["example.org/keep"]}}, "application/merge-patch+json")
    with pytest.raises(FlotillaError) as caught:
        draining.drained(live, "n0", timeout=4, grace_period=0)
    assert "finalizers keep it (example.org/keep)" in str(caught.value)
