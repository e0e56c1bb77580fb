# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines leave a real cluster: scale-down, replacements of the living and the dead, and what is refused. In `make e2e-full` only.

The tests build on each other in this order and share one cluster.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import outside
import pytest
import workloads

NAME = "test-leave"
CIDR = "172.30.247.0/24"
VERSION = "1.36.3"
REPLICAS, NEEDED = 6, 5

pytestmark = pytest.mark.full


@dataclass
class World:
    """The cluster, and what it looks like from outside."""

    foundation: Path

    def define(self, workers: int, control_planes: int = 3) -> None:
        outside.write_definition(
            self.foundation,
            NAME,
            kubernetes_version=VERSION,
            control_plane={"count": control_planes},
            pools=[{"name": "workers", "count": workers}],
            local={"network_cidr": CIDR},
        )

    def play(self, name: str, *options: str, ok: bool = True) -> outside.Run:
        run = outside.playbook(name, self.foundation, *options)
        assert (run.status == 0) is ok, run.output[-6000:]
        return run

    def plan(self) -> dict[str, Any]:
        report = self.foundation.parent / "plan.json"
        before = outside.containers(NAME)
        run = self.play("cluster_plan", "--check", "-e", f"flotilla_report={report}")
        assert run.changed == 0 or json.loads(report.read_text())["steps"]
        assert outside.containers(NAME) == before
        return json.loads(report.read_text())

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        program = outside.cache() / "bundles" / VERSION / "bin/amd64/kubectl"
        config = Path.home() / f".kube/flotilla/{NAME}.conf"
        argv = [str(program), f"--kubeconfig={config}", "--request-timeout=20s", *arguments]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def nodes(self) -> list[str]:
        return sorted(item["metadata"]["name"] for item in json.loads(self.kubectl("get", "nodes", "--output=json"))["items"])

    def voters(self) -> list[str]:
        node = next(name for name in outside.machines(NAME, "control-plane") if self.runs(name))
        listed = json.loads(outside.host("podman", "exec", node, "python3", "-c", _MEMBERS))
        return sorted(member["name"] for member in listed["members"] if not member.get("isLearner"))

    def runs(self, machine: str) -> bool:
        return outside.host("podman", "inspect", "--format", "{{.State.Status}}", machine).strip() == "running"

    @contextmanager
    def watching_the_workload(self) -> Iterator[list[int]]:
        """Sample how many pods are available; an answer that fails is none."""
        samples: list[int] = []
        over = threading.Event()

        def sample() -> None:
            while not over.is_set():
                try:
                    samples.append(int(self.kubectl("get", "deployment", "--output=jsonpath={.items[*].status.availableReplicas}") or 0))
                except (AssertionError, subprocess.TimeoutExpired):
                    samples.append(-1)
                time.sleep(0.5)

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            yield samples
        finally:
            over.set()
            thread.join()


_MEMBERS = """
import json, ssl, urllib.request
context = ssl.create_default_context(cafile="/etc/kubernetes/pki/etcd/ca.crt")
context.load_cert_chain("/etc/kubernetes/pki/etcd/server.crt", "/etc/kubernetes/pki/etcd/server.key")
request = urllib.request.Request("https://127.0.0.1:2379/v3/cluster/member/list", data=b"{}", method="POST")
print(urllib.request.urlopen(request, context=context, timeout=20).read().decode())
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("leave") / "foundation")
    made.define(2)
    made.play("cluster_delete", "-e", f"flotilla_confirm={NAME}")
    made.play("cluster_apply")
    try:
        yield made
    finally:
        made.play("cluster_delete", "-e", f"flotilla_confirm={NAME}")
        assert not any(outside.left_of(NAME).values())


def test_a_finished_cluster_has_an_empty_plan(world: World) -> None:
    assert world.plan()["steps"] == []


def test_more_workers_are_planned_and_made(world: World) -> None:
    world.define(4)
    steps = world.plan()["steps"]
    assert [(step["where"], step["action"]) for step in steps if step["where"] == "machines"] == [("machines", "create")] * 2
    world.play("cluster_apply")
    assert world.nodes() == outside.machines(NAME) and len(world.nodes()) == 7
    container = {**workloads.waiting(VERSION), "volumeMounts": [{"name": "scratch", "mountPath": "/x"}]}
    volumes = [{"name": "scratch", "emptyDir": {}}]
    objects = workloads.protected("web", REPLICAS, container, {"minAvailable": NEEDED}, volumes=volumes)
    world.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    world.kubectl("rollout", "status", "deployment/web", "--timeout=200s")


def test_what_takes_much_away_needs_the_id_of_its_plan(world: World) -> None:
    before = outside.containers(NAME)
    world.define(1)
    refused = world.play("cluster_apply", ok=False)
    assert "MACHINES_BRAKE" in refused.output and "3 of 4 in pool workers" in refused.output
    assert "MACHINES_PLAN_OUTDATED" in world.play("cluster_apply", "-e", "flotilla_plan_id=0123456789ab", ok=False).output
    assert outside.containers(NAME) == before and len(world.nodes()) == 7


def test_workers_leave_when_their_pods_have_and_no_budget_is_broken(world: World) -> None:
    plan = world.plan()
    leaving = {step["object"] for step in plan["steps"] if step["action"] == "delete"}
    assert len(leaving) == 3 and plan["plan_id"] in world.play("cluster_apply", ok=False).output
    with world.watching_the_workload() as samples:
        world.play("cluster_apply", "-e", f"flotilla_plan_id={plan['plan_id']}")
    assert samples and min(samples) >= NEEDED, samples
    assert world.nodes() == outside.machines(NAME) and len(world.nodes()) == 4 and not leaving & set(world.nodes())
    assert not [entry for entry in outside.left_of(NAME)["volumes"] if any(name in entry for name in leaving)]
    again = world.play("cluster_apply")
    assert again.changed == 0 and world.plan()["steps"] == []


def test_a_budget_that_can_not_be_kept_stops_the_removal_before_the_machine(world: World) -> None:
    """The sample above is no proof unless a broken budget would have shown."""
    world.define(2)
    world.play("cluster_apply")
    world.kubectl("patch", "pdb", "web", "--type=merge", "--patch", json.dumps({"spec": {"minAvailable": REPLICAS}}))
    # Somewhere on each worker there is a pod now.
    world.kubectl("rollout", "restart", "deployment/web")
    world.kubectl("rollout", "status", "deployment/web", "--timeout=200s")
    world.define(1)
    before = outside.containers(NAME)
    refused = world.play("cluster_apply", "-e", "kubernetes_leave_drain_timeout=15s", ok=False)
    assert "DRAIN_TIMEOUT" in refused.output and "web" in refused.output
    assert outside.containers(NAME) == before
    unschedulable = [item for item in json.loads(world.kubectl("get", "nodes", "-o", "json"))["items"] if item["spec"].get("unschedulable")]
    assert not unschedulable, "the node takes pods again"
    world.kubectl("patch", "pdb", "web", "--type=merge", "--patch", json.dumps({"spec": {"minAvailable": NEEDED}}))
    world.play("cluster_apply")
    assert len(world.nodes()) == 4


def test_a_control_plane_that_works_is_replaced_while_requests_succeed(world: World) -> None:
    before = set(outside.machines(NAME, "control-plane"))
    victim = min(before)
    with world.watching_the_workload() as samples:
        world.play("machine_replace", "-e", f"flotilla_machine_name={victim}")
    after = set(outside.machines(NAME, "control-plane"))
    assert len(after) == 3 and victim not in after and len(after & before) == 2
    assert sorted(after) == world.voters() and world.nodes() == outside.machines(NAME)
    assert samples.count(-1) <= len(samples) // 20, f"{samples.count(-1)} of {len(samples)} requests failed"
    assert "has no machine" in world.play("machine_replace", "-e", f"flotilla_machine_name={victim}", ok=False).output
    assert world.play("cluster_apply").changed == 0


def test_a_dead_control_plane_is_replaced(world: World) -> None:
    victim = max(outside.machines(NAME, "control-plane"))
    # It hangs, and cluster_apply would wake it up; this is for one that nobody wants back.
    outside.host("podman", "pause", victim)
    world.play("machine_replace", "-e", f"flotilla_machine_name={victim}")
    after = outside.machines(NAME, "control-plane")
    assert len(after) == 3 and victim not in after and after == world.voters() and world.nodes() == outside.machines(NAME)
    assert world.play("cluster_apply").changed == 0


def test_without_quorum_nothing_is_replaced(world: World) -> None:
    dead = outside.machines(NAME, "control-plane")[:2]
    before = outside.containers(NAME)
    for victim in dead:
        outside.host("podman", "pause", victim)
    try:
        refused = world.play("machine_replace", "-e", f"flotilla_machine_name={dead[0]}", ok=False)
        assert "1 of 3 control planes serve, and removing one takes 2" in " ".join(refused.output.split())
        assert outside.containers(NAME) == before
    finally:
        for victim in dead:
            outside.host("podman", "unpause", victim)


def test_a_worker_that_has_failed_is_healed(world: World) -> None:
    world.define(2)
    world.play("cluster_apply")
    victim = outside.machines(NAME, "workers")[0]
    outside.host("podman", "exec", victim, "systemctl", "disable", "--now", "kubelet")
    world.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "long-gone"}}))
    world.kubectl("wait", f"node/{victim}", "node/long-gone", "--for=condition=Ready=Unknown", "--timeout=200s")
    before = outside.containers(NAME)
    predicted = world.play("cluster_heal", "--check", "-e", "flotilla_heal_after=5s")
    assert f"{victim}: its Node is not Ready since" in predicted.output and outside.containers(NAME) == before
    world.play("cluster_heal", "-e", "flotilla_heal_after=5s")
    assert victim not in outside.machines(NAME) and len(outside.machines(NAME, "workers")) == 2
    again = world.play("cluster_heal", "-e", "flotilla_heal_after=5s")
    assert again.changed == 0 and world.nodes() == outside.machines(NAME)


def test_control_planes_leave_one_after_another(world: World) -> None:
    world.define(1, control_planes=1)
    assert "MACHINES_BRAKE" in world.play("cluster_apply", ok=False).output
    plan = world.plan()
    world.play("cluster_apply", "-e", f"flotilla_plan_id={plan['plan_id']}")
    left = outside.machines(NAME, "control-plane")
    assert len(left) == 1 and left == world.voters() and world.nodes() == outside.machines(NAME)
    assert world.play("cluster_apply").changed == 0
