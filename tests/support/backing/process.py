# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backing as a test uses it: a process of its own, which may die at any time and still leaves nothing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SUPPORT = Path(__file__).resolve().parents[1]
LONGEST = 1200.0
"""Seconds until a backing runs: its image may have to be made."""


@dataclass
class Process:
    """A backing that runs.

    :param command: that starts another one like it.
    """

    command: list[str]
    log: Path
    popen: subprocess.Popen[bytes]

    def end(self) -> None:
        """Let it end in order."""
        self.popen.terminate()
        self.popen.wait(300)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(60)


@contextlib.contextmanager
def started(cloud: str, url: str, owner: str, name: str, folder: Path, strict: bool = True) -> Iterator[Process]:
    """Back the machines that a cluster has in a cloud with real ones, and leave nothing of them behind.

    :param url: of the cloud's endpoint.
    :param name: of the backing, on this host.
    :param folder: for its log.
    :param strict: as of `keeper.Keeper`.
    """
    ready, log = folder / "backing.ready", folder / "backing.log"
    sweep(name)
    command = [sys.executable, "-m", "backing", "--cloud", cloud, "--url", url, "--owner", owner, "--name", name, "--ready", str(ready)]
    process = start(command if strict else [*command, "--lenient"], log)
    try:
        deadline = time.monotonic() + LONGEST
        while not ready.exists():
            if process.popen.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the backing does not start: {log.read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.1)
        yield process
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.end()
        process.kill()
        sweep(name)


def start(command: list[str], log: Path) -> Process:
    """Start a backing; its log goes on where it ended."""
    with log.open("ab") as file:
        return Process(command, log, subprocess.Popen(command, env=_environment(), stdout=file, stderr=file))


def sweep(name: str) -> None:
    """Remove whatever a backing of this name has left on this host."""
    subprocess.run([sys.executable, "-m", "backing", "--name", name, "--sweep"], env=_environment(), check=True, timeout=600)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{SUPPORT}{os.pathsep}{SUPPORT.parents[1] / 'collection'}"}
