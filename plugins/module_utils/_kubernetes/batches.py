# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes may be drained together, and in what order (private to flotilla.kubernetes).

Pure; Python 3.9, standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Callable

from .._errors import FlotillaError
from .disruption import Blocker, Consent, Disruptions, Limit
from .placement import Placement, Unplaced
from .snapshot import Pod, Snapshot


@dataclass(frozen=True)
class Wishes:
    """What the user allows.

    :param max_unavailable: nodes of the pool that may be away at the same time, those that are away already included.
    :param pool: names of all its nodes.
    :param zone_aware: the nodes of a batch are of one zone.
    """

    max_unavailable: int
    pool: frozenset[str]
    zone_aware: bool = True
    consent: Consent = field(default_factory=Consent)


@dataclass(frozen=True)
class DrainPlan:
    """The first batch may be drained now; those after it are what comes next if nothing else changes.

    :param held: why there is no batch although nodes are left that nothing blocks; empty otherwise.
    :param waits: node -> why it is not in the first batch.
    """

    batches: list[list[str]]
    blocked: list[Blocker]
    does_not_fit: list[dict[str, str]]
    held: str
    waits: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as the module returns it."""
        return {
            "batches": self.batches,
            "blocked": [blocker.as_dict() for blocker in self.blocked],
            "does_not_fit": self.does_not_fit,
            "held": self.held,
            "waits": self.waits,
        }


def resolve_limit(text: str, total: int) -> int:
    """Return how many of ``total`` nodes a limit like ``2`` or ``25%`` means: rounded down, but one at least.

    :raises FlotillaError: it is neither a number from 1 on nor a percentage from 1 to 100.
    """
    number, percent = (text[:-1], True) if text.endswith("%") else (text, False)
    if not number.isascii() or not number.isdigit() or int(number) < 1 or (percent and int(number) > 100):
        raise FlotillaError(
            "MAX_UNAVAILABLE_INVALID", f"max_unavailable is {text!r}.", "Write a number of nodes from 1 on, or a part like 25%."
        )
    return max(1, int(number) * total // 100) if percent else int(number)


def canaries_first(pools: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the pools of a definition in the order in which something new comes to them."""
    return sorted(pools, key=lambda pool: not pool.get("rollout", {}).get("canary", False))


def plan(snapshot: Snapshot, nodes: Sequence[str], wishes: Wishes, now: datetime) -> DrainPlan:
    """Plan the drains of ``nodes``.

    :param nodes: in the order in which they are to go where nothing speaks against it.
    :param now: with a time zone; tells pods that end from those that do not.
    """
    return _Planner(snapshot, list(dict.fromkeys(nodes)), wishes, now).plan()


class _Planner:
    def __init__(self, snapshot: Snapshot, nodes: list[str], wishes: Wishes, now: datetime) -> None:
        self._snapshot, self._nodes, self._wishes, self._now = snapshot, nodes, wishes, now
        self._disruptions = Disruptions(snapshot)
        self._placement = Placement(snapshot)
        known = snapshot.nodes
        self._away = {name for name in wishes.pool if name not in known or not known[name].ready or not known[name].schedulable}
        self._done: set[str] = set()

    def plan(self) -> DrainPlan:
        blocked: list[Blocker] = []
        homeless: dict[str, list[Unplaced]] = {}
        for name in self._nodes:
            found = self._disruptions.blockers(name, self._wishes.consent, self._now)
            if name in self._snapshot.nodes and self._snapshot.nodes[name].ready:
                homeless[name] = self._alone(name)
                found += self._disruptions.needs_room(name, [one.pod for one in homeless[name]])
            blocked += found
        stopped = {blocker.node for blocker in blocked}
        # What takes no pods any more, because a run that was killed had begun with it, goes first: it is away already.
        left = sorted((name for name in self._nodes if name not in stopped), key=lambda name: name not in self._away)
        batches: list[list[str]] = []
        held, waits = "", {}
        while left:
            batch, reasons = self._batch(left)
            if not batches:
                waits = reasons
            if not batch:
                held = self._why_held()
                break
            batches.append(batch)
            left = [name for name in left if name not in batch]
        lines = [{"node": name, "pod": one.pod.title, "reason": one.reason} for name, found in homeless.items() for one in found]
        return DrainPlan(batches, blocked, lines, held, waits)

    def _alone(self, name: str) -> list[Unplaced]:
        """Return the pods of a node for which there is no place when it alone is drained."""
        unplaced, undo = self._empty(name)
        undo()
        return unplaced

    def _empty(self, name: str) -> tuple[list[Unplaced], Callable[[], None]]:
        """Move the pods of a node elsewhere; return those for which there is no place, and what takes all of it back."""
        placement = self._placement
        was_open = name in placement.open
        placement.open.discard(name)
        moving = self._movable(name)
        for pod in moving:
            placement.take(pod)
        unplaced = placement.place(moving, self._done, name)

        def undo() -> None:
            for pod in moving:
                if pod.uid in placement.where:
                    placement.take(pod)
                placement.put(pod, name)
            if was_open:
                placement.open.add(name)

        return unplaced, undo

    def _movable(self, name: str) -> list[Pod]:
        """Return the pods of a node that come back elsewhere once they are evicted."""
        return [pod for pod in self._placement.on(name) if not pod.stays and not pod.leaving and pod.owner is not None]

    def _batch(self, left: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Choose the next batch out of ``left``; return it and why each other node is not in it."""
        demands = {name: self._disruptions.demand(self._placement.on(name)) for name in left}
        batch: list[str] = []
        used: dict[Limit, list[str]] = {}
        reasons: dict[str, str] = {}
        alone: list[str] = []
        for name in left:
            reason = self._forbids(name, batch, demands, used)
            if not reason:
                unplaced, undo = self._empty(name)
                if unplaced:
                    undo()
                    alone.append(name)
                    reason = f"no room for {unplaced[0].pod.title}: {unplaced[0].reason}"
            if reason:
                reasons[name] = reason
                continue
            batch.append(name)
            for limit in demands[name]:
                used.setdefault(limit, []).append(name)
        # Waiting may make room. When no node is left whose pods fit elsewhere, the first of the others goes, by itself.
        if not batch and alone:
            batch = [alone[0]]
            self._empty(alone[0])
            del reasons[alone[0]]
        self._placement.open.update(batch)
        self._away.difference_update(batch)
        self._done.update(batch)
        return batch, reasons

    def _forbids(self, name: str, batch: list[str], demands: dict[str, Any], used: dict[Limit, list[str]]) -> str:
        """Return why a node can not go with those that are in the batch already."""
        if len(self._away | {*batch, name}) > self._wishes.max_unavailable and name not in self._away:
            return f"{self._wishes.max_unavailable} nodes may be away at a time"
        nodes = self._snapshot.nodes
        if batch and self._wishes.zone_aware and nodes[name].zone != nodes[batch[0]].zone:
            return f"it is in zone {nodes[name].zone or 'none'}, and {batch[0]} in {nodes[batch[0]].zone or 'none'}"
        for limit, number in demands[name].items():
            others = used.get(limit, [])
            total = number + sum(demands[other][limit] for other in others)
            if others and total > limit.room:
                return f"{limit.title}: {total} pods on it and {', '.join(others)}, and {limit.room} may be away"
        return ""

    def _why_held(self) -> str:
        names = ", ".join(sorted(self._away))
        return f"max_unavailable is {self._wishes.max_unavailable} of {len(self._wishes.pool)} nodes, and these are away already: {names}."
