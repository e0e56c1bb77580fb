# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What actions for backups have in common (private to flotilla.kubernetes)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._backup.catalogue import Backups, open_store
from ..module_utils._files import scratch
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
