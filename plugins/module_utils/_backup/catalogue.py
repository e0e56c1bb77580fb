# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backups of a cluster in a store (private to flotilla.kubernetes).

A backup is two files: an archive, encrypted on the node that made it, and a manifest, which says in plain words what the archive holds.
The manifest comes last and goes first, so whatever has one was complete once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .._errors import FlotillaError
from .._files import sha256_of
from .._moments import parse
from .directory import Directory
from .retention import Kept, Retention, surplus
from .s3 import S3
from .ssh import Ssh
from .store import LEFT_BEHIND, Progress, Store

FORMAT = 1
ARCHIVE, MANIFEST = ".backup", ".json"
_KINDS: dict[str, Any] = {"directory": Directory, "ssh": Ssh, "s3": S3}


def open_store(section: Mapping[str, Any]) -> Store:
    """Return the store that ``backup_store`` of a definition names.

    :raises FlotillaError: it names none, or several; or what it needs on the controller is missing.
    """
    kinds = [kind for kind in _KINDS if section.get(kind)]
    if len(kinds) != 1:
        raise FlotillaError(
            "BACKUP_STORE_UNKNOWN",
            f"backup_store names {' and '.join(kinds) or 'no place'}, but backups are kept in one place.",
            f"Name one of {', '.join(_KINDS)}.",
        )
    return _KINDS[kinds[0]](**section[kinds[0]])


def _nothing(_done: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Backup:
    """A backup as its manifest says and as it is found: `whole` tells whether its archive is there in full length."""

    id: str
    manifest: Mapping[str, Any]
    whole: bool

    @property
    def good(self) -> bool:
        return self.whole and bool(self.manifest.get("verified"))

    @property
    def created(self) -> datetime:
        return parse(self.manifest["created"])

    def as_dict(self) -> dict[str, Any]:
        return {**self.manifest, "whole": self.whole}


class Backups:
    """The backups of one cluster, newest first."""

    def __init__(self, store: Store, cluster: str) -> None:
        self._store, self._cluster = store, cluster

    @property
    def title(self) -> str:
        return self._store.title

    def found(self) -> list[Backup]:
        """Return all of them, newest first, also those that are not good; what is no manifest of ours is passed over."""
        sizes = {stored.name: stored.size for stored in self._store.files(self._cluster)}
        manifests = self._store.read_many(name for name in sizes if name.endswith(MANIFEST))
        backups = []
        for name, content in manifests.items():
            manifest = _manifest(content)
            if manifest is not None:
                archive = sizes.get(name[: -len(MANIFEST)] + ARCHIVE)
                backups.append(Backup(Path(name).stem, manifest, archive == manifest.get("size")))
        return sorted(backups, key=lambda backup: (backup.manifest["created"], backup.id), reverse=True)

    def choose(self, wanted: str, occasion: str = "") -> Backup:
        """Return the backup with an id, or the newest good one for ``latest``.

        :param occasion: choose among those that were made for this; any when empty.

        :raises FlotillaError: ``BACKUP_NOT_FOUND`` or ``BACKUP_NOT_GOOD``.
        """
        backups = [one for one in self.found() if occasion in ("", one.manifest.get("occasion"))]
        fitting = [one for one in backups if one.good] if wanted == "latest" else [one for one in backups if one.id == wanted]
        if not fitting:
            there = ", ".join(one.id for one in backups) or "none"
            raise FlotillaError(
                "BACKUP_NOT_FOUND",
                f"{self.title[0].upper()}{self.title[1:]} has no backup {'that is good' if wanted == 'latest' else wanted} of the cluster "
                f"{self._cluster}.",
                f"There are: {there}.",
            )
        if not fitting[0].good:
            raise FlotillaError("BACKUP_NOT_GOOD", f"The archive of the backup {wanted} is not whole.", "Choose another one.")
        return fitting[0]

    def add(self, archive: Path, manifest: Mapping[str, Any], progress: Progress = _nothing) -> None:
        """Store a backup; it is there as a whole or not at all. Safe to repeat.

        :param manifest: with ``id``, ``created``, ``size`` and ``sha256`` among its entries.
        :raises FlotillaError: ``BACKUP_DAMAGED``: the archive is not what its manifest says.
        """
        if archive.stat().st_size != manifest["size"] or sha256_of(archive) != manifest["sha256"]:
            raise _damaged(archive)
        name = f"{self._cluster}/{manifest['id']}"
        self._store.put(archive, f"{name}{ARCHIVE}", manifest["sha256"], progress)
        plain = archive.with_name(f"{archive.name}{MANIFEST}")
        plain.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        try:
            self._store.put(plain, f"{name}{MANIFEST}", sha256_of(plain), _nothing)
        finally:
            plain.unlink()

    def fetch(self, backup: Backup, destination: Path, progress: Progress = _nothing) -> None:
        """Bring the archive of a backup to ``destination``.

        :raises FlotillaError: ``BACKUP_DAMAGED``: it is not what its manifest says; ``destination`` is not there then.
        """
        self._store.get(f"{self._cluster}/{backup.id}{ARCHIVE}", destination, progress)
        if sha256_of(destination) != backup.manifest["sha256"]:
            destination.unlink()
            raise _damaged(Path(f"{backup.id}{ARCHIVE}"))

    def remove(self, backup: Backup) -> None:
        """Remove a backup. Safe to repeat."""
        self._store.delete(f"{self._cluster}/{backup.id}{MANIFEST}")
        self._store.delete(f"{self._cluster}/{backup.id}{ARCHIVE}")

    def surplus(self, retention: Retention) -> list[Backup]:
        """Return the backups that retention lets go, oldest first."""
        backups = {backup.id: backup for backup in self.found()}
        kept = [Kept(one.id, one.created, str(one.manifest.get("occasion", "")), one.good) for one in backups.values()]
        return [backups[one] for one in surplus(kept, retention)]

    def tidy(self) -> None:
        """Remove what killed runs left: parts of transfers, and archives that never got their manifest."""
        self._store.tidy(self._cluster)
        names = {stored.name for stored in self._store.files(self._cluster)}
        # Ids begin with their time. Another controller may be about to store one.
        begun = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - LEFT_BEHIND))
        for name in names:
            if name.endswith(ARCHIVE) and f"{name[: -len(ARCHIVE)]}{MANIFEST}" not in names and Path(name).name < begun:
                self._store.delete(name)


def _manifest(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
        dated = parse(found["created"]).tzinfo is not None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if dated and found.get("format") == FORMAT else None


def _damaged(archive: Path) -> FlotillaError:
    return FlotillaError(
        "BACKUP_DAMAGED", f"{archive.name} is not what its manifest says: its SHA-256 or its length differs.", "Choose another backup."
    )
