# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of a cluster in Google Cloud: VPC, subnetwork, Cloud NAT and firewall rules (private to flotilla.kubernetes)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from ..._errors import FlotillaError
from ..._machines.cloud import NotFound
from ..patience import CONSISTENCY
from ..result import Result
from . import layout as names
from . import things
from .layout import Place
from .session import Entry, Session
from .things import ADDRESS, FIREWALL, FORWARDING, NETWORK, ROUTER, SUBNETWORK, Changes, Key, Stock, Wanted

LEAVE_TIMEOUT = 600
_ROUNDS = 6
_REMEDY = "Set it back, or delete the cluster and make it anew."


def present(session: Session, definition: dict[str, Any], check_mode: bool = False) -> Result:
    """Make the network as the definition says, or with ``check_mode`` say what would be done.

    Everything that can be refused is refused before the first change.
    """
    where = names.place(definition)
    plans = [_Plan(session, where)]

    def again() -> Changes:
        plans.append(_Plan(session, where))
        return plans[-1].changes

    first = plans[0].changes
    changed = things.converge(first, again, check_mode)
    result = Result(changed, first.before, first.after)
    if changed and not check_mode:
        plans[-1].look()
    result.value = plans[-1].value(planned=check_mode and changed)
    return result


class _Plan:
    """What there is, and the changes to what is wanted."""

    def __init__(self, session: Session, where: Place) -> None:
        self.where = where
        self.stock = Stock(session, where, where.network_project)
        self.own = not where.own_network
        self.network, self.subnetwork = Key(NETWORK, where.cluster), Key(SUBNETWORK, where.cluster)
        self.router, self.address = Key(ROUTER, where.cluster), Key(ADDRESS, f"{where.cluster}-nat")
        self.users: Entry = {}
        self.look()
        self.uid = self._uid()
        self.stock.check(self.uid)
        self.check_zones()
        self.changes = self._plan()

    def look(self) -> None:
        """Read everything."""
        if self.own:
            self.stock.look(self.network, self.subnetwork, self.router, self.address)
        else:
            self.users = users_subnetwork(self.stock.session, self.where)
        if self.where.makes_firewall:
            read_rules(self.stock)

    def _uid(self) -> str:
        if not self.own:
            return self.where.shared_uid()
        network = self.stock.items.get(self.network)
        own = names.marks((network or {}).get("description")).get(names.TAG_UID)
        # Without the network, what hangs on it tells: a read may lag.
        return own or next(iter(self.stock.uids()), "") or secrets.token_hex(8)

    def check_zones(self) -> None:
        """Fail on zones that the region does not have, before anything is made for them."""
        if self.own and self.network in self.stock.items:
            return
        wanted = f'region eq ".*/regions/{self.where.region}"'
        has = [str(zone["name"]) for zone in self.stock.session.pages("zones", "list", filter=wanted)]
        missing = [zone for zone in self.where.zones if zone not in has]
        if missing:
            raise FlotillaError(
                "GCP_ZONE_UNKNOWN",
                f"The region {self.where.region} has no zone {', '.join(missing)} for project {self.where.project}.",
                f"Use some of: {', '.join(sorted(has))}." if has else "Correct gcp.region.",
            )

    def _plan(self) -> Changes:
        where, changes = self.where, Changes(self.stock, self.uid, _REMEDY)
        late: list[Wanted] = []
        rules = self._rules() if where.makes_firewall else []
        if where.public_endpoint and self._nat() and self.address not in self.stock.items:
            # It names the address of the NAT, which is known only when that is there.
            late = [rule for rule in rules if rule.key.name == f"{where.cluster}-api"]
        if self.own:
            body = {"autoCreateSubnetworks": False, "routingConfig": {"routingMode": "REGIONAL"}}
            changes.wave([Wanted(self.network, "network", body, ("autoCreateSubnetworks",))])
        wave = [rule for rule in rules if rule not in late]
        if self.own:
            wave.append(self._wanted_subnetwork())
            if self._nat():
                wave.append(Wanted(self.address, "nat", {"addressType": "EXTERNAL"}, ("addressType",)))
        surplus = {key for key in self.stock.items if key.kind is FIREWALL} - {rule.key for rule in rules}
        changes.wave(wave, sorted(surplus, key=str))
        if self.own:
            changes.wave([self._wanted_router()] if self._nat() else [], [] if self._nat() else [self.router])
            changes.wave([], [] if self._nat() else [self.address])
        if late:
            changes.after.update({str(rule.key): things.state(rule) for rule in late})
            changes.waves.append([(f"make the {late[0].key}", self._late_rule)])
            changes.creates = True
        return changes

    def _nat(self) -> bool:
        return self.own and self.where.nat

    def _late_rule(self) -> Entry:
        self.stock.look(self.address)
        wanted = next(rule for rule in self._rules() if rule.key.name == f"{self.where.cluster}-api")
        return self.stock.patch(wanted) if wanted.key in self.stock.items else self.stock.insert(wanted, self.uid)

    def cidrs(self) -> list[str]:
        """Return the networks of the machines."""
        return [str(self.users["ipCidrRange"])] if self.users else [str(self.where.subnet_cidr)]

    def _rules(self) -> list[Wanted]:
        address = self.stock.items.get(self.address)
        nat = [str(address["address"])] if address and self._nat() else []
        return [
            Wanted(Key(FIREWALL, name), "firewall", names.write_rule(self.where, rule), ("network", "direction"), rule.reason)
            for name, rule in names.rules(self.where, self.cidrs(), nat).items()
        ]

    def _wanted_subnetwork(self) -> Wanted:
        body: Entry = {
            "network": self.where.network,
            "ipCidrRange": str(self.where.subnet_cidr),
            # Google's own services are reached without a public address.
            "privateIpGoogleAccess": True,
            "secondaryIpRanges": [{"rangeName": name, "ipCidrRange": cidr} for name, cidr in sorted(self.where.secondary_ranges.items())],
        }
        if not body["secondaryIpRanges"]:
            # The SDK sends no empty list, so the last one can not be taken away.
            del body["secondaryIpRanges"]
        return Wanted(self.subnetwork, "subnetwork", body, ("network", "ipCidrRange"))

    def _wanted_router(self) -> Wanted:
        nat = {
            "name": self.where.cluster,
            "natIpAllocateOption": "MANUAL_ONLY",
            "natIps": [self.stock.link(self.address)],
            "sourceSubnetworkIpRangesToNat": "LIST_OF_SUBNETWORKS",
            "subnetworks": [{"name": self.where.subnetwork, "sourceIpRangesToNat": ["ALL_IP_RANGES"]}],
            # A node that pulls many images at once gets more ports than the 64 of every machine.
            "enableDynamicPortAllocation": True,
            "minPortsPerVm": 64,
            "maxPortsPerVm": 4096,
        }
        return Wanted(self.router, "router", {"network": self.where.network, "nats": [nat]}, ("network",))

    def value(self, planned: bool) -> dict[str, Any]:
        """Return the network as the module returns it; what check mode would make is null."""
        address = self.stock.items.get(self.address)
        there = not self.own or self.network in self.stock.items
        return {
            "name": self.where.network.rsplit("/", 1)[-1],
            "project": self.where.network_project,
            "region": self.where.region,
            "network": self.where.network if there else None,
            "subnetwork": self.where.subnetwork if not self.own or self.subnetwork in self.stock.items else None,
            "cidr": self.cidrs()[0],
            "nat_address": address["address"] if address else None,
            "network_tags": {role: self.where.network_tag(role) for role in ("control_plane", "worker")},
            "uid": None if planned and not there else self.uid,
        }


def read_rules(stock: Stock) -> None:
    """Read the cluster's firewall rules: a page of those with its names."""
    wanted = " OR ".join(f'(name = "{name}")' for name in names.rule_names(stock.where))
    found = {str(entry["name"]): entry for entry in stock.session.pages("firewalls", "list", project=stock.project, filter=wanted)}
    for name in names.rule_names(stock.where):
        stock.put(Key(FIREWALL, name), found.get(name))


def users_subnetwork(session: Session, where: Place) -> Entry:
    """Return the user's own subnetwork after a check.

    :raises FlotillaError: ``GCP_OWN_NETWORK``.
    """
    project, name = where.network_project, where.subnetwork.rsplit("/", 1)[-1]
    found = session.get("subnetworks", project=project, region=where.region, subnetwork=name)
    if not found:
        raise FlotillaError(
            "GCP_OWN_NETWORK",
            f"gcp.network of cluster '{where.cluster}' names a subnetwork '{name}', which is not in {project} in {where.region}.",
            "Correct gcp.network, or gcp.region.",
        )
    if things.plain(found["network"]) != where.network:
        raise FlotillaError(
            "GCP_OWN_NETWORK",
            f"The subnetwork '{name}' of project {project} is in {things.plain(found['network'])}, and gcp.network names {where.network}.",
            "Correct gcp.network.",
        )
    return found


@dataclass(frozen=True)
class Base:
    """What machines and load balancer stand on.

    :param uid: the cluster's identity; empty while there is no network.
    """

    uid: str
    subnetwork: str


def base(session: Session, where: Place) -> Base:
    """Return what the network's module made or the user has, in one read."""
    if where.own_network:
        users_subnetwork(session, where)
        return Base(where.shared_uid(), where.subnetwork)
    stock, key = Stock(session, where, where.network_project), Key(SUBNETWORK, where.cluster)
    stock.look(key)
    stock.check()
    return Base((stock.uids() or [""])[0], where.subnetwork if stock.items else "")


def removal_base(session: Session, where: Place) -> Base:
    """Return the identity for a removal, where it can be found without the user's network, which may have gone first."""
    return base(session, where) if not where.own_network else Base("", "")


def ready_base(session: Session, where: Place) -> Base:
    """Return the base when it is there; what was made a moment ago may take that long to show.

    :raises FlotillaError: ``GCP_NETWORK_MISSING``.
    """
    found = base(session, where)
    if not found.subnetwork:
        session.clock.sleep(CONSISTENCY)
        found = base(session, where)
    if not found.subnetwork:
        raise FlotillaError(
            "GCP_NETWORK_MISSING",
            f"The network of cluster '{where.cluster}' lacks its subnetwork in {where.region}.",
            "Run the module flotilla.kubernetes.gcp_network with the same definition first.",
        )
    return found


# Removal


def absent(session: Session, definition: dict[str, Any], check_mode: bool = False) -> Result:
    """Remove the cluster's network, in the order of what hangs on what. Nothing there is nothing to do.

    Two looks, apart by the time that a read may lag, have to see nothing.

    :raises FlotillaError: ``GCP_NETWORK_IN_USE``, with what somebody else attached; then nothing was removed.
    """
    where = names.place(definition)
    stock = Stock(session, where, where.network_project)
    _look_for_removal(stock)
    result = Result(bool(stock.items), {str(key): True for key in stock.items}, {})
    if stock.items:
        _refuse_attached(stock, check_mode)
    if check_mode:
        return result
    for _round in range(_ROUNDS):
        was_empty = not stock.items
        kinds = ((ROUTER, FIREWALL), (ADDRESS, SUBNETWORK), (NETWORK,))
        things.remove(stock, [[key for key in stock.items if key.kind in wave] for wave in kinds])
        session.clock.sleep(CONSISTENCY)
        _look_for_removal(stock)
        result.changed = result.changed or bool(stock.items)
        if was_empty and not stock.items:
            return result
    if stock.items:
        left = sorted(str(key) for key in stock.items)
        raise FlotillaError(
            "GCP_NETWORK_LEFT",
            f"Of the network of cluster '{where.cluster}' there is still {', '.join(left)}.",
            "Run again; when it lasts, look in the console at what uses it.",
            details={"left": left},
        )
    return result


def _look_for_removal(stock: Stock) -> None:
    where = stock.where
    if not where.own_network:
        keys = (Key(NETWORK, where.cluster), Key(SUBNETWORK, where.cluster), Key(ROUTER, where.cluster))
        stock.look(*keys, Key(ADDRESS, f"{where.cluster}-nat"))
    if where.makes_firewall:
        try:
            read_rules(stock)
        except NotFound:
            # The user's own project may have gone first.
            pass
    network = stock.items.get(Key(NETWORK, where.cluster))
    uid = where.shared_uid() if where.own_network else names.marks((network or {}).get("description")).get(names.TAG_UID, "")
    stock.check(uid)


def _refuse_attached(stock: Stock, check_mode: bool) -> None:
    """Fail with what is in the way of a removal and is not the network's.

    In check mode the cluster's own machines and load balancer may be there: a run removes them first, with their modules.
    """
    found = _attached(stock, check_mode)
    if found and not check_mode and all(thing.endswith("(on its way out)") for thing in found):
        stock.session.wait(lambda: not _attached(stock, check_mode), LEAVE_TIMEOUT, pause=5)
        found = _attached(stock, check_mode)
    if found:
        raise FlotillaError(
            "GCP_NETWORK_IN_USE",
            f"The network of cluster '{stock.where.cluster}' is in use by what is not its own: {'; '.join(found)}.",
            "Remove machines and load balancer with their modules, and what others attached by hand; nothing was removed here.",
            details={"attached": found},
        )


def _attached(stock: Stock, check_mode: bool) -> list[str]:
    """Return in words what is in the cluster's own network and is not the network's own."""
    where, session = stock.where, stock.session
    if where.own_network or Key(NETWORK, where.cluster) not in stock.items:
        return []
    own = {(key.kind, key.name) for key in stock.items}
    found = []
    for entry in session.pages("instances", "aggregated_list"):
        if any(things.plain(nic.get("network")) == where.network for nic in entry.get("networkInterfaces") or ()):
            labels = entry.get("labels") or {}
            ours = (labels.get(names.TAG_CLUSTER), labels.get(names.TAG_FOUNDATION)) == (where.cluster, names.label(where.foundation))
            if not (check_mode and ours):
                leaving = " (on its way out)" if ours and entry.get("status") in ("STOPPING", "DEPROVISIONING") else ""
                found.append(f"instance {entry['name']}{leaving}")
    for kind in (SUBNETWORK, FORWARDING, ROUTER, ADDRESS):
        for entry in session.pages(kind.service, "aggregated_list"):
            clusters = names.marks(entry.get("description")).get(names.TAG_CLUSTER) == where.cluster
            inside = where.network == things.plain(entry.get("network")) or where.subnetwork == things.plain(entry.get("subnetwork"))
            if inside and (kind, entry["name"]) not in own and not (check_mode and clusters):
                found.append(f"{kind.words} {entry['name']}")
    for entry in session.pages("firewalls", "list"):
        # Those that Kubernetes made for Services go when nothing else is in the way; nobody removes them otherwise.
        if things.plain(entry.get("network")) == where.network and (FIREWALL, entry["name"]) not in own:
            found.append(f"firewall rule {entry['name']}")
    return sorted(found)
