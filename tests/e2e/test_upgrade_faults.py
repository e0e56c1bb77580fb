# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong before and during an upgrade stops it where the documentation says, or rides along: `make e2e-upgrade-faults`.

The tests follow each other: one cluster of 1.35 with a pool of canaries, which reaches 1.36 in the end.
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

NAME, OLD, NEW = "test-upfault", "1.35.4", "1.36.3"
SOAK = 20.0  # seconds

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class World:
    foundation: Path
    # The check of the definition writes the time down, and fails while the second file is there.
    asked: Path
    broken: Path

    def define(self, version: str) -> None:
        program = f"date +%s.%N >> {self.asked}; test ! -e {self.broken}"
        outside.write_definition(
            self.foundation,
            NAME,
            kubernetes_version=version,
            pools=[{"name": "workers", "count": 2}, {"name": "canary", "count": 1, "rollout": {"canary": True, "soak": f"{SOAK:.0f}s"}}],
            checks=[{"name": "written down", "command": ["sh", "-c", program]}],
            local={"network_cidr": "172.30.235.0/24"},
        )

    def upgrade(self, *options: str) -> outside.Run:
        return outside.playbook(
            "cluster_upgrade", self.foundation, *options, environment={"FLOTILLA_REPORT_DIR": str(self.foundation / "reports")}
        )

    def report(self) -> dict[str, Any]:
        """Return the report of the last upgrade."""
        return json.loads(max(self.foundation.glob(f"reports/{NAME}/*/report.json")).read_text(encoding="utf-8"))

    def kubectl(self, *arguments: str) -> str:
        (machine,) = outside.machines(NAME, "control-plane")
        return outside.host("podman", "exec", machine, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", *arguments)

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        return json.loads(self.kubectl("get", *arguments, "--output=json"))["items"]

    def versions(self) -> dict[str, str]:
        """Return the version of each node's kubelet."""
        return {one["metadata"]["name"]: one["status"]["nodeInfo"]["kubeletVersion"].lstrip("v") for one in self.items("nodes")}

    def not_ready(self) -> list[str]:
        shown = self.kubectl("get", "nodes", "--no-headers")
        return [line.split()[0] for line in shown.splitlines() if line.split()[1].startswith("NotReady")]

    def complete(self) -> bool:
        sets = [one["status"] for one in self.items("daemonsets", "-A")]
        return self.not_ready() == [] and all(one["numberReady"] == one["desiredNumberScheduled"] for one in sets)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    inputs = tmp_path_factory.mktemp("checks")
    made = World(tmp_path_factory.mktemp("upgrade-faults"), inputs / "asked", inputs / "broken")
    made.define(OLD)
    if any(outside.left_of(NAME).values()):
        outside.playbook("cluster_delete", made.foundation, "-e", f"flotilla_confirm={NAME}")
    created = outside.playbook("cluster_apply", made.foundation)
    assert created.status == 0, created.output[-6000:]
    made.define(NEW)
    yield made
    if not os.environ.get("FLOTILLA_KEEP"):
        outside.playbook("cluster_delete", made.foundation, "-e", f"flotilla_confirm={NAME}")


def test_the_plan_of_a_fleet_shows_the_way(world: World, tmp_path: Path) -> None:
    report = tmp_path / "plan.json"
    run = outside.playbook("fleet_plan", world.foundation, "-e", f"flotilla_report={report}")
    assert (run.status, run.changed) == (0, 0), run.output[-6000:]
    (wave,) = json.loads(report.read_text())["waves"]
    (found,) = wave["clusters"]
    assert (found["action"], found["present"], found["hops"]) == ("upgrade", OLD, [NEW])
    assert set(world.versions().values()) == {OLD}


def test_a_check_that_does_not_hold_stops_it_before_anything_is_touched(world: World) -> None:
    world.broken.touch()
    run = world.upgrade()
    assert run.status != 0 and run.changed == 0
    assert "Of 1 checks, 1 did not hold for 2m: written down: sh ended with 1" in run.output
    report = world.report()
    assert (report["result"], report["stopped"]["code"], report["run"]) == ("failed", "CHECK_FAILED", "")
    assert [check["held"] for check in report["checks"]] == [False] and report["evictions"] == []
    assert set(world.versions().values()) == {OLD}
    world.broken.unlink()


def test_a_worker_out_of_reach_stops_it_unless_somebody_allows_that(world: World) -> None:
    dead = outside.machines(NAME, "workers")[0]
    outside.host("podman", "stop", "--time", "2", dead)
    wait_for("the node to be missed", lambda: world.not_ready() == [dead])
    run = world.upgrade()
    assert run.status != 0 and run.changed == 0
    assert "UPGRADE_NODE_NOT_READY" in run.output and dead in run.output
    assert set(world.versions().values()) == {OLD}


def test_the_others_are_upgraded_without_it_canaries_first(world: World) -> None:
    dead, alive = outside.machines(NAME, "workers")
    (canary,) = outside.machines(NAME, "canary")
    run = world.upgrade("-e", "flotilla_unready_workers=1")
    # It is not what the definition says yet, and says so.
    assert run.status != 0
    assert f"{dead} (out of reach). Everything else runs {NEW}" in run.output, run.output[-6000:]
    assert {node for node, version in world.versions().items() if version != NEW} == {dead}
    assert 0 < run.output.index(f"changed: [{canary} -> ") < run.output.index(f"changed: [{alive} -> ")
    asked = [float(line) for line in world.asked.read_text().splitlines()]
    # While the canary soaked the check was asked again and again.
    stretches = [[asked[0]]]
    for moment in asked[1:]:
        if moment - stretches[-1][-1] > 5:
            stretches.append([])
        stretches[-1].append(moment)
    assert max(one[-1] - one[0] for one in stretches) >= SOAK - 2


def test_when_it_is_back_the_next_run_does_the_rest(world: World) -> None:
    dead = outside.machines(NAME, "workers")[0]
    outside.host("podman", "start", dead)
    wait_for("the node to be back", lambda: world.not_ready() == [])
    # Nobody brought it the images of the new kube-proxy while it was away; the run does, and so does not stop for that.
    assert not world.complete()
    run = world.upgrade()
    assert run.status == 0, run.output[-6000:]
    assert set(world.versions().values()) == {NEW}
    report = world.report()
    assert report["result"] == "done" and [one["result"] for one in report["earlier"]] == ["failed"] * 3
    assert {parts["kubelet"] for parts in report["versions"]["before"].values()} == {OLD}
    assert {parts["kubelet"] for parts in report["versions"]["after"].values()} == {NEW}
    assert {node["name"] for node in report["nodes"]} == {"", *outside.machines(NAME)}
    for name in ("cluster_upgrade", "cluster_apply"):
        again = outside.playbook(name, world.foundation)
        assert (again.status, again.changed) == (0, 0), again.output[-6000:]
    assert world.complete()
