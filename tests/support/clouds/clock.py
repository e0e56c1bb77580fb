# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One clock for everything that takes part in a test: endpoint, proxy, and the code under test in whatever process.

A second of this clock is a second of the story (a latency, a back-off, the day that a token is kept); it lasts ``1 / speed`` real
seconds. Where nobody works and all wait, there is nothing to wait for: then the clock goes on to the moment at which the first of them
wakes up. Only at speed 1 everything lasts as long as it does. The standing of the clock is in a file that all processes map.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import mmap
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

_LAYOUT = struct.Struct("dddd")
_OFFSET = slice(8, 16)
# A thread whose innermost code is here waits for another one: TLS is spoken with the endpoint of this very process.
_WAITING = ("/threading.py", "/concurrent/futures/thread.py", "/ssl.py")

# As they are before anybody changes them.
_monotonic = time.monotonic
_time = time.time
_sleep = time.sleep
_wait = threading.Condition.wait
_looking = threading.Lock()


def _frames() -> dict[int, FrameType]:
    """Return the innermost frame of each thread.

    Without collecting garbage: what is collected may close a connection, which lets another thread run that waits for what this call
    holds, and then all threads wait for ever: https://github.com/python/cpython/issues/106883.
    """
    with _looking:
        gc.disable()
        try:
            return sys._current_frames()
        finally:
            gc.enable()


class Clock:
    """Read the clock that `Clock.create` made.

    :param path: the clock's file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("r+b")
        self._memory = mmap.mmap(self._file.fileno(), _LAYOUT.size)
        self._lock = threading.Lock()
        self._working: set[int] = set()
        self._asleep: dict[int, float] = {}
        self._bystanders: set[int] | None = None

    @classmethod
    def create(cls, path: Path, speed: float) -> Clock:
        """Make a clock that starts at 0 and is ``speed`` times as fast as the real one."""
        path.write_bytes(_LAYOUT.pack(_monotonic(), 0.0, speed, _time()))
        return cls(path)

    def _read(self) -> tuple[float, float, float, float]:
        return _LAYOUT.unpack(self._memory[: _LAYOUT.size])

    @property
    def speed(self) -> float:
        return self._read()[2]

    def now(self) -> float:
        """Return the seconds since the clock was made."""
        started, offset, speed, _epoch = self._read()
        return offset + (_monotonic() - started) * speed

    def time(self) -> float:
        """Return the seconds since 1970, for those who live by this clock."""
        return self._read()[3] + self.now()

    def advance(self, seconds: float) -> None:
        """Let time pass at once."""
        with self._lock:
            # For other processes; their threads have no part in this lock.
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                self._memory[_OFFSET] = struct.pack("d", self._read()[1] + seconds)
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)

    def sleep(self, seconds: float) -> None:
        end = self.now() + seconds
        me = threading.get_ident()
        self._asleep[me] = end
        try:
            while (left := end - self.now()) > 0:
                if self.speed > 1 and not self._somebody_works():
                    self.advance(max(0.0, min(list(self._asleep.values())) - self.now()))
                else:
                    _sleep(min(left / self.speed, 0.002 if self.speed > 1 else left))
        finally:
            del self._asleep[me]

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Have the clock not jump while this thread does something in here, unless that is to sleep."""
        me = threading.get_ident()
        self._working.add(me)
        try:
            yield
        finally:
            self._working.discard(me)

    def _somebody_works(self) -> bool:
        threads = set(self._working)
        if self._bystanders is not None:
            threads |= {thread.ident or 0 for thread in threading.enumerate() if not thread.daemon} - self._bystanders
        if threads <= self._asleep.keys():
            return False
        frames = _frames()
        return any(
            thread in frames and not frames[thread].f_code.co_filename.endswith(_WAITING) for thread in threads - self._asleep.keys()
        )

    @contextlib.contextmanager
    def installed(self, before_sleep: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Make `time` and the waits of `threading` in this process go by this clock, for this thread and those that it starts.

        :param before_sleep: called at the start of each sleep; may raise.
        """

        def sleep(seconds: float) -> None:
            before_sleep()
            self.sleep(seconds)

        def wait(condition: threading.Condition, timeout: float | None = None) -> bool:
            return _wait(condition, None if timeout is None else max(0.0, timeout) / self.speed)

        self._bystanders = {thread.ident or 0 for thread in threading.enumerate()} - {threading.get_ident()}
        time.sleep, time.monotonic, time.time = sleep, self.now, self.time
        threading.Condition.wait = wait  # type: ignore[method-assign]
        try:
            yield
        finally:
            time.sleep, time.monotonic, time.time = _sleep, _monotonic, _time
            threading.Condition.wait = _wait  # type: ignore[method-assign]
            self._bystanders = None
