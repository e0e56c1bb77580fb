# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API load balancer of a cluster in NSX: service, monitor, pool and virtual server (private to flotilla.kubernetes)."""

from __future__ import annotations

from typing import Any

from ..._errors import FlotillaError
from ..._machines.cloud import NotFound
from ..members import ACTIVE, DRAINED, checked, patience
from ..patience import CONSISTENCY
from ..result import Result
from . import layout, network, things
from .layout import LOAD_BALANCER, Entry, Place, Refs
from .session import Session
from .things import Plan, Stock, Wanted

_SERVICES, _MONITORS, _PROFILES = "lb-services", "lb-monitor-profiles", "lb-app-profiles"
_POOLS, _SERVERS = "lb-pools", "lb-virtual-servers"
CLIENTS = "api_clients"
"""The group of those who may reach the endpoint."""
_ENABLED, _LEAVING = "ENABLED", "GRACEFUL_DISABLED"
# An API server that is told to end goes on serving for 20 s while its /readyz fails: by then no connection comes any more.
_MONITOR = {
    "resource_type": "LBHttpsMonitorProfile",
    "monitor_port": layout.API_PORT,
    "request_method": "GET",
    "request_url": "/readyz",
    "request_version": "HTTP_VERSION_1_1",
    "response_status_codes": [200],
    "interval": 3,
    "timeout": 3,
    "rise_count": 2,
    "fall_count": 2,
    # The certificates of API servers are of the cluster's own authority, which NSX does not know.
    "server_ssl_profile_binding": {"server_auth": "IGNORE"},
}
# Watches of the API are silent for long.
_PROFILE = {"resource_type": "LBFastTcpProfile", "idle_timeout": 1800, "close_timeout": 8}
_HEALTH = {"UP": "healthy", "DOWN": "unhealthy", "GRACEFUL_DISABLED": DRAINED, "DISABLED": DRAINED}


def present(
    session: Session,
    definition: dict[str, Any],
    items: list[dict[str, Any]],
    *,
    drain_timeout: int = 10,
    close: bool = True,
    check_mode: bool = False,
) -> Result:
    """Bring the load balancer to these members, or with ``check_mode`` say what would be done.

    :param drain_timeout: seconds that open connections of a member get to end when it is drained.
    :param close: whether they are waited for at all, or left to the API server.
    """
    where = layout.place(definition)
    members = checked(items)
    refs = network.resolve(session, where)
    base = network.base(session, where, refs)
    if not base.there and not check_mode:
        raise FlotillaError(
            "NSX_NO_NETWORK",
            f"Cluster '{where.cluster}' has no network in NSX yet, which its load balancer is attached to.",
            "Run nsx_network before nsx_load_balancer.",
        )
    seconds = patience(drain_timeout, close) or 0
    result, plan = things.converge(session, lambda: _Plan(session, where, refs, base, members, seconds), check_mode)
    result.value = _value(where, definition, plan.stock, members, address=plan.address, planned=check_mode)
    return result


def observed(session: Session, definition: dict[str, Any]) -> Result:
    """Return what there is, whatever the definition asks for."""
    where = layout.place(definition)
    stock = Stock(session, where, LOAD_BALANCER)
    stock.look(_candidates(where), search=False)
    pool = stock.entries.get(where.balancer_part(_POOLS), {})
    members = [
        {"id": one.get("display_name"), "address": one["ip_address"], "state": ACTIVE if one.get("admin_state") == _ENABLED else DRAINED}
        for one in pool.get("members") or ()
    ]
    members.sort(key=lambda one: str(one["id"]))
    health = _health(session, stock, pool) if members else {}
    return Result(value=_value(where, definition, stock, members, health=health))


def absent(session: Session, definition: dict[str, Any], check_mode: bool = False) -> Result:
    """Remove the load balancer and its address."""
    where = layout.place(definition)
    refs = network.still_resolved(session, where)
    paths = [*_candidates(where), *([_allocation(where, refs)] if refs and refs.floating_ip_pool else [])]
    return things.removed(session, where, LOAD_BALANCER, paths, lambda _stock: None, check_mode)


def _candidates(where: Place) -> list[str]:
    return [*(where.balancer_part(kind) for kind in (_SERVERS, _POOLS, _MONITORS, _PROFILES)), where.service, where.group(CLIENTS)]


def _allocation(where: Place, refs: Refs) -> str:
    return f"{refs.floating_ip_pool}/ip-allocations/{where.name}-api"


def _health(session: Session, stock: Stock, pool: Entry) -> dict[str, tuple[str, str]]:
    """Return what the load balancer thinks of its members: address -> whether it is healthy, and why."""
    found = {}
    for one in _asked(session, stock, pool, "detailed-status"):
        word = _HEALTH.get(str(one.get("status")), "unknown")
        found[str(one.get("ip_address"))] = (word, "" if word == "healthy" else str(one.get("failure_cause") or ""))
    return found


def _asked(session: Session, stock: Stock, pool: Entry, question: str) -> list[Entry]:
    """Return what the load balancer says about its members; nothing where it does not serve yet."""
    server = stock.entries.get(stock.where.balancer_part(_SERVERS), {})
    service = str(server.get("lb_service_path") or "")
    if not service or not pool:
        return []
    try:
        answer = session.repeat("GET", f"{service}/{_POOLS}/{pool['id']}/{question}")
    except NotFound:
        return []
    return [one for part in answer.get("results") or () for one in part.get("members") or ()]


def _value(
    where: Place,
    definition: dict[str, Any],
    stock: Stock,
    members: list[dict[str, Any]],
    *,
    address: str = "",
    planned: bool = False,
    health: dict[str, tuple[str, str]] | None = None,
) -> dict[str, Any]:
    """Return endpoint and members as the module returns them."""

    def one(member: dict[str, Any]) -> dict[str, Any]:
        word, detail = (health or {}).get(str(member["address"]), ("unknown", ""))
        word = DRAINED if member["state"] == DRAINED else word
        return {"id": member["id"], "address": member["address"], "state": member["state"], "health": word, "detail": detail}

    server = stock.entries.get(where.balancer_part(_SERVERS), {})
    host = (definition.get("api_endpoint") or {}).get("dns_name") or address or server.get("ip_address")
    there = planned or address or bool(server)
    return {"endpoint": {"host": host, "port": where.endpoint_port} if there else {}, "members": [one(member) for member in members]}


class _Plan(Plan):
    """What there is of the load balancer, and what is wanted."""

    def __init__(self, session: Session, where: Place, refs: Refs, base: network.Base, members: list[dict[str, Any]], seconds: int) -> None:
        self.session = session
        self.where = where
        self.refs = refs
        self.base = base
        self.members = members
        self.seconds = seconds
        self.stock = Stock(session, where, LOAD_BALANCER)
        allocations = [_allocation(where, refs)] if refs.floating_ip_pool else []
        self.stock.look([*_candidates(where), *allocations])
        self.service = self._service()
        self.address = ""
        self._learn()

    def _service(self) -> str:
        """Return the path of the service: a Tier-1 has one, so with a Tier-1 of the user's it may be the user's, too."""
        where = self.where
        if where.balancer_service:
            service = things.named(self.session, "nsx.load_balancer_service", f"/infra/{_SERVICES}", where.balancer_service)
            router = service.get("connectivity_path")
            if router != self.refs.tier1:
                raise FlotillaError(
                    "NSX_SERVICE",
                    f"nsx.load_balancer_service '{where.balancer_service}' is at {router}, not at {self.refs.tier1}.",
                    "Name the service of that Tier-1.",
                )
            return str(service["path"])
        if where.tier1 and where.service not in self.stock.entries:
            there = [one for one in self.session.pages(f"/infra/{_SERVICES}") if one.get("connectivity_path") == self.refs.tier1]
            if there:
                name = there[0].get("display_name") or there[0]["id"]
                raise FlotillaError(
                    "NSX_SERVICE",
                    f"nsx.tier1 '{where.tier1}' has the load balancer service {name}, and takes one only.",
                    f"Set nsx.load_balancer_service: {there[0]['id']}.",
                )
        return where.service

    def _learn(self) -> None:
        where = self.where
        server = self.stock.entries.get(where.balancer_part(_SERVERS), {})
        self.address = where.balancer_address
        if not self.address:
            # The endpoint stays where it is, also when the pool for new addresses is another one now.
            allocation = self.stock.entries.get(_allocation(where, self.refs), {})
            self.address = str(server.get("ip_address") or (network.allocated(self.session, allocation) if allocation else ""))
        self._cut(server)

    def _cut(self, server: Entry) -> None:
        where, refs = self.where, self.refs
        part = where.balancer_part
        self.first: list[Wanted] = []
        allocation = self._allocation_path()
        if not where.balancer_address and (allocation in self.stock.entries or not server):
            self.first.append(Wanted(allocation, {}))
        if self.service == where.service:
            body = {"connectivity_path": refs.tier1, "size": where.balancer_size, "enabled": True}
            why = "nsx.tier1: the endpoint would leave its network"
            self.first.append(Wanted(self.service, body, {"connectivity_path": why}))
        clients = sorted({*self.base.cidrs, self.base.address, *where.allowed_cidrs} - {""})
        pool = {
            "algorithm": "LEAST_CONNECTION",
            "active_monitor_paths": [part(_MONITORS)],
            # A member that reaches itself through the endpoint would else get answers that it did not ask for.
            "snat_translation": {"type": "LBSnatAutoMap"},
            "members": self._members(),
        }
        endpoint = {
            "ip_address": self.address,
            "ports": [str(where.endpoint_port)],
            "lb_service_path": self.service,
            "pool_path": part(_POOLS),
            "application_profile_path": part(_PROFILES),
            "access_list_control": {"action": "ALLOW", "enabled": True, "group_path": where.group(CLIENTS)},
            "enabled": True,
        }
        fixed = {"ip_address": "nsx.load_balancer_address: it is in every kubeconfig and certificate"}
        self.pool = Wanted(part(_POOLS), pool)
        self.second = [
            Wanted(part(_MONITORS), dict(_MONITOR)),
            Wanted(part(_PROFILES), dict(_PROFILE)),
            self.pool,
            Wanted(where.group(CLIENTS), layout.address_group(clients) if self.base.cidrs else None),
            Wanted(part(_SERVERS), endpoint if self.address else None, fixed),
        ]
        self.wanted = [*self.first, *self.second]

    def _allocation_path(self) -> str:
        """Return where the endpoint's address is from, or would be from."""
        mine = [path for path in self.stock.entries if "/ip-allocations/" in path]
        current = _allocation(self.where, self.refs)
        return current if current in mine or not mine else mine[0]

    def _members(self) -> list[Entry]:
        return [
            {
                "display_name": str(one["id"]),
                "ip_address": str(one["address"]),
                "port": str(layout.API_PORT),
                "admin_state": _ENABLED if one["state"] == ACTIVE else _LEAVING,
            }
            for one in self.members
        ]

    def work(self) -> None:
        """Make what is missing, let members that leave end their connections, then bring the pool to what is wanted."""
        self.bring(self.first)
        if not self.address and not self.session.wait(self._is_given, 10 * CONSISTENCY, pause=1):
            raise FlotillaError(
                "NSX_NOT_REALIZED", f"NSX gave no address from {self.refs.floating_ip_pool}.", "Look whether the pool has free addresses."
            )
        self._let_go()
        self.bring(self.second)
        self.clear()

    def _is_given(self) -> bool:
        path = self._allocation_path()
        self.stock.entries[path] = self.session.find(path) or self.stock.entries.get(path, {})
        self._learn()
        return bool(self.address)

    def _let_go(self) -> None:
        """Send nothing new to members that are to go or to be drained, and give their connections time to end."""
        have = self.stock.entries.get(self.pool.path, {})
        kept = {str(one["address"]) for one in self.members if one["state"] == ACTIVE}
        there = list(have.get("members") or ())
        leaving = [one for one in there if one["ip_address"] not in kept]
        serving = [one for one in leaving if one.get("admin_state") == _ENABLED]
        if not serving:
            return
        for one in serving:
            one["admin_state"] = _LEAVING
        self.stock.entries[self.pool.path] = self.session.repeat("PUT", self.pool.path, have)
        addresses = {str(one["ip_address"]) for one in serving}
        self.session.wait(lambda: not self._connections(addresses), self.seconds, pause=1)

    def _connections(self, addresses: set[str]) -> bool:
        """Tell whether members have open connections, or whether nobody knows."""
        found = _asked(self.session, self.stock, self.stock.entries[self.pool.path], "statistics")
        mine = {str(one.get("ip_address")): one.get("statistics") or {} for one in found if str(one.get("ip_address")) in addresses}
        return len(mine) < len(addresses) or any(int(one.get("current_sessions") or 0) for one in mine.values())
