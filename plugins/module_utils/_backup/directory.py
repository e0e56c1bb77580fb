# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups in a directory of the controller (private to flotilla.kubernetes)."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .._files import sha256_of
from .store import LEFT_BEHIND, Progress, Store, Stored, copy

_PARTIAL = ".partial-"


class Directory(Store):
    """A directory, most often of a network file system that is mounted on the controller."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).expanduser()
        self.title = f"the directory {self._path}"

    def put(self, source: Path, name: str, sha256: str, progress: Progress) -> None:
        target = self._path / name
        partial = target.with_name(f".{target.name}{_PARTIAL}{secrets.token_hex(4)}")
        with self._clear(f"writing {name}"):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with source.open("rb") as reader, os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as writer:
                    copy(reader, writer, progress)
                    writer.flush()
                    os.fsync(writer.fileno())
                    # What is read back is then what lies there, and not what the kernel remembers.
                    os.posix_fadvise(writer.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                if sha256_of(partial) != sha256:
                    raise self.damaged(name)
                partial.replace(target)
                _sync(target.parent)
            finally:
                partial.unlink(missing_ok=True)

    def get(self, name: str, destination: Path, progress: Progress) -> None:
        with self._clear(f"reading {name}"):
            try:
                reader = (self._path / name).open("rb")
            except FileNotFoundError:
                raise self.missing(name) from None
            with reader, os.fdopen(os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as writer:
                copy(reader, writer, progress)

    def files(self, folder: str) -> list[Stored]:
        with self._clear(f"listing {folder}"):
            try:
                entries = sorted((self._path / folder).iterdir())
            except FileNotFoundError:
                return []
            return [Stored(f"{folder}/{entry.name}", entry.stat().st_size) for entry in entries if entry.is_file() and entry.name[0] != "."]

    def delete(self, name: str) -> None:
        with self._clear(f"deleting {name}"):
            (self._path / name).unlink(missing_ok=True)

    def tidy(self, folder: str) -> None:
        with self._clear(f"tidying {folder}"):
            for left in (self._path / folder).glob(f".*{_PARTIAL}*"):
                with suppress(FileNotFoundError):
                    if left.stat().st_mtime < time.time() - LEFT_BEHIND:
                        left.unlink()

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        found = {}
        for name in names:
            with self._clear(f"reading {name}"), suppress(FileNotFoundError):
                found[name] = (self._path / name).read_bytes()
        return found

    @contextmanager
    def _clear(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self.refused(doing, f"{error.strerror} ({error.filename})" if error.filename else error.strerror) from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
