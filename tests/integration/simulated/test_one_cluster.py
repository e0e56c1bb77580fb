# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real `cluster_upgrade` over one simulated cluster. What happened is read from the cluster's journal, not from the run."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from simulated.cluster import BEGIN, DONE, LOOK, Cluster
from simulated.world import NEW, OLDEST, World, age, done, kill, overlaps, untouched, versions

WORKERS = ["c1-w-1", "c1-w-2"]


def acts(cluster: Cluster) -> list[tuple[str, str]]:
    """Return node and name of everything that changed the cluster, in order."""
    return [(one["node"], one["act"]) for one in cluster.journal() if one["what"] == DONE]


def wait(condition: Callable[[], object], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.02)


def begun(cluster: Cluster, act: str) -> bool:
    return any(one["what"] == BEGIN and one["act"].startswith(act) for one in cluster.journal())


def test_an_upgrade_by_one_minor_and_then_nothing_is_left_to_do(world: World) -> None:
    cluster = world.cluster("c1")
    done_now = world.play("cluster_upgrade")
    assert done_now.status == 0, done_now.output[-5000:]
    assert versions(cluster) == {NEW}
    assert done(cluster, "kubeadm upgrade") == [("c1-cp-1", NEW), *((worker, NEW) for worker in WORKERS)]
    # A worker serves nothing while its kubelet is exchanged, and takes pods again afterwards.
    for worker in WORKERS:
        order = [
            act for node, act in acts(cluster) if node == worker and act in ("cordon", "restart kubelet", "uncordon", "uncordon taint")
        ]
        assert order[0] == "cordon" and order[1] == "restart kubelet" and order[2].startswith("uncordon"), order
    assert not any(node["unschedulable"] or node["taints"] for node in cluster.read()["nodes"].values())
    assert all(pod["node"] for workload in cluster.read()["workloads"].values() for pod in workload["pods"].values())
    before = acts(cluster)
    again = world.play("cluster_upgrade")
    assert again.status == 0 and again.changed == 0, again.output[-5000:]
    assert acts(cluster) == before


def test_a_changed_argument_of_a_module_is_refused_as_on_a_real_machine(world: World) -> None:
    cluster = world.cluster("c1")
    module = world.folder / "collections/ansible_collections/flotilla/kubernetes/plugins/modules/cluster_health.py"
    text = module.read_text(encoding="utf-8")
    assert text.count('"read_workloads": {') == 1
    module.write_text(text.replace('"read_workloads": {', '"count_workloads": {'), encoding="utf-8")
    refused = world.play("cluster_upgrade")
    said = re.search(r"Unsupported parameters for \(\S*cluster_health\) module: read_workloads", refused.output)
    assert refused.status != 0 and said, refused.output
    assert untouched(cluster)


def test_a_module_that_was_never_tried_there_refuses_a_simulated_machine(world: World) -> None:
    cluster = world.cluster("c1")
    play = "- hosts: c1-w-1\n  gather_facts: false\n  tasks:\n    - flotilla.kubernetes.kubeadm_reset: {api_endpoint: 'x:6443'}\n"
    path = world.folder / "reset.yml"
    path.write_text(play, encoding="utf-8")
    refused = world.play(str(path))
    assert refused.status != 0 and "kubeadm_reset can not work on simulated machines" in refused.output
    assert cluster.journal() == []


@pytest.mark.slow
def test_several_control_planes_by_two_minors_one_at_a_time(world: World) -> None:
    cluster = world.cluster("c1", version=OLDEST, control_planes=3, workers=5)
    done_now = world.play("cluster_upgrade")
    assert done_now.status == 0, done_now.output[-5000:]
    assert versions(cluster) == {NEW}
    # Two hops for each control plane, begun by `apply`; workers may skip the one between, and do.
    assert [detail for node, detail in done(cluster, "kubeadm upgrade apply")] == ["1.35.4", NEW]
    assert len(done(cluster, "kubeadm upgrade node")) == 2 * 2 + 5
    out = 0
    for node, act in acts(cluster):
        if "-w-" in node and act.startswith(("cordon", "uncordon")):
            out += 1 if act.startswith("cordon") else -1
            assert out <= 1, "one worker at a time"
    assert [one["role"] for one in cluster.read()["nodes"].values() if one["unschedulable"]] == []
    again = world.play("cluster_upgrade")
    assert again.status == 0 and again.changed == 0, again.output[-5000:]


@pytest.mark.slow
@pytest.mark.parametrize("act", ["kubeadm upgrade apply", "evict", "kubeadm upgrade node", "restart kubelet"])
def test_a_killed_run_is_gone_on_with_and_nothing_is_done_twice(world: World, act: str) -> None:
    cluster = world.cluster("c1")
    cluster.fault(act, "slow", seconds=2, times=1)
    log = world.folder / "killed"
    process = world.start("cluster_upgrade", log=log)
    wait(lambda: begun(cluster, act))
    kill(process)
    # Without that it would wait for a minute before it takes the killed one for dead.
    age(cluster)
    done_now = world.play("cluster_upgrade")
    assert done_now.status == 0, done_now.output[-5000:]
    assert versions(cluster) == {NEW}
    upgraded = done(cluster, "kubeadm upgrade")
    assert sorted(upgraded) == [("c1-cp-1", NEW), *((worker, NEW) for worker in WORKERS)], "a step that outlived its run is attached to"
    assert overlaps(cluster) == []


@pytest.mark.slow
def test_two_runs_in_a_cluster_would_be_seen_and_the_second_is_refused(world: World) -> None:
    """The control of the zeros above."""
    cluster = world.cluster("c1")
    cluster.fault("kubeadm upgrade apply", "slow", seconds=15, times=1)
    first = world.start("cluster_upgrade", log=world.folder / "first")
    wait(lambda: begun(cluster, "kubeadm upgrade apply"))
    second = world.start("cluster_upgrade", log=world.folder / "second")
    wait(lambda: "Another run may be at work" in (world.folder / "second").read_text(), 60)
    kill(second)
    assert first.wait(300) == 0, (world.folder / "first").read_text()[-5000:]
    assert len(overlaps(cluster)) == 1
    runs = {one["run"] for one in cluster.journal() if one["what"] != LOOK}
    assert len(runs) == 1, "only one of them changed anything"


@pytest.mark.slow
def test_what_fails_stops_the_upgrade_and_the_cluster_serves(world: World) -> None:
    cluster = world.cluster("c1")
    cluster.fault("kubeadm upgrade node", "fail", node="c1-w-2")
    failed = world.play("cluster_upgrade")
    assert failed.status != 0 and "kubeadm upgrade failed" in failed.output, failed.output[-5000:]
    kubelets = {name: node["kubelet"] for name, node in cluster.read()["nodes"].items()}
    assert kubelets == {"c1-cp-1": NEW, "c1-w-1": NEW, "c1-w-2": "1.35.4"}
    cluster.mend()
    age(cluster)
    assert world.play("cluster_upgrade").status == 0 and versions(cluster) == {NEW}
    assert sorted(done(cluster, "kubeadm upgrade")) == sorted([("c1-cp-1", NEW), *((worker, NEW) for worker in WORKERS)])
