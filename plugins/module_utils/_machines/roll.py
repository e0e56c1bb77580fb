# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools whose machines an upgrade replaces: what is left to do, by what is live (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .model import DEAD_STATES, INCOMPLETE
from .plan import spec_hash

REPLACE = "replace"
"""``rollout.strategy`` of a pool whose machines are replaced; others are upgraded in place."""


@dataclass(frozen=True)
class Roll:
    """How far one pool is. One thing at a time: what is new joins, then as many old ones leave, then the next successors are made.

    :param count: machines that the definition asks for.
    :param surge: successors that may be there at the same time besides them.
    :param outdated: machines that are to go: of another version, or of another specification than the definition's.
    :param new: machines that are as they should be and no nodes yet.
    :param leftovers: machines that a killed run made and never started; the engine takes them away.
    :param nodes: names of the machines that are nodes.
    :param size: machines that there are.
    """

    pool: str
    count: int
    surge: int
    outdated: tuple[Mapping[str, Any], ...]
    new: tuple[Mapping[str, Any], ...]
    leftovers: tuple[Mapping[str, Any], ...]
    nodes: tuple[str, ...]
    size: int

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return not self.outdated and not self.new

    @property
    def joining(self) -> tuple[Mapping[str, Any], ...]:
        """The machines that join next, at most `surge`."""
        return self.new[: self.surge]

    @property
    def making(self) -> tuple[Mapping[str, Any], ...]:
        """The machines whose successors are made next. What the pool has too few is made instead, if it has."""
        return () if self.new or self.size > self.count else self.outdated[: self.surge]

    @property
    def leaving(self) -> int:
        """How many of the outdated ones may leave now."""
        return 0 if self.new else max(0, min(self.size - self.count, self.surge, len(self.outdated)))

    @property
    def to_join(self) -> int:
        """How many machines join until nothing is left, those that the pool has too many or too few considered."""
        return len(self.new) + max(0, len(self.outdated) + self.count - self.size)


def surge_of(pool: Mapping[str, Any]) -> int:
    """Return how many successors may be there at the same time: a part is rounded up, as Kubernetes does with ``maxSurge``.

    https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#max-surge
    """
    text = str(pool.get("rollout", {}).get("max_surge", 1))
    if text.endswith("%"):
        return max(1, math.ceil(int(pool["count"]) * int(text[:-1]) / 100))
    return max(1, int(text))


def rolls(definition: Mapping[str, Any], machines: Sequence[Mapping[str, Any]], kubelets: Mapping[str, str], version: str) -> list[Roll]:
    """Return the pools that are replaced and in which something is left to do, in the order of the definition.

    :param machines: of the cluster, as the ``*_machines`` modules return them.
    :param kubelets: the version of each node, by its name.
    :param version: what a node is to have.
    """
    found = (_roll(definition, pool, machines, kubelets, version) for pool in definition["pools"] if is_replaced(pool))
    return [roll for roll in found if not roll.done]


def is_replaced(pool: Mapping[str, Any]) -> bool:
    """Return whether an upgrade replaces the machines of this pool."""
    return bool(pool.get("rollout", {}).get("strategy") == REPLACE)


def _roll(
    definition: Mapping[str, Any],
    pool: Mapping[str, Any],
    machines: Sequence[Mapping[str, Any]],
    kubelets: Mapping[str, str],
    version: str,
) -> Roll:
    wanted = spec_hash(dict(definition), dict(pool))
    there = sorted((machine for machine in machines if machine["pool"] == pool["name"]), key=lambda machine: str(machine["name"]))
    members = [machine for machine in there if machine["state"] not in (INCOMPLETE, *DEAD_STATES)]
    outdated = [one for one in members if one["spec_hash"] != wanted or kubelets.get(one["name"], version) != version]
    return Roll(
        pool["name"],
        int(pool["count"]),
        surge_of(pool),
        tuple(outdated),
        tuple(one for one in members if one not in outdated and one["name"] not in kubelets),
        tuple(one for one in there if one["state"] == INCOMPLETE),
        tuple(one["name"] for one in members if one["name"] in kubelets),
        len(members),
    )
