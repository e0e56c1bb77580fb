# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's life in NSX in bad weather, and runs that are killed anywhere: no orphan, nothing of others, the same end."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.nsx import load_balancer, network
from clouds.faults import BROKEN, BROKEN_AFTER, NONE, RESET, THROTTLED, Answer, Call, Dice, Faults, Request

_OWN = ("_revision", "unique_id", "flotilla-uid")


class Killed(BaseException):
    """The process is gone: nothing catches that."""


class Weather:
    """What stands between the session and the manager: faults as a seed draws them."""

    def __init__(self, manager: Any, faults: Faults) -> None:
        self.manager = manager
        self.dice = Dice(faults)
        self.seen: set[str] = set()

    def __call__(self, request: Request) -> Answer | None:
        path = request.path.partition("?")[0]
        draw = self.dice.roll(Call(f"{request.method} {path}", request.method != "GET"))
        self.manager.clock.advance(draw.latency)
        if draw.fault != NONE:
            self.seen.add(draw.fault)
        if draw.fault in (NONE, BROKEN_AFTER, RESET):
            answer = self.manager(request)
        if draw.fault == NONE:
            return answer
        if draw.fault == THROTTLED:
            return Answer(429, {"Retry-After": "1"}, b'{"error_code": 98, "error_message": "Too many requests."}')
        return None if draw.fault == RESET else Answer(503, {}, b"")


class Killer:
    """Kills whoever makes a number of changes, when the last of them is done; the next process lives."""

    def __init__(self, front: Any, changes: int) -> None:
        self.front = front
        self.manager = front.manager
        self.left = changes

    def __call__(self, request: Request) -> Answer | None:
        answer = self.manager(request)
        self.left -= request.method != "GET" and "/session/" not in request.path
        if self.left == 0:
            self.front.manager = self.manager
            raise Killed
        return answer


def life(session: Any, definition: dict[str, Any]) -> None:
    """Make, change and change again what a cluster has."""
    members = [{"id": f"vm-{number}", "address": f"10.20.0.{number + 4}", "state": "active"} for number in range(3)]
    network.present(session, definition)
    load_balancer.present(session, definition, members[:1])
    definition["nsx"].update(dns_servers=["10.1.1.54"], load_balancer_size="MEDIUM")
    network.present(session, definition)
    load_balancer.present(session, definition, [*members[:2], {**members[2], "state": "drained"}], drain_timeout=0)


def alike(things: dict[str, Any]) -> dict[str, Any]:
    """Return an inventory without what differs from run to run."""

    def stripped(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: stripped(item) for key, item in value.items() if key not in _OWN}
        if isinstance(value, list):
            kept = [item for item in value if not (isinstance(item, dict) and item.get("scope") in _OWN)]
            return sorted((stripped(item) for item in kept), key=json.dumps)
        return re.sub(r"^192\.0\.2\.\d+$", "floating", value) if isinstance(value, str) else value

    return {path: stripped(thing) for path, thing in things.items()}


@pytest.fixture
def good(nsx, session, definition, other):
    """What a life in good weather comes to, next to a cluster of the other tenant; only that one is there."""
    network.present(session, other)
    load_balancer.present(session, other, [])
    before = nsx.dump()
    nsx.log.clear()
    life(session, definition)
    calls, end = len(nsx.changes()), nsx.dump()
    load_balancer.absent(session, definition)
    network.absent(session, definition)
    assert nsx.dump() == before
    definition["nsx"].update(dns_servers=["10.1.1.53"], load_balancer_size="SMALL")
    return before, end, calls


@pytest.mark.parametrize("seed", range(6))
def test_storms_leave_no_orphan_and_touch_nothing_of_others(nsx, front, session, definition, good, seed):
    before, end, _calls = good
    weather = Weather(nsx, Faults(f"nsx {seed}", latency=(0.1, 0.9), throttled=0.12, broken=0.08, reset=0.06))
    front.manager = weather
    life(session, definition)
    assert alike(nsx.dump()) == alike(end) and {path: nsx.dump()[path] for path in before} == before
    assert not network.present(session, definition).changed
    load_balancer.absent(session, definition)
    network.absent(session, definition)
    assert nsx.dump() == before and weather.seen >= {THROTTLED, RESET} and weather.seen & {BROKEN, BROKEN_AFTER}


@pytest.mark.parametrize("part", range(4))
def test_a_run_that_is_killed_at_any_change_is_finished_by_the_next(nsx, front, session, definition, good, part):
    before, end, calls = good
    assert calls >= 20
    for number in range(1 + part, calls + 1, 4):
        front.manager = Killer(front, number)
        definition["nsx"].update(dns_servers=["10.1.1.53"], load_balancer_size="SMALL")
        with pytest.raises(Killed):
            life(session, definition)
        nsx.clock.advance(30)
        definition["nsx"].update(dns_servers=["10.1.1.53"], load_balancer_size="SMALL")
        life(session, definition)
        assert alike(nsx.dump()) == alike(end), number
        # Killed half way through a removal, too.
        front.manager = Killer(front, 1 + number % 9)
        with pytest.raises(Killed):
            load_balancer.absent(session, definition)
            network.absent(session, definition)
        load_balancer.absent(session, definition)
        network.absent(session, definition)
        assert nsx.dump() == before, number
