# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of the module etcd_restore: it brings the archive from the store (private to flotilla.kubernetes)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.utils.display import Display

from ..module_utils._errors import FlotillaError, clear_os_errors
from ..module_utils._kubernetes import backup_archive
from ..plugin_utils._backups import BackupAction, Transfer
from ..plugin_utils._sliced import SlicedAction

# What the machine has no need of.
_CONTROLLERS = ("private_key_file", "private_key", "passphrase")


class ActionModule(BackupAction, SlicedAction):
    """The recipient's private key is used here and is in nothing that goes to the machine."""

    def internal_arguments(self) -> dict[str, Any]:
        return self._internal

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._internal: dict[str, Any] = {}
        given = dict(self._task.args)
        try:
            return self._run(tmp, task_vars or {})
        except FlotillaError as error:
            return {"failed": True, "changed": False, **error.as_result()}
        finally:
            self._task.args = given

    def _run(self, tmp: str | None, task_vars: dict[str, Any]) -> dict[str, Any]:
        arguments = self._task.args
        backups = self.backups()
        backup = backups.choose(str(arguments.get("backup") or "latest"))
        key, passphrase = self._private_key(), str(arguments.get("passphrase") or "")
        self._task.args = {name: value for name, value in arguments.items() if name not in _CONTROLLERS}
        if self._task.check_mode:
            return {**super().run(tmp, task_vars), "changed": True, "backup": backup.as_dict(), "revision": backup.manifest["revision"]}
        host = str(self._task.delegate_to or task_vars.get("inventory_hostname", ""))
        with self.room() as here:
            archive = here / f"{backup.id}.backup"
            backups.fetch(backup, archive, Transfer(f"{host}: the backup comes from {backups.title}", backup.manifest["size"]))
            data_key = backup_archive.open_envelope(backup_archive.header_of(archive), key, passphrase)
            Display().display(f"{host}: the backup {backup.id} goes to the machine ({backup.manifest['size'] / (1 << 20):.1f} MiB)")
            folder = self._make_tmp_path()
            try:
                remote = self._connection._shell.join_path(folder, "archive.backup")
                self._transfer_file(str(archive), remote)
                self._internal = {"archive": remote, "key": data_key, "manifest": dict(backup.manifest)}
                answer = super().run(tmp, task_vars)
            finally:
                self._remove_tmp_path(folder)
        return answer if answer.get("failed") else {**answer, "backup": backup.as_dict()}

    def _private_key(self) -> str:
        given, file = self._task.args.get("private_key"), self._task.args.get("private_key_file")
        if bool(given) == bool(file):
            raise FlotillaError(
                "BACKUP_KEY_MISSING",
                "A backup is opened with the recipient's private key: give either private_key_file or private_key.",
                "It is the key of the certificate in backup_store.recipient, which is kept apart from it.",
            )
        if given:
            return str(given)
        path = Path(str(file)).expanduser()
        with clear_os_errors(path, "read"):
            return path.read_text(encoding="utf-8")
