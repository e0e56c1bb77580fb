# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether simulated machines behave as the tests of playbooks over them need it: real modules, one at a time, without Ansible."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from simulated.cluster import BEGIN, DONE, Cluster
from simulated.world import NEW, OLD, World, age, done, overlaps, untouched, versions


@pytest.fixture
def cluster(world: World) -> Cluster:
    return world.cluster("c1")


def address(cluster: Cluster, node: str = "c1-cp-1") -> str:
    return str(cluster.read()["nodes"][node]["address"])


def install(world: World, cluster: Cluster, node: str, *programs: str) -> None:
    """Put programs of the new version on a machine, as another tool would."""
    for program in programs:
        target = cluster.node(node) / "usr/local/bin" / program
        target.write_bytes((world.bundle(NEW) / "bin/amd64" / program).read_bytes())


def upgrade(world: World, cluster: Cluster, node: str, **arguments: Any) -> dict[str, Any]:
    install(world, cluster, node, "kubeadm")
    return world.module(cluster, node, "kubeadm_upgrade", version=NEW, **arguments)


def test_a_kubeadm_outlives_the_module_that_began_it_and_the_next_one_attaches(world: World, cluster: Cluster) -> None:
    cluster.fault("kubeadm upgrade apply", "slow", seconds=4, times=1)
    first = threading.Thread(
        target=lambda: upgrade(world, cluster, "c1-cp-1", command="apply", api_server=address(cluster)),
    )
    first.start()
    until = time.monotonic() + 60
    while not any(one["what"] == BEGIN for one in cluster.journal()):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert world.process
    os.killpg(world.process.pid, signal.SIGKILL)
    first.join()
    assert done(cluster, "kubeadm") == [], "it is still at work"
    again = upgrade(world, cluster, "c1-cp-1", command="apply", api_server=address(cluster))
    assert again["versions"]["kube-apiserver"] == NEW and not again.get("failed"), again
    assert done(cluster, "kubeadm") == [("c1-cp-1", NEW)]
    assert cluster.read()["recorded"] == NEW and versions(cluster) == {OLD, NEW}, "its kubelet is exchanged by others"


def test_a_fault_fails_what_it_names_as_often_as_it_says_and_elsewhere_nothing(world: World, cluster: Cluster) -> None:
    cluster.fault("kubeadm upgrade node", node="c1-w-1", times=1)
    failed = upgrade(world, cluster, "c1-w-1")
    assert failed["failed"] and failed["code"] == "KUBEADM_FAILED" and "is made to fail" in failed["msg"], failed
    assert "failed" not in upgrade(world, cluster, "c1-w-2") and "failed" not in upgrade(world, cluster, "c1-w-1")
    assert done(cluster, "kubeadm") == [("c1-w-2", NEW), ("c1-w-1", NEW)]


def test_a_drain_waits_for_the_budget(world: World, cluster: Cluster) -> None:
    with cluster.change() as state:
        state["pod_start"] = 2.0
        pods = state["workloads"]["shop/web"]["pods"].values()
        for pod in pods:
            pod.update(node="c1-w-1", ready_at=0)
    drained: dict[str, Any] = {"finished": False, "progress_token": None}
    while not drained["finished"]:
        arguments = {"address": address(cluster), "node": "c1-w-1", "progress_token": drained["progress_token"]}
        drained = world.module(cluster, "c1-cp-1", "node_drain", delete_emptydir_data=True, **arguments)
        assert "failed" not in drained, drained
    assert drained["drained"], drained
    evicted = [one["at"] for one in cluster.journal() if one["what"] == DONE and one["detail"].startswith("shop/web")]
    assert len(evicted) == 3
    assert all(later - earlier >= 2.0 for earlier, later in zip(evicted, evicted[1:])), "each waits until the one before is ready elsewhere"
    assert {pod["node"] for pod in cluster.read()["workloads"]["shop/web"]["pods"].values()} == {"c1-w-2"}


def test_a_kubelet_that_is_newer_than_an_api_server_is_not_ready(world: World, cluster: Cluster) -> None:
    with cluster.change() as state:
        state["nodes"]["c1-w-1"]["kubelet"] = NEW
    expected = {"control_planes": {"c1-cp-1": address(cluster)}, "nodes": sorted(cluster.read()["nodes"])}
    health = world.module(cluster, "c1-cp-1", "cluster_health", address=address(cluster), fail=False, **expected)
    assert [(one["code"], one["object"]) for one in health["findings"]] == [("NODE_NOT_READY", "node/c1-w-1")], health


def test_only_a_control_plane_can_ask_the_cluster(world: World, cluster: Cluster) -> None:
    refused = world.module(cluster, "c1-w-1", "cluster_versions", address=address(cluster))
    assert refused["failed"] and refused["code"] == "KUBERNETES_CLIENT_CERTIFICATE", refused
    assert "failed" not in world.module(cluster, "c1-cp-1", "cluster_versions", address=address(cluster))
    assert untouched(cluster)


def test_the_fence_of_a_machine_is_the_real_one(world: World, cluster: Cluster) -> None:
    assert "failed" not in world.module(cluster, "c1-w-1", "node_fence", fence={"run": "later", "generation": 2})
    late = upgrade(world, cluster, "c1-w-1", fence={"run": "earlier", "generation": 1})
    assert late["failed"] and late["code"] == "RUN_FENCED", late
    assert untouched(cluster)
    age(cluster, 3600)
    assert world.module(cluster, "c1-w-1", "node_fence", state="looked")["sign"]["age"] > 3000


def test_runs_at_the_same_time_are_seen(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The control of every test that finds none."""
    for run in ("1", "1", "2", "2"):
        monkeypatch.setenv("FLOTILLA_SIMULATED_RUN", run)
        cluster.note("look", "c1-w-1", "node_info")
    assert overlaps(cluster) == []
    monkeypatch.setenv("FLOTILLA_SIMULATED_RUN", "1")
    cluster.note("look", "c1-w-1", "node_info")
    assert overlaps(cluster) == [("1", "2")]
