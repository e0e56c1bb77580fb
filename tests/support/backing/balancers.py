# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load balancers of a backing: HAProxy, told by its socket which targets get connections.

A machine that comes to itself through a balancer that keeps the client's address gets no answer. So here the connection to a target
is marked with the client's address, and the packet filter drops what is marked with where it goes to.
https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-troubleshooting.html
"""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from backing.network import mac
from backing.picture import Balancer
from backing.podman import Host, archive, podman, runtime

BALANCER = "balancer"
CONFIG_LABEL = "flotilla-backing-config"
READY, DRAIN, CLOSED = "ready", "drain", "maint"
_SOCKET = "/run/haproxy.sock"
_HEAD = f"""\
global
    log stdout format raw local0
    stats socket {_SOCKET} mode 600 level admin
    maxconn 4000
defaults
    mode tcp
    log global
    retries 0
    # A packet to the target may be lost for good; an idle connection lasts as long as the Network Load Balancer's.
    timeout connect 130s
    timeout client 350s
    timeout server 350s
"""
_FRONTEND = """\
frontend port-{port}
    bind :{port}
    tcp-request content set-bc-mark src
    default_backend {pool}
"""
_BACKEND = """\
backend {pool}
    balance random(1)
"""
_FILTER = """\
table inet backing {
    set itself { type mark . ipv4_addr; }
    chain output { type filter hook output priority 0; meta mark . ip daddr @itself drop; }
}
"""
_START = """\
set -e
for address in $ADDRESSES; do ip address add "$address" dev eth0; done
nft --file /etc/backing/filter
exec haproxy -W -db -f /etc/backing/haproxy.cfg
"""


def pool(group: str) -> str:
    """Return HAProxy's name of a target group."""
    return f"group-{hashlib.sha256(group.encode()).hexdigest()[:12]}"


def config(balancer: Balancer) -> str:
    """Return HAProxy's configuration: listeners and empty groups, whose targets are added while it runs."""
    groups = sorted(set(balancer.listeners.values()))
    listeners = "".join(_FRONTEND.format(port=port, pool=pool(group)) for port, group in sorted(balancer.listeners.items()))
    return _HEAD + listeners + "".join(_BACKEND.format(pool=pool(group)) for group in groups)


@dataclass(frozen=True)
class Server:
    """A target as HAProxy knows it.

    :param state: `READY`; `DRAIN` gets no new connections; `CLOSED` has none.
    :param reaches_itself: whether its own connections may come back to it.
    """

    address: str
    port: int
    state: str
    reaches_itself: bool = field(default=False, compare=False)


@dataclass
class _Running:
    container: str
    # Pool and instance of each server; None until HAProxy was asked.
    servers: dict[tuple[str, str], Server] | None = None
    itself: set[str] = field(default_factory=set)


class Balancers:
    """:param image: in which HAProxy (3.0 or newer) is."""

    def __init__(self, host: Host, image: str, network: str) -> None:
        self.host = host
        self.image = image
        self.network = network
        self._running: dict[str, _Running] = {}

    def ensure(self, wanted: tuple[Balancer, ...], resolver: str) -> None:
        """Make the balancers that there should be, and remove the others."""
        there = self.host.containers(BALANCER)
        for balancer in wanted:
            text = config(balancer)
            # Addresses and listeners are what a container is made with.
            digest = hashlib.sha256(json.dumps([text, balancer.addresses]).encode()).hexdigest()[:12]
            container = there.pop(balancer.name, None)
            if container and container.running and container.labels[CONFIG_LABEL] == digest:
                self._running.setdefault(balancer.name, _Running(container.name))
                continue
            if container:
                self.host.remove([container.name], [])
            self._running[balancer.name] = _Running(self._create(balancer, text, digest, resolver))
        for name, container in there.items():
            self.host.remove([container.name], [])
            self._running.pop(name, None)

    def _create(self, balancer: Balancer, text: str, digest: str, resolver: str) -> str:
        name, own = f"{self.host.name}-{balancer.name}", balancer.addresses[0]
        podman(
            *runtime(), "create", "--name", name, *self.host.labels(BALANCER, balancer.name), f"--label={CONFIG_LABEL}={digest}",
            "--cap-add", "NET_ADMIN", "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=30000:30000", "--network", self.network,
            "--ip", own, "--mac-address", mac(own), "--dns", resolver, "--no-hosts",
            "--env", f"ADDRESSES={' '.join(f'{address}/32' for address in balancer.addresses[1:])}",
            self.image, "sh", "-c", _START,
        )  # fmt: skip
        files = {"etc/backing/haproxy.cfg": (0o644, text), "etc/backing/filter": (0o644, _FILTER)}
        podman("cp", "-", f"{name}:/", data=archive(files))
        podman("start", name)
        return name

    def serve(self, balancer: str, servers: dict[tuple[str, str], Server]) -> None:
        """Let a balancer send to these targets: (pool, instance) -> server. What is not among them any more loses its connections."""
        running = self._running[balancer]
        if running.servers is None:
            running.servers = self._read(running.container)
        if running.servers == servers:
            return
        before, commands = running.servers, []
        for key in before:
            if key not in servers:
                name = "/".join(key)
                commands += [f"set server {name} state maint", f"shutdown sessions server {name}", f"del server {name}"]
        for key, server in servers.items():
            name, had = "/".join(key), before.get(key)
            if had is None:
                commands.append(f"add server {name} {server.address}:{server.port}")
            if had is None or had.state != server.state:
                commands.append(f"set server {name} state {server.state}")
                if server.state == CLOSED:
                    commands.append(f"shutdown sessions server {name}")
        self._filter(running, {server.address for server in servers.values() if not server.reaches_itself})
        # One at a time: a server can be deleted when its last connection is closed, which takes HAProxy a moment.
        for command in commands:
            self._tell(running.container, command)
        running.servers = servers

    def _tell(self, container: str, command: str) -> str:
        script = f"socat -t 5 - {_SOCKET}"
        return podman("exec", "--interactive", container, "sh", "-c", script, data=f"{command}\n".encode())

    def _filter(self, running: _Running, addresses: set[str]) -> None:
        new = addresses - running.itself
        if new:
            elements = ", ".join(f"{int(IPv4Address(address)):#x} . {address}" for address in sorted(new))
            podman("exec", running.container, "nft", "add", "element", "inet", "backing", "itself", f"{{ {elements} }}")
            running.itself |= new

    def _read(self, container: str) -> dict[tuple[str, str], Server]:
        """Return the servers of a HAProxy that an earlier process of ours has told."""
        text = self._tell(container, "show stat")
        states = {"MAINT": CLOSED, "DRAIN": DRAIN}
        found = {}
        for row in csv.DictReader(text.lstrip("# ").splitlines()):
            if row["svname"] not in ("FRONTEND", "BACKEND") and row["pxname"].startswith("group-"):
                address, _colon, port = row["addr"].rpartition(":")
                found[row["pxname"], row["svname"]] = Server(address, int(port), states.get(row["status"].split(" ")[0], READY))
        return found
