# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patience with a cloud's calls, whichever cloud (private to flotilla.kubernetes)."""

from __future__ import annotations

import random
import time
from typing import Any, Callable

from .._machines.cloud import CloudError, NotFound, Throttled
from .._machines.retry import Clock

# Seconds after which a read surely shows what was accepted before it. No cloud promises any; the waiters of their SDKs count on a few.
# https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html
CONSISTENCY = 6.0
ATTEMPTS = 12
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20.0


class Patient:
    """Makes calls, and makes them again where that helps. A cloud's session is one, and says what a call is.

    :param clock: what tells the time and waits.
    :param spread: returns a number between 0 and 1, the jitter of a pause.
    """

    def __init__(self, clock: Clock = time, spread: Callable[[], float] = random.random) -> None:
        self.clock = clock
        self._spread = spread

    def call(self, *arguments: Any, **parameters: Any) -> dict[str, Any]:
        """Make one call, once, and return the answer.

        :raises CloudError: what came instead.
        """
        raise NotImplementedError

    def repeat(self, *arguments: Any, repeatable: bool = True, fresh: bool = False, **parameters: Any) -> dict[str, Any]:
        """Make a call, and repeat it with growing pauses while the cloud only asks for patience.

        :param repeatable: whether the call may be made again when nobody knows whether it was done. What was throttled was not done.
        :param fresh: whether it names something just made, which other parts of the cloud may not know yet.
        """
        begun = self.clock.monotonic()
        attempt = 0
        while True:
            try:
                return self.call(*arguments, **parameters)
            except CloudError as error:
                young = fresh and isinstance(error, NotFound) and self.clock.monotonic() - begun < 10 * CONSISTENCY
                patient = young or isinstance(error, Throttled) or (repeatable and error.retry)
                if not patient or attempt + 1 >= ATTEMPTS:
                    raise
                self.pause(attempt, error.retry_after)
            attempt += 1

    def pause(self, attempt: int, at_least: float = 0.0) -> None:
        """Wait a random time, the longer the more attempts there were."""
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)
        self.clock.sleep(max(at_least, longest * (0.5 + self._spread() / 2)))

    def wait(self, check: Callable[[], bool], timeout: float, pause: float = 2.0) -> bool:
        """Call ``check`` until it is true, at most for ``timeout`` seconds; returns whether it was."""
        end = self.clock.monotonic() + timeout
        while not check():
            if self.clock.monotonic() >= end:
                return False
            self.clock.sleep(pause)
        return True
