# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Announces to the harness of the kill tests where a module starts and ends and a file is transferred, whatever action does it."""

from __future__ import annotations

from typing import Any

import sitecustomize as gate
from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase


def _patch() -> None:
    execute, transfer = ActionBase._execute_module, ActionBase._transfer_file

    def gated_execute(self: Any, *arguments: Any, **options: Any) -> Any:
        given = options.get("module_args") or self._task.args or {}
        module = (options.get("module_name") or self._task.action).rpartition(".")[2]
        detail = f"{module} {given.get('stage') or given.get('state') or ''}".strip()
        host = self._task.delegate_to or (options.get("task_vars") or {}).get("inventory_hostname", "")
        # Ansible transfers a module, too: that is a part of its start.
        self.kill_host = ""
        try:
            return gate.around("module", detail, lambda: execute(self, *arguments, **options), task=self._task.name, host=host)
        finally:
            self.kill_host = host

    def gated_transfer(self: Any, local_path: str, remote_path: str) -> Any:
        def send() -> Any:
            return transfer(self, local_path, remote_path)

        host = getattr(self, "kill_host", "")
        if not host:
            return send()
        middle = gate.Middle("transfer", "file", task=self._task.name, host=host)
        try:
            return gate.around("transfer", "file", send, task=self._task.name, host=host)
        finally:
            middle.over()

    ActionBase._execute_module, ActionBase._transfer_file = gated_execute, gated_transfer


class CallbackModule(CallbackBase):
    """Shows nothing: that it is loaded before the first worker is forked is all that is needed of it."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "kill_modules"

    def __init__(self) -> None:
        super().__init__()
        _patch()
