# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of a cluster in NSX: Tier-1, segments, DHCP, NAT and the section of the firewall (private to flotilla.kubernetes)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from ..._errors import FlotillaError
from ..._machines.cloud import NotFound
from ..patience import CONSISTENCY
from ..result import Result
from . import layout, things
from .layout import NETWORK, ROLES, SITE, Entry, Place, Refs
from .session import Session
from .things import Plan, Stock, Wanted

_MACHINES = "the addresses of its machines can not change"


def present(session: Session, definition: dict[str, Any], check_mode: bool = False) -> Result:
    """Make the network as the definition says, or with ``check_mode`` say what would be done.

    Everything that can be refused is refused before the first change.
    """
    where = layout.place(definition)
    refs = resolve(session, where)
    result, plan = things.converge(session, lambda: _Plan(session, where, refs), check_mode)
    result.value = plan.value(planned=check_mode)
    return result


def absent(session: Session, definition: dict[str, Any], check_mode: bool = False) -> Result:
    """Remove what carries the cluster's tags, in the order of what refers to what.

    :raises FlotillaError: ``NSX_NETWORK_IN_USE``: something that is not the network's is attached; nothing was removed then.
    """
    where = layout.place(definition)
    refs = still_resolved(session, where)
    paths = [*_candidates(where), *(_inside(where, refs) if refs else [])]
    return things.removed(session, where, NETWORK, paths, lambda stock: _refuse_attached(session, stock, check_mode), check_mode)


def resolve(session: Session, where: Place) -> Refs:
    """Return what the definition's names mean.

    :raises FlotillaError: something is not there, or can not do what is asked for.
    """
    found: dict[str, str] = {}
    for key, folder in (
        ("transport_zone", f"{SITE}/transport-zones"),
        ("ip_block", "/infra/ip-blocks"),
        ("floating_ip_pool", "/infra/ip-pools"),
    ):
        name = getattr(where, key)
        if name:
            found[key] = str(things.named(session, f"nsx.{key}", folder, name)["path"])
    shared = things.named(session, "nsx.tier1", "/infra/tier-1s", where.tier1) if where.tier1 else {}
    tier0 = str(shared.get("tier0_path") or "")
    transit: tuple[str, ...] = ()
    if where.tier0 or not shared:
        upper = things.named(session, "nsx.tier0", "/infra/tier-0s", where.tier0)
        if shared and tier0 != upper["path"]:
            raise FlotillaError(
                "NSX_TIER1",
                f"nsx.tier1 '{where.tier1}' is attached to {tier0 or 'no Tier-0'}, and nsx.tier0 is '{where.tier0}'.",
                "Name a Tier-1 of that Tier-0, or leave nsx.tier0 out.",
            )
        tier0, transit = str(upper["path"]), tuple(upper.get("transit_subnets") or ())
    elif tier0:
        transit = tuple(session.find(tier0).get("transit_subnets") or ())
    if shared:
        edges = _edge_cluster(session, str(shared["path"]))
        _check_shared(where, shared, edges)
    elif where.edge_cluster:
        edges = str(things.named(session, "nsx.edge_cluster", f"{SITE}/edge-clusters", where.edge_cluster)["path"])
    else:
        edges = _edge_cluster(session, tier0)
        if not edges and (where.snat or where.balancer or where.dhcp):
            raise FlotillaError(
                "NSX_EDGE_CLUSTER",
                f"nsx.tier0 '{where.tier0}' has no edge cluster to take over, and NAT, DHCP and load balancers need one.",
                "Set nsx.edge_cluster.",
            )
    return Refs(
        tier0=tier0,
        tier1=str(shared.get("path") or where.own_tier1),
        edge_cluster=edges,
        transit=tuple(net for net in transit if ":" not in net) or layout.TRANSIT,
        **found,
    )


def still_resolved(session: Session, where: Place) -> Refs | None:
    """Return what the definition's names mean, for a removal; nothing where they do not hold any more.

    What is inside things of others is found by its tags, too; but the search lags.
    """
    try:
        return resolve(session, where)
    except FlotillaError as error:
        if error.code not in ("NSX_UNKNOWN", "NSX_AMBIGUOUS", "NSX_TIER1", "NSX_EDGE_CLUSTER"):
            raise
        return None


def _edge_cluster(session: Session, router: str) -> str:
    """Return the path of the edge cluster that a router runs on; empty where it has none."""
    try:
        services = session.pages(f"{router}/locale-services")
    except NotFound:
        return ""
    return next((str(one["edge_cluster_path"]) for one in services if one.get("edge_cluster_path")), "")


def _check_shared(where: Place, shared: Entry, edges: str) -> None:
    """Fail where somebody's Tier-1 does not do what the cluster needs of it: it is not changed."""
    needs = {"TIER1_NAT" if where.snat else "TIER1_CONNECTED": "all NAT addresses" if where.snat else "connected segments"}
    if where.balancer:
        needs["TIER1_LB_VIP"] = "load balancer addresses"
    missing = [words for name, words in needs.items() if name not in (shared.get("route_advertisement_types") or ())]
    if missing:
        raise FlotillaError(
            "NSX_TIER1",
            f"nsx.tier1 '{where.tier1}' does not tell its Tier-0 the routes of {' and '.join(missing)}.",
            "Let it advertise them (Tier-1 Gateways, Route Advertisement): what is yours is not changed here.",
        )
    if not edges and (where.snat or where.balancer or where.dhcp):
        raise FlotillaError(
            "NSX_TIER1",
            f"nsx.tier1 '{where.tier1}' has no edge cluster, which NAT, DHCP and load balancers need.",
            "Give it one, or name another Tier-1.",
        )


def _candidates(where: Place) -> list[str]:
    """Return the paths of all things of its own that a cluster's network may have."""
    router = where.own_tier1
    by_role = [path for role in ROLES for path in (where.group(role), where.segment(role), where.subnet(role))]
    return [
        where.policy,
        *by_role,
        where.dhcp_server,
        where.pool,
        _snat(f"{router}/nat/USER/nat-rules", where),
        f"{router}/locale-services/default",
        router,
    ]


def _inside(where: Place, refs: Refs) -> list[str]:
    """Return the paths of what the network may have in things of others: their Tier-1 and their pool."""
    return [_snat(refs.nat, where), *([_allocation(refs, where)] if refs.floating_ip_pool else [])]


def _snat(folder: str, where: Place) -> str:
    return f"{folder}/{where.name}-snat"


def _allocation(refs: Refs, where: Place) -> str:
    return f"{refs.floating_ip_pool}/ip-allocations/{where.name}-snat"


@dataclass(frozen=True)
class Base:
    """What a load balancer needs of the network.

    :param cidrs: the networks of the segments.
    :param address: under which machines come from there; empty where it is their own.
    """

    there: bool
    cidrs: tuple[str, ...] = ()
    address: str = ""


def base(session: Session, where: Place, refs: Refs) -> Base:
    """Return what there is of the network that its load balancer needs."""
    stock = Stock(session, where, NETWORK)
    rule, segments = _snat(refs.nat, where), [where.segment(role) for role in ROLES]
    stock.look([*segments, rule], search=False)
    if any(path not in stock.entries for path in segments):
        return Base(False)
    gateways = [str(part["gateway_address"]) for path in segments for part in stock.entries[path].get("subnets") or ()]
    cidrs = tuple(str(ipaddress.IPv4Interface(gateway).network) for gateway in gateways)
    return Base(True, cidrs, str(stock.entries.get(rule, {}).get("translated_network") or ""))


def allocated(session: Session, entry: Entry) -> str:
    """Return the network or address that NSX took from a pool or block, or nothing while it has not.

    Newer releases write it into the thing itself, older ones only into what it was made into.
    """
    for key in ("allocated_cidr", "cidr", "allocated_ip", "allocation_ip"):
        if entry.get(key):
            return str(entry[key])
    for entity in session.entities(str(entry["path"])):
        for attribute in entity.get("extended_attributes") or ():
            if attribute.get("key") in ("cidr", "allocation_ip") and attribute.get("values"):
                return str(attribute["values"][0])
    return ""


class _Plan(Plan):
    """What there is of the network, and what is wanted."""

    def __init__(self, session: Session, where: Place, refs: Refs) -> None:
        self.session = session
        self.where = where
        self.refs = refs
        self.stock = Stock(session, where, NETWORK)
        self.cidrs: dict[str, ipaddress.IPv4Network] = {}
        self.address = ""
        self._cut()
        self.stock.look([*_candidates(where), *_inside(where, refs)])
        self._learn()

    def _learn(self) -> None:
        """Find out which networks and address NSX gave."""
        where = self.where
        for role in ROLES:
            subnet = self.stock.entries.get(where.subnet(role))
            text = str(where.cidrs.get(role) or (allocated(self.session, subnet) if subnet and where.ip_block else ""))
            if text:
                self.cidrs[role] = ipaddress.IPv4Network(text)
        allocation = self.stock.entries.get(_allocation(self.refs, where)) if where.snat else None
        self.address = allocated(self.session, allocation) if allocation else ""
        self._cut()

    def _cut(self) -> None:
        """Decide what is wanted, as far as it is known: what gives addresses first, then what uses them."""
        self.first = [*self._addresses(), *self._routers()]
        self.second = [*self._segments(), *self._nat(), *self._firewall()]
        self.wanted = [*self.first, *self.second]

    def _addresses(self) -> list[Wanted]:
        where, found = self.where, list[Wanted]()
        if where.ip_block:
            found.append(Wanted(where.pool, {}))
            for role in ROLES:
                body = {
                    "resource_type": "IpAddressPoolBlockSubnet",
                    "ip_block_path": self.refs.ip_block,
                    "size": where.sizes[role],
                    "auto_assign_gateway": True,
                }
                fixed = {"ip_block_path": f"nsx.ip_block: {_MACHINES}", "size": f"nsx.segments.{role}.size: {_MACHINES}"}
                found.append(Wanted(where.subnet(role), body, fixed))
        if where.snat:
            found.append(Wanted(_allocation(self.refs, where), {}))
        return found

    def _routers(self) -> list[Wanted]:
        where, refs, found = self.where, self.refs, list[Wanted]()
        if not where.tier1:
            why = "nsx.tier0: every connection of the cluster would break, and its outside addresses belong to the other one"
            found.append(Wanted(where.own_tier1, layout.tier1(where, refs), {"tier0_path": why}))
            if refs.edge_cluster:
                why = "nsx.edge_cluster: NAT, DHCP leases and load balancer would be lost on the way"
                place = {"edge_cluster_path": refs.edge_cluster}
                found.append(Wanted(f"{where.own_tier1}/locale-services/default", place, {"edge_cluster_path": why}))
        if where.dhcp:
            edges = {"edge_cluster_path": refs.edge_cluster} if refs.edge_cluster else {}
            found.append(Wanted(where.dhcp_server, edges, dict.fromkeys(edges, "nsx.edge_cluster: all DHCP leases would be lost")))
        return found

    def _segments(self) -> list[Wanted]:
        where, found = self.where, list[Wanted]()
        for role in ROLES:
            cidr = self.cidrs.get(role)
            body = layout.segment(where, self.refs, role, cidr) if cidr else None
            ways = "nsx.addresses: its machines have theirs from where they were when they were made"
            fixed = {
                "connectivity_path": "nsx.tier1: every connection of the cluster would break",
                "subnets.0.gateway_address": f"nsx.segments.{role}: {_MACHINES}",
                "dhcp_config_path": ways,
                "subnets.0.dhcp_ranges": "nsx.addresses and api_endpoint.address: NSX adds to ranges of DHCP and takes none away",
            }
            if body and "transport_zone_path" in body:
                fixed["transport_zone_path"] = "nsx.transport_zone: a segment can not move"
            found.append(Wanted(where.segment(role), body, fixed))
        return found

    def _nat(self) -> list[Wanted]:
        if not self.where.snat:
            return []
        known = self.address and len(self.cidrs) == len(ROLES)
        body = layout.snat_rule([str(self.cidrs[role]) for role in ROLES], self.address) if known else None
        return [Wanted(_snat(self.refs.nat, self.where), body)]

    def _firewall(self) -> list[Wanted]:
        where = self.where
        if not where.firewall:
            return []
        groups = [Wanted(where.group(role), layout.segment_group(where, role)) for role in ROLES]
        return [*groups, Wanted(where.policy, layout.policy(where, self.refs.transit))]

    def work(self) -> None:
        """Make the changes, and wait until they are real."""
        self.bring(self.first)
        if any(one.body is None for one in self.second):
            given = [one.path for one in self.first if "/ip-" in one.path]
            self.session.wait(lambda: self._are_given(given), 10 * CONSISTENCY, pause=1)
        self.bring(self.second)
        self.clear()

    def _are_given(self, paths: list[str]) -> bool:
        """Read again what gives addresses, and tell whether all are known."""
        for path in paths:
            self.stock.entries[path] = self.session.find(path) or self.stock.entries.get(path, {})
        self._learn()
        return not any(one.body is None for one in self.second)

    def value(self, planned: bool) -> dict[str, Any]:
        """Return the network as the module returns it."""
        where, refs = self.where, self.refs
        known = self.stock.entries or not planned
        segments = {}
        for role in ROLES:
            cidr = self.cidrs.get(role)
            segments[role] = {
                "name": where.segment(role).rsplit("/", 1)[-1],
                "path": where.segment(role),
                "cidr": str(cidr) if cidr else None,
                "gateway": str(cidr[1]) if cidr else None,
            }
        return {
            "tier0": refs.tier0,
            "tier1": refs.tier1,
            "segments": segments,
            "dhcp": where.dhcp,
            "dns_servers": list(where.dns_servers),
            "outbound_address": self.address or None,
            "uid": self.stock.uid if known else None,
        }


def _refuse_attached(session: Session, stock: Stock, check_mode: bool) -> None:
    """Fail with what is in the way of a removal and is not the network's: machines, load balancers, things of other people.

    In check mode the cluster's own machines and load balancer may be there: a run removes them first, with their modules.
    """

    def look() -> list[str]:
        return _attached(session, stock, check_mode)

    found = look()
    if found and not check_mode:
        # What a machine or a load balancer took with it may show a little longer.
        session.clock.sleep(CONSISTENCY)
        found = look()
    if found:
        raise FlotillaError(
            "NSX_NETWORK_IN_USE",
            f"The network of cluster '{stock.where.cluster}' is in use by what is not its own: {'; '.join(found)}.",
            "Remove machines and load balancer with their modules, and what others attached by hand; nothing was removed here.",
            details={"attached": found},
        )


def _attached(session: Session, stock: Stock, check_mode: bool) -> list[str]:
    where = stock.where
    # The cluster's own load balancer is looked for by its path, too: the search lags.
    paths = [where.service, where.balancer_part("lb-virtual-servers")]
    if where.own_tier1 in stock.entries:
        paths += [str(hint["path"]) for hint in session.search(connectivity_path=where.own_tier1)]
    found = []
    for path in dict.fromkeys(paths):
        there = {} if path in stock.entries else session.find(path)
        own = layout.is_own(there, where)
        if (own or there.get("connectivity_path") == where.own_tier1) and not (own and check_mode):
            found.append(f"{there.get('resource_type')} {path}")
    for segment in [] if check_mode else [path for path in stock.entries if path.startswith("/infra/segments/")]:
        found += [f"{port.get('display_name') or port['id']} at {segment}" for port in session.pages(f"{segment}/ports")]
    return sorted(found)
