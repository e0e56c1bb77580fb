# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of a cloud, repeated where that helps (private to flotilla.kubernetes)."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Protocol, TypeVar

from .cloud import CloudError, NotFound

Answer = TypeVar("Answer")


class Clock(Protocol):
    """Where time comes from; tests run it faster, or without waiting at all."""

    def time(self) -> float:
        """Return seconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds since some moment."""

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""


@dataclass(frozen=True)
class Patience:
    """How long the engine waits for what, in seconds.

    :param ready: a machine from its creation or start until it runs and can be reached.
    :param gone: a machine from the accepted deletion until it is gone.
    :param call: one call with all its repetitions.
    :param pause: the mean of the first pause between two calls is half of this; the bound doubles with each one up to ``longest_pause``.
    :param poll: the first pause between two looks at what is waited for; it grows up to ``longest_poll``.
    :param report: between two progress lines.
    """

    ready: float = 600.0
    gone: float = 600.0
    call: float = 300.0
    pause: float = 1.0
    longest_pause: float = 30.0
    poll: float = 1.0
    longest_poll: float = 10.0
    report: float = 10.0


class Stopped(Exception):
    """The call was not made, because another one failed in a way that ends the run."""


class Caller:
    """Makes calls: what is throttled or transient is repeated, anything else goes through.

    The pause is random between nothing and a bound that doubles ("full jitter",
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), so that runs throttled together do not come back together.
    """

    def __init__(self, clock: Clock = time, randomness: random.Random | None = None, patience: Patience | None = None) -> None:
        self.clock = clock
        self.patience = patience or Patience()
        self.stop = threading.Event()
        self._random = randomness or random.Random()

    def __call__(self, call: Callable[..., Answer], *arguments: Any, unknown_for: float = 0.0) -> Answer:
        """Return what ``call(*arguments)`` returns.

        :param unknown_for: seconds for which `NotFound` is repeated too: reads and changes may lag behind a creation.
        :raises CloudError: the last one, when repeating does not help or patience is over.
        :raises Stopped: when another thread has set `stop`.
        """
        started = self.clock.monotonic()
        bound = self.patience.pause
        while True:
            if self.stop.is_set():
                raise Stopped
            try:
                return call(*arguments)
            except CloudError as error:
                pause = max(error.retry_after, self._random.uniform(0, bound))
                spent = self.clock.monotonic() - started
                patience = self.patience.call if error.retry else unknown_for
                if not (error.retry or isinstance(error, NotFound)) or spent >= patience or error.retry_after > patience - spent:
                    raise
                self.clock.sleep(min(pause, patience - spent))
                bound = min(2 * bound, self.patience.longest_pause)
