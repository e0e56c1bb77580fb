# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugins for long work (private to flotilla.kubernetes).

A module returns only at its end, so a module whose work takes minutes does it in slices of some seconds: it returns ``finished: false``
with ``progress`` (lines for people) and ``progress_token`` (where it stopped), and is called again with that token.
"""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

_INTERNAL = ("finished", "progress", "progress_token", "invocation")
# Seconds: how long a machine that answered before may be out of reach, and the pause between two tries.
_PATIENCE, _PAUSE = 60.0, 2.0


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
            answer = self._slice({**arguments, "progress_token": token}, task_vars)
            for line in answer.get("progress", ()):
                display.display(line)
            # Whatever goes wrong (a failure, an unreachable host) comes without `finished`.
            if answer.get("finished", True):
                break
            token = answer.get("progress_token")
        result.update({name: value for name, value in answer.items() if name not in _INTERNAL})
        return result

    def _slice(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Return the answer of one slice. The work goes on without a connection, so one lost on the way is worth more tries."""
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                return self._execute_module(module_args=arguments, task_vars=task_vars)
            except AnsibleConnectionFailure:
                if arguments["progress_token"] is None or time.monotonic() >= until:
                    raise
                Display().display(f"{(task_vars or {}).get('inventory_hostname')}: the connection was lost, trying again")
                time.sleep(_PAUSE)
