# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy in front of API servers, wherever it runs: its configuration, what it says and what it is told (private to
flotilla.kubernetes). Pure; Python 3.9, standard library only."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

HEAD = "# Written by flotilla.kubernetes."
SOCKET = "/run/haproxy/admin.sock"
BACKEND = "control_planes"
# Has every API server, whatever its health; those that are out of service are so here, too.
LAST_RESORT = "last_resort"
# Where API servers listen, whatever port people use: kubeadm's own, which the roles keep.
API_SERVER_PORT = 6443


def render(port: int, servers: Sequence[tuple[str, str, str]]) -> str:
    """Return the text of haproxy.cfg.

    An API server that says it is not ready, or refuses connections, gets no new ones after 2 s at most, and one that does not answer after
    10 s. Then its sessions are closed, so that clients reconnect instead of waiting for a time-out. Giving up sooner would close sessions
    that are in use when a machine is too busy for some seconds. Who connects to a machine that is gone meanwhile is sent to another one
    after a second. Where all look unhealthy at once, machines that are too busy to answer in time are more likely than a dead
    control plane, so connections go to any of them, as those of cloud load balancers do:
    https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-health-checks.html.

    :param port: TCP port that HAProxy listens on, at all addresses.
    :param servers: name, address and further options (``disabled`` or nothing) of each API server.
    """
    lines = [
        HEAD,
        "global",
        "    user haproxy",
        "    group haproxy",
        "    maxconn 4000",
        "    # Watches stay open for long: after a reload the old process gives them this time.",
        "    hard-stop-after 5m",
        f"    stats socket {SOCKET} mode 600 level admin",
        "defaults",
        "    mode tcp",
        "    timeout connect 1s",
        "    timeout client 1h",
        "    timeout server 1h",
        "    timeout check 3s",
        "    retries 3",
        "    option redispatch 1",
        "frontend api",
        f"    bind :{port}",
        f"    use_backend {LAST_RESORT} if {{ nbsrv({BACKEND}) eq 0 }}",
        f"    default_backend {BACKEND}",
        f"backend {BACKEND}",
        "    balance roundrobin",
        "    option httpchk GET /readyz",
        "    http-check expect status 200",
        "    default-server check check-ssl verify none on-marked-down shutdown-sessions",
        "    default-server inter 1s fastinter 500ms downinter 500ms fall 3 rise 2",
    ]
    named = [(f"    server {name} {address}:{API_SERVER_PORT}", options) for name, address, options in servers]
    lines += [" ".join(filter(None, (server, options))) for server, options in named]
    lines += [f"backend {LAST_RESORT}", "    balance roundrobin"]
    lines += [" ".join(filter(None, (server, "no-check", options))) for server, options in named]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Server:
    """What HAProxy says about a member at the moment (columns of ``show stat``)."""

    status: str
    check: str
    sessions: int
    detail: str

    @property
    def settled(self) -> bool:
        """Whether the health is known: not before the first check nor in the middle of changing."""
        return self.disabled or (bool(self.check) and self.check != "INI" and "/" not in self.status)

    @property
    def disabled(self) -> bool:
        """Whether the member gets no new connections because it was told so."""
        return self.status.startswith(("MAINT", "DRAIN"))

    @property
    def health(self) -> str:
        """healthy, unhealthy, drained or unknown."""
        if self.disabled:
            return "drained"
        if not self.settled:
            return "unknown"
        return "healthy" if self.status.startswith("UP") else "unhealthy"


def parse_stat(text: str) -> dict[str, Server]:
    """Return the servers in the CSV of HAProxy's ``show stat``."""
    start = text.find("# pxname")
    if start < 0:
        return {}
    rows = [row for row in csv.DictReader(text[start + 2 :].splitlines()) if row.get("svname") not in (None, "FRONTEND", "BACKEND")]
    return {
        row["svname"]: Server(
            row.get("status") or "",
            (row.get("check_status") or "").lstrip("* "),
            sum(int(one.get("scur") or 0) for one in rows if one["svname"] == row["svname"]),
            row.get("last_chk") or row.get("check_desc") or "",
        )
        for row in rows
        if row.get("pxname") == BACKEND
    }


def switch(drain: Sequence[str], ready: Sequence[str], leave_open: bool) -> list[list[str]]:
    """Return the commands, in lines of their own, by which servers get no new connections and others do again.

    :param leave_open: whether open connections stay, whatever the health of their server: HAProxy would close them all as soon as the
        API server says that it ends.
    """
    leaving, coming = ([f"{backend}/{server}" for backend in (BACKEND, LAST_RESORT) for server in servers] for servers in (drain, ready))
    return [
        [f"set server {server} state drain" for server in leaving],
        [f"enable health {BACKEND}/{server}" for server in ready],
        [f"set server {server} state ready" for server in coming],
        [f"disable health {BACKEND}/{server}" for server in drain if leave_open],
    ]
