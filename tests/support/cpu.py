# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CPU time of a command and of everything that it starts, processes that leave it included."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# prctl(2)
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Spent:
    """A command that ended; ``cpu`` and ``seconds`` (of the clock) are seconds."""

    status: int
    output: str
    cpu: float
    seconds: float


def spend(argv: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path, timeout: float = 7200) -> Spent:
    """Run a command, wait for everything that it started, and return what it took of the CPU.

    This process takes in what loses its parent meanwhile, so it must have no other children.

    :param log: gets what the command prints.
    :param timeout: seconds, generous: it only ends what hangs.
    :raises TimeoutError: something that the command started still runs.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    before, began = _children(), time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(argv, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    status = process.wait(timeout)
    while True:
        try:
            pid, _status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if time.monotonic() - began > timeout:
            raise TimeoutError(f"{argv[0]} left something at work")
        if pid == 0:
            time.sleep(0.1)
    return Spent(status, log.read_text(encoding="utf-8", errors="replace"), _children() - before, time.monotonic() - began)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
