# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong in the middle of an upgrade stops it with the cluster serving, and the next run goes on: `make e2e-upgrade-midway`.

The tests follow each other: one cluster of 1.35 with three control planes and two workers, one upgrade to 1.36 and one fault after another.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import outside
import pytest
import workloads
from conftest import wait_for

NAME, OLD, NEW = "test-midway", "1.35.4", "1.36.3"
BROUGHT = "/var/lib/flotilla/brought"
INGEST = "/var/lib/containerd/io.containerd.content.v1.content/ingest"
CTR = "ctr --namespace=k8s.io"
SERVER = f"registry.k8s.io/kube-apiserver:v{NEW}"
# Nobody waits ten minutes here for what does not come.
GATES = ("-e", "kubernetes_upgrade_gate_timeout=300")

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@dataclass
class Running:
    """A run that is under way: what it has printed, and its group of processes."""

    lines: list[str] = field(default_factory=list)
    group: int = 0

    def order(self) -> list[str]:
        """Return the control planes of the last upgrade that it printed, in their order."""
        return [re.search(r"item=(\S+?)\)", line)[1] for line in self.lines if "upgrade_control_plane.yml" in line and "item=" in line]


Fault = Callable[[Running], Any]


@dataclass(frozen=True)
class World:
    foundation: Path

    def define(self, version: str) -> None:
        outside.write_definition(
            self.foundation,
            NAME,
            kubernetes_version=version,
            control_plane={"count": 3},
            pools=[{"name": "workers", "count": 2}],
            local={"network_cidr": "172.30.224.0/24"},
        )

    def play(self, playbook: str, *options: str) -> outside.Run:
        return outside.playbook(playbook, self.foundation, *options)

    def upgrade(self, *options: str, **faults: Fault) -> outside.Run:
        """Upgrade; each fault happens once, when the output first names its task or play (with ``_`` for spaces)."""
        began, run, left = time.monotonic(), Running(), dict(faults)
        with outside.start("cluster_upgrade", self.foundation, *GATES, *options) as process:
            run.group = process.pid
            assert process.stdout
            for line in process.stdout:
                run.lines.append(line)
                for name in [name for name in left if line.startswith(("TASK [", "PLAY [")) and f"{name.replace('_', ' ')}]" in line]:
                    left.pop(name)(run)
        output = "".join(run.lines)
        assert not left, f"it never came to {sorted(left)}:\n{output[-6000:]}"
        return outside.Run(process.returncode, output, time.monotonic() - began)

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """Ask through the load balancer, as users do."""
        kubectl = outside.cache() / "bundles" / NEW / "bin/amd64/kubectl"
        kubeconfig = Path.home() / f".kube/flotilla/{NAME}.conf"
        return outside.host(str(kubectl), f"--kubeconfig={kubeconfig}", "--request-timeout=20s", *arguments, check=check)

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        return json.loads(self.kubectl("get", *arguments, "--output=json"))["items"]

    def kubelets(self) -> dict[str, str]:
        return {one["metadata"]["name"]: one["status"]["nodeInfo"]["kubeletVersion"].lstrip("v") for one in self.items("nodes")}

    def servers(self) -> dict[str, str]:
        """Return the version of each API server by its machine."""
        pods = self.items("pods", "--namespace=kube-system", "--selector=component=kube-apiserver")
        return {pod["spec"]["nodeName"]: pod["spec"]["containers"][0]["image"].rsplit(":v", 1)[1] for pod in pods}

    def ready(self) -> set[str]:
        conditions = {one["metadata"]["name"]: one["status"]["conditions"] for one in self.items("nodes")}
        return {name for name, those in conditions.items() if any(one["type"] == "Ready" and one["status"] == "True" for one in those)}

    def write(self) -> None:
        """Write and read through the API: the cluster serves."""
        name = f"served-{time.monotonic_ns()}"
        self.kubectl("create", "configmap", name)
        self.kubectl("get", "configmap", name)


def serves(world: World) -> bool:
    try:
        world.write()
    except AssertionError:
        return False
    return True


def never() -> list[dict[str, Any]]:
    """Return an application that no node can be drained of."""
    return workloads.protected("never", 2, workloads.waiting(NEW), {"maxUnavailable": 0}, apart=True, terminationGracePeriodSeconds=1)


def control_planes() -> list[str]:
    return outside.machines(NAME, "control-plane")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("midway"))
    made.define(OLD)
    if any(outside.left_of(NAME).values()):
        made.play("cluster_delete", "-e", f"flotilla_confirm={NAME}")
    created = made.play("cluster_apply")
    assert created.status == 0, created.output[-6000:]
    made.define(NEW)
    yield made
    if not os.environ.get("FLOTILLA_KEEP"):
        made.play("cluster_delete", "-e", f"flotilla_confirm={NAME}")


def test_a_disk_that_fills_up_while_files_come_stops_it_before_anything_changes(world: World) -> None:
    worker = outside.machines(NAME, "workers")[0]
    run = world.upgrade(
        Take_the_cluster=lambda _run: outside.shell(worker, f"mkdir -p {BROUGHT} && mount -t tmpfs -o size=1m tmpfs {BROUGHT}")
    )
    outside.shell(worker, f"umount {BROUGHT}")
    assert run.status != 0 and "No space left on device" in run.output and worker in run.output, run.output[-6000:]
    assert set(world.servers().values()) == set(world.kubelets().values()) == {OLD}
    world.write()


def test_images_that_can_not_be_imported_stop_it_before_anything_changes(world: World) -> None:
    worker = outside.machines(NAME, "workers")[1]
    run = world.upgrade(Take_the_cluster=lambda _run: outside.shell(worker, f"mount -t tmpfs -o size=1m tmpfs {INGEST}"))
    outside.shell(worker, f"umount {INGEST}")
    assert run.status != 0 and worker in run.output and "registry.k8s.io/" in run.output, run.output[-6000:]
    assert set(world.servers().values()) == set(world.kubelets().values()) == {OLD}
    world.write()


def test_a_webhook_that_dies_stops_kubeadm_and_the_cluster_serves(world: World, tmp_path: Path) -> None:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
    hook = {
        "name": "dead.example.org",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [rule],
        "failurePolicy": "Fail",
        "namespaceSelector": selector,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
    }
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "dead"},
        "webhooks": [hook],
    }
    path = tmp_path / "webhook.json"
    path.write_text(json.dumps(body), encoding="utf-8")
    run = world.upgrade(Upgrade=lambda _run: world.kubectl("apply", f"--filename={path}"))
    world.kubectl("delete", f"--filename={path}")
    assert run.status != 0 and "dead.example.org" in run.output, run.output[-8000:]
    assert set(world.kubelets().values()) == {OLD}
    world.write()


def test_an_api_server_that_does_not_come_back_is_taken_back_by_kubeadm(world: World) -> None:
    # The run before has exchanged the first one's.
    broken = [machine for machine, version in world.servers().items() if version == OLD]

    def break_image(_run: Running) -> None:
        for machine in broken:
            outside.shell(machine, f"{CTR} images tag --force {manifest['pause_image']} {SERVER}")

    bundle = outside.cache() / "bundles" / NEW
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    run = world.upgrade(Upgrade=break_image)
    for machine in broken:
        outside.host("podman", "cp", str(bundle / "images/amd64/kube-apiserver.tar"), f"{machine}:/root/server.tar")
        outside.shell(machine, f"{CTR} images import --local /root/server.tar && rm /root/server.tar")
    assert len(broken) == 2
    assert run.status != 0 and "kubeadm-upgrade.log" in run.output, run.output[-8000:]
    assert {world.servers()[machine] for machine in broken} == {OLD} and sorted(world.kubelets().values()).count(NEW) == 1
    world.write()


def test_a_control_plane_that_dies_stops_it_and_the_others_serve(world: World) -> None:
    victims: list[str] = []

    def kill_last(run: Running) -> None:
        victims.append(run.order()[-1])
        outside.host("podman", "kill", victims[0])

    # After the first one is done: the others are one that is to be upgraded next, and this one.
    run = world.upgrade(Upgrade_the_static_pods=lambda run: run, Let_pods_come_again=kill_last)
    assert run.status != 0, run.output[-6000:]
    wait_for("two control planes to serve", lambda: serves(world))
    assert sorted(world.servers().values()).count(NEW) >= 1
    outside.host("podman", "start", victims[0])
    wait_for("the control plane to be back", lambda: len(world.ready()) == 5)


def test_one_whose_etcd_is_corrupt_is_replaced_amid_the_upgrade(world: World) -> None:
    balancer, victims = f"flotilla-{NAME}-api", list[str]()

    def corrupt(run: Running) -> None:
        victims.append(run.order()[-1])
        outside.shell(
            victims[0], "dd if=/dev/urandom of=/var/lib/etcd/member/snap/db bs=4096 count=200 conv=notrunc status=none && pkill -9 -x etcd"
        )

    def slow(_run: Running) -> None:
        outside.host("podman", "pause", balancer)
        threading.Timer(20, lambda: outside.host("podman", "unpause", balancer)).start()

    # The load balancer that answers late is waited for; etcd is not.
    run = world.upgrade(Tell_the_load_balancer_who_serves=slow, Let_another_member_of_etcd_lead=corrupt)
    assert run.status != 0 and "etcd" in run.output, run.output[-6000:]
    wait_for("two control planes to serve", lambda: serves(world))
    refused = world.play("machine_replace", "-e", f"flotilla_machine_name={outside.machines(NAME, 'workers')[0]}")
    assert refused.status != 0 and refused.changed == 0 and "can not join while the API servers of" in refused.output, refused.output[
        -6000:
    ]
    replaced = world.play("machine_replace", "-e", f"flotilla_machine_name={victims[0]}")
    assert replaced.status == 0, replaced.output[-8000:]
    assert victims[0] not in control_planes() and len(control_planes()) == 3
    assert {world.kubelets()[machine] for machine in outside.machines(NAME, "workers")} == {OLD}
    world.write()


def test_a_worker_that_dies_while_it_is_upgraded_stops_it(world: World) -> None:
    victims: list[str] = []

    def kill(_run: Running) -> None:
        victims.extend(one["metadata"]["name"] for one in world.items("nodes") if one["spec"].get("unschedulable"))
        outside.host("podman", "kill", *victims)

    run = world.upgrade(Take_over_what_the_cluster_records_for_nodes_of_this_version=kill)
    assert run.status != 0 and len(victims) == 1, run.output[-6000:]
    assert set(world.servers().values()) == {NEW}
    outside.host("podman", "start", victims[0])
    wait_for("the worker to be back", lambda: len(world.ready()) == 5)


def test_a_node_that_ssh_does_not_reach_any_more_stops_it(world: World) -> None:
    worker = outside.machines(NAME, "workers")[0]
    run = world.upgrade(
        Take_over_what_the_cluster_records_for_nodes_of_this_version=lambda _run: outside.shell(
            worker, "systemctl stop ssh; pkill sshd || true"
        )
    )
    outside.shell(worker, "systemctl start ssh")
    assert run.status != 0 and worker in run.output, run.output[-6000:]
    assert len(world.ready()) == 5


def test_a_budget_that_never_allows_stops_it_and_the_node_serves(world: World, tmp_path: Path) -> None:
    path = tmp_path / "never.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": never()}), encoding="utf-8")
    run = world.upgrade("-e", "kubernetes_upgrade_drain_timeout=30s", Upgrade=lambda _run: world.kubectl("apply", f"--filename={path}"))
    world.kubectl("delete", f"--filename={path}")
    assert run.status != 0 and "never" in run.output, run.output[-6000:]
    assert len(world.ready()) == 5 and OLD in world.kubelets().values()


def test_a_run_that_another_one_takes_over_from_changes_nothing_more(world: World) -> None:
    others: list[outside.Run] = []

    def take_over(run: Running) -> None:
        os.killpg(run.group, signal.SIGSTOP)
        others.append(world.play("cluster_upgrade", "-e", "flotilla_run=second"))
        os.killpg(run.group, signal.SIGCONT)

    run = world.upgrade("-e", "flotilla_run=first", Look_at_the_machine=take_over)
    assert others[0].status == 0 and "the run first was at work on" in others[0].output, others[0].output[-6000:]
    assert run.status != 0 and "the run second took over" in run.output, run.output[-6000:]
    assert set(world.servers().values()) == set(world.kubelets().values()) == {NEW}


def test_afterwards_nothing_is_left_to_do(world: World) -> None:
    before = outside.containers(NAME)
    for name in ("cluster_upgrade", "cluster_apply"):
        again = world.play(name)
        assert (again.status, again.changed) == (0, 0), again.output[-6000:]
    assert outside.containers(NAME) == before
