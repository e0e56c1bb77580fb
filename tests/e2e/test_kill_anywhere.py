# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A create that is killed anywhere, and run again, ends with the same healthy cluster and leaves nothing over.

Each run is killed (SIGKILL, no goodbye) exactly at an event: before or after a module, a file transfer, a command that changes something,
a file rename or a changing API request, on the controller or on a node, or in the middle of it; kubeadm by the lines of its log. How
that is done: `tests/support/killing.py`. There are three ways to die, chosen by the event: ``group`` is the run's process group, which
leaves Ansible's workers to end the task at hand while the next run begins; ``all`` is the workers, too; ``machine`` is also the process
on the node. In the first two everything on the nodes lives on.

- `make e2e` kills one create three times: while machines are made, at a file rename, and half way through kubeadm. Which step of these
  kinds it is changes with the commit.
- `make e2e-kill` kills one create at every event that no run before was killed at, until a run ends by itself. It stops after
  KILL_MINUTES (default 25) and says how far it came; the same command goes on from there, with the cluster as it is. What was hit is in
  build/e2e/kill.json, each event in build/e2e/kill-events.log.
- `make e2e-kill-fresh` kills three fresh clusters, each once.

It reads and writes inside the nodes, so it runs as root only. KILL_SEED chooses other events and ways, KILL_CLUSTER and KILL_NETWORK
another cluster.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import finished
import killing
import outside
import pytest
from conftest import VERSION, wait_for

NAME = os.environ.get("KILL_CLUSTER", "test-kill")
POOLS = {"control-plane": 3, "workers": 1}
BUILD = outside.ROOT / "build/e2e"
WORK = BUILD / "kill"
# For the short chain: one of the first so many events of each of these, in the order of a create.
TARGETS: list[tuple[str, int, Callable[[killing.Event], bool]]] = [
    ("a machine is made", 40, lambda event: event.kind == "command" and event.step.startswith("local_machines: podman")),
    ("a file takes its place on a node", 40, lambda event: event.kind == "rename" and event.place != "controller"),
    ("kubeadm is half way", 20, lambda event: event.kind == "kubeadm"),
]

PLANTED = (
    "/var/lib/flotilla/kubeadm.started",
    "/run/flotilla-planted",
    "/etc/containerd/.config.toml.flotilla",
    "/var/lib/flotilla/.files.json.abcd1234",
    "/home/flotilla/.ansible/tmp/planted",
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def definition() -> Path:
    """Always the same file, because its folder is who owns the cluster."""
    return outside.write_definition(
        WORK,
        NAME,
        kubernetes_version=VERSION,
        control_plane={"count": POOLS["control-plane"]},
        pools=[{"name": "workers", "count": POOLS["workers"]}],
        local={"network_cidr": os.environ.get("KILL_NETWORK", "172.30.241.0/24"), "egress": "deny"},
    )


@pytest.fixture
def gate(definition: Path) -> Iterator[killing.Gate]:
    made = killing.Gate(NAME, WORK, BUILD / "kill-events.log")
    yield made
    made.close()


def _delete(definition: Path) -> None:
    """Delete the cluster and what its runs left on the controller."""
    deleted = outside.playbook("cluster_delete", definition, "-e", f"flotilla_confirm={NAME}")
    assert deleted.status == 0, deleted.output[-3000:]
    assert not any(outside.left_of(NAME).values()), outside.left_of(NAME)
    for left in (WORK / "tmp").iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def _judge(definition: Path, gate: killing.Gate, last: outside.Run) -> None:
    """Judge the cluster after the run that ended by itself."""
    assert last.status == 0, last.output[-8000:]
    # kubeadm init always makes a token; ours lives a minute, and the cluster's own controller removes it.
    wait_for("join secrets gone", lambda: not finished.join_secrets(NAME), timeout=150)
    # A pod may become Ready a little later; what is left over stays.
    until = time.monotonic() + 120
    while (found := finished.problems(NAME, POOLS)) and time.monotonic() < until:
        time.sleep(2)
    assert found == []
    assert finished.of_controller(gate.temporary) == []
    again = outside.playbook("cluster_apply", definition)
    assert again.status == 0 and again.changed == 0, again.output[-8000:]


def _commit() -> str:
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=outside.ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _draw(seed: str, most: int) -> int:
    """Return a number below ``most``, the same for the same seed."""
    return int(hashlib.sha256(seed.encode()).hexdigest(), 16) % most


def _plant() -> str:
    """Leave what a bad run would leave, as a proof that it is found; return the volume, which is nobody's and stays after a delete."""
    worker = outside.machines(NAME, "workers")[0]
    volume = f"{worker}-more"
    outside.host("podman", "exec", worker, "touch", *PLANTED)
    outside.host("podman", "volume", "create", f"--label=flotilla-cluster={NAME}", volume)
    control_plane = outside.machines(NAME, "control-plane")[0]
    for command in (["kubectl", "cordon", worker], ["kubeadm", "token", "create"]):
        outside.host("podman", "exec", control_plane, *command, "--kubeconfig=/etc/kubernetes/admin.conf")
    return volume


class Hit:
    """Chooses the n-th event of a kind."""

    def __init__(self, wanted: Callable[[killing.Event], bool], number: int, seed: str) -> None:
        self._wanted, self._left, self._seed = wanted, number, seed

    def __call__(self, event: killing.Event) -> str:
        if not self._wanted(event):
            return ""
        self._left -= 1
        return killing.way(self._seed, event) if self._left == 0 else ""


def test_a_create_that_is_killed_three_times_converges(definition: Path, gate: killing.Gate) -> None:
    seed = os.environ.get("KILL_SEED") or _commit()
    _delete(definition)
    for index, (what, most, wanted) in enumerate(TARGETS):
        number = 1 + _draw(f"{seed} {what}", most)
        stage, run = killing.play(gate, definition, Hit(wanted, number, seed), f"three-{index}")
        assert stage.killed, f"event {number} of the kind '{what}' did not come; the run ended with {run.status}: {run.output[-6000:]}"
        print(f"killed ({stage.how}) after {run.seconds:.0f} s, {what}: {stage.killed.key}")
    _stage, last = killing.play(gate, definition, lambda event: "", "three-end")
    _judge(definition, gate, last)
    volume = _plant()
    found = "\n".join(finished.problems(NAME, POOLS))
    assert not [sign for sign in (*PLANTED, "volumes: ", "is cordoned") if sign not in found], found
    assert len(finished.join_secrets(NAME)) == 1
    outside.host("podman", "volume", "rm", volume)
    _delete(definition)


@pytest.mark.long
def test_a_create_that_is_killed_at_every_event_converges(definition: Path, gate: killing.Gate) -> None:
    seed = os.environ.get("KILL_SEED", "1")
    tale = killing.Tale(BUILD / "kill.json", f"create of {POOLS}", seed)
    until = time.monotonic() + 60 * float(os.environ.get("KILL_MINUTES", "25"))
    if tale.fresh:
        _delete(definition)
    while True:
        if time.monotonic() > until:
            print(killing.table(tale.kills))
            pytest.skip(f"{len(tale.kills)} kills so far, each of them survived; run it again to go on")
        number = len(tale.kills) + 1
        stage, run = killing.play(gate, definition, tale.choose, f"chain-{number}-{os.getpid()}")
        if not stage.killed:
            break
        tale.add(stage, _commit())
        print(f"{number:4} {run.seconds:6.1f} s  {stage.how:8}{stage.killed.key}", flush=True)
    print(killing.table(tale.kills))
    tale.finish("judged bad")
    _judge(definition, gate, run)
    missing = [
        f"{kind} on {place}"
        for kind, place in {(kill["kind"], kill["place"]) for kill in tale.kills if kill["kind"] != "kubeadm"}
        if not {killing.BEFORE, killing.AFTER} <= {kill["phase"] for kill in tale.kills if (kill["kind"], kill["place"]) == (kind, place)}
    ]
    assert not missing, "these were not hit both before and after their effect"
    tale.finish("holds")
    _delete(definition)


@pytest.mark.long
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_fresh_cluster_that_is_killed_once_converges(definition: Path, gate: killing.Gate, number: int) -> None:
    seed = f"{os.environ.get('KILL_SEED') or _commit()}{number}"
    _delete(definition)
    # About 1300 events make a create of this size; the earliest of them change nothing.
    event = 40 + _draw(seed, 1100)
    stage, run = killing.play(gate, definition, Hit(lambda event: True, event, seed), f"fresh-{number}")
    assert stage.killed, f"event {event} did not come; the run ended with {run.status}: {run.output[-6000:]}"
    print(f"killed ({stage.how}) after {run.seconds:.0f} s at event {event}: {stage.killed.key}")
    _stage, last = killing.play(gate, definition, lambda event: "", f"fresh-{number}-end")
    _judge(definition, gate, last)
    _delete(definition)
