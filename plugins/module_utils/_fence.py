# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which run may change this node (private to flotilla.kubernetes). Python 3.9, standard library only.

A lock in the cluster stops no kubeadm: a run that was frozen, or cut off from the API, does not know that another one took over, and before
a cluster is made, or after it is lost, there is nothing to lock. So each node remembers the run that took it, with a generation that only
grows, and refuses what an earlier run asks for.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ._errors import FlotillaError
from ._files import write_atomically
from ._locks import try_lock
from ._state import STATE_DIR, read_json

FENCE = STATE_DIR / "fence"
_LOCK = STATE_DIR / "fence.lock"
_PATIENCE = 60.0  # seconds that a task of an earlier run may take to end
ARGUMENTS: dict[str, Any] = {
    "fence": {
        "type": "dict",
        "default": {},
        "options": {"run": {"type": "str", "default": ""}, "generation": {"type": "int", "default": 0}},
    }
}


@dataclass(frozen=True)
class Sign:
    """What a node knows of the run that took it; ``age`` is how many seconds ago it was last at work here."""

    run: str = ""
    generation: int = 0
    ended: bool = True
    age: float = 0.0


def look() -> Sign:
    """Return the last sign of the run that took this node."""
    known = _read()
    if not known.run or known.ended:
        return known
    return replace(known, age=0.0 if _at_work() else max(0.0, time.time() - FENCE.stat().st_mtime))


def _read() -> Sign:
    known = read_json(FENCE)
    try:
        return Sign(str(known["run"]), int(known["generation"]), bool(known["ended"]))
    except (KeyError, TypeError, ValueError):
        return Sign()


def take(run: str, generation: int) -> None:
    """Let no earlier run change this node any more; a task of it that is at work is waited for.

    :raises FlotillaError: ``RUN_FENCED``, a later run took the node; ``NODE_BUSY``, the task does not end.
    """
    with _locked(fcntl.LOCK_EX):
        _refuse_later(run, generation)
        _write(run, generation)


def release(run: str) -> None:
    """Say that the run ended, so that nobody waits for more signs of it."""
    with _locked(fcntl.LOCK_EX):
        known = _read()
        if known.run == run:
            _write(run, known.generation, ended=True)


def hold(fence: Mapping[str, Any], check_mode: bool = False) -> int | None:
    """Work on this node as the run that ``fence`` names, and leave a sign of it. Without a run there is no fence.

    :return: a descriptor; until it is closed, or this process ends, no other run takes the node.
    :raises FlotillaError: ``RUN_FENCED``, a later run took the node; ``NODE_BUSY``, another run is about to and does not end.
    """
    run, generation = fence["run"], fence["generation"]
    if not run:
        return None
    if check_mode:
        _refuse_later(run, generation)
        return None
    descriptor = _lock(fcntl.LOCK_SH)
    try:
        _refuse_later(run, generation)
        if _read().run == run:
            os.utime(FENCE)
        else:
            # Out of reach when the run took the others.
            _write(run, generation)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write(run: str, generation: int, ended: bool = False) -> None:
    write_atomically(FENCE, json.dumps({"run": run, "generation": generation, "ended": ended}).encode(), 0o600)


def _refuse_later(run: str, generation: int) -> None:
    known = _read()
    if known.generation > generation or (known.generation == generation and known.run not in ("", run)):
        raise FlotillaError(
            "RUN_FENCED",
            f"The run {run} must not change this node any more: the run {known.run} took over.",
            "Let that one end, and run again afterwards: it goes on with what is left to do.",
        )


def _at_work() -> bool:
    """Return whether a task of a run holds the node at this moment."""
    descriptor = try_lock(_LOCK)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


@contextmanager
def _locked(kind: int) -> Iterator[None]:
    descriptor = _lock(kind)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(kind: int) -> int:
    STATE_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Not inherited by what a task starts: a kubeadm outlives it.
    descriptor = os.open(_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(descriptor)
                raise FlotillaError(
                    "NODE_BUSY",
                    f"A task of another run has been at work on this node for {_PATIENCE:g} s.",
                    f"See which ('fuser -v {_LOCK}'), wait for it or end it, then run again.",
                ) from None
            time.sleep(0.1)
