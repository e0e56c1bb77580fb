# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong between a process and a cloud's endpoint, drawn from a seed, and what a cloud has to say for that."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    """With lower-case names."""
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Call:
    """A request as its cloud understands it.

    :param action: the same for all requests of one kind, e.g. ``ec2:RunInstances``.
    :param mutates: whether it may change something.
    :param read: for one that only reads: the same text whenever the same is asked for, whoever asks.
    """

    action: str
    mutates: bool
    read: str = ""


class Dialect(Protocol):
    """A cloud's own forms, for the proxy. The class is made without arguments."""

    def call(self, request: Request) -> Call: ...

    def throttled(self, call: Call) -> Answer:
        """Return what the cloud says when it is asked too often."""

    def broken(self, call: Call) -> Answer:
        """Return what the cloud says when it fails itself, with a 5xx status."""

    def created(self, call: Call, answer: Answer) -> set[str]:
        """Return the ids of what a call that mutates has made."""

    def hide(self, call: Call, request: Request, answer: Answer, young: set[str]) -> Answer:
        """Return what a reader would see to whom the things ``young`` are not there yet."""


@dataclass(frozen=True)
class Faults:
    """The weather of one run. Probabilities are per call, times in seconds of the test's clock.

    :param burst: so many faults in a row at most for one action: retrying must be able to succeed.
    """

    seed: str = ""
    latency: tuple[float, float] = (0.0, 0.0)
    throttled: float = 0.0
    broken: float = 0.0
    reset: float = 0.0
    stale_for: float = 0.0
    stale: float = 0.5
    burst: int = 3

    @classmethod
    def storm(cls, seed: str) -> Faults:
        """Return everything at once, as the contract asks for."""
        return cls(seed, latency=(0.2, 0.8), throttled=0.10, broken=0.05, reset=0.03, stale_for=5.0)


CALM = Faults()

NONE, THROTTLED, BROKEN, BROKEN_AFTER, RESET = "", "throttled", "broken", "broken after it was done", "reset after it was done"


@dataclass(frozen=True)
class Draw:
    """What happens to one call."""

    latency: float
    fault: str
    stale: bool


@dataclass
class Dice:
    """Draw for each call; the n-th call of an action always draws the same, in whatever order threads come."""

    faults: Faults
    _calls: Counter[str] = field(default_factory=Counter)
    _in_a_row: Counter[str] = field(default_factory=Counter)

    def roll(self, call: Call) -> Draw:
        number = self._calls[call.action] = self._calls[call.action] + 1
        source = random.Random(f"{self.faults.seed} {call.action} {number}")
        latency, luck, applied, stale = source.uniform(*self.faults.latency), source.random(), source.random(), source.random()
        fault = NONE
        if self._in_a_row[call.action] < self.faults.burst:
            if luck < self.faults.throttled:
                fault = THROTTLED
            elif luck < self.faults.throttled + self.faults.broken:
                # One in five was done all the same.
                fault = BROKEN_AFTER if applied < 0.2 else BROKEN
            elif luck < self.faults.throttled + self.faults.broken + self.faults.reset:
                fault = RESET
        self._in_a_row[call.action] = self._in_a_row[call.action] + 1 if fault else 0
        return Draw(latency, fault, stale < self.faults.stale)
