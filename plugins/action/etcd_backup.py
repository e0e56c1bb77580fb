# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of the module etcd_backup: it brings the archive from the machine to the store (private to flotilla.kubernetes)."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

from ansible.utils.display import Display

from ..module_utils._backup.catalogue import Retention
from ..module_utils._errors import FlotillaError, clear_os_errors
from ..module_utils._moments import stamp
from ..plugin_utils._backups import BackupAction, Transfer
from ..plugin_utils._sliced import SlicedAction


class ActionModule(BackupAction, SlicedAction):
    """Everything that may be refused is asked for before the machine begins."""

    def internal_arguments(self) -> dict[str, Any]:
        return self._internal

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._internal: dict[str, Any] = {}
        try:
            return self._run(tmp, task_vars or {})
        except FlotillaError as error:
            return {"failed": True, "changed": False, **error.as_result()}

    def _run(self, tmp: str | None, task_vars: dict[str, Any]) -> dict[str, Any]:
        backups, store = self.backups(), self._task.args["store"]
        # Also the question whether the store can be reached.
        before = backups.found()
        file = Path(str(store.get("recipient", ""))).expanduser()
        with clear_os_errors(file, "read"):
            certificate = file.read_text(encoding="utf-8")
        folder = self._make_tmp_path()
        self._internal = {"recipient": certificate, "owner_of": folder}
        host = str(self._task.delegate_to or task_vars.get("inventory_hostname", ""))
        try:
            answer = super().run(tmp, task_vars)
            if answer.get("failed") or answer.get("unreachable") or "manifest" not in answer:
                return answer
            now = time.time()
            manifest = {
                **answer["manifest"],
                "id": f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{secrets.token_hex(4)}",
                "created": stamp(now),
                "cluster": str(self._task.args["cluster"]),
                "occasion": str(self._task.args.get("occasion", "manual")),
                "node": host,
            }
            retention = Retention(**(store.get("retention") or {}))
            result = {"changed": True, "backup": manifest, "place": backups.title}
            if self._task.check_mode:
                going = [one.id for one in backups.surplus(retention)]
                return {**result, "removed": going, "diff": self._diff(before, going, "a new backup")}
            with self.room() as here:
                archive = here / f"{manifest['id']}.backup"
                self.fetch(answer["archive"], archive, Transfer(f"{host}: the backup comes to the controller", manifest["size"]))
                backups.add(archive, manifest, Transfer(f"{host}: the backup goes to {backups.title}", manifest["size"]))
        finally:
            if not self._task.check_mode:
                # Also what a failure left: only the machine knows.
                self._execute_module(module_args={**self._task.args, "stage": "release"}, task_vars=task_vars)
            self._remove_tmp_path(folder)
        Display().display(f"{host}: the backup {manifest['id']} is in {backups.title} ({manifest['size'] / (1 << 20):.1f} MiB)")
        removed: list[str] = []
        try:
            for backup in backups.surplus(retention):
                backups.remove(backup)
                removed.append(backup.id)
            backups.tidy()
        except FlotillaError as error:
            # The backup is there. A bucket may forbid to delete, and services that speak S3 may not know of unfinished uploads.
            result["warnings"] = [f"Older backups were not tidied up: {error}"]
        return {**result, "removed": removed, "diff": self._diff(before, removed, manifest["id"])}

    @staticmethod
    def _diff(before: list[Any], going: list[str], new: str) -> dict[str, str]:
        known = [one.id for one in before]
        after = [one for one in known if one not in going]
        return {"before": "".join(f"{one}\n" for one in known), "after": "".join(f"{one}\n" for one in [new, *after])}
