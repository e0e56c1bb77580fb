# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work on a node that takes minutes, done by a process of its own that a module starts and looks at (private to flotilla.kubernetes).

For work in Python that changes nothing of the cluster; what kubeadm does is a step (`node_step`). The process outlives a lost connection
and a killed run, and whoever comes next waits for its end. Python 3.9, standard library only.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._errors import FlotillaError
from .._files import write_atomically
from .._locks import try_lock
from .._state import STATE_DIR, read_json

SLICE = 10.0  # seconds
_POLL = 0.1

Tell = Callable[[str], None]
"""Takes a line for people about what is done now."""


def advance(name: str, work: Callable[[Tell], dict[str, Any]], token: str | None, seconds: float = SLICE) -> dict[str, Any]:
    """Do one slice: start the work, once nobody else does work of this name, and wait for its end, at most for ``seconds``.

    :param work: returns what JSON can carry. It runs in a fork of this process whose files are gone, so it must import nothing.
    :param token: ``progress_token`` of the slice before; None for the first one.
    :return: what ``work`` returned and ``finished``, or ``finished: false`` with ``progress`` and ``progress_token``.
    :raises FlotillaError: as ``work`` did; ``WORK_KILLED`` if it ended without saying how.
    """
    folder = STATE_DIR / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    run = json.loads(token) if token else None
    until = time.monotonic() + seconds
    while True:
        lock = try_lock(folder / "lock")
        if lock is not None:
            try:
                if run:
                    return {**_result(name, run), "finished": True}
                run = _start(folder, lock, work)
            finally:
                os.close(lock)
        if time.monotonic() >= until:
            line = read_json(folder / "status.json").get("line", "") if run else "waits for the one that an earlier run began"
            return {"finished": False, "progress": [line], "progress_token": json.dumps(run)}
        time.sleep(_POLL)


def _result(name: str, run: str) -> dict[str, Any]:
    status = read_json(STATE_DIR / name / "status.json")
    if status.get("run") == run and "result" in status:
        return status["result"]
    if status.get("run") == run and "error" in status:
        raise FlotillaError(**status["error"])
    raise FlotillaError(
        "WORK_KILLED",
        f"The process of the {name} on this machine ended without a result, as if it had been killed.",
        "Look at the machine's memory and its log, and run again: what was left is cleaned up.",
    )


def _start(folder: Path, lock: int, work: Callable[[Tell], dict[str, Any]]) -> str:
    """Do the work in a process that belongs to nobody and holds the lock until it ends; return the id of the run."""
    run = secrets.token_hex(8)
    _write(folder, {"run": run, "line": "begins"})
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return run
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        os.chdir("/")
        _write(folder, {"run": run, **_outcome(lambda line: _write(folder, {"run": run, "line": line}), work)})
    finally:
        # Nothing of the module may run here, neither its handlers nor what it would print.
        os._exit(0)


def _outcome(tell: Tell, work: Callable[[Tell], dict[str, Any]]) -> dict[str, Any]:
    try:
        return {"result": work(tell)}
    except FlotillaError as error:
        cause = str(error.cause) if error.cause else None
        return {"error": {"code": error.code, "message": error.message, "remedy": error.remedy, "cause": cause}}
    except Exception as error:
        return {"error": {"code": "WORK_FAILED", "message": f"{type(error).__name__}: {error}"}}


def _write(folder: Path, status: dict[str, Any]) -> None:
    write_atomically(folder / "status.json", json.dumps(status).encode(), 0o600)
