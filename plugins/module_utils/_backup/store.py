# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a place for backups can do (private to flotilla.kubernetes).

A store knows files by names such as ``demo/demo-20261123t040000z.json`` and nothing of what is in them.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .._errors import FlotillaError

PIECE = 1 << 20
LEFT_BEHIND = 24 * 3600.0
"""Seconds after which what a transfer began and did not end is nobody's any more."""

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Stored:
    """One file of a store; the size is in bytes."""

    name: str
    size: int


class Store(ABC):
    """A folder of files somewhere. A file is there as a whole or not at all, whenever a process ends.

    Every method raises `FlotillaError` with ``BACKUP_STORE_UNREACHABLE`` or ``BACKUP_STORE_REFUSED``.
    """

    title: str
    """Which one it is, for people: ``the directory /srv/backups``."""

    @abstractmethod
    def put(self, source: Path, name: str, sha256: str, progress: Progress) -> None:
        """Store a file, in place of one that has the name already. It has the name only once it was read back and is what was sent.

        :param sha256: of the file, hexadecimal.
        :param progress: is called with the number of bytes sent so far.
        """

    @abstractmethod
    def get(self, name: str, destination: Path, progress: Progress) -> None:
        """Write a file of the store to ``destination``, of mode 0600.

        :raises FlotillaError: ``BACKUP_NOT_FOUND``.
        """

    @abstractmethod
    def files(self, folder: str) -> list[Stored]:
        """Return the files in a folder, by name; none when the folder is not there."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete a file, which need not be there."""

    @abstractmethod
    def tidy(self, folder: str) -> None:
        """Remove what transfers that were killed left there more than a day ago."""

    @abstractmethod
    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the content of small files by name; what is gone meanwhile is left out."""

    def refused(self, doing: str, error: object) -> FlotillaError:
        """Return what to raise when the place does not do what it should."""
        return FlotillaError(
            "BACKUP_STORE_REFUSED",
            f"{self.title[0].upper()}{self.title[1:]}: {doing} failed: {error}",
            "Mend that, or name another place in backup_store, and run again.",
            error if isinstance(error, BaseException) else None,
        )

    def missing(self, name: str) -> FlotillaError:
        return FlotillaError("BACKUP_NOT_FOUND", f"{self.title[0].upper()}{self.title[1:]} has no {name}.", "cluster_backup makes one.")

    def damaged(self, name: str) -> FlotillaError:
        return FlotillaError(
            "BACKUP_STORE_DAMAGES",
            f"What {self.title} gives back of {name} is not what was sent there. It was not kept.",
            "Look after its disk or service, or name another place in backup_store, and run again.",
        )


def copy(source: BinaryIO, target: BinaryIO, progress: Progress) -> str:
    """Copy all that is left of ``source`` and return its SHA-256."""
    digest, done = hashlib.sha256(), 0
    while piece := source.read(PIECE):
        target.write(piece)
        digest.update(piece)
        done += len(piece)
        progress(done)
    return digest.hexdigest()
