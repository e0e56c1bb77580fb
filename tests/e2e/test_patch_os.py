# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages of a cluster's machines are updated and the machines boot where they have to: `make e2e-patch-os`.

The tests follow each other. No package source of the distribution is within reach, so each machine has one of its own, in a folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import outside
import pytest
from conftest import wait_for

NAME = "test-patch-os"
PACKAGE = """
set -e
mkdir -p /opt/probe/made/DEBIAN && cd /opt/probe
printf 'Package: {name}\\nVersion: {version}\\nArchitecture: all\\nMaintainer: x <x@example.org>\\nDescription: probe\\n' > control
cp control made/DEBIAN/control
dpkg-deb --build made {name}_{version}.deb >/dev/null
"""
INDEX = """
cd /opt/probe
{{ cat control; echo "Filename: ./{name}_{version}.deb"; echo "Size: $(stat -c %s {name}_{version}.deb)"
echo "SHA256: $(sha256sum {name}_{version}.deb | cut -d ' ' -f 1)"; echo; }} > Packages
printf 'Label: {label}\\nVersion: 13\\nSuite: {suite}\\nSHA256:\\n %s %s Packages\\n' \\
    $(sha256sum Packages | cut -d ' ' -f 1) $(stat -c %s Packages) > Release
echo 'deb [trusted=yes] file:/opt/probe ./' > /etc/apt/sources.list.d/probe.list
"""
NO_SOURCES = "find /etc/apt/sources.list /etc/apt/sources.list.d -type f -delete 2>/dev/null || true; rm -rf /var/lib/apt/lists/*"
STARTED = "cut -d ' ' -f 22 /proc/1/stat"

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def offer(machine: str, name: str, label: str, suite: str) -> None:
    """Install version 1.0 of a package and let the package source of a machine have 2.0."""
    outside.shell(machine, PACKAGE.format(name=name, version="1.0") + f"dpkg --install {name}_1.0.deb >/dev/null")
    outside.shell(machine, PACKAGE.format(name=name, version="2.0") + INDEX.format(name=name, version="2.0", label=label, suite=suite))


def installed(machine: str, name: str) -> str:
    return outside.shell(machine, f"dpkg-query --show --showformat='${{Version}}' {name}")


@dataclass(frozen=True)
class World:
    foundation: Path
    control_plane: str
    workers: list[str]

    @property
    def machines(self) -> list[str]:
        return [self.control_plane, *self.workers]

    def play(self, playbook: str, *options: str) -> outside.Run:
        return outside.playbook(playbook, self.foundation, *options)

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Return what kubectl prints; nothing while no API server answers."""
        command = ["podman", "exec", "-i", self.control_plane, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False).stdout

    def ready(self) -> int | None:
        """Return how many pods of the Deployment are ready, or None while no API server answers."""
        shown = self.kubectl("get", "deployment", "web", "--output=jsonpath={.status.replicas} {.status.readyReplicas}")
        return int(shown.partition(" ")[2] or 0) if shown else None

    def started(self) -> dict[str, int]:
        """Return since when the first process of each machine runs."""
        return {machine: int(outside.shell(machine, STARTED)) for machine in self.machines}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    foundation = tmp_path_factory.mktemp("patch-os")
    outside.write_definition(foundation, NAME, pools=[{"name": "workers", "count": 2}], local={"network_cidr": "172.30.229.0/24"})
    if any(outside.left_of(NAME).values()):
        outside.playbook("cluster_delete", foundation, "-e", f"flotilla_confirm={NAME}")
    made = outside.playbook("cluster_apply", foundation)
    assert made.status == 0, made.output[-6000:]
    (control_plane,) = outside.machines(NAME, "control-plane")
    world = World(foundation, control_plane, outside.machines(NAME, "workers"))
    bundle = json.loads((outside.cache() / "bundles/1.36.3/manifest.json").read_text(encoding="utf-8"))
    world.kubectl("create", "deployment", "web", f"--image={bundle['pause_image']}", "--replicas=2")
    world.kubectl("create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=1")
    wait_for("two pods", lambda: world.ready() == 2)
    for machine in world.machines:
        outside.shell(machine, NO_SOURCES)
    yield world
    if not os.environ.get("FLOTILLA_KEEP"):
        outside.playbook("cluster_delete", foundation, "-e", f"flotilla_confirm={NAME}")


@contextmanager
def watched(world: World) -> Iterator[list[int]]:
    """Start machines that shut down, as a hypervisor does when one reboots; and give how many pods were ready, again and again."""
    stop = threading.Event()
    seen: list[int] = []

    def watch() -> None:
        while not stop.wait(0.5):
            for machine in world.machines:
                if outside.host("podman", "inspect", "--format", "{{.State.Running}}", machine).strip() == "false":
                    outside.host("podman", "start", machine)
            number = world.ready()
            if number is not None:
                seen.append(number)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def nothing_is_left_to_do(world: World) -> None:
    again = world.play("cluster_patch_os")
    assert (again.status, again.changed) == (0, 0), again.output[-6000:]
    nodes = json.loads(world.kubectl("get", "nodes", "--output=json"))["items"]
    assert not any(
        node["spec"].get("unschedulable") or node["spec"].get("taints") for node in nodes if world.control_plane not in str(node)
    )


def test_packages_are_updated_and_nobody_boots(world: World) -> None:
    safe = world.workers[0]
    offer(world.control_plane, "probe-plain", "Debian", "stable")
    offer(safe, "probe-safe", "Debian-Security", "stable-security")
    before = world.started()

    def versions() -> tuple[str, str]:
        return installed(world.control_plane, "probe-plain"), installed(safe, "probe-safe")

    # Check mode goes by the lists that the machines have.
    for machine in world.machines:
        outside.shell(machine, "apt-get --quiet update")
    predicted = world.play("cluster_patch_os", "--check")
    assert predicted.status == 0 and predicted.changed > 0, predicted.output[-6000:]
    assert "1 package to update, 1 for security (probe-safe)" in predicted.output
    assert versions() == ("1.0", "1.0")
    run = world.play("cluster_patch_os", "-e", "flotilla_security_only=true")
    assert run.status == 0, run.output[-8000:]
    assert versions() == ("1.0", "2.0")
    run = world.play("cluster_patch_os")
    assert run.status == 0, run.output[-8000:]
    assert versions() == ("2.0", "2.0")
    nothing_is_left_to_do(world)
    assert world.started() == before


def test_machines_boot_where_they_have_to_one_after_another(world: World) -> None:
    before = world.started()
    for machine in world.machines:
        outside.shell(machine, "echo linux-image > /run/reboot-required.pkgs; touch /run/reboot-required")
    with watched(world) as seen:
        run = world.play("cluster_patch_os")
    assert run.status == 0, run.output[-8000:]
    after = world.started()
    assert all(after[machine] > before[machine] for machine in world.machines)
    assert after[world.control_plane] < min(after[worker] for worker in world.workers), "control planes come first"
    assert len(seen) > 10 and min(seen) >= 1, "both pods were away at once"
    wait_for("two pods", lambda: world.ready() == 2)
    nothing_is_left_to_do(world)
    assert world.started() == after


def test_nobody_boots_when_somebody_says_so(world: World) -> None:
    before = world.started()
    outside.shell(world.workers[0], "touch /run/reboot-required")
    never = world.play("cluster_patch_os", "-e", "flotilla_reboot=never")
    assert (never.status, never.changed) == (0, 0), never.output[-6000:]
    assert world.started() == before
    with watched(world):
        run = world.play("cluster_patch_os")
    assert run.status == 0, run.output[-8000:]
    assert [machine for machine, moment in world.started().items() if moment != before[machine]] == [world.workers[0]]
