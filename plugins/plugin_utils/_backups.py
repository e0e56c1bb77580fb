# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What actions for backups have in common (private to flotilla.kubernetes)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._backup.catalogue import Backups, open_store
from ..module_utils._files import scratch
from ..module_utils._kubernetes.duration import parse_duration
from ..module_utils._paths import cache_dir

# Seconds between two lines for people, and between two looks at a file that grows.
_TELL, _LOOK = 10.0, 0.5


class Transfer:
    """Tells people from time to time how far a transfer is, which may be called from several threads."""

    def __init__(self, what: str, size: int) -> None:
        self._what, self._size = what, size
        self._told = time.monotonic()

    def __call__(self, done: int) -> None:
        if time.monotonic() - self._told >= _TELL:
            self._told = time.monotonic()
            Display().display(f"{self._what}: {done >> 20} of {self._size >> 20} MiB")


class BackupAction(ActionBase):
    """Base of the actions that reach a store, which is the controller's business."""

    TRANSFERS_FILES = True

    def backups(self) -> Backups:
        """Return the cluster's backups in the store that the task names.

        :raises FlotillaError: there is no such place.
        """
        store = self._task.args.get("store")
        if not isinstance(store, dict):
            raise AnsibleActionFail("The option store is missing: give what backup_store of a cluster definition says.")
        return Backups(open_store(store), str(self._task.args["cluster"]))

    def fetch(self, remote: str, local: Path, transfer: Transfer) -> None:
        """Bring a file of the machine here, as the login that Ansible has there."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(_LOOK):
                if local.exists():
                    transfer(local.stat().st_size)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            self._connection.fetch_file(remote, str(local))
        finally:
            ended.set()
            watcher.join()

    @contextmanager
    def room(self) -> Iterator[Path]:
        """Give a folder of the controller for archives, which goes at the end; those of killed runs go as well."""
        parent = cache_dir() / "backups"
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with scratch(parent, "transfer") as folder:
            yield folder


def listed(backups: Backups) -> dict[str, Any]:
    """Return what the module `backup_info` returns of the backups of a cluster."""
    found = backups.found()
    newest = next((backup for backup in found if backup.good), None)
    answer: dict[str, Any] = {"backups": [backup.as_dict() for backup in found], "place": backups.title}
    if newest:
        answer["age"] = int((datetime.now(timezone.utc) - newest.created).total_seconds())
    return answer


def backup_findings(cluster: Mapping[str, Any], backups: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Return what is wrong with the backups of a cluster that has a place for them."""
    limit = (cluster.get("backup_store") or {}).get("max_age")
    if not backups or backups.get("skipped"):
        return []
    if "backups" not in backups:
        message = str(backups.get("msg", "The store of backups did not answer."))
        return [
            {"code": str(backups.get("code", "BACKUP_STORE_UNREACHABLE")), "message": message, "remedy": "No backup can be made meanwhile."}
        ]
    remedy = "Run cluster_backup, and look at whatever runs it on a schedule."
    if limit and "age" not in backups:
        return [{"code": "BACKUP_TOO_OLD", "message": f"There is no good backup in {backups['place']}.", "remedy": remedy}]
    if limit and backups["age"] > parse_duration(limit, "backup_store.max_age"):
        message = f"The newest good backup in {backups['place']} is {in_words(backups['age'])} old, and backup_store.max_age is {limit}."
        return [{"code": "BACKUP_TOO_OLD", "message": message, "remedy": remedy}]
    return []


def in_words(seconds: int) -> str:
    """Return a time that somebody grasps at once."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"
