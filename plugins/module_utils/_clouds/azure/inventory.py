# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading what Azure has of a cluster's network (private to flotilla.kubernetes)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..._errors import FlotillaError
from ..patience import CONSISTENCY
from . import layout as names
from .layout import ADDRESS, ASG, BALANCER, NAT, NIC, NSG, VNET, Place
from .session import Session

Entry = dict[str, Any]

# kind -> the SDK's group of operations. Of all of them, in the order in which they hang on each other.
OPERATIONS = {
    ADDRESS: "public_ip_addresses",
    ASG: "application_security_groups",
    NAT: "nat_gateways",
    NSG: "network_security_groups",
    VNET: "virtual_networks",
    BALANCER: "load_balancers",
    NIC: "network_interfaces",
}
NETWORK = (ADDRESS, ASG, NAT, NSG, VNET)


@dataclass
class Seen:
    """What there is of a cluster's network.

    :param group: the resource group, or nothing.
    :param items: kind -> name -> what the group has of it and is the cluster's by its name.
    :param subnets: the user's own subnets by what they are for.
    :param cidrs: the networks that the machines are in.
    """

    group: Entry = field(default_factory=dict)
    items: dict[str, dict[str, Entry]] = field(default_factory=dict)
    subnets: dict[str, Entry] = field(default_factory=dict)
    cidrs: list[str] = field(default_factory=list)
    uid: str = ""

    def get(self, kind: str, name: str) -> Entry:
        """Return the thing of a kind with a name, or nothing."""
        return self.items.get(kind, {}).get(name.lower(), {})

    @property
    def things(self) -> list[tuple[str, str, Entry]]:
        """All things, each with kind and name."""
        return [(kind, name, entry) for kind, found in self.items.items() for name, entry in sorted(found.items())]


def state(entry: Entry) -> str:
    """Return the word for whether a change of a thing is done."""
    return str((entry.get("properties") or {}).get("provisioningState") or "")


def observe(session: Session, where: Place, *, missing_is_wrong: bool = True) -> Seen:
    """Read everything; changes nothing. What belongs to somebody else under the cluster's name is an error.

    :param missing_is_wrong: whether the user's own things have to be there.
    """
    seen = Seen({}, {kind: {} for kind in NETWORK})
    seen.group = session.find("resources", "resource_groups.get", where.group)
    if not where.own_group and not seen.group and missing_is_wrong:
        raise FlotillaError(
            "AZURE_OWN_MISSING",
            f"The resource group '{where.group}' of cluster '{where.cluster}' is not there.",
            "Correct azure.resource_group, or leave it out: then one is made.",
        )
    if where.own_group and seen.group:
        names.check_owner(seen.group.get("tags") or {}, where, "", f"The resource group {where.group}")
    seen.uid = str((seen.group.get("tags") or {}).get(names.TAG_UID) or "") if where.own_group else where.shared_uid
    if seen.group:
        for kind in NETWORK:
            for entry in session.pages("network", f"{OPERATIONS[kind]}.list", where.group, fresh=True):
                name = str(entry["name"]).lower()
                if names.is_own(entry.get("tags"), where) or name in _names(where, kind):
                    names.check_owner(entry.get("tags") or {}, where, seen.uid, f"{kind} {entry['name']}")
                    if (entry.get("tags") or {}).get(names.TAG_ROLE) in _roles(where, kind):
                        seen.items[kind][name] = entry
    if where.own_network:
        network = seen.get(VNET, where.name(VNET))
        space = (network.get("properties") or {}).get("addressSpace") or {}
        seen.cidrs = [str(one) for one in space.get("addressPrefixes") or [str(where.cidr)]]
    else:
        _observe_users(session, where, seen, missing_is_wrong)
    return seen


def _names(where: Place, kind: str) -> set[str]:
    roles = ("",) if kind in (VNET, NAT) else names.ROLES
    return {where.name(NAT).lower()} if kind == ADDRESS else {where.name(kind, role).lower() for role in roles}


def _roles(where: Place, kind: str) -> set[str]:
    """Return the roles that the network's own things of a kind have."""
    return {"nat_gateway"} if kind in (NAT, ADDRESS) else {"network"} if kind == VNET else set(names.ROLES)


def _observe_users(session: Session, where: Place, seen: Seen, missing_is_wrong: bool) -> None:
    """Read and check the user's own subnets: that they are there, and in one network of the right location."""
    network, cidrs = "", []
    for use, number in sorted(where.subnets.items()):
        parts = number.split("/")
        if not network:
            network = "/".join(parts[:9])
            found = (
                session.find("network", "virtual_networks.get", parts[4], parts[8])
                if parts[2].lower() == where.subscription.lower()
                else {}
            )
            cidrs = [str(one) for one in ((found.get("properties") or {}).get("addressSpace") or {}).get("addressPrefixes") or ()]
            if found and found["location"].lower() != where.location.lower():
                raise FlotillaError(
                    "AZURE_OWN_SUBNETS",
                    f"azure.subnets of cluster '{where.cluster}' are in {found['location']}, and azure.location is {where.location}.",
                    "Correct one of them.",
                )
            inside = {str(one["id"]).lower(): one for one in (found.get("properties") or {}).get("subnets") or ()}
        if number.lower().startswith(f"{network.lower()}/") and number.lower() in inside:
            seen.subnets[use] = inside[number.lower()]
        elif missing_is_wrong:
            raise FlotillaError(
                "AZURE_OWN_MISSING",
                f"azure.subnets.{use} of cluster '{where.cluster}' is not there, or not in one network with the others: {number}.",
                "Correct the id.",
            )
    seen.cidrs = cidrs


@dataclass(frozen=True)
class Base:
    """What machines and load balancer stand on.

    :param uid: the cluster's identity; empty while there is no network.
    :param there: whether the machines' subnet is there.
    """

    uid: str
    there: bool


def base(session: Session, where: Place) -> Base:
    """Return what the network's module made or the user has, in two reads."""
    group = session.find("resources", "resource_groups.get", where.group)
    if not group:
        return Base("", False)
    if where.own_group:
        names.check_owner(group.get("tags") or {}, where, "", f"The resource group {where.group}")
    uid = str((group.get("tags") or {}).get(names.TAG_UID) or "") if where.own_group else where.shared_uid
    parts = where.subnet.split("/")
    network = session.find("network", "virtual_networks.get", parts[4], parts[8])
    subnets = {str(one["id"]).lower(): one for one in (network.get("properties") or {}).get("subnets") or ()}
    return Base(uid, where.subnet.lower() in subnets and state(network) == "Succeeded")


def ready_base(session: Session, where: Place) -> Base:
    """Return the base when all of it is there; what was made a moment ago may take that long to show.

    :raises FlotillaError: ``AZURE_NETWORK_MISSING``.
    """
    found = base(session, where)
    if not found.there:
        session.clock.sleep(CONSISTENCY)
        found = base(session, where)
    if not found.there:
        raise FlotillaError(
            "AZURE_NETWORK_MISSING",
            f"The network of cluster '{where.cluster}' has no subnet for machines, {where.subnet}.",
            "Run the module flotilla.kubernetes.azure_network with the same definition first.",
        )
    return found


def removal_base(session: Session, where: Place) -> Base:
    """Return what is to be known for a removal: the identity."""
    if not where.own_group:
        return Base(where.shared_uid, False)
    group = session.find("resources", "resource_groups.get", where.group)
    return Base(str((group.get("tags") or {}).get(names.TAG_UID) or ""), False)
