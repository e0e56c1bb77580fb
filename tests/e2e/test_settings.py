# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New settings of kubelet and containerd come to the nodes of a cluster batch by batch: `make e2e-settings`.

The tests follow each other: one cluster with one control plane and two workers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import outside
import pytest
from conftest import wait_for

NAME = "test-settings"
DROP_IN = "/etc/systemd/system/kubelet.service.d/99-broken.conf"

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class World:
    foundation: Path
    control_plane: str
    workers: list[str]

    @property
    def machines(self) -> list[str]:
        return [self.control_plane, *self.workers]

    def apply(self, settings: dict[str, Any] | None = None, *options: str) -> outside.Run:
        more = ["-e", json.dumps({"kubernetes_control_plane_kubelet_configuration": settings})] if settings else []
        return outside.playbook("cluster_apply", self.foundation, *more, *options)

    def define(self, **changes: Any) -> None:
        outside.write_definition(
            self.foundation, NAME, pools=[{"name": "workers", "count": 2}], local={"network_cidr": "172.30.230.0/24"}, **changes
        )

    def started(self, service: str) -> dict[str, int]:
        """Return when a service was started on each machine, in microseconds by the one clock that all of them have."""
        script = f"systemctl show --property=ExecMainStartTimestampMonotonic --value {service}"
        return {machine: int(outside.shell(machine, script)) for machine in self.machines}

    def max_pods(self) -> dict[str, int]:
        """Return what the kubelet of each node says that it takes."""
        arguments = ["--kubeconfig=/etc/kubernetes/admin.conf", "get", "nodes", "--output=json"]
        shown = json.loads(outside.host("podman", "exec", self.control_plane, "kubectl", *arguments))["items"]
        return {node["metadata"]["name"]: int(node["status"]["capacity"]["pods"]) for node in shown}

    def not_ready(self) -> list[str]:
        arguments = ["--kubeconfig=/etc/kubernetes/admin.conf", "get", "nodes", "--no-headers"]
        shown = outside.host("podman", "exec", self.control_plane, "kubectl", *arguments)
        return [line.split()[0] for line in shown.splitlines() if line.split()[1] != "Ready"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    foundation = tmp_path_factory.mktemp("settings")
    made = World(foundation, "", [])
    made.define()
    if any(outside.left_of(NAME).values()):
        outside.playbook("cluster_delete", foundation, "-e", f"flotilla_confirm={NAME}")
    created = made.apply()
    assert created.status == 0, created.output[-6000:]
    yield World(foundation, outside.machines(NAME, "control-plane")[0], outside.machines(NAME, "workers"))
    if not os.environ.get("FLOTILLA_KEEP"):
        outside.playbook("cluster_delete", foundation, "-e", f"flotilla_confirm={NAME}")


def kubelet(max_pods: int) -> dict[str, Any]:
    """Return the kubelet configuration that machines of this cloud need, with one thing that is new."""
    settings = {"failSwapOn": False, "failCgroupV1": False, "imageGCHighThresholdPercent": 100, "maxPods": max_pods}
    return {**settings, "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"}}


def in_turn(world: World, before: dict[str, int], after: dict[str, int]) -> bool:
    """Tell whether a service was restarted on every machine, on one after another in the order of the documentation."""
    moments = [after[machine] for machine in world.machines]
    return all(after[machine] > before[machine] for machine in world.machines) and moments == sorted(moments)


def test_a_new_setting_of_kubelet_comes_to_one_worker_after_the_other(world: World) -> None:
    before = world.started("kubelet")
    run = world.apply(kubelet(120))
    assert run.status == 0, run.output[-6000:]
    after = world.started("kubelet")
    assert in_turn(world, before, after)
    # Between the two the node was seen to serve, which takes more than the start of a process.
    assert after[world.workers[1]] - after[world.workers[0]] > 2_000_000
    wait_for("the kubelets to say so", lambda: set(world.max_pods().values()) == {120})
    again = world.apply(kubelet(120))
    assert (again.status, again.changed) == (0, 0), again.output[-6000:]
    assert world.started("kubelet") == after


def test_a_worker_whose_kubelet_does_not_come_back_stops_it_before_the_other(world: World) -> None:
    first, second = world.workers
    before = world.started("kubelet")
    outside.shell(first, f"printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > {DROP_IN}")
    outside.shell(first, "systemctl daemon-reload")
    run = world.apply(kubelet(130), "-e", "kubernetes_worker_timeout=20")
    assert run.status != 0 and "KUBELET_NOT_HEALTHY" in run.output, run.output[-6000:]
    assert world.started("kubelet")[second] == before[second], "the other one was left alone"
    assert world.max_pods()[second] == 120
    wait_for("the node to be missed", lambda: world.not_ready() == [first])
    # Still broken: nothing is restarted beside it.
    run = world.apply(kubelet(130), "-e", "kubernetes_worker_timeout=20")
    assert run.status != 0 and f"{first} is not Ready, so nothing was restarted on {second}" in run.output, run.output[-6000:]
    assert world.started("kubelet")[second] == before[second]
    outside.shell(first, f"rm {DROP_IN}; systemctl daemon-reload")
    run = world.apply(kubelet(130))
    assert run.status == 0, run.output[-6000:]
    wait_for("the kubelets to say so", lambda: set(world.max_pods().values()) == {130})
    assert world.not_ready() == []


def test_containerd_restarts_on_one_machine_after_the_other(world: World) -> None:
    before = world.started("containerd")
    # A program of Go reads the system's certificate authorities once.
    authority = world.foundation / "authority.crt"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=site", "-days", "2", "-keyout", "/dev/null"]
    outside.host("openssl", "req", *options, "-out", str(authority))
    world.define(site={"ca_files": [str(authority)]})
    run = world.apply(kubelet(130))
    assert run.status == 0, run.output[-6000:]
    after = world.started("containerd")
    assert in_turn(world, before, after)
    again = world.apply(kubelet(130))
    assert (again.status, again.changed) == (0, 0), again.output[-6000:]
    assert world.started("containerd") == after
