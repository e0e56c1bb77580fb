# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of a cloud that somebody else made become a cluster's: what every cloud's claim has (private to flotilla.kubernetes)."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import Finding
from .._machines.model import CONTROL_PLANE_POOL


@dataclass(frozen=True)
class Wanted:
    """A machine that is to be claimed, by its own address; its Node keeps its name."""

    address: str
    node: str
    pool: str
    role: str


@dataclass(frozen=True)
class Claim:
    """What makes one machine the cluster's.

    :param tags: all tags that it is to carry.
    :param missing: those of them that it does not carry yet.
    """

    machine_id: str
    node: str
    pool: str
    tags: dict[str, str]
    missing: dict[str, str]


def plan_id(claims: Iterable[Claim]) -> str:
    """Return what a plan is called: the same machines with the same tags, however many of them are there already.

    So consent still holds for what a run that was killed left undone.
    """
    view = sorted([claim.machine_id, sorted(claim.tags.items())] for claim in claims)
    return hashlib.sha256(json.dumps(view).encode()).hexdigest()[:12]


def misfits(definition: dict[str, Any], wanted: Sequence[Wanted]) -> list[Finding]:
    """Return what is wrong between the pools of a definition and the machines that are to be in them."""
    counts = {CONTROL_PLANE_POOL: int(definition["control_plane"]["count"])}
    counts.update({pool["name"]: int(pool["count"]) for pool in definition["pools"]})
    there = Counter(machine.pool for machine in wanted)
    return [
        Finding(
            "CLAIM_POOL_DIFFERS",
            pool,
            f"The cluster has {there[pool]} machines in it, its definition {counts.get(pool, 'no such pool')}.",
            "Correct count and names of the pools; flotilla_pool_groups says which machines are a pool.",
        )
        for pool in sorted({*counts, *there})
        if counts.get(pool, -1) != there[pool]
    ]
