# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machines a run replaces because they have failed, and which it leaves to a person (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .. import _moments
from .._kubernetes.duration import format_duration
from .decision import BRAKE_PERCENT
from .model import CONTROL_PLANE, PENDING, RUNNING, STOPPED

MOST_PERCENT = 50
"""Where more of a cluster's machines have failed, the machines are hardly to blame, and new ones would fail, too."""


@dataclass(frozen=True)
class Failed:
    """A machine that has failed: its id, its name, and why."""

    id: str
    name: str
    reason: str


@dataclass(frozen=True)
class Healing:
    """What one run does.

    :param replace: the machines that get successors, those first that failed first.
    :param left: those that it leaves to the next run or to a person, each with why in its reason.
    :param ghosts: names of the Nodes without a machine that are not Ready any more.
    """

    replace: list[Failed] = field(default_factory=list)
    left: list[Failed] = field(default_factory=list)
    ghosts: list[str] = field(default_factory=list)


def choose(machines: Sequence[Mapping[str, Any]], nodes: Sequence[Mapping[str, Any]], after: float, now: datetime) -> Healing:
    """Return what to do about machines that are dead or whose Nodes have not been Ready for long.

    In one run at most `BRAKE_PERCENT` of a pool, but one machine always, and one control plane; nothing where more than `MOST_PERCENT` of
    all have failed, and none that somebody has cordoned.

    :param machines: as ``*_machines`` modules return them.
    :param nodes: as `gates.describe_nodes` returns them.
    :param after: seconds for which a Node is not Ready at least.
    """
    by_name = {str(node["name"]): node for node in nodes}
    failed, left = [], []
    for machine in machines:
        node = by_name.get(str(machine["name"]))
        silent = _not_ready_for(node, now) if node else None
        if machine["state"] not in (RUNNING, STOPPED, PENDING):
            failed.append((math.inf, machine, f"the cloud says that it is {machine['state']}"))
        # One that is stopped is started.
        elif silent is not None and silent >= after and machine["state"] == RUNNING:
            reason = f"its Node is not Ready since {format_duration(silent)}"
            if node and not node["schedulable"]:
                left.append(_failed(machine, f"{reason}, and somebody has cordoned it"))
            else:
                failed.append((silent, machine, reason))
    failed.sort(key=lambda one: (-one[0], str(one[1]["name"])))
    known = {str(machine["name"]) for machine in machines}
    ghosts = sorted(name for name, node in by_name.items() if name not in known and (_not_ready_for(node, now) or 0) >= after)
    if len(failed) + len(left) > len(machines) * MOST_PERCENT / 100:
        much = f"{len(failed) + len(left)} of {len(machines)} machines have failed, which is hardly their fault"
        return Healing([], left + [_failed(machine, f"{reason}; {much}") for _silent, machine, reason in failed], ghosts)
    sizes, taken, replace = Counter(str(machine["pool"]) for machine in machines), Counter[str](), []
    for _silent, machine, reason in failed:
        pool = str(machine["pool"])
        most = 1 if machine["role"] == CONTROL_PLANE else max(1, math.floor(sizes[pool] * BRAKE_PERCENT / 100))
        if taken[pool] < most:
            taken[pool] += 1
            replace.append(_failed(machine, reason))
        else:
            left.append(_failed(machine, f"{reason}; a run replaces {most} of pool {pool}, the next one goes on"))
    return Healing(replace, left, ghosts)


def _failed(machine: Mapping[str, Any], reason: str) -> Failed:
    return Failed(str(machine["id"]), str(machine["name"]), reason)


def _not_ready_for(node: Mapping[str, Any], now: datetime) -> float | None:
    """Return the seconds since when a Node is not Ready; nothing for one that is."""
    if node["ready"] or not node["not_ready_since"]:
        return None
    return max(0.0, (now - _moments.parse(str(node["not_ready_since"]))).total_seconds())
