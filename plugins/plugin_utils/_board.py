# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A board on which the tasks of one Ansible run agree who gets which file (private to flotilla.kubernetes)."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Board:
    """A small file that processes of one run change under a lock; it lies in a folder that only they know and that goes with the run."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"flotilla-board-{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"

    def claim(self, digests: Iterable[str], host: str) -> set[str]:
        """Take the files that nobody has, or whose claimant is no more; return them."""
        mine = set()
        with self._open() as board:
            for digest in digests:
                entry = board["files"].get(digest)
                if entry is None or not (entry["server"] or _alive(entry["pid"])):
                    board["files"][digest] = {"host": host, "pid": os.getpid(), "server": None}
                    mine.add(digest)
        return mine

    def publish(self, digests: Iterable[str], server: dict[str, Any]) -> None:
        """Say that a server has the files that this process claimed."""
        with self._open() as board:
            for digest in digests:
                board["files"][digest]["server"] = server

    def forget(self, digests: Iterable[str], servers: Iterable[dict[str, Any]] = ()) -> None:
        """Give up what this process claimed, or, with ``servers``, what is said to be with one of them and is not."""
        urls = {server["url"] for server in servers}
        with self._open() as board:
            for digest in digests:
                entry = board["files"].get(digest)
                if entry and (entry["server"]["url"] in urls if entry["server"] else entry["pid"] == os.getpid()):
                    del board["files"][digest]

    def look(self, digests: Iterable[str]) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
        """Return which files somebody is about to get (digest -> host), and which are served (digest -> server)."""
        pending, served = {}, {}
        with self._open() as board:
            for digest in digests:
                entry = board["files"].get(digest)
                if entry and entry["server"]:
                    served[digest] = entry["server"]
                elif entry and _alive(entry["pid"]):
                    pending[digest] = entry["host"]
        return pending, served

    def leave(self, host: str, peers: Iterable[str]) -> list[dict[str, Any]]:
        """Note that a host is done; to the last one of its peers return all servers, and begin anew."""
        with self._open() as board:
            board["done"] = sorted({*board["done"], host})
            if not set(peers) <= set(board["done"]):
                return []
            servers = {entry["server"]["url"]: entry["server"] for entry in board["files"].values() if entry["server"]}
            board.update(_empty())
            return list(servers.values())

    @contextmanager
    def _open(self) -> Iterator[dict[str, Any]]:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            text = file.read()
            board = json.loads(text) if text else _empty()
            yield board
            file.seek(0)
            file.truncate()
            json.dump(board, file)


def _empty() -> dict[str, Any]:
    return {"files": {}, "done": []}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
