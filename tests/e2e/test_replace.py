# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An upgrade replaces the machines of a pool, is killed on its way and goes on: `make e2e-replace`.

The tests follow each other: one cluster of 1.35 with one control plane and two workers, which get successors of 1.36.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import outside
import pytest
import workloads
from conftest import wait_for

NAME, OLD, NEW = "test-replroll", "1.35.4", "1.36.3"
WORKERS, REPLICAS, NEEDED = 2, 4, 3
CLOSED = "ToBeDeletedByClusterAutoscaler"
ROLLOUT = {"strategy": "replace", "max_surge": 1, "drain_timeout": "5m"}

pytestmark = pytest.mark.long


@dataclass
class Seen:
    """What was seen while something ran.

    :param workers: ids of all containers that were workers at any time.
    :param most: how many there were at most.
    :param least: how many pods of the application were available at least.
    """

    workers: set[str] = field(default_factory=set)
    most: int = 0
    least: int = REPLICAS


@dataclass(frozen=True)
class World:
    foundation: Path
    first: dict[str, str]

    def define(self, version: str) -> None:
        pools = [{"name": "workers", "count": WORKERS, "rollout": ROLLOUT}]
        outside.write_definition(self.foundation, NAME, kubernetes_version=version, pools=pools, local={"network_cidr": "172.30.228.0/24"})

    def upgrade(self, *options: str) -> outside.Run:
        return outside.playbook("cluster_upgrade", self.foundation, *options)

    def versions(self) -> dict[str, str]:
        """Return the version of each node's kubelet."""
        nodes = json.loads(kubectl("get", "nodes", "--output=json"))["items"]
        return {one["metadata"]["name"]: one["status"]["nodeInfo"]["kubeletVersion"].lstrip("v") for one in nodes}

    @contextmanager
    def watched(self) -> Iterator[Seen]:
        """Look twice a second, as far as the one API server answers."""
        seen, over = Seen(), threading.Event()

        def look() -> None:
            while not over.wait(0.5):
                found = set(workers().values())
                seen.workers |= found
                seen.most = max(seen.most, len(found))
                try:
                    shown = kubectl("--request-timeout=5s", "get", "deployment", "web", "--output=jsonpath={.status.availableReplicas}")
                except AssertionError:
                    continue
                seen.least = min(seen.least, int(shown or 0))

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield seen
        finally:
            over.set()
            thread.join()


def kubectl(*arguments: str, stdin: Path | None = None) -> str:
    (machine,) = outside.machines(NAME, "control-plane")
    flags = ["--interactive"] if stdin else []
    return outside.host("podman", "exec", *flags, machine, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", *arguments, stdin=stdin)


def workers() -> dict[str, str]:
    """Return the id of each worker's container by name."""
    return {name: identity for name, identity in outside.containers(NAME).items() if name.startswith(f"{NAME}-workers-")}


def closed() -> set[str]:
    """Return the nodes that load balancers leave out, nothing while the one API server does not answer."""
    try:
        nodes = json.loads(kubectl("--request-timeout=5s", "get", "nodes", "--output=json"))["items"]
    except AssertionError:
        return set()
    return {one["metadata"]["name"] for one in nodes for taint in one["spec"].get("taints", []) if taint["key"] == CLOSED}


def started() -> list[str]:
    """Return the names of the workers that run."""
    names = outside.host("podman", "ps", "--format", "{{.Names}}", "--filter", f"label=flotilla-cluster={NAME}").splitlines()
    return [name for name in names if name.startswith(f"{NAME}-workers-")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    foundation = tmp_path_factory.mktemp("replace-roll")
    World(foundation, {}).define(OLD)
    if any(outside.left_of(NAME).values()):
        outside.playbook("cluster_delete", foundation, "-e", f"flotilla_confirm={NAME}")
    created = outside.playbook("cluster_apply", foundation)
    assert created.status == 0, created.output[-6000:]
    for machine in workers():
        outside.host("podman", "cp", str(outside.cache() / "bundles" / NEW / "images/amd64/pause.tar"), f"{machine}:/root/pause.tar")
        outside.host("podman", "exec", machine, "ctr", "--namespace=k8s.io", "images", "import", "/root/pause.tar")
    objects = tmp_path_factory.mktemp("inputs") / "objects.json"
    items = workloads.protected("web", REPLICAS, workloads.waiting(NEW), {"minAvailable": NEEDED})
    objects.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}), encoding="utf-8")
    kubectl("apply", "--filename=-", stdin=objects)
    kubectl("rollout", "status", "deployment/web", "--timeout=200s")
    made = World(foundation, workers())
    made.define(NEW)
    yield made
    if not os.environ.get("FLOTILLA_KEEP"):
        outside.playbook("cluster_delete", foundation, "-e", f"flotilla_confirm={NAME}")


def test_a_prediction_says_what_is_replaced_and_changes_nothing(world: World) -> None:
    before = outside.containers(NAME)
    run = world.upgrade("--check")
    assert run.status == 0, run.output[-6000:]
    assert f"Pool workers: replace {WORKERS} machines, 1 at a time" in run.output
    assert outside.containers(NAME) == before and set(world.versions().values()) == {OLD}


def test_a_limit_is_refused_as_it_would_drop_the_new_machines(world: World) -> None:
    run = world.upgrade("--limit", f"{NAME}.cluster:{outside.machines(NAME)[0]}")
    assert run.status != 0 and run.changed == 0 and "is refused here" in run.output
    assert workers() == world.first


def test_a_run_that_is_killed_when_it_has_made_a_machine_leaves_everything_serving(world: World, tmp_path: Path) -> None:
    output = tmp_path / "killed.log"
    with world.watched() as seen, output.open("wb") as log:
        run = outside.start("cluster_upgrade", world.foundation, output=log)
        try:
            until = time.monotonic() + 1500
            # One that was never started would be made anew.
            while len(started()) == WORKERS and run.poll() is None and time.monotonic() < until:
                time.sleep(0.5)
        finally:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
    assert len(workers()) == WORKERS + 1, output.read_text(encoding="utf-8")[-6000:]
    assert set(world.first.values()) < set(workers().values()), "the old ones are there"
    assert seen.least >= NEEDED and seen.most == WORKERS + 1


def test_a_run_that_is_killed_when_the_machine_has_joined_leaves_it_out_of_service(world: World, tmp_path: Path) -> None:
    output = tmp_path / "killed.log"
    with world.watched() as seen, output.open("wb") as log:
        run = outside.start("cluster_upgrade", world.foundation, output=log)
        try:
            until = time.monotonic() + 1500
            while not closed() and run.poll() is None and time.monotonic() < until:
                time.sleep(0.5)
        finally:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
    assert closed() == set(workers()) - set(world.first), output.read_text(encoding="utf-8")[-6000:]
    assert seen.least >= NEEDED and seen.most == WORKERS + 1


def test_the_next_run_goes_on_with_it_and_no_machine_is_made_twice(world: World) -> None:
    first_new = set(workers().values()) - set(world.first.values())
    with world.watched() as seen:
        run = world.upgrade()
    assert run.status == 0, run.output[-8000:]
    after = workers()
    assert len(after) == WORKERS and not set(after.values()) & set(world.first.values()), "the old ones are gone"
    assert first_new < set(after.values()), "what the killed run made was used"
    assert seen.workers == set(after.values()) | set(world.first.values()), "and nothing else was made on the way"
    assert seen.most == WORKERS + 1, "one successor at a time"
    assert seen.least >= NEEDED, "the budget held"
    assert sorted(world.versions()) == outside.machines(NAME) and set(world.versions().values()) == {NEW}


def test_afterwards_nothing_is_left_to_do(world: World) -> None:
    before = outside.containers(NAME)
    for name in ("cluster_upgrade", "cluster_apply"):
        again = outside.playbook(name, world.foundation)
        assert (again.status, again.changed) == (0, 0), again.output[-6000:]
    assert outside.containers(NAME) == before
    nodes = json.loads(kubectl("get", "nodes", "--output=json"))["items"]
    assert [taint["key"] for node in nodes for taint in node["spec"].get("taints", []) if "flotilla" in taint["key"]] == []
    assert not closed()
    wait_for(
        "all pods to be available", lambda: kubectl("get", "deployment", "web", "--output=jsonpath={.status.availableReplicas}") == "4"
    )
