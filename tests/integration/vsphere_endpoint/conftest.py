# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulated vCenter behind TLS, and sessions of the collection that speak to it without waiting in real time."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.vsphere.session import Session
from clouds.clock import Clock
from clouds.vsphere.account import COMPUTE, DATACENTER, IMAGES, NETWORK, Client, VsphereEndpoint
from clouds.vsphere.simulator import Simulator

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs ops"
MACHINE = {"cpus": 2, "memory_gib": 4}
_names = itertools.count(1)


class Time:
    """A clock that goes on when somebody sleeps; the vCenter gets a moment for its tasks, which take real time."""

    def __init__(self) -> None:
        self.slept = 0.0

    def time(self) -> float:
        return time.time() + self.slept

    def monotonic(self) -> float:
        return time.monotonic() + self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        time.sleep(min(seconds, 0.005) if seconds <= 5 else 0.2)


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VsphereEndpoint]:
    """A vCenter with two templates, three racks, and things of other people; tests use clusters of their own names."""
    folder, made = tmp_path_factory.mktemp("vsphere"), VsphereEndpoint()
    with made.endpoint(Clock.create(folder / "clock", 1), folder) as url:
        assert isinstance(url, str)
        made.prepare(url)
        with mock.patch.dict(os.environ, {**made.environment(url), "NO_PROXY": "127.0.0.1"}):
            yield made


@pytest.fixture
def simulator(account: VsphereEndpoint) -> Iterator[Simulator]:
    assert account.simulator
    yield account.simulator
    for what in ("faults", "capacity", "denied", "unfit", "silent", "delay"):
        account.simulator.put(what, {"faults": [], "denied": [], "unfit": [], "silent": 0.0}.get(what, {}))


@pytest.fixture
def client(account: VsphereEndpoint) -> Client:
    """The vCenter as somebody sees it who signs in by hand."""
    return account.client


@pytest.fixture
def sign_in(account: VsphereEndpoint) -> Iterator[Callable[[], Session]]:
    made: list[Session] = []

    def begin() -> Session:
        made.append(Session("127.0.0.1", clock=Time(), spread=lambda: 0.0))
        return made[-1]

    yield begin
    for session in made:
        session.close()


@pytest.fixture
def session(sign_in: Callable[[], Session]) -> Session:
    return sign_in()


@pytest.fixture
def definition() -> dict[str, Any]:
    """A cluster of one and two, in a name that no other test has."""
    return {
        "name": f"stock{next(_names)}",
        "foundation": "production",
        "cloud": "vsphere",
        "control_plane": {"count": 1, "machine": dict(MACHINE), "zones": ["rack-1"]},
        "pools": [{"name": "general", "count": 2, "machine": dict(MACHINE), "zones": ["rack-1", "rack-2"]}],
        "image": {"id": IMAGES[0]},
        "network": {"plugin": "flannel"},
        "api_endpoint": {"provider": "kube_vip", "address": "10.20.0.5", "port": 6443},
        "access": {"ssh_user": "ops", "ssh_private_key_file": None, "ssh_public_keys": [KEY]},
        "vsphere": {
            "datacenter": DATACENTER,
            "cluster": COMPUTE,
            "network": NETWORK,
            "anti_affinity": "preferred",
            "zones": {zone: {"host_group": zone} for zone in ("rack-1", "rack-2")},
        },
    }
