# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the suite has to know of a cloud, and where it runs: a cloud passes by implementing `Cloud`, not by a change of the suite."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from clouds.clock import Clock
from clouds.faults import CALM, Dialect, Faults
from clouds.judge import Machine, Thing
from clouds.proxy import Proxy
from clouds.runner import Task
from clouds.wire import Handler, Wire, forward

SUPPORT = Path(__file__).resolve().parents[1]
CLUSTER = "contract"
"""Name of the cluster under test."""
WORKERS = "general"
CONTROL_PLANE = "control-plane"


@dataclass(frozen=True)
class Wanted:
    """What a definition asks for, in words of no cloud.

    :param image: number of the image, of those that the cloud was prepared with.
    """

    control_planes: int = 3
    workers: int = 2
    image: int = 0

    @property
    def machines(self) -> dict[str, int]:
        return {CONTROL_PLANE: self.control_planes, WORKERS: self.workers}


class Cloud(Protocol):
    """A cloud's folder has a module `adapter` with a class `Adapter`, made without arguments."""

    dialect: Dialect
    """How it says things."""
    volatile_tags: tuple[str, ...]
    """Tags whose values are drawn at random."""
    zones: tuple[str, ...]
    """Where the machines of the definitions are."""
    makes_machines: bool
    """Whether there is a module for machines yet: without it the story is one of network and load balancer."""

    def endpoint(self, clock: Clock, folder: Path) -> contextlib.AbstractContextManager[Handler | str]:
        """Run the endpoint: what answers in this process, or the URL of a `program`.

        :param folder: for files.
        """

    def environment(self, url: str) -> dict[str, str]:
        """Return the environment in which the modules find the endpoint and its credentials."""

    def prepare(self, url: str) -> None:
        """Empty the endpoint, then make what an account has before its first cluster: images, logins, and things of other people."""

    def dump(self, url: str) -> list[Thing]:
        """Return the whole inventory, of all kinds, whoever owns them. Machines and the like that are gone for good do not count."""

    def machines(self, things: list[Thing], cluster: str = CLUSTER) -> list[Machine]:
        """Return the machines of a cluster that live."""

    def apply(self, wanted: Wanted) -> list[Task]:
        """Return the modules that bring the cluster to what is wanted, removals allowed."""

    def destroy(self, wanted: Wanted) -> list[Task]: ...

    def replace(self, wanted: Wanted, machine: Machine, defer: bool = False) -> list[Task]:
        """Return the modules that replace one machine; empty where that is done by none of them.

        :param defer: whether the machine stays, to be drained when its successor is there.
        """

    def defer(self, wanted: Wanted, plan_id: str = "") -> list[Task]:
        """Return the modules that bring the cluster to what is wanted but leave there what is to go; empty where none does that."""

    def remove(self, wanted: Wanted, ids: list[str]) -> list[Task]:
        """Return the modules that remove these machines."""

    def limit(self, url: str, zones: dict[str, int]) -> None:
        """Let only so many machines more fit into these zones; empty for no limit."""

    def delete_machine(self, url: str, machine: Machine) -> None:
        """Do what somebody does by hand in the cloud's console, as the following ones."""

    def change_tag(self, url: str, machine: Machine) -> None: ...

    def open_rule(self, url: str, things: list[Thing]) -> None:
        """Open a port to the world in a security rule of the cluster."""


def load(name: str) -> Cloud:
    cloud: Cloud = importlib.import_module(f"clouds.{name}.adapter").Adapter()
    return cloud


@dataclass
class Place:
    """A cloud's endpoint that runs, and the proxy in front of it."""

    cloud: Cloud
    clock: Clock
    direct: str
    proxied: str
    proxy: Proxy
    wire: Wire

    def reset(self) -> list[Thing]:
        """Prepare the endpoint and return what it holds."""
        self.calls()
        self.proxy.forget()
        self.weather(CALM)
        self.cloud.prepare(self.direct)
        self.clock.advance(60)
        return self.cloud.dump(self.direct)

    def weather(self, faults: Faults) -> None:
        """Set the weather and begin a new list of calls."""
        self.proxy.change_weather(faults)

    def calls(self) -> list[dict[str, Any]]:
        """Wait until no call is under way and return those since the weather last changed."""
        return self.proxy.calls()

    @property
    def environment(self) -> dict[str, str]:
        return {**self.cloud.environment(self.proxied), "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}


@contextlib.contextmanager
def started(cloud: Cloud, folder: Path, speed: float) -> Iterator[Place]:
    """Run a cloud's endpoint and its proxy.

    :param folder: for files; empty.
    """
    clock, wire = Clock.create(folder / "clock", speed), Wire()
    with cloud.endpoint(clock, folder) as endpoint, wire.installed():
        proxy = Proxy(forward(endpoint) if isinstance(endpoint, str) else endpoint, clock, cloud.dialect)
        direct = endpoint if isinstance(endpoint, str) else wire.publish(endpoint, private=True)
        yield Place(cloud, clock, direct, wire.publish(proxy), proxy, wire)


def serve(create: Callable[[Clock], Handler]) -> None:
    """Be a `program`: answer at a port of this machine until somebody ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clock", required=True, type=Path)
    parser.add_argument("--ready", required=True, type=Path, help="file that gets the URL")
    options = parser.parse_args()
    url = Wire().publish(create(Clock(options.clock)))
    ready = options.ready.with_suffix(".new")
    ready.write_text(url, encoding="utf-8")
    ready.rename(options.ready)
    while True:
        time.sleep(3600)


@contextlib.contextmanager
def program(module: str, clock: Clock, folder: Path) -> Iterator[str]:
    """Run a module as an endpoint with the options ``--clock`` and ``--ready``, and give its URL."""
    ready, log = folder / module, folder / f"{module}.log"
    command = [sys.executable, "-m", module, "--clock", str(clock.path), "--ready", str(ready)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(SUPPORT)}, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{module} does not start: {log.read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.02)
        yield ready.read_text(encoding="utf-8")
    finally:
        process.kill()
        process.wait()
