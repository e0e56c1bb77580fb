# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One clock for everything that takes part in a test: endpoint, proxy, and the code under test in whatever process.

A second of this clock is a second of the story (a latency, a back-off, the day that a token is kept); it lasts ``1 / speed`` real
seconds. The standing of the clock is in a file that all processes map, so that one of them can let a day pass for all.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_LAYOUT = struct.Struct("ddd")

# As they are before anybody changes them.
_monotonic = time.monotonic
_time = time.time
_sleep = time.sleep
_wait = threading.Condition.wait


class Clock:
    """Read the clock that `Clock.create` made.

    :param path: the clock's file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _LAYOUT.size)

    @classmethod
    def create(cls, path: Path, speed: float) -> Clock:
        """Make a clock that starts at 0 and is ``speed`` times as fast as the real one."""
        path.write_bytes(_LAYOUT.pack(_monotonic(), 0.0, speed))
        return cls(path)

    def _read(self) -> tuple[float, float, float]:
        return _LAYOUT.unpack(self._memory[: _LAYOUT.size])

    @property
    def speed(self) -> float:
        return self._read()[2]

    def now(self) -> float:
        """Return the seconds since the clock was made."""
        started, offset, speed = self._read()
        return offset + (_monotonic() - started) * speed

    def sleep(self, seconds: float) -> None:
        _sleep(max(0.0, seconds) / self.speed)

    def advance(self, seconds: float) -> None:
        """Let time pass at once."""
        started, offset, speed = self._read()
        self._memory[: _LAYOUT.size] = _LAYOUT.pack(started, offset + seconds, speed)


@contextlib.contextmanager
def installed(clock: Clock, before_sleep: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Make `time` and the waits of `threading` in this process go by ``clock``.

    :param before_sleep: called at the start of each sleep; may raise.
    """
    epoch = _time() - clock.now()

    def sleep(seconds: float) -> None:
        before_sleep()
        clock.sleep(seconds)

    def wait(self: threading.Condition, timeout: float | None = None) -> bool:
        return _wait(self, None if timeout is None else max(0.0, timeout) / clock.speed)

    time.sleep, time.monotonic, time.time = sleep, clock.now, lambda: epoch + clock.now()
    threading.Condition.wait = wait  # type: ignore[method-assign]
    try:
        yield
    finally:
        time.sleep, time.monotonic, time.time = _sleep, _monotonic, _time
        threading.Condition.wait = _wait  # type: ignore[method-assign]
