# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of a service and its debt of a restart."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._restart import Restart
from ansible_collections.flotilla.kubernetes.plugins.module_utils._service import Service

NEW, STOPPED, RUNNING = ("", "inactive"), ("enabled", "inactive"), ("enabled", "active")


class Machine:
    """Stands in for systemctl: one service with its state; remembers what was done."""

    def __init__(self, state: tuple[str, str], fails: str = "") -> None:
        self.enabled, self.active = state
        self.done: list[str] = []
        self._fails = fails

    def __call__(self, argv: list[str], **_options: object) -> str:
        verb = argv[1]
        if verb == "show":
            return f"UnitFileState={self.enabled}\nActiveState={self.active}\n"
        if verb == self._fails:
            raise FlotillaError("SERVICE_FAILED", f"{verb} failed")
        self.done.append(verb)
        if verb == "enable":
            self.enabled = "enabled"
        elif verb in ("start", "restart"):
            self.active = "active"
        return ""


def debt(folder: Path, due: bool = False) -> Restart:
    one = Restart("tool", folder)
    if due:
        one.owe()
    return one


@pytest.mark.parametrize(
    ("state", "running", "restart", "owed", "steps"),
    [
        (NEW, True, False, False, ["enabled", "started"]),
        (NEW, False, True, True, ["enabled"]),
        (STOPPED, True, True, True, ["started"]),
        (STOPPED, False, True, True, []),
        (RUNNING, True, False, False, []),
        (RUNNING, True, True, False, ["restarted"]),
        (RUNNING, False, False, True, ["restarted"]),
        (("enabled", "activating"), True, False, False, []),
        (("disabled", "active"), True, False, False, ["enabled"]),
        (("enabled", "failed"), True, False, False, ["started"]),
        (("static", "active"), True, False, False, []),
    ],
)
def test_what_is_due(tmp_path: Path, state: tuple[str, str], running: bool, restart: bool, owed: bool, steps: list[str]) -> None:
    machine = Machine(state)
    service = Service("tool", debt(tmp_path, owed), machine)
    assert service.due(running, restart) == steps
    assert machine.done == [], "asking changes nothing"
    service.apply(steps)
    assert not debt(tmp_path).due
    assert service.due(running, False) == [], "the second time nothing is due"


def test_changed_unit_files_are_read_before_the_restart(tmp_path: Path) -> None:
    machine = Machine(RUNNING)
    Service("tool", debt(tmp_path), machine).apply(["restarted"])
    assert machine.done == ["daemon-reload", "restart"]


def test_a_service_that_can_read_its_files_again_is_not_restarted(tmp_path: Path) -> None:
    machine = Machine(RUNNING)
    service = Service("tool", debt(tmp_path), machine, reload=True)
    service.owe()
    assert service.due(True, False) == ["reloaded"]
    service.apply(["reloaded"])
    assert machine.done == ["daemon-reload", "reload"] and not debt(tmp_path).due


def test_a_restart_that_fails_stays_due(tmp_path: Path) -> None:
    service = Service("tool", debt(tmp_path, due=True), Machine(RUNNING, fails="restart"))
    with pytest.raises(FlotillaError):
        service.apply(service.due(True, False))
    assert debt(tmp_path).due
