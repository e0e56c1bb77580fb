# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of `backup_info`: reads a store from the controller, so it needs no module and no connection."""

from __future__ import annotations

from typing import Any

from ..module_utils._errors import FlotillaError
from ..plugin_utils._backups import BackupAction, listed


class ActionModule(BackupAction):
    """The store is the controller's, wherever the task runs."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("cluster", "store", "backup", "occasion"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        arguments = self._task.args
        try:
            backups = self.backups()
            answer = {"changed": False, **listed(backups)}
            if arguments.get("backup"):
                answer["chosen"] = backups.choose(str(arguments["backup"]), str(arguments.get("occasion") or "")).as_dict()
        except FlotillaError as error:
            return {**result, "failed": True, **error.as_result()}
        return {**result, **answer}
