# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slices of the work of a bundle: start the worker or attach to it, look for some seconds, come back (private to flotilla.kubernetes)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import time
import uuid
from dataclasses import dataclass, replace
from typing import Any

from .. import _locks
from .._errors import FlotillaError
from . import catalogue, manifest, progress
from .build import Request, decide, preflight
from .source import Source
from .sources import SOURCES
from .worker import request_as_json

_POLL = 0.2  # seconds between looks at the journal
_LAST_MOMENTS = 10.0  # seconds that a worker may take to end after its last word


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
        if self._request.source == "directory":
            return self._made_elsewhere()
        if self._current() is None:
            return None
        return manifest.require(self._request.directory)

    def plan(self) -> dict[str, Any]:
        """Return which ``source`` the bundle has or would be made from, the ``packages`` missing for that, and lines for people.

        With the ``manifest`` of a bundle that is there, is the one that is wanted, and verifies.

        :raises FlotillaError: the bundle is damaged, or the request names something that does not exist.
        """
        found = self.present()
        if found:
            source = "directory" if self._request.source == "directory" else found["source"]
            return {"source": source, "packages": [], "progress": [], "manifest": found}
        decided, lines = self._decide()
        return {"source": decided.source, "packages": self._open(decided).missing_packages(), "progress": lines}

    def verified(self) -> dict[str, Any]:
        """Return the manifest of the bundle after reading every file of it.

        :raises FlotillaError: ``BUNDLE_DAMAGED`` with each bad file, ``BUNDLE_MISSING``, or what `manifest.check_wanted` raises.
        """
        found = manifest.require_all(self._request.directory)
        self._check_wanted(found)
        return found

    def preflight(self) -> None:
        """Raise a FlotillaError for whatever would stop the work later."""
        decided, _lines = self._decide()
        preflight(decided, self._open(decided))

    def _current(self) -> dict[str, Any] | None:
        """Return the manifest of the bundle that would be made now, if it is there; its files are not looked at.

        What `auto` once meant stays: a bundle is not made again because the internet comes and goes.
        """
        request = self._request
        catalogue.release(request.version)
        try:
            found = None if request.rebuild else manifest.read(request.directory)
        except FlotillaError as error:
            if error.code != "BUNDLE_SCHEMA_OTHER":
                raise
            found = None
        if found is None or found["source"] not in SOURCES or not set(request.architectures) <= set(found["architectures"]):
            return None
        if manifest.network_plugin(found) != request.network_plugin:
            return None
        if not set(request.addons) <= set(manifest.addons(found)) <= set(catalogue.ADDONS):
            return None
        request = replace(
            request,
            architectures=tuple(found["architectures"]),
            addons=tuple(manifest.addons(found)),
            source=found["source"] if request.source == "auto" else request.source,
        )
        if request.source == "mirror" and request.mirror is None:
            return None
        return found if found["key"] == self._open(request).key() else None

    def _made_elsewhere(self) -> dict[str, Any]:
        if self._request.rebuild:
            raise FlotillaError(
                "BUNDLE_NOT_MADE_HERE",
                f"The bundle in {self._request.directory} was made elsewhere (bundle.source directory) and can not be made again here.",
                "Leave bundle_rebuild out, or choose another bundle.source.",
            )
        found = manifest.require(self._request.directory)
        self._check_wanted(found)
        return found

    def _check_wanted(self, found: dict[str, Any]) -> None:
        wanted = self._request
        manifest.check_wanted(wanted.directory, found, wanted.version, wanted.architectures, wanted.network_plugin, wanted.addons)

    def _decide(self) -> tuple[Request, list[str]]:
        """Return what is to be made: the source that `auto` means now, and what more the bundle has already."""
        decided, why = decide(self._request)
        try:
            found = manifest.read(decided.directory)
        except FlotillaError:
            found = None
        if found and found["kubernetes_version"] == decided.version:
            # Clusters of several architectures, and with other add-ons, share the bundle of their version.
            decided = replace(decided, addons=tuple(sorted({*decided.addons, *manifest.addons(found)} & set(catalogue.ADDONS))))
            if decided.source != "modules":
                decided = replace(decided, architectures=tuple(sorted({*decided.architectures, *found["architectures"]})))
        return decided, [f"bundle {decided.version}: {why}"] if why else []

    def _open(self, request: Request) -> Source:
        return request.open(self.log, progress.Report(lambda event: None, ""))

    def advance(self, token: str | None, seconds: float) -> dict[str, Any]:
        """Do one slice of at most `seconds` and return ``progress`` (new lines) and ``progress_token``, or ``finished`` and ``manifest``.

        :param token: what the slice before returned; None for the first one.
        :raises FlotillaError: the work failed; the lines before that are in its details.
        """
        run, offset, mine = json.loads(token) if token else (None, 0, False)
        if run is None:
            decided, told = self._decide()
            preflight(decided, self._open(decided))
            run, mine = self._start(decided, told)
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

    def _start(self, request: Request, told: list[str]) -> tuple[str | None, bool]:
        """Start a worker, unless there is one; return the run to look at and whether it was started here."""
        descriptor = self._claim()
        until = time.monotonic() + _LAST_MOMENTS
        while descriptor is None and self._ended() and time.monotonic() < until:
            time.sleep(0.05)
            descriptor = self._claim()
        if descriptor is None:
            return None, False
        try:
            run = uuid.uuid4().hex
            journal = progress.Journal.start(self._journal, run)
            for line in [*told, f"bundle {request.version}: the log is {self.log}"]:
                journal.emit({"line": line})
            task = {"request": request_as_json(request), "lock": descriptor, "log": str(self.log), "journal": str(self._journal)}
            name = __name__.rpartition(".")[0] + ".worker"
            with self.log.open("w", encoding="utf-8") as log:
                # Its own session, so that it survives the end of the playbook; the next run attaches to it.
                worker = subprocess.Popen(
                    [self._start_with.python, "-m", name],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    env={**os.environ, "PYTHONPATH": self._start_with.collections_path},
                    pass_fds=[descriptor],
                    start_new_session=True,
                    text=True,
                )
                # Through a pipe, as the mirror's credentials are in it: nothing of it is ever on a disk.
                with contextlib.suppress(BrokenPipeError), worker.stdin:
                    json.dump(task, worker.stdin)
            return run, True
        finally:
            os.close(descriptor)

    def _ended(self) -> bool:
        """Return whether the worker that is there has told its end: an error of then is not an answer to the question of now."""
        _run, _offset, events = progress.read(self._journal, None, 0)
        return any("error" in event or "result" in event for event in events)

    def _alive(self) -> bool:
        with _locks.lock(self._gate):
            descriptor = _locks.try_lock(self._lock)
            if descriptor is None:
                return True
            os.close(descriptor)
            return False

    def _claim(self) -> int | None:
        # Behind the gate nobody takes another one's look (`_alive`) for a worker.
        with _locks.lock(self._gate):
            return _locks.try_lock(self._lock)

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
