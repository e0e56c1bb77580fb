# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoint that stands in for Compute Engine, and a session that speaks to it without waiting in real time."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.gcp.session import ENDPOINT, Session
from clouds.clock import Clock
from clouds.faults import Answer, Request
from clouds.gcp.endpoint import TOKEN, Endpoint
from clouds.gcp.world import World
from clouds.wire import Wire
from google.oauth2.credentials import Credentials

PROJECT, REGION = "contract", "us-central1"
ZONES = [f"{REGION}-a", f"{REGION}-b", f"{REGION}-c"]
DEFINITION: dict[str, Any] = {
    "name": "payments",
    "foundation": "production",
    "cloud": "gcp",
    "control_plane": {"count": 3, "machine": {"size": "e2-standard-2", "disk_gib": 100}, "zones": ZONES},
    "pools": [{"name": "general", "count": 2, "machine": {"size": "e2-standard-4"}, "zones": ZONES[:2]}],
    "image": {"family": "debian-13"},
    "network": {"plugin": "flannel"},
    "api_endpoint": {"provider": "cloud", "port": 6443, "visibility": "private", "allowed_cidrs": []},
    "access": {
        "ssh_user": "ops",
        "ssh_private_key_file": None,
        "ssh_public_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs ops"],
        "allowed_cidrs": [],
    },
    "gcp": {"project": PROJECT, "region": REGION, "labels": {"team": "payments"}},
}


class Stopwatch:
    """The endpoint's clock, for a session: time passes only when somebody sleeps."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.slept = 0.0

    def monotonic(self) -> float:
        return self.clock.now()

    def time(self) -> float:
        return self.clock.time()

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.clock.advance(seconds)


class Google:
    """:param endpoint: behind a hand that may answer in its place."""

    def __init__(self, clock: Clock) -> None:
        # Who waits for an operation does not wait in real time either.
        clock.sleep = clock.advance  # type: ignore[method-assign]
        self.endpoint = Endpoint(clock)
        self.clock = clock
        self.answers: list[tuple[str, Answer | None]] = []

    @property
    def world(self) -> World:
        return self.endpoint.world

    def __call__(self, request: Request) -> Answer | None:
        for number, (part, answer) in enumerate(self.answers):
            if part in f"{request.method} {request.path}":
                del self.answers[number]
                return answer
        return self.endpoint(request)

    def names(self, collection: str) -> list[str]:
        return sorted(key.rsplit("/", 1)[-1] for key, _body in self.world.of(collection))

    def body(self, collection: str, name: str) -> dict[str, Any]:
        return next(body for key, body in self.world.of(collection) if key.endswith(f"/{name}"))


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    made, wire = Google(Clock.create(tmp_path / "clock", speed=1e-9)), Wire()
    with wire.installed():
        monkeypatch.setenv(ENDPOINT, f"{wire.publish(made, private=True)}/compute/v1/")
        yield made


@pytest.fixture
def session(google: Google) -> Session:
    return Session(PROJECT, REGION, clock=Stopwatch(google.clock), spread=lambda: 0.0, credentials=Credentials(f"{TOKEN}tests"))


@pytest.fixture
def definition() -> dict[str, Any]:
    return copy.deepcopy(DEFINITION)
