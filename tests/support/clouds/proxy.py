# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy in front of a cloud's endpoint that does what networks and clouds do on a bad day. It knows the cloud by a `Dialect` only.

Reads are eventually consistent: within ``stale_for`` seconds after a change, a read may be answered as it was answered before the change,
and what was just made may not be there. Older than that no answer is ever given, so code that waits so long knows what it sees.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from clouds import faults
from clouds.clock import Clock
from clouds.faults import Answer, Call, Dialect, Dice, Draw, Faults, Request


@dataclass
class Consistency:
    """Which older answers a read may still get."""

    clock: Clock
    dialect: Dialect
    stale_for: float = 0.0
    _answers: dict[str, tuple[float, Answer]] = field(default_factory=dict)
    _changes: list[float] = field(default_factory=list)
    _young: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def changed(self, call: Call, answer: Answer | None) -> None:
        with self._lock:
            now = self.clock.now()
            self._changes.append(now)
            for thing in self.dialect.created(call, answer) if answer and answer.status < 400 else ():
                self._young.setdefault(thing, now)

    def remember(self, call: Call, began: float, answer: Answer) -> None:
        """Keep an answer that shows everything that had happened when its call began."""
        with self._lock:
            self._answers[call.read] = (began, answer)

    def older(self, call: Call) -> Answer | None:
        """Return an earlier answer to the same read, if nothing that it lacks is older than the window."""
        with self._lock:
            began, answer = self._answers.get(call.read, (0.0, None))
            missing = [change for change in self._changes if change >= began]
            return answer if missing and min(missing) > self.clock.now() - self.stale_for else None

    def young(self) -> set[str]:
        with self._lock:
            return {thing for thing, made in self._young.items() if made > self.clock.now() - self.stale_for}


class Proxy:
    """:param upstream: the endpoint.

    :ivar asked: real seconds that it took to answer.
    """

    def __init__(self, upstream: Callable[[Request], Answer | None], clock: Clock, dialect: Dialect) -> None:
        self.asked = 0.0
        self.clock = clock
        self.dialect = dialect
        self.consistency = Consistency(clock, dialect)
        self._idle = threading.Condition()
        self._under_way = 0
        self._calls: list[dict[str, Any]] = []
        self._dice = Dice(Faults())
        self._upstream = upstream

    def upstream(self, request: Request) -> Answer | None:
        began = time.perf_counter()
        try:
            return self._upstream(request)
        finally:
            self.asked += time.perf_counter() - began

    def change_weather(self, weather: Faults) -> None:
        """Begin a new list of calls. What the cloud has told before stays known."""
        with self._idle:
            self._dice = Dice(weather)
            self._calls = []
            self.consistency.stale_for = weather.stale_for

    def forget(self) -> None:
        """Know nothing of what the cloud has told."""
        self.consistency = Consistency(self.clock, self.dialect, self.consistency.stale_for)

    def calls(self) -> list[dict[str, Any]]:
        """Wait until no call is under way and return those since the weather last changed."""
        with self._idle:
            self._idle.wait_for(lambda: self._under_way == 0, timeout=60)
            return list(self._calls)

    def __call__(self, request: Request) -> Answer | None:
        call = self.dialect.call(request)
        with self._idle:
            draw = self._dice.roll(call)
            record = {"action": call.action, "mutates": call.mutates, "fault": draw.fault, "at": self.clock.now(), "status": 0}
            self._calls.append(record)
            self._under_way += 1
        try:
            with self.clock.working():
                answer = self._through(request, call, draw)
        finally:
            with self._idle:
                self._under_way -= 1
                self._idle.notify_all()
        record["status"] = answer.status if answer else 0
        return answer

    def _through(self, request: Request, call: Call, draw: Draw) -> Answer | None:
        self.clock.sleep(draw.latency / 2)
        answer: Answer | None
        if draw.fault == faults.THROTTLED:
            answer = self.dialect.throttled(call)
        elif draw.fault == faults.BROKEN:
            answer = self.dialect.broken(call)
        elif call.mutates:
            answer = self.upstream(request)
            self.consistency.changed(call, answer)
        else:
            answer = self._read(request, call, draw)
        self.clock.sleep(draw.latency / 2)
        if draw.fault == faults.RESET:
            return None
        return self.dialect.broken(call) if draw.fault == faults.BROKEN_AFTER else answer

    def _read(self, request: Request, call: Call, draw: Draw) -> Answer | None:
        consistency = self.consistency
        stale = draw.stale and consistency.stale_for > 0
        older = consistency.older(call) if stale else None
        if older:
            return older
        began = self.clock.now()
        answer = self.upstream(request)
        if answer is None:
            return None
        consistency.remember(call, began, answer)
        young = consistency.young() if stale else set()
        return self.dialect.hide(call, request, answer, young) if young else answer
