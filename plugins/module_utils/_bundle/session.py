# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slices of the work of a bundle: start the worker or attach to it, look for some seconds, come back (private to flotilla.kubernetes)."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass
from typing import Any

from .._errors import FlotillaError
from . import locks, manifest, progress
from .build import Request, preflight
from .worker import request_as_json

_POLL = 0.2  # seconds between looks at the journal


@dataclass(frozen=True)
class Start:
    """How to start the worker: an interpreter, and the collections path that holds this collection."""

    python: str
    collections_path: str


class Session:
    """The run that makes one directory; at most one worker is at it at a time."""

    def __init__(self, request: Request, start: Start) -> None:
        self._request, self._start_with = request, start
        place = request.cache / "build" / "runs"
        stem = f"{request.version}-{hashlib.sha256(str(request.directory).encode()).hexdigest()[:8]}"
        self._lock, self._gate, self._journal = (place / f"{stem}.{suffix}" for suffix in ("lock", "gate.lock", "progress.jsonl"))
        self.log = place / f"{stem}.log"

    def present(self) -> dict[str, Any] | None:
        """Return the manifest of the bundle if it is there, is the one that is wanted, and verifies; None if it has to be made.

        :raises FlotillaError: the bundle is damaged, or the request names something that does not exist.
        """
        key = self._request.open(self.log, progress.Report(lambda event: None, "")).key()
        found = None if self._request.rebuild else manifest.read(self._request.directory)
        if found is None or found.get("key") != key:
            return None
        return manifest.require(self._request.directory)

    def preflight(self) -> None:
        """Raise a FlotillaError for whatever would stop the work later."""
        preflight(self._request, self._request.open(self.log, progress.Report(lambda event: None, "")))

    def advance(self, token: str | None, seconds: float) -> dict[str, Any]:
        """Do one slice of at most `seconds` and return ``progress`` (new lines) and ``progress_token``, or ``finished`` and ``manifest``.

        :param token: what the slice before returned; None for the first one.
        :raises FlotillaError: the work failed; the lines before that are in its details.
        """
        run, offset, mine = json.loads(token) if token else (None, 0, False)
        if run is None:
            self.preflight()
            run, mine = self._start()
        lines: list[str] = []
        until = time.monotonic() + seconds
        while True:
            # The lock first: a worker that was gone by then has written all that it ever will.
            alive = self._alive()
            run, offset, events = progress.read(self._journal, run, offset)
            for event in events:
                lines += [event["line"]] if "line" in event else []
                if "error" in event:
                    raise _rebuilt(event["error"], lines)
                if "result" in event:
                    return {**self._finish(mine), "progress": lines}
            if not alive:
                raise FlotillaError(
                    "BUNDLE_WORKER_DIED",
                    f"The process that makes the bundle of Kubernetes {self._request.version} ended without a result.",
                    f"Run again: it goes on with what is in the cache. Its log is {self.log}.",
                    self._log_end(),
                    details={"progress": lines, "log": str(self.log)},
                )
            if time.monotonic() >= until:
                return {"finished": False, "progress": lines, "progress_token": json.dumps([run, offset, mine])}
            time.sleep(_POLL)

    def _finish(self, mine: bool) -> dict[str, Any]:
        if not mine and (self._request.rebuild or self.present() is None):
            # Somebody else's worker made something else there: now it is our turn.
            return {"finished": False, "progress_token": None}
        found = manifest.read(self._request.directory)
        return {"finished": True, "manifest": found}

    def _start(self) -> tuple[str | None, bool]:
        """Start a worker, unless there is one; return the run to look at and whether it was started here."""
        descriptor = self._claim()
        if descriptor is None:
            return None, False
        try:
            run = uuid.uuid4().hex
            progress.Journal.start(self._journal, run).emit(
                {"line": f"bundle {self._request.version}: the compilers' output is in {self.log}"}
            )
            task = {"request": request_as_json(self._request), "lock": descriptor, "log": str(self.log), "journal": str(self._journal)}
            name = __name__.rpartition(".")[0] + ".worker"
            with self.log.open("w", encoding="utf-8") as log, tempfile.TemporaryFile("w+", encoding="utf-8") as given:
                json.dump(task, given)
                given.seek(0)
                # Its own session, so that it survives the end of the playbook; the next run attaches to it.
                subprocess.Popen(
                    [self._start_with.python, "-m", name],
                    stdin=given,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    env={**os.environ, "PYTHONPATH": self._start_with.collections_path},
                    pass_fds=[descriptor],
                    start_new_session=True,
                )
            return run, True
        finally:
            os.close(descriptor)

    def _alive(self) -> bool:
        with locks.lock(self._gate):
            descriptor = locks.try_lock(self._lock)
            if descriptor is None:
                return True
            os.close(descriptor)
            return False

    def _claim(self) -> int | None:
        # Behind the gate nobody takes another one's look (`_alive`) for a worker.
        with locks.lock(self._gate):
            return locks.try_lock(self._lock)

    def _log_end(self) -> str:
        try:
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
        except OSError:
            return ""


def _rebuilt(error: dict[str, Any], lines: list[str]) -> FlotillaError:
    """Return the worker's error as it was raised there, with the lines that are not shown yet."""
    rest = {name: value for name, value in error.items() if name not in ("code", "msg", "remedy", "cause")}
    remedy = error.get("remedy", "")
    return FlotillaError(
        error["code"],
        error["msg"][: len(error["msg"]) - len(remedy)].strip() if remedy else error["msg"],
        remedy,
        error.get("cause"),
        {**rest, "progress": lines},
    )
