# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at all processes of this host ten times a second, those inside containers included, while something runs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

PERIOD = 0.1
# A process that was just forked shows its parent's command line until it has called exec.
LOOKS = 4


@dataclass
class Process:
    """A process as it was seen; ``command`` and ``environment`` are what the kernel shows, with NUL between the words."""

    pid: int
    command: bytes
    environment: bytes
    cgroup: str
    looks: int = 1


@dataclass
class Sampler:
    """Context manager that samples in a thread.

    :param wanted: which processes to count in `busy`; None counts none.
    :param states: what else to count there, from all processes that run.
    :param environments: whether to read environments, too.
    """

    wanted: Callable[[Process], bool] | None = None
    states: Callable[[Iterable[Process]], Iterable[str]] = lambda processes: ()
    environments: bool = False
    commands: set[bytes] = field(default_factory=set)
    seen_environments: set[bytes] = field(default_factory=set)
    # Per sample: when it was taken (seconds since the epoch) and which wanted programs ran.
    busy: list[tuple[float, frozenset[str]]] = field(default_factory=list)

    def __enter__(self) -> Sampler:
        self._stop = threading.Event()
        self._known: dict[int, Process] = {}
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_problem: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self.look()
            due = max(due + PERIOD, time.monotonic() - PERIOD)
            self._stop.wait(max(0.0, due - time.monotonic()))

    def machines(self) -> list[int]:
        """Return the process ids of the init systems of containers, as last seen."""
        return [pid for pid, one in list(self._known.items()) if one.command.startswith(b"/sbin/init") and "libpod" in one.cgroup]

    def look(self) -> None:
        """Take one sample."""
        now = time.time()
        pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208
        for pid in set(self._known) - pids:
            del self._known[pid]
        running = set()
        for pid in pids:
            process = self._known.get(pid)
            if process is None or process.looks < LOOKS:
                process = self._read(pid, process.looks + 1 if process else 1)
            if process is None:
                continue
            self._known[pid] = process
            if self.wanted and process.command and self.wanted(process):
                running.add(program(process.command))
        running.update(self.states(self._known.values()))
        self.busy.append((now, frozenset(running)))

    def _read(self, pid: int, looks: int) -> Process | None:
        folder = Path("/proc", str(pid))
        try:
            process = Process(pid, (folder / "cmdline").read_bytes(), b"", (folder / "cgroup").read_text(errors="replace"), looks)
            if self.environments:
                process.environment = (folder / "environ").read_bytes()
        except OSError:  # it has ended in between
            return None
        self.commands.add(process.command)
        self.seen_environments.add(process.environment)
        return process


def program(command: bytes) -> str:
    """Return the base name of the program of a command line."""
    return command.split(b"\0", 1)[0].decode(errors="replace").rsplit("/", 1)[-1]


def idle_share(busy: list[tuple[float, frozenset[str]]], began: float, ended: float) -> float:
    """Return the share of the time from ``began`` to ``ended`` in which no wanted process ran; a sample stands until the next."""
    samples = [(moment, bool(programs)) for moment, programs in busy if began <= moment <= ended]
    moments = [moment for moment, _runs in samples] + [ended]
    covered = ended - began
    idle = sum(after - before for before, after, (_moment, runs) in zip(moments, moments[1:], samples) if not runs)
    # Before the first sample nobody looked: that time counts as idle, so that a sampler that died can not look good.
    idle += (samples[0][0] if samples else ended) - began
    return idle / covered
