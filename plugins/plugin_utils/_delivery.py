# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Actions that bring files of the controller to a machine that does not have them (private to flotilla.kubernetes).

The module is asked what is missing, only that is copied, and the module puts it in place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._node import STAGED_PREFIX


class DeliveryAction(ActionBase):
    """Base of the actions `bundle_files` and `containerd_images`."""

    TRANSFERS_FILES = True
    module = ""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        arguments = {key: value for key, value in self._task.args.items() if key not in ("stage", "staged", "remote_tmp")}
        remote_tmp = self.get_shell_option("remote_tmp", default="~/.ansible/tmp")
        answer = self._ask({**arguments, "stage": "inspect", "remote_tmp": remote_tmp}, task_vars)
        sources = answer.pop("sources", {})
        # What has only a wrong mode is changed without a source.
        if answer.get("changed") and not answer.get("failed") and not self._task.check_mode:
            staged = self._copy(Path(arguments["directory"]), sources)
            answer = self._ask({**arguments, "stage": "finish", "staged": staged}, task_vars)
            answer.pop("sources", None)
            self._remove_tmp_path(self._connection._shell.tmpdir)
        result.update(answer)
        return result

    def _ask(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        return self._execute_module(module_name=self.module, module_args=arguments, task_vars=task_vars)

    def _copy(self, directory: Path, sources: dict[str, str]) -> dict[str, str]:
        """Copy each file and return where it lies on the machine, by key of ``sources``."""
        absent = [path for path in sources.values() if not (directory / path).is_file()]
        if absent:
            raise AnsibleActionFail(
                f"The bundle {directory} lacks {', '.join(sorted(absent))}. Build it again with the playbook bundle_build."
            )
        folder = self._connection._shell.tmpdir or self._make_tmp_path()
        staged = {}
        for number, (key, path) in enumerate(sorted(sources.items())):
            remote = self._connection._shell.join_path(folder, f"{STAGED_PREFIX}{number}-{Path(path).name}")
            self._transfer_file(str(directory / path), remote)
            staged[key] = remote
        return staged
