# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge between the process under test and the network: where it is killed.

Every SDK that clouds have for Python sends its requests through `http.client`. A call has two moments: just before it is sent, and
when it has been sent but its answer was not read. At the chosen moment the process ends: by SIGKILL, or, where it shares the process of
the test, by an exception that no ``except Exception`` catches and after which it can neither send nor sleep any more.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

_endheaders = http.client.HTTPConnection.endheaders
_getresponse = http.client.HTTPConnection.getresponse


class Killed(BaseException):
    """The process under test is dead."""


class Edge:
    """Counts the moments of one run and ends it at one of them.

    :param kill_at: number of the moment, from 0; None lets the run live.
    :param real: whether to end the whole process by SIGKILL.
    """

    def __init__(self, kill_at: int | None = None, real: bool = False) -> None:
        self.kill_at = kill_at
        self.real = real
        self.moments = 0
        self.dead = False
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raise `Killed` if the process is dead."""
        if self.dead:
            raise Killed

    def pass_moment(self) -> None:
        """Count a moment, and end the process if it is the chosen one."""
        with self._lock:
            self.check()
            moment, self.moments = self.moments, self.moments + 1
            if moment != self.kill_at:
                return
            self.dead = True
        if self.real:
            os.kill(os.getpid(), signal.SIGKILL)
        raise Killed


@contextlib.contextmanager
def installed(edge: Edge) -> Iterator[None]:
    """Have every HTTP call of this process pass ``edge``."""
    before = set(threading.enumerate())

    def endheaders(self: http.client.HTTPConnection, *args: Any, **kwargs: Any) -> None:
        edge.pass_moment()
        _endheaders(self, *args, **kwargs)

    def getresponse(self: http.client.HTTPConnection) -> http.client.HTTPResponse:
        edge.pass_moment()
        return _getresponse(self)

    http.client.HTTPConnection.endheaders = endheaders  # type: ignore[method-assign]
    http.client.HTTPConnection.getresponse = getresponse  # type: ignore[method-assign]
    try:
        yield
    finally:
        # Threads of a run that was killed must find the edge closed until they end.
        for thread in set(threading.enumerate()) - before:
            if not thread.daemon:
                thread.join(60)
        http.client.HTTPConnection.endheaders = _endheaders  # type: ignore[method-assign]
        http.client.HTTPConnection.getresponse = _getresponse  # type: ignore[method-assign]
