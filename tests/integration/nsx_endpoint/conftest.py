# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The suite's NSX manager, and a session of the collection that speaks to it without waiting in real time."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.nsx import session as sessions
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.nsx.session import Session
from clouds.clock import Clock
from clouds.faults import Answer, Request
from clouds.nsx import site
from clouds.nsx.manager import PASSWORD, USER, Manager
from clouds.wire import Wire

NSX: dict[str, Any] = {
    "manager": None,
    "tier0": "tenant-a",
    "tier1": None,
    "edge_cluster": None,
    "transport_zone": None,
    "ip_block": "nodes-a",
    "segments": {"control_plane": {"size": 16}, "worker": {"size": 64}},
    "addresses": "dhcp",
    "dns_servers": ["10.1.1.53"],
    "domain_name": "example.com",
    "outbound": "snat",
    "floating_ip_pool": "floating-a",
    "load_balancer_size": "SMALL",
    "load_balancer_address": None,
    "load_balancer_service": None,
    "firewall": True,
    "tags": {"team": "payments"},
}
DEFINITION: dict[str, Any] = {
    "name": "payments",
    "foundation": "production",
    "cloud": "vsphere",
    "network": {"plugin": "flannel", "profile": "tenant-a"},
    "api_endpoint": {"provider": "cloud", "port": 6443, "visibility": "private", "allowed_cidrs": ["10.8.0.0/16"], "dns_name": None},
    "access": {"allowed_cidrs": ["10.9.0.0/24"], "bastion": None},
    "bundle": {"delivery": {"method": "push"}},
    "nsx": NSX,
}


class Time:
    """The manager's clock, which goes on when somebody sleeps."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.slept = 0.0

    def time(self) -> float:
        return self.clock.time()

    def monotonic(self) -> float:
        return self.clock.now()

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.clock.advance(seconds)


class Front:
    """A manager behind a hand that may answer in its place.

    :ivar answers: (part of method and path, answer, whether the call is done all the same), each for one call.
    """

    def __init__(self, manager: Manager) -> None:
        self.manager: Any = manager
        self.answers: list[tuple[str, Answer | None, bool]] = []
        self.before: list[tuple[str, Any]] = []

    def __call__(self, request: Request) -> Answer | None:
        said = f"{request.method} {request.path}"
        for number, (part, act) in enumerate(self.before):
            if part in said:
                del self.before[number]
                act()
                break
        for number, (part, answer, done) in enumerate(self.answers):
            if part in said:
                del self.answers[number]
                if done:
                    self.manager(request)
                return answer
        return self.manager(request)


@pytest.fixture
def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    clock = Clock.create(tmp_path / "clock", speed=1e-9)
    made, wire = Front(site.create(clock)), Wire()
    for name, value in ((sessions.USER, USER), (sessions.PASSWORD, PASSWORD)):
        monkeypatch.setenv(name, value)
    with wire.installed():
        made.url = wire.publish(made, private=True)  # type: ignore[attr-defined]
        yield made


@pytest.fixture
def nsx(front: Front) -> Manager:
    return front.manager


@pytest.fixture
def session(front: Front) -> Session:
    host = front.url.removeprefix("http://")  # type: ignore[attr-defined]
    return Session(host, clock=Time(front.manager.clock), spread=lambda: 0.0, scheme="http")


@pytest.fixture
def definition() -> dict[str, Any]:
    return copy.deepcopy(DEFINITION)


@pytest.fixture
def other() -> dict[str, Any]:
    """A cluster of the other tenant."""
    found = copy.deepcopy(DEFINITION)
    found["name"] = "ledger"
    found["nsx"].update(tier0="Tenant B", ip_block="nodes of b", floating_ip_pool="floating b")
    return found
