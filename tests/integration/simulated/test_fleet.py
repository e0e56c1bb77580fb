# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real `fleet_plan` and `fleet_upgrade` over simulated clusters: same playbooks in each, commands of the machines simulated.

What happened is read from the clusters' own journals, not from what the run says of itself.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import outside
import pytest
import yaml
from simulated.world import NEW, World, age, done, kill, overlaps, untouched, versions

# Of the long cases; these are what has to hold. Fewer are for work on the tests.
MANY = int(os.environ.get("FLOTILLA_SIMULATED_CLUSTERS", "100"))
KILLS = int(os.environ.get("FLOTILLA_SIMULATED_KILLS", "50"))
# Journal lines of all clusters that may pass between two kills, at most.
SPREAD = 40


class Fleet:
    """A fleet of simulated clusters with one control plane and two workers each, to be upgraded by one minor."""

    def __init__(self, world: World, size: int, **terms: Any) -> None:
        self.world, self.folder = world, world.folder
        self.names = [f"c{number:03}" for number in range(size)]
        self.clusters = [world.cluster(name, labels={"stage": "canary" if name == "c000" else "other"}) for name in self.names]
        canaries = {"name": "canaries", "clusters": {"labels": {"stage": "canary"}}, "canary": True}
        head = {"plugin": "flotilla.kubernetes.cluster", "schema": 1, "kind": "fleet", "max_clusters_in_flight": 2}
        fleet = {**head, "waves": [canaries, {"name": "rest"}], **terms}
        (self.folder / "lab/fleet.yml").write_text(yaml.safe_dump(fleet, sort_keys=False), encoding="utf-8")
        self.plan_file = self.folder / "plan.json"

    def plan(self) -> None:
        planned = self.world.play("fleet_plan", "-e", f"flotilla_report={self.plan_file}")
        assert planned.status == 0, planned.output[-5000:]
        steps = {one["name"]: one["action"] for wave in json.loads(self.plan_file.read_text())["waves"] for one in wave["clusters"]}
        assert steps == dict.fromkeys(self.names, "upgrade")

    @property
    def options(self) -> list[str]:
        given = {
            "flotilla_plan": str(self.plan_file),
            "flotilla_fleet_directory": str(self.folder / "runs"),
            "flotilla_report": str(self.folder / "report.json"),
        }
        return ["-e", json.dumps(given)]

    def upgrade(self) -> outside.Run:
        return self.world.play("fleet_upgrade", *self.options, timeout=7200)

    def start(self) -> Any:
        return self.world.start("fleet_upgrade", *self.options, log=self.folder / "output")

    def results(self) -> dict[str, str]:
        return {one["name"]: one["result"] for one in json.loads((self.folder / "report.json").read_text())["clusters"]}

    def events(self) -> list[dict[str, Any]]:
        """Return what the driver wrote down; its pid is of interest, and when a failure was known."""
        found = list((self.folder / "runs").glob("*/events.jsonl"))
        lines = found[0].read_text().splitlines() if found else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def changed(self) -> list[str]:
        return [name for name, cluster in zip(self.names, self.clusters) if not untouched(cluster)]

    def ended(self) -> int:
        """Return how many runs of clusters the driver has seen end."""
        return sum(one["event"] in ("done", "failed") for one in self.events())

    def lines(self) -> int:
        """Return how many lines the journals of all clusters have."""
        return sum(path.read_bytes().count(b"\n") for path in self.folder.glob("clusters/*/journal.jsonl"))

    def let_time_pass(self) -> None:
        """Let what is not at work any more be dead for everybody."""
        working = {path.name.split("-")[1] for path in locked(self.folder, "playbook")}
        for name, cluster in zip(self.names, self.clusters):
            if name not in working:
                age(cluster)

    def all_upgraded_once(self) -> None:
        for name, cluster in zip(self.names, self.clusters):
            assert versions(cluster) == {NEW}, name
            assert sorted(done(cluster, "kubeadm upgrade")) == [(f"{name}-{node}", NEW) for node in ("cp-1", "w-1", "w-2")], name
            assert overlaps(cluster, "cluster_upgrade:") == [], name


def wait(condition: Callable[[], object], seconds: float = 300, log: Path | None = None) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, log.read_text()[-5000:] if log and log.exists() else "it takes too long"
        time.sleep(0.02)


@pytest.fixture
def fleet_of(world: World) -> Iterator[Callable[..., Fleet]]:
    yield lambda size, **terms: Fleet(world, size, **terms)
    # Whatever a failed test has left at work.
    kill_all(held(world.folder))


def test_a_failed_canary_leaves_the_other_untouched(fleet_of: Callable[..., Fleet]) -> None:
    """The short one of them, for CI."""
    failed_canary(fleet_of(2))


@pytest.mark.slow
def test_three_clusters_are_upgraded_and_the_canary_comes_first(fleet_of: Callable[..., Fleet]) -> None:
    fleet = fleet_of(3)
    fleet.plan()
    assert fleet.changed() == [], "a plan changes nothing"
    run = fleet.upgrade()
    assert run.status == 0, run.output[-5000:]
    fleet.all_upgraded_once()
    assert fleet.results() == dict.fromkeys(fleet.names, "done")
    acts = [[one["at"] for one in cluster.journal() if one["what"] != "look"] for cluster in fleet.clusters]
    assert max(acts[0]) < min(acts[1] + acts[2]), "nothing is changed before the canary is done"


@pytest.mark.slow
def test_a_failed_canary_leaves_all_others_untouched(fleet_of: Callable[..., Fleet]) -> None:
    failed_canary(fleet_of(20), at="kubeadm upgrade node")


def failed_canary(fleet: Fleet, at: str = "bring files") -> None:
    """Let the canary fail at an act, the first one of an upgrade if none is named."""
    fleet.plan()
    fleet.clusters[0].fault(at)
    run = fleet.upgrade()
    assert run.status != 0 and "FLEET_INCOMPLETE" in run.output, run.output[-5000:]
    assert fleet.changed() == ["c000"]
    assert fleet.results() == {"c000": "failed", **dict.fromkeys(fleet.names[1:], "left_out")}


@pytest.mark.slow
@pytest.mark.parametrize(("broken", "budget"), [((2,), 0), ((1, 5), 1), ((7, 8, 13), 2)])
def test_nothing_new_starts_after_the_budget_is_spent(fleet_of: Callable[..., Fleet], broken: tuple[int, ...], budget: int) -> None:
    fleet = fleet_of(20, failure_budget=budget)
    fleet.plan()
    for number in broken:
        fleet.clusters[number].fault("kubeadm upgrade")
    run = fleet.upgrade()
    assert run.status != 0, run.output[-5000:]
    failed = [name for name, result in fleet.results().items() if result == "failed"]
    assert failed == [fleet.names[number] for number in broken], "each fault was met, so the budget is spent exactly there"
    # From when the failure was known to the driver: no cluster is changed that was not begun before.
    known = [one for one in fleet.events() if one["event"] == "failed"][budget]
    began = {one["cluster"] for one in fleet.events()[: fleet.events().index(known)] if one["event"] == "begun"}
    assert set(fleet.changed()) == began
    left = [name for name, result in fleet.results().items() if result == "left_out"]
    assert left and set(left) == set(fleet.names) - began
    # Mended, the same command does the rest, and nothing of what is done again.
    for cluster in fleet.clusters:
        cluster.mend()
    fleet.let_time_pass()
    again = fleet.upgrade()
    assert again.status == 0, again.output[-5000:]
    fleet.all_upgraded_once()


@pytest.mark.slow
def test_a_hundred_clusters(fleet_of: Callable[..., Fleet]) -> None:
    fleet = fleet_of(MANY)
    fleet.plan()
    run = fleet.upgrade()
    assert run.status == 0, run.output[-5000:]
    fleet.all_upgraded_once()
    assert set(fleet.results().values()) == {"done"} and f"{MANY} of {MANY} clusters are done" in run.output
    print(f"simulated_clusters={MANY} done={len(fleet.results())} seconds={run.seconds:.0f}")


@pytest.mark.slow
def test_killed_at_many_points_in_a_chain_and_gone_on_with(fleet_of: Callable[..., Fleet]) -> None:
    """Kill what is at work again and again; only time passes in between."""
    fleet = fleet_of(max(3, KILLS // 3), max_clusters_in_flight=3, failure_budget="100%")
    fleet.plan()
    chance = random.Random(1)
    killed: list[str] = []
    while len(killed) < KILLS:
        kind = KINDS[len(killed) % len(KINDS)]
        if not kill_once(fleet, kind, chance):
            break
        killed.append(kind)
    # What a killed driver has left goes on, and what went wrong by a kill is tried again.
    for _attempt in range(3):
        fleet.let_time_pass()
        run = fleet.upgrade()
        if run.status == 0:
            break
    assert run.status == 0, run.output[-5000:]
    fleet.all_upgraded_once()
    assert set(fleet.results().values()) == {"done"}
    print(f"kills={len(killed)} clusters={len(fleet.names)}")
    assert len(killed) == KILLS, "the clusters were done before: give it more of them"


KINDS = ("driver", "playbook", "terminal", "all")


def kill_once(fleet: Fleet, kind: str, chance: random.Random) -> bool:
    """Go on with the upgrade and kill something of it: its driver, the playbook of one cluster, the terminal, or everything.

    :return: whether there was something to kill; if not, all clusters are done.
    """
    for _attempt in range(5):
        fleet.let_time_pass()
        process = fleet.start()
        wait(lambda running=process: held(fleet.folder, "fleet") or running.poll() is not None, log=fleet.folder / "output")
        # A point is a number of further looks and acts, anywhere in the fleet.
        point = fleet.lines() + chance.randrange(1, SPREAD)
        wait(lambda at=point, running=process: fleet.lines() >= at or running.poll() is not None, log=fleet.folder / "output")
        if process.poll() is None:
            break
        if process.returncode == 0:
            return False
        # A driver that nobody followed any more has ended what was begun, and stopped there.
    else:
        raise AssertionError((fleet.folder / "output").read_text()[-5000:])
    drivers, playbooks = held(fleet.folder, "fleet"), held(fleet.folder, "playbook")
    if kind == "playbook" and playbooks:
        # Its driver sees that, and is killed, too: it would go on until all others have failed or are done.
        ended = fleet.ended()
        kill_all([chance.choice(playbooks)])
        wait(lambda: fleet.ended() > ended or not held(fleet.folder, "fleet"), log=fleet.folder / "output")
        kill_all(held(fleet.folder, "fleet"))
    elif kind == "terminal":
        kill(process)
    else:
        kill_all([*drivers, *(held(fleet.folder) if kind == "all" else [])])
    process.wait(300)
    return True


def locked(folder: Path, kind: str = "*") -> list[Path]:
    """Return the locks of a kind that somebody has: of a ``fleet``, of a ``cluster``, or of the ``playbook`` in it.

    To try a lock would take it for a moment, and be in somebody's way: the kernel is asked.
    """
    lines = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
    inodes = {line.split()[-3].rpartition(":")[2] for line in lines if " FLOCK " in line}
    return [path for path in (folder / "cache/fleet").glob(f"{kind}-*.lock") if str(path.stat().st_ino) in inodes]


def held(folder: Path, kind: str = "*") -> list[int]:
    """Return the processes that have locks of a kind."""
    found = []
    for path in locked(folder, kind):
        # Whoever has just taken it has not yet written who it is.
        with suppress(ValueError, KeyError):
            found.append(int(json.loads(path.read_text(encoding="utf-8"))["pid"]))
    return found


def kill_all(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
