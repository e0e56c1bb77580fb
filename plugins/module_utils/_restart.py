# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts that are due (private to flotilla.kubernetes). Python 3.9, standard library only."""

from __future__ import annotations

from pathlib import Path

from ._errors import clear_os_errors
from ._state import STATE_DIR


class Restart:
    """A service's debt of a restart, kept on disk so that a killed run does not lose it."""

    def __init__(self, service: str | None, state_dir: Path = STATE_DIR) -> None:
        self._mark = state_dir / f"restart-{service}" if service else None

    def owe(self) -> None:
        """Call before the first change.

        :raises FlotillaError: the node's state folder can not be written.
        """
        if self._mark:
            with clear_os_errors(self._mark, "marked"):
                self._mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._mark.touch()

    def pay(self) -> None:
        """Call after the restart."""
        if self._mark:
            self._mark.unlink(missing_ok=True)

    @property
    def owed_since(self) -> float:
        """When something last changed, in seconds since the epoch; only while `due`."""
        return self._mark.stat().st_mtime if self._mark else 0.0

    @property
    def due(self) -> bool:
        """Whether the service has not been restarted since something of it changed."""
        return bool(self._mark) and self._mark.exists()
