# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes next while the clusters of a fleet are changed wave by wave (private to flotilla.kubernetes).

Pure: whoever drives it says what time it is and what became of a cluster. A step costs time by what it begins and ends, never by the
size of the fleet.
"""

from __future__ import annotations

import datetime as dt
import heapq
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .plan import BLOCKED, NOTHING, UNKNOWN
from .waves import STOP, Wave
from .windows import HORIZON, Opening, Windows

RUNNING, DONE, FAILED, LEFT_OUT = "running", "done", "failed", "left_out"


@dataclass(frozen=True)
class State:
    """What became of a cluster; one without a state is not begun.

    :param phase: `RUNNING`, `DONE`, `FAILED` or `LEFT_OUT`.
    :param ended: when its run ended. None: it runs, or nothing was run in it.
    :param why: why it failed or is left out, for people.
    """

    phase: str
    ended: dt.datetime | None = None
    why: str = ""


@dataclass(frozen=True)
class Decision:
    """What comes next.

    :param start: clusters to begin now; they count as running from now on.
    :param left_out: clusters that are not begun any more, each with the reason.
    :param until: when time alone changes something: a window opens, or a wave has soaked.
    :param waits_for: what is waited for until then, for people.
    :param over: whether nothing runs and nothing is begun any more.
    """

    start: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    until: dt.datetime | None = None
    waits_for: str = ""
    over: bool = False


class Rollout:
    """The waves of a plan, and what has become of their clusters.

    :param waves: in their order.
    :param windows: when each cluster may be begun; always, if it has none here.
    :param states: what is known of clusters already, as of a run that is gone on with.
    """

    def __init__(self, waves: Sequence[Wave], windows: Mapping[str, Windows], states: Mapping[str, State]) -> None:
        self._waves = tuple(waves)
        self._where = {name: index for index, wave in enumerate(waves) for name in wave.clusters}
        self._states: dict[str, State] = {}
        self._by_wave: list[Counter[str]] = [Counter() for _wave in waves]
        self._running: set[str] = set()
        self._ended: dict[int, dt.datetime] = {}
        self.counts: Counter[str] = Counter()
        for name in self._where:
            if name in states:
                self._set(name, states[name])
        self._openings = _Openings(windows)
        self._index = -1
        self._ready: list[tuple[int, str]] = []
        self._closed: list[tuple[dt.datetime, int, str]] = []
        self._halted = ""

    @property
    def states(self) -> Mapping[str, State]:
        """What became of each cluster that has a state."""
        return self._states

    @property
    def running(self) -> frozenset[str]:
        """The clusters in which a run is at work."""
        return frozenset(self._running)

    @property
    def wave(self) -> Wave | None:
        """The wave that is at work; None before the first and after the last."""
        return self._waves[self._index] if 0 <= self._index < len(self._waves) else None

    @property
    def pending(self) -> int:
        """How many clusters may still be begun."""
        return len(self._where) - len(self._states)

    def ended(self, name: str, at: dt.datetime, why: str = "") -> None:
        """Take note that the run of a cluster ended.

        :param why: why it failed; empty if it did not.
        """
        self._set(name, State(FAILED if why else DONE, at, why))

    def leave_out(self, name: str, why: str) -> None:
        """Take a cluster that was to be begun out again, as nothing was run in it."""
        self._set(name, State(LEFT_OUT, None, why))

    def stop(self, why: str) -> None:
        """Begin no other cluster."""
        self._halted = self._halted or why

    def next(self, now: dt.datetime) -> Decision:
        """Return what comes next, and take it as done.

        :param now: with a time zone.
        """
        start: list[str] = []
        left: dict[str, str] = {}
        until, waits_for = None, ""
        if self._index < 0:
            self._enter(0, now, left)
        while self._index < len(self._waves):
            wave = self._waves[self._index]
            self._judge(wave, left)
            if not self._halted:
                start += self._begin(wave, now, left)
                self._judge(wave, left)
            if self._halted:
                self._leave_all(self._halted, left)
                break
            if self._running or self._closed:
                until = self._closed[0][0] if self._closed and len(self._running) < wave.in_flight else None
                waits_for = self._openings.at(self._closed[0][2], now).why if until else ""
                break
            soaked = self._ended[self._index] + dt.timedelta(seconds=wave.soak) if self._index in self._ended else now
            if now < soaked and self.pending:
                until, waits_for = soaked, f"wave {wave.name} soaks"
                break
            self._enter(self._index + 1, now, left)
        over = not self._running and not self.pending
        return Decision(tuple(start), left, None if over else until, "" if over else waits_for, over)

    def _enter(self, index: int, now: dt.datetime, left: dict[str, str]) -> None:
        self._index, self._ready, self._closed = index, [], []
        if index < len(self._waves):
            for position, name in enumerate(self._waves[index].clusters):
                if name not in self._states:
                    self._place(position, name, now, left)

    def _place(self, position: int, name: str, now: dt.datetime, left: dict[str, str]) -> bool:
        """Put a cluster where it waits; return whether it may be begun now."""
        opening = self._openings.at(name, now)
        if opening.open:
            heapq.heappush(self._ready, (position, name))
        elif opening.changes:
            heapq.heappush(self._closed, (opening.changes, position, name))
        else:
            self._leave(name, f"{opening.why}, and no window opens any more", left)
        return opening.open

    def _judge(self, wave: Wave, left: dict[str, str]) -> None:
        """Begin no other cluster of the wave, or of the fleet, where what became of its clusters says so."""
        became = self._by_wave[self._index]
        if wave.canary and (became[FAILED] or became[LEFT_OUT]):
            # A canary that was not tried says as little for the others as one that failed.
            bad = next(name for name in wave.clusters if name in self._states and self._states[name].phase in (FAILED, LEFT_OUT))
            state = self._states[bad]
            self.stop(f"the canary {bad} failed" if state.phase == FAILED else f"the canary {bad} is left out: {state.why}")
        elif became[FAILED] > wave.budget:
            failures = "a cluster" if became[FAILED] == 1 else f"{became[FAILED]} clusters"
            why = f"{failures} of wave {wave.name} failed, and {wave.budget or 'none'} may"
            if wave.on_failure == STOP:
                self.stop(why)
            else:
                for one in (*self._ready, *self._closed):
                    self._leave(one[-1], why, left)
                self._ready, self._closed = [], []

    def _begin(self, wave: Wave, now: dt.datetime, left: dict[str, str]) -> list[str]:
        while self._closed and self._closed[0][0] <= now:
            _opens, position, name = heapq.heappop(self._closed)
            self._place(position, name, now, left)
        begun: list[str] = []
        while self._ready and len(self._running) < wave.in_flight:
            position, name = heapq.heappop(self._ready)
            if not self._openings.at(name, now).open:
                self._place(position, name, now, left)
            else:
                self._set(name, State(RUNNING))
                begun.append(name)
        return begun

    def _leave(self, name: str, why: str, left: dict[str, str]) -> None:
        self._set(name, State(LEFT_OUT, None, why))
        left[name] = why

    def _leave_all(self, why: str, left: dict[str, str]) -> None:
        for wave in self._waves[self._index :]:
            for name in wave.clusters:
                if name not in self._states:
                    self._leave(name, why, left)
        self._index, self._ready, self._closed = len(self._waves), [], []

    def _set(self, name: str, state: State) -> None:
        index, before = self._where[name], self._states.get(name)
        if before:
            self.counts[before.phase] -= 1
            self._by_wave[index][before.phase] -= 1
        self._states[name] = state
        self.counts[state.phase] += 1
        self._by_wave[index][state.phase] += 1
        (self._running.add if state.phase == RUNNING else self._running.discard)(name)
        if state.ended:
            self._ended[index] = max(state.ended, self._ended.get(index, state.ended))


class _Openings:
    """Whether clusters may be begun; those with the same windows are asked for once until that changes."""

    def __init__(self, windows: Mapping[str, Windows]) -> None:
        self._kind = {name: json.dumps(one.plain(), sort_keys=True) for name, one in windows.items()}
        self._windows = {self._kind[name]: one for name, one in windows.items()}
        self._known: dict[str, tuple[dt.datetime, Opening]] = {}

    def at(self, name: str, now: dt.datetime) -> Opening:
        kind = self._kind.get(name)
        if kind is None:
            return Opening(True, None)
        known = self._known.get(kind)
        if known is None or not known[0] <= now < (known[1].changes or known[0] + HORIZON):
            known = self._known[kind] = (now, self._windows[kind].at(now))
        return known[1]


def waves_of(plan: Mapping[str, Any]) -> list[Wave]:
    """Return the waves of a plan, as `make_plan` wrote it; their names tell the foundation, too."""
    return [
        Wave(
            name=f"{stage['foundation']}/{stage['name']}",
            clusters=tuple(one["name"] for one in stage["clusters"]),
            in_flight=int(stage["max_clusters_in_flight"]),
            budget=int(stage["failure_budget"]),
            on_failure=str(stage["on_failure"]),
            soak=float(stage["soak"]),
            canary=bool(stage["canary"]),
        )
        for stage in plan["waves"]
    ]


def states_of(plan: Mapping[str, Any], known: Mapping[str, State]) -> dict[str, State]:
    """Return what is known of clusters before anything is begun.

    Those with nothing to do are done, those with something in the way are left out.

    :param known: what an earlier run with the same plan knows; it comes first.
    """
    states = dict(known)
    for one in _clusters(plan):
        if one["name"] not in states and one["action"] == NOTHING:
            states[one["name"]] = State(DONE, None, one["why"])
        elif one["name"] not in states and one["action"] in (BLOCKED, UNKNOWN):
            states[one["name"]] = State(LEFT_OUT, None, one["why"])
    return states


def _clusters(plan: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return (one for stage in plan["waves"] for one in stage["clusters"])
