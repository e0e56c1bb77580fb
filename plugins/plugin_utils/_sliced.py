# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugins for long work (private to flotilla.kubernetes).

A module returns only at its end, so a module whose work takes minutes does it in slices of some seconds: it returns ``finished: false``
with ``progress`` (lines for people) and ``progress_token`` (where it stopped), and is called again with that token.
"""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

_INTERNAL = ("finished", "progress", "progress_token", "invocation")


class SlicedAction(ActionBase):
    """Runs the module of the same name until it is finished and shows the progress of each slice at once."""

    def internal_arguments(self) -> dict[str, Any]:
        """Return arguments for the module that the user does not give."""
        return {}

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result of the last slice, without what is between the module and this plugin."""
        if self._task.async_val:
            raise AnsibleActionFail(f"{self._task.action} shows its progress itself and can not be run with async.")
        result = super().run(tmp, task_vars)
        display = Display()
        arguments = {**self._task.args, **self.internal_arguments()}
        token = None
        while True:
            answer = self._execute_module(module_args={**arguments, "progress_token": token}, task_vars=task_vars)
            for line in answer.get("progress", ()):
                display.display(line)
            # Whatever goes wrong (a failure, an unreachable host) comes without `finished`.
            if answer.get("finished", True):
                break
            token = answer.get("progress_token")
        result.update({name: value for name, value in answer.items() if name not in _INTERNAL})
        return result
