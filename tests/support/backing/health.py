# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health checks of load balancers: asked for real, from the address of the network's router."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from backing.picture import HEALTHY, INITIAL, UNHEALTHY, Check, Health

_REASONS = {
    INITIAL: ("Elb.InitialHealthChecking", "Initial health checks in progress"),
    HEALTHY: ("", ""),
    UNHEALTHY: ("Target.FailedHealthChecks", "Health checks failed"),
}


@dataclass
class Course:
    """What a target's checks have come to."""

    state: str = INITIAL
    good: int = 0
    bad: int = 0

    def add(self, passed: bool, check: Check) -> None:
        """Count a check; so many in a row as the group asks for change the state."""
        self.good, self.bad = (self.good + 1, 0) if passed else (0, self.bad + 1)
        if self.good >= check.rise:
            self.state = HEALTHY
        elif self.bad >= check.fall:
            self.state = UNHEALTHY

    @property
    def health(self) -> Health:
        return Health(self.state, *_REASONS[self.state])


def probe(address: str, check: Check) -> bool:
    """Tell whether a target passes a check now."""
    if check.protocol == "TCP":
        try:
            socket.create_connection((address, check.port), check.timeout).close()
        except OSError:
            return False
        return True
    if check.protocol == "HTTPS":
        # A load balancer does not look at the certificates of its targets.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(address, check.port, timeout=check.timeout, context=context)
    else:
        connection = http.client.HTTPConnection(address, check.port, timeout=check.timeout)
    try:
        connection.request("GET", check.path)
        return 200 <= connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Checker:
    """Checks targets, each in a thread of its own, for as long as they are wanted."""

    def __init__(self, ask: Callable[[str, Check], bool] = probe) -> None:
        self._ask = ask
        self._courses: dict[tuple[str, str], Course] = {}
        self._wanted: dict[tuple[str, str], tuple[str, Check]] = {}
        self._lock = threading.Lock()

    def watch(self, wanted: dict[tuple[str, str], tuple[str, Check]]) -> None:
        """Check these and no others: (group, instance) -> address and check. One that is new, or comes back, begins as initial."""
        with self._lock:
            self._wanted = dict(wanted)
            for key in set(self._courses) - set(wanted):
                del self._courses[key]
            new = set(wanted) - set(self._courses)
            for key in new:
                self._courses[key] = Course()
        for key in new:
            threading.Thread(target=self._follow, args=(key, self._courses[key]), daemon=True).start()

    def _follow(self, key: tuple[str, str], course: Course) -> None:
        while True:
            with self._lock:
                if self._courses.get(key) is not course:
                    return
                address, check = self._wanted[key]
            began = time.monotonic()
            passed = self._ask(address, check)
            with self._lock:
                course.add(passed, check)
            time.sleep(max(0.1, check.interval - (time.monotonic() - began)))

    def health(self, group: str, instance: str) -> Health:
        with self._lock:
            return self._courses.get((group, instance), Course()).health
