# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backing has to know of a cloud."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Protocol

RUNNING, STOPPED = "running", "stopped"
INITIAL, HEALTHY, UNHEALTHY, DRAINING = "initial", "healthy", "unhealthy", "draining"


@dataclass(frozen=True)
class Instance:
    """A machine that is not gone.

    :param boots: grows by one whenever the cloud is told to boot it again.
    """

    id: str
    state: str
    address: str
    hostname: str
    boots: int = 0


@dataclass(frozen=True)
class Check:
    """How a load balancer finds out whether a target serves; times in seconds."""

    protocol: str
    port: int
    path: str
    interval: float
    timeout: float
    rise: int
    fall: int


@dataclass(frozen=True)
class Target:
    instance: str
    port: int
    draining: bool = False


@dataclass(frozen=True)
class Group:
    """Targets that get the connections of listeners.

    :param keeps_client: whether a target sees the client's address instead of the balancer's.
    :param keeps_open: whether connections stay that are open when their target fails its checks.
    :param fails_open: whether all targets get connections when none passes its checks, or none does.
    """

    id: str
    check: Check
    targets: tuple[Target, ...] = ()
    keeps_client: bool = True
    keeps_open: bool = False
    fails_open: bool = True


@dataclass(frozen=True)
class Balancer:
    """A load balancer of TCP connections.

    :param host: name or address by which clients know it.
    :param addresses: in the network; the first is the container's own.
    :param listeners: port -> id of a group.
    :param taken: addresses that targets take for their own, so that what they send there comes back to themselves.
    """

    name: str
    host: str
    addresses: tuple[str, ...]
    listeners: dict[int, str]
    taken: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """What there is at the moment.

    :param network: the network of the machines; None as long as there is none, and then there is nothing else.
    :param resolver: address of the network's resolver.
    :param names: what the resolver answers besides the names of machines and balancers.
    """

    network: IPv4Network | None = None
    resolver: str = ""
    instances: tuple[Instance, ...] = ()
    balancers: tuple[Balancer, ...] = ()
    groups: dict[str, Group] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Health:
    state: str
    reason: str = ""
    description: str = ""


class Cloud(Protocol):
    """A cloud, known by its API only. A cloud's folder has a module `adapter` with a class `Adapter(url, owner)`."""

    def look(self) -> Picture: ...

    def user_data(self, instance: str) -> bytes:
        """Return what a machine is told at its first boot."""

    def report(self, health: dict[str, dict[str, Health]]) -> None:
        """Let the API say how the targets are: group -> instance -> health."""
