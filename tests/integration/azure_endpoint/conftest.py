# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The suite's Azure behind TLS, and a session of the collection that speaks to it without waiting in real time."""

from __future__ import annotations

import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.azure.session import Session
from clouds import tls
from clouds.azure.endpoint import Endpoint
from clouds.azure.offers import CLIENT, LOCATION, SECRET, SUBSCRIPTION, TENANT
from clouds.clock import Clock
from clouds.wire import Wire

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs ops"


class Time:
    """The endpoint's clock, which goes on when somebody sleeps."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def time(self) -> float:
        return self.clock.time()

    def monotonic(self) -> float:
        return self.clock.now()

    def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Endpoint, str, Path]]:
    """An endpoint, its URL, and the file of the authority that vouches for it."""
    folder = tmp_path_factory.mktemp("azure")
    endpoint, wire = Endpoint(Clock.create(folder / "clock", 1)), Wire()
    with wire.installed():
        authority, own = tls.make_certificates(folder)
        front = tls.Front(own)
        front.to = urllib.parse.urlsplit(wire.publish(endpoint)).port or 0
        yield endpoint, front.url, authority
        front.close()


@pytest.fixture
def azure(served: tuple[Endpoint, str, Path], monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """An empty subscription, and the environment of somebody who may do everything in it."""
    endpoint, url, authority = served
    endpoint.state = type(endpoint.state)()
    given = {"CLOUD_ENVIRONMENT": url, "TENANT": TENANT, "CLIENT_ID": CLIENT, "SECRET": SECRET, "SUBSCRIPTION_ID": SUBSCRIPTION}
    for name, value in given.items():
        monkeypatch.setenv(f"AZURE_{name}", value)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return endpoint


@pytest.fixture
def session(azure: Endpoint) -> Session:
    return Session(SUBSCRIPTION, clock=Time(azure.clock), spread=lambda: 0.0)


@pytest.fixture
def definition() -> dict[str, Any]:
    zones = [f"{LOCATION}-{number}" for number in (1, 2, 3)]
    return {
        "name": "payments",
        "foundation": "production",
        "cloud": "azure",
        "control_plane": {"count": 3, "machine": {"size": "Standard_D2s_v5", "disk_gib": 100}, "zones": zones},
        "pools": [{"name": "general", "count": 2, "machine": {"size": "Standard_D4s_v5"}, "zones": zones[:2]}],
        "image": {"family": "debian-13"},
        "network": {"plugin": "flannel"},
        "api_endpoint": {"provider": "cloud", "port": 6443, "visibility": "private", "allowed_cidrs": [], "dns_name": None},
        "access": {"ssh_user": "ops", "ssh_private_key_file": None, "ssh_public_keys": [KEY]},
        "azure": {"location": LOCATION, "vnet_cidr": "10.20.0.0/16", "outbound": "nat_gateway", "tags": {"team": "payments"}},
    }
