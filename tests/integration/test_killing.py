# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The harness of tests/e2e/test_kill_anywhere.py kills where it says, and in the way that it says."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import killing

PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars: {ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  tasks:
    - name: Write
      ansible.builtin.copy: {content: new, dest: "{{ lookup('env', 'KILL_TARGET') }}"}
"""


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "play.yml").write_text(PLAYBOOK, encoding="utf-8")
    monkeypatch.setenv("KILL_TARGET", str(tmp_path / "target"))
    return tmp_path / "target"


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[killing.Gate]:
    monkeypatch.setattr(killing, "_running", lambda cluster: {})
    made = killing.Gate("none", tmp_path, tmp_path / "events.log")
    yield made
    made.close()


def _play(gate: killing.Gate, target: Path, choose: Callable[[killing.Event], str]) -> tuple[killing.Stage, int]:
    stage, run = killing.play(gate, Path("localhost,"), choose, f"run-{time.monotonic_ns()}", str(target.with_name("play.yml")))
    assert stage.killed or run.status == 0, run.output
    return stage, run.status


def test_a_run_that_nobody_kills_shows_its_events(gate: killing.Gate, target: Path) -> None:
    stage, status = _play(gate, target, lambda event: "")
    assert (status, target.read_text()) == (0, "new")
    seen = [(event.kind, event.phase) for event in stage.events]
    assert seen.index(("module", "before")) < seen.index(("rename", "before")) < seen.index(("rename", "after"))
    assert seen[-1] == ("module", "after")


@pytest.mark.parametrize(("phase", "there"), [("before", False), ("after", True)])
def test_a_rename_is_killed_on_the_side_that_was_asked_for(gate: killing.Gate, target: Path, phase: str, there: bool) -> None:
    stage, status = _play(gate, target, lambda event: "all" if (event.kind, event.phase) == ("rename", phase) else "")
    assert stage.killed and status == -9
    time.sleep(1)
    assert target.exists() is there


@pytest.mark.parametrize(("how", "goes_on"), [("group", True), ("all", False)])
def test_workers_outlive_the_process_group_and_nothing_else(gate: killing.Gate, target: Path, how: str, goes_on: bool) -> None:
    def choose(event: killing.Event) -> str:
        return how if event.kind == "module" and "copy" in event.step and event.phase == "before" else ""

    stage, status = _play(gate, target, choose)
    assert stage.killed and status == -9
    deadline = time.monotonic() + (60 if goes_on else 3)
    while not target.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert target.exists() is goes_on


def test_a_chain_goes_on_from_its_file_and_hits_nothing_twice(tmp_path: Path) -> None:
    event = killing.Event("rename", "worker", "node_files: /etc/crictl.yaml", killing.BEFORE)
    tale = killing.Tale(tmp_path / "kill.json", "case", "1")
    assert tale.fresh and tale.choose(event) == killing.way("1", event)
    tale.add(killing.Stage(None, "run-1", tale.choose, killed=event, how="all"), "commit")
    again = killing.Tale(tmp_path / "kill.json", "case", "1")
    assert not again.fresh and again.choose(event) == ""
    assert killing.Tale(tmp_path / "kill.json", "case", "2").fresh, "another seed is another chain"
    again.finish("holds")
    assert killing.Tale(tmp_path / "kill.json", "case", "1").fresh, "a chain that has ended is not gone on with"


@pytest.mark.parametrize(
    ("command", "reads"),
    [
        ("podman ps --all --format json", True),
        ("/usr/bin/podman --runtime runc create --name x", False),
        ("podman exec -i demo-1 sh -c cat > /x", False),
        ("kubeadm version --output=short", True),
        ("kubeadm init phase upload-certs", False),
        ("ctr --namespace=k8s.io images list --quiet", True),
        ("ctr --namespace=k8s.io images import --local x.tar", False),
        ("systemctl show containerd", True),
        ("/usr/bin/systemctl restart containerd", False),
    ],
)
def test_commands_that_only_read_are_no_events(command: str, reads: bool) -> None:
    assert bool(killing.READING.match(command)) is reads
