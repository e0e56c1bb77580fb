# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An upgrade is taken back with the backup from before it, and made once more: `make e2e-rollback`.

The tests follow each other: one cluster of 1.35 with one worker.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import outside
import pytest
from backup_store import BackupStore
from conftest import wait_for

NAME, OLD, NEW = "test-rollback", "1.35.4", "1.36.3"

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class World:
    foundation: Path
    store: BackupStore

    def define(self, version: str) -> None:
        outside.write_definition(
            self.foundation, NAME, kubernetes_version=version, local={"network_cidr": "172.30.232.0/24"}, backup_store=self.store.section
        )

    def play(self, playbook: str, *options: str) -> outside.Run:
        return outside.playbook(playbook, self.foundation, *options)

    def rollback(self, *options: str) -> outside.Run:
        return self.play("cluster_rollback", *self.store.unlocked, *options)

    def kubectl(self, *arguments: str) -> str:
        (machine,) = outside.machines(NAME, "control-plane")
        return outside.host("podman", "exec", machine, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", *arguments)

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        return json.loads(self.kubectl("get", *arguments, "--output=json"))["items"]

    def names(self) -> set[str]:
        return {one["metadata"]["name"] for one in self.items("configmaps")}

    def versions(self) -> set[str]:
        """Return the versions of everything that has one: kubelets, what was recorded, and the images of Kubernetes' own pods."""
        kubelets = {one["status"]["nodeInfo"]["kubeletVersion"].lstrip("v") for one in self.items("nodes")}
        recorded = re.search(r"^kubernetesVersion: v(\S+)$", self.settings(), re.MULTILINE)
        pods = self.items("pods", "--namespace=kube-system")
        images = [container["image"] for pod in pods for container in pod["spec"]["containers"]]
        return {*kubelets, recorded[1], *(image.rpartition(":v")[2] for image in images if "/kube-" in image)}

    def settings(self) -> str:
        return self.kubectl(
            "--namespace=kube-system", "get", "configmap", "kubeadm-config", "--output=jsonpath={.data.ClusterConfiguration}"
        )

    def manifests_of_static_pods(self) -> str:
        (machine,) = outside.machines(NAME, "control-plane")
        return outside.digests(machine, ["/etc/kubernetes/manifests"])

    def machines(self) -> list[str]:
        return [*outside.machines(NAME, "control-plane"), *outside.machines(NAME, "workers")]

    def remembered(self) -> list[str]:
        """Return the machines that remember an upgrade."""
        script = "ls /var/lib/flotilla/upgrade* 2>/dev/null || true"
        return [name for name in self.machines() if outside.host("podman", "exec", name, "sh", "-c", script)]

    def pods_ready(self) -> bool:
        pods = self.items("pods", "--selector=app=web")
        ready = [one for pod in pods for one in pod["status"].get("conditions", ()) if one["type"] == "Ready" and one["status"] == "True"]
        return len(pods) == len(ready) == 2


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("rollback"), BackupStore.make(NAME, tmp_path_factory.mktemp("recipient")))
    made.define(OLD)
    if any(outside.left_of(NAME).values()):
        made.play("cluster_delete", "-e", f"flotilla_confirm={NAME}")
    created = made.play("cluster_apply")
    assert created.status == 0, created.output[-6000:]
    yield made
    if not os.environ.get("FLOTILLA_KEEP"):
        made.define(OLD)
        deleted = made.play("cluster_delete", "-e", f"flotilla_confirm={NAME}")
        assert deleted.status == 0 and not any(outside.left_of(NAME).values()), deleted.output[-3000:]
        made.store.remove()


def test_an_upgrade_is_taken_back(world: World) -> None:
    bundle = json.loads((outside.cache() / "bundles" / OLD / "manifest.json").read_text(encoding="utf-8"))
    world.kubectl("create", "deployment", "web", f"--image={bundle['pause_image']}", "--replicas=2")
    wait_for("two pods", world.pods_ready)
    world.kubectl("create", "configmap", "written-before")
    assert world.versions() == {OLD}
    before = world.manifests_of_static_pods()

    world.define(NEW)
    upgraded = world.play("cluster_upgrade")
    assert upgraded.status == 0, upgraded.output[-6000:]
    assert world.versions() == {NEW} and world.manifests_of_static_pods() != before
    assert world.remembered() == world.machines()
    (manifest,) = world.store.manifests()
    assert (manifest["occasion"], manifest["kubernetes_version"]) == ("before-upgrade", OLD)
    world.kubectl("create", "configmap", "written-after")

    refused = world.rollback("-e", f"flotilla_confirm={NAME}")
    assert refused.status != 0 and f"Set kubernetes_version: {OLD}" in refused.output, refused.output[-3000:]
    world.define(OLD)
    refused = world.rollback("-e", "flotilla_confirm=somebody-else")
    assert refused.status != 0 and "nobody confirmed it" in refused.output, refused.output[-3000:]
    assert re.search(r"\d+ writes since would be lost", refused.output) and re.search(r"configmaps: [1-9]\d* created", refused.output)
    assert world.versions() == {NEW} and "written-after" in world.names(), "so far nothing happened"

    (machine,) = outside.machines(NAME, "control-plane")
    # As a kubeadm does that a run started which was interrupted.
    outside.host("podman", "exec", "--detach", machine, "flock", "/var/lib/flotilla/kubeadm.lock", "sleep", "infinity")
    refused = world.rollback("-e", f"flotilla_confirm={NAME}")
    assert refused.status != 0 and "still works on" in refused.output, refused.output[-3000:]
    assert world.versions() == {NEW} and "written-after" in world.names(), "nothing that runs was touched"
    outside.host("podman", "exec", machine, "pkill", "--full", "sleep infinity")

    back = world.rollback("-e", f"flotilla_confirm={NAME}")
    assert back.status == 0, back.output[-6000:]
    assert "written-before" in world.names() and "written-after" not in world.names()
    assert world.versions() == {OLD} and world.manifests_of_static_pods() == before
    wait_for("the pods", world.pods_ready)


def test_it_is_taken_back_once(world: World) -> None:
    again = world.play("cluster_apply")
    assert (again.status, again.changed) == (0, 0), again.output[-6000:]
    world.kubectl("create", "configmap", "written-since")
    again = world.rollback("-e", f"flotilla_confirm={NAME}")
    assert again.status != 0 and again.changed == 0 and "there is nothing to take back" in again.output, again.output[-3000:]
    assert "written-since" in world.names()


def test_the_next_upgrade_begins_at_its_beginning(world: World) -> None:
    assert world.remembered() == []
    world.define(NEW)
    upgraded = world.play("cluster_upgrade")
    assert upgraded.status == 0, upgraded.output[-6000:]
    assert world.versions() == {NEW} and {"written-before", "written-since"} <= world.names()
    newest = world.store.manifests()[-1]
    assert (newest["occasion"], newest["kubernetes_version"]) == ("before-upgrade", OLD)
    for playbook in ("cluster_upgrade", "cluster_apply"):
        again = world.play(playbook)
        assert (again.status, again.changed) == (0, 0), again.output[-6000:]
