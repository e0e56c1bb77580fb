# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's configuration in front of API servers, wherever HAProxy runs (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

from collections.abc import Sequence

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
