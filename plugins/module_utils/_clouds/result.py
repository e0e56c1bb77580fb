# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a change in a cloud comes to, whichever cloud (private to flotilla.kubernetes)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .._machines.model import Machine


@dataclass
class Result:
    """What a change did, or would do."""

    changed: bool = False
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    value: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def machines_value(machines: Sequence[Machine], planned: Sequence[Machine] = (), more: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what a ``*_machines`` module returns besides ``changed`` and ``diff``.

    :param more: of it, what takes the place of no steps at all.
    """
    return {
        "machines": [machine.as_dict() for machine in machines],
        "planned": [machine.as_dict() for machine in planned],
        "steps": [],
        **(more or {}),
    }
