# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs over a fleet of clusters that are definitions only: what runs in each is a small playbook that writes down when it was there.

What is asserted comes from what those playbooks wrote, not from what the run says of itself.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import outside

CLUSTERS = 20
NAMES = [f"c{number:02}" for number in range(CLUSTERS)]
# A lock, as another run in the same cluster would find it: seen from within, whatever the product's own locks do.
WORK = """
import fcntl, os, sys, time
from pathlib import Path
world, name = Path(sys.argv[1]), sys.argv[2]
def tell(what):
    with open(world / "log", "a") as log:
        log.write(f"{time.time()} {name} {what}\\n")
lock = open(world / f"{name}.lock", "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    tell("overlap")
    sys.exit(1)
tell("begin")
slow = world / f"{name}.slow"
time.sleep(float(slow.read_text()) if slow.exists() else 0.2)
if (world / f"{name}.fails").exists():
    tell("broke")
    sys.exit(f"{name} is made to fail")
tell("end")
"""
PLAYBOOK = """
- name: Work
  hosts: "{{ flotilla_cluster_name }}.cluster"
  connection: local
  gather_facts: false
  tasks:
    - name: Work in the cluster
      ansible.builtin.debug:
        msg: "{{ lookup('ansible.builtin.pipe', flotilla_test_work ~ ' ' ~ flotilla_cluster_name) }} {{ said | default('') }}"
"""
# The upgrade without what only real clusters answer: the facts are set that a look at them leaves.
UPGRADE = """
- name: Upgrade
  hosts: flotilla_clusters
  connection: local
  gather_facts: false
  tasks:
    - name: See
      ansible.builtin.set_fact:
        flotilla_versions: {oldest: "{{ is | default('1.35.4') }}", control_planes: [], kubelets: [], interrupted: []}
        flotilla_upgrade_hops: [{version: 1.36.3, workers: true}]
        flotilla_preflight: {findings: []}
    - name: Plan
      flotilla.kubernetes.fleet_plan: {report: "{{ plan }}", lasts: "{{ lasts | default('24h') }}"}
      run_once: true
      when: planned is defined
    - name: Upgrade
      flotilla.kubernetes.fleet_run: {plan: "{{ plan }}", directory: "{{ directory }}", playbook: "{{ playbook }}"}
      run_once: true
      when: planned is undefined
"""


@dataclass
class World:
    """A fleet in a folder."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "world").mkdir(parents=True)
        (self.folder / "work.py").write_text(WORK, encoding="utf-8")
        (self.folder / "work.yml").write_text(PLAYBOOK, encoding="utf-8")
        (self.folder / "upgrade.yml").write_text(UPGRADE, encoding="utf-8")
        for number, name in enumerate(NAMES):
            machines = [
                {"address": f"192.0.2.{number + 50}", "role": "control_plane"},
                {"address": f"192.0.2.{number + 100}", "pool": "workers"},
            ]
            self.define(
                name,
                labels={"stage": "canary" if name == "c00" else "other"},
                api_endpoint={"provider": "external", "address": f"192.0.2.{number + 150}"},
                existing={"host_keys": "accept_new", "machines": machines},
            )
        canaries = {"name": "canaries", "clusters": {"labels": {"stage": "canary"}}, "canary": True, "soak": "2s"}
        self.fleet(waves=[canaries, {"name": "rest"}])

    def define(self, name: str, **changes: Any) -> None:
        base = {
            "plugin": "flotilla.kubernetes.cluster",
            "schema": 1,
            "name": name,
            "cloud": "existing",
            "kubernetes_version": "1.36.3",
            "pools": [{"name": "workers"}],
            "access": {"ssh_user": "ops"},
        }
        path = self.folder / f"lab/clusters/{name}.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        before = yaml.safe_load(path.read_text()) if path.exists() else base
        path.write_text(yaml.safe_dump({**before, **changes}, sort_keys=False), encoding="utf-8")

    def fleet(self, **terms: Any) -> None:
        head = {"plugin": "flotilla.kubernetes.cluster", "schema": 1, "kind": "fleet", "max_clusters_in_flight": 4}
        (self.folder / "lab/fleet.yml").write_text(yaml.safe_dump({**head, **terms}, sort_keys=False), encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        return {**outside.playbook_environment(), "FLOTILLA_CACHE": str(self.folder / "cache"), "ANSIBLE_FORKS": "5"}

    def argv(self, *options: str, playbook: str = "flotilla.kubernetes.fleet_run") -> list[str]:
        given = {
            "flotilla_fleet_playbook": str(self.folder / "work.yml"),
            "flotilla_fleet_directory": str(self.folder / "runs"),
            "flotilla_report": str(self.folder / "report.json"),
            "flotilla_test_work": f"{sys.executable} {self.folder / 'work.py'} {self.folder / 'world'}",
        }
        inventory = ["-i", str(self.folder / "lab")]
        return [str(outside.BIN / "ansible-playbook"), *inventory, playbook, "-e", json.dumps(given), *options]

    def run(self, *options: str, playbook: str = "flotilla.kubernetes.fleet_run") -> outside.Run:
        began = time.monotonic()
        done = subprocess.run(
            self.argv(*options, playbook=playbook),
            cwd=outside.ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        return outside.Run(done.returncode, done.stdout, time.monotonic() - began)

    def upgrade(self, *options: str) -> outside.Run:
        names = {"plan": self.folder / "plan.json", "directory": self.folder / "runs", "playbook": self.folder / "work.yml"}
        given = json.dumps({key: str(value) for key, value in names.items()})
        return self.run("-e", given, *options, playbook=str(self.folder / "upgrade.yml"))

    def start(self, *options: str) -> subprocess.Popen[str]:
        out = (self.folder / "output").open("a")
        return subprocess.Popen(
            self.argv(*options),
            cwd=outside.ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )

    # What happened

    def log(self) -> list[tuple[float, str, str]]:
        """Return what the clusters' playbooks wrote: when, which cluster and what."""
        path = self.folder / "world/log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(float(at), name, what) for at, name, what in (line.split() for line in lines)]

    def names(self, what: str) -> list[str]:
        return [name for _at, name, said in self.log() if said == what]

    def most_at_once(self) -> int:
        now = most = 0
        for _at, _name, what in sorted(self.log()):
            now += {"begin": 1}.get(what, -1)
            most = max(most, now)
        return most

    def events(self) -> list[dict[str, Any]]:
        (path,) = (self.folder / "runs").glob("*/events.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()]

    def wait(self, condition: Callable[[], object], seconds: float = 120) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, (
                (self.folder / "output").read_text() if (self.folder / "output").exists() else "it takes too long"
            )
            time.sleep(0.05)

    def attempts(self) -> int:
        """Return how many drivers the run had."""
        return sum(one["event"] == "attempt" for one in self.events()) if list((self.folder / "runs").glob("*/events.jsonl")) else 0

    def driver(self) -> int:
        """Return the process of the driver that is at work."""
        return [one["pid"] for one in self.events() if one["event"] == "attempt"][-1]

    def report(self) -> dict[str, str]:
        return {one["name"]: one["result"] for one in json.loads((self.folder / "report.json").read_text())["clusters"]}

    def slow(self, seconds: float, *names: str) -> None:
        for name in names:
            (self.folder / f"world/{name}.slow").write_text(str(seconds))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "fleet")
    yield made
    for path in (tmp_path / "fleet/cache/fleet").glob("*.lock"):
        # Whatever a failed test has left at work: the file names its process as long as that has the lock, and later anybody's.
        with path.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                os.kill(json.load(lock)["pid"], signal.SIGKILL)


def test_all_clusters_are_done_wave_by_wave_and_a_second_run_is_another_one(world: World) -> None:
    done = world.run("-e", "said=secret-word")
    assert done.status == 0, done.output
    assert sorted(world.names("end")) == NAMES and world.names("overlap") == []
    assert 2 <= world.most_at_once() <= 4
    times = {(name, what): at for at, name, what in world.log()}
    assert min(at for (name, what), at in times.items() if what == "begin" and name != "c00") >= times["c00", "end"] + 2
    assert set(world.report().values()) == {"done"}
    assert "20 of 20 clusters are done" in done.output and "c07  begun in wave lab/rest" in done.output
    # Nobody else reads it, and it holds neither extra variables nor the environment.
    (run,) = (world.folder / "runs").iterdir()
    for path in [run, *run.rglob("*")]:
        assert path.is_symlink() or path.stat().st_mode & 0o077 == 0, path
        if path.is_file() and path.name != "stdout":
            assert "secret-word" not in path.read_text(errors="replace"), path
            assert os.environ["PATH"] not in path.read_text(errors="replace"), path
    assert "secret-word" in (run / "c07/artifacts/1/stdout").read_text()


def test_check_mode_says_what_would_be_begun_and_begins_nothing(world: World) -> None:
    done = world.run("--check")
    assert done.status == 0, done.output
    assert "1 would be begun now, 19 later, 0 not at all" in done.output
    assert world.log() == [] and not (world.folder / "runs").exists()


@pytest.mark.slow
def test_a_failed_canary_leaves_the_others_untouched_and_the_run_is_red(world: World) -> None:
    (world.folder / "world/c00.fails").touch()
    done = world.run()
    assert done.status != 0 and "FLEET_INCOMPLETE" in done.output, done.output
    assert world.names("begin") == ["c00"]
    assert world.report() == {"c00": "failed", **dict.fromkeys(NAMES[1:], "left_out")}
    # The log has all of it, the line what the task said.
    assert "c00  FAILED" in done.output and "Work in the cluster: " in done.output


@pytest.mark.slow
@pytest.mark.parametrize("budget", [0, 1])
def test_a_spent_budget_begins_nothing_else(world: World, budget: int) -> None:
    world.fleet(failure_budget=budget, max_clusters_in_flight=3)
    broken = ["c04", "c09"][: budget + 1]
    for name in broken:
        (world.folder / f"world/{name}.fails").touch()
    done = world.run()
    assert done.status != 0, done.output
    assert world.names("broke") == broken
    # Nobody can know that a run failed before its process has ended; from then on nothing is begun.
    happened = [(one["event"], one.get("cluster")) for one in world.events()]
    spent = [index for index, (what, _name) in enumerate(happened) if what == "failed"][budget]
    assert "begun" not in {what for what, _name in happened[spent:]}
    assert sorted(world.names("begin")) == sorted(name for what, name in happened if what == "begun")
    results = world.report()
    assert "left_out" in results.values() and sorted(name for name, result in results.items() if result == "failed") == broken


@pytest.mark.slow
def test_a_killed_driver_is_gone_on_with_and_no_cluster_is_run_twice_or_by_two(world: World) -> None:
    world.fleet(max_clusters_in_flight=3)
    world.slow(1.5, *NAMES[::4])
    for number, kill_at in enumerate((0, 1, 5, 11, 17), start=1):
        process = world.start()
        world.wait(lambda at=number: world.attempts() == at)
        world.wait(lambda at=kill_at: len(world.names("begin")) > at)
        os.kill(world.driver(), signal.SIGKILL)
        assert process.wait(60) != 0
    done = world.run()
    assert done.status == 0, done.output
    assert sorted(world.names("end")) == NAMES, "each ended once"
    assert sorted(world.names("begin")) == NAMES, "what a killed driver had begun went on by itself"
    assert world.names("overlap") == [] and world.most_at_once() <= 3
    assert world.attempts() == 6


@pytest.mark.slow
def test_two_at_once_and_twice_would_be_seen(world: World) -> None:
    """The control of the zeros above: the same playbook by hand, past the driver."""
    world.slow(8, "c01")
    argv = world.argv("-e", "flotilla_cluster_name=c01", playbook=str(world.folder / "work.yml"))
    first = subprocess.Popen(argv, cwd=outside.ROOT, env=world.environment, stdout=subprocess.DEVNULL)
    world.wait(lambda: world.names("begin"))
    assert subprocess.run(argv, cwd=outside.ROOT, env=world.environment, stdout=subprocess.DEVNULL, check=False).returncode != 0
    assert first.wait() == 0 and world.names("overlap") == ["c01"]
    world.slow(0, "c01")
    assert subprocess.run(argv, cwd=outside.ROOT, env=world.environment, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert world.names("end") == ["c01", "c01"]


@pytest.mark.slow
def test_a_cluster_whose_own_processes_were_killed_is_run_again(world: World) -> None:
    world.fleet(max_clusters_in_flight=2)
    world.slow(60, "c00")
    process = world.start()
    world.wait(lambda: "c00" in world.names("begin"))
    locks = {
        kind: json.loads(next((world.folder / "cache/fleet").glob(f"{kind}-c00-*")).read_text())["pid"] for kind in ("cluster", "playbook")
    }
    os.kill(world.driver(), signal.SIGKILL)
    assert process.wait(60) != 0
    os.kill(locks["cluster"], signal.SIGKILL)
    world.slow(0, "c00")
    resumed = world.start()
    world.wait(lambda: len(world.names("end")) >= 2)
    # Its ansible-playbook lives: nobody else begins there.
    assert world.names("begin").count("c00") == 1
    for pid in (locks["playbook"], *children(locks["playbook"])):
        os.kill(pid, signal.SIGKILL)
    assert resumed.wait(300) == 0, (world.folder / "output").read_text()
    assert world.names("begin").count("c00") == 2 and world.names("end").count("c00") == 1
    assert [one["attempt"] for one in world.events() if one["event"] == "begun" and one["cluster"] == "c00"] == [1, 2]


def children(pid: int) -> list[int]:
    """Return all processes below a process."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


@pytest.mark.slow
def test_one_interrupt_lets_running_clusters_end_and_a_second_one_ends_them(world: World) -> None:
    world.fleet(max_clusters_in_flight=2)
    world.slow(6, "c00", "c01")
    process = world.start()
    world.wait(lambda: len(world.names("begin")) == 2)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    world.wait(lambda: world.events()[-1]["event"] == "end")
    assert sorted(world.names("end")) == ["c00", "c01"] and len(world.names("begin")) == 2
    # The same again goes on with the others.
    world.slow(300, "c02", "c03")
    process = world.start()
    world.wait(lambda: len(world.names("begin")) == 4)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) != 0
    world.wait(lambda: sum(one["event"] == "stopping" for one in world.events()) == 2)
    again = world.start()
    world.wait(lambda: "is at work; this follows it" in (world.folder / "output").read_text())
    again.send_signal(signal.SIGINT)
    assert again.wait(60) != 0
    world.wait(lambda: world.events()[-1]["event"] == "end")
    assert len(world.names("begin")) == 4 and len(world.names("end")) == 2
    world.slow(0, "c02", "c03")
    done = world.run()
    assert done.status == 0, done.output
    assert sorted(world.names("end")) == NAMES and world.names("overlap") == []


@pytest.mark.slow
def test_one_driver_per_fleet(world: World) -> None:
    world.slow(20, "c00")
    process = world.start()
    world.wait(lambda: "c00" in world.names("begin"))
    (world.folder / "other.yml").write_text(PLAYBOOK)
    other = world.run("-e", f"flotilla_fleet_playbook={world.folder / 'other.yml'}")
    assert other.status != 0 and "FLEET_BUSY" in other.output, other.output
    os.kill(world.driver(), signal.SIGTERM)
    assert process.wait(120) != 0
    assert world.names("begin") == ["c00"] == world.names("end")


def test_an_upgrade_needs_a_plan_that_holds_still(world: World) -> None:
    missing = world.upgrade()
    assert missing.status != 0 and "FLEET_PLAN_MISSING" in missing.output, missing.output
    assert world.upgrade("-e", "planned=true", "-e", "lasts=1s").status == 0
    time.sleep(1.1)
    expired = world.upgrade()
    assert expired.status != 0 and "FLEET_PLAN_EXPIRED" in expired.output, expired.output
    assert world.upgrade("-e", "planned=true").status == 0
    moved = world.upgrade("-e", "is=1.36.1")
    assert moved.status != 0 and "FLEET_PLAN_STALE" in moved.output and "c03: was 1.35.4 upgrade" in moved.output, moved.output
    world.define("c05", labels={"stage": "canary"})
    changed = world.upgrade()
    assert changed.status != 0 and "c05: was in wave lab/rest, is in wave lab/canaries" in changed.output, changed.output
    assert world.log() == []
    world.define("c05", labels={"stage": "other"})
    done = world.upgrade()
    assert done.status == 0, done.output
    assert sorted(world.names("end")) == NAMES
    # What is done stays done.
    assert world.upgrade("-e", "is=1.36.3").status == 0
    assert sorted(world.names("begin")) == NAMES


@pytest.mark.slow
@pytest.mark.parametrize("option", [("--limit", "c01.cluster"), ("--tags", "x"), ("-e", "flotilla_fleet_playbook=cluster_delete")])
def test_what_a_run_over_a_fleet_does_not_take(world: World, option: tuple[str, ...]) -> None:
    done = world.run(*option)
    assert done.status != 0 and any(said in done.output for said in ("FLEET_", "--limit c01.cluster hides")), done.output
    assert world.log() == []
