# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A systemd service and its debt of a restart (private to flotilla.kubernetes). Python 3.9, standard library only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ._command import run
from ._restart import Restart

ENABLE, START, RESTART, RELOAD = "enabled", "started", "restarted", "reloaded"
VERBS = {ENABLE: "enable", START: "start", RESTART: "restart", RELOAD: "reload"}
# systemctl(1), is-enabled: with all others nothing starts the service at boot.
ENABLED_STATES = ("enabled", "static", "generated", "indirect", "alias")
ACTIVE_STATES = ("active", "reloading", "activating")


class Service:
    """One service of a machine, which may not be installed yet (check mode)."""

    def __init__(self, name: str, debt: Restart, execute: Callable[..., str] = run, reload: bool = False) -> None:
        """
        :param debt: where a restart that is due is remembered until it is done.
        :param reload: whether the service is told to read its files again instead.
        """
        self._name = name
        self._again = RELOAD if reload else RESTART
        self._debt = debt
        self._execute = execute

    def owe(self) -> None:
        """Call before something that the service reads is changed."""
        self._debt.owe()

    def due(self, running: bool, restart: bool) -> list[str]:
        """Return what is to be done, in order: `ENABLE`, and `START`, `RESTART` or `RELOAD`.

        :param running: whether the service has to run; otherwise it is only restarted where it runs.
        :param restart: whether something that it reads has changed or, in check mode, would.
        :raises FlotillaError: systemd does not answer.
        """
        state = self._state()
        steps = [] if state.get("UnitFileState") in ENABLED_STATES else [ENABLE]
        active = state.get("ActiveState") in ACTIVE_STATES
        if active and (restart or self._debt.due):
            steps.append(self._again)
        elif running and not active:
            steps.append(START)
        return steps

    def apply(self, steps: Sequence[str]) -> None:
        """Do ``steps``, read changed unit files before, and forget the debt.

        :raises FlotillaError: the service does not start.
        """
        if steps or self._debt.due:
            self._systemctl("daemon-reload")
        for step in steps:
            self._systemctl(VERBS[step], self._name)
        self._debt.pay()

    def _state(self) -> dict[str, str]:
        shown = self._systemctl("show", "--property=UnitFileState,ActiveState", self._name)
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)

    def _systemctl(self, *arguments: str) -> str:
        return self._execute(
            ["systemctl", *arguments],
            timeout=180.0,
            code="SERVICE_FAILED",
            remedy=f"Read 'journalctl -u {self._name}' on the machine, mend the cause and run again.",
        )
