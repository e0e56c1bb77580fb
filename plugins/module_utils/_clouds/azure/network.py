# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of a cluster in Azure: resource group, network, NAT gateway and firewall (private to flotilla.kubernetes).

Names decide in Azure: what is asked for twice is made once. So each thing is one document, which is written whole where it differs.
"""

from __future__ import annotations

import secrets
from typing import Any

from ..._errors import FlotillaError
from ..._machines.cloud import NotFound
from ..patience import CONSISTENCY
from ..result import Result
from . import inventory
from . import layout as names
from .inventory import NETWORK, OPERATIONS, Entry, Seen, state
from .layout import ADDRESS, ASG, BALANCER, NAT, NIC, NSG, ROLES, SUBNET, VNET, Place
from .session import Session

TIMEOUT = 600
_ROUNDS = 6


def present(session: Session, definition: dict[str, Any], check_mode: bool = False) -> Result:
    """Make the network as the definition says, or with ``check_mode`` say what would be done.

    Everything that can be refused is refused before the first change.
    """
    where = names.place(definition, session.subscription)
    seen = inventory.observe(session, where)
    builder = _Builder(session, where, seen)
    builder.plan()
    if builder.creates and not check_mode:
        # What an interrupted run made a moment ago may not show yet, and would get another identity.
        session.clock.sleep(CONSISTENCY)
        seen = inventory.observe(session, where)
        builder = _Builder(session, where, seen)
        builder.plan()
    result = Result(bool(builder.todo), _state(where, seen), builder.wanted_state())
    if not check_mode:
        builder.work()
    result.value = builder.value(planned=check_mode and bool(builder.todo))
    return result


def absent(session: Session, definition: dict[str, Any], check_mode: bool = False) -> Result:
    """Remove what carries the cluster's tags, in the order of what hangs on what. Nothing there is nothing to do.

    Two looks, apart by the time that a read may lag, have to see nothing.

    :raises FlotillaError: ``AZURE_NETWORK_IN_USE``, with what somebody else attached; then nothing was removed.
    """
    where = names.place(definition, session.subscription)
    seen = inventory.observe(session, where, missing_is_wrong=False)
    there = _is_there(where, seen)
    result = Result(there, _state(where, seen), {})
    if there:
        _refuse_attached(session, where, seen, check_mode)
    if check_mode:
        return result
    for _round in range(_ROUNDS):
        if there:
            _remove(session, where, seen)
        was_there = there
        session.clock.sleep(CONSISTENCY)
        seen = inventory.observe(session, where, missing_is_wrong=False)
        there = _is_there(where, seen)
        result.changed = result.changed or there
        if not was_there and not there:
            return result
    if not there:
        return result
    left = sorted(name for _kind, name, _entry in seen.things) or [where.group]
    raise FlotillaError(
        "AZURE_NETWORK_LEFT",
        f"Of the network of cluster '{where.cluster}' there is still {', '.join(left)}.",
        "Run again; when it lasts, look in the Azure portal at what uses it.",
        details={"left": left},
    )


def _is_there(where: Place, seen: Seen) -> bool:
    return bool(seen.things) or bool(where.own_group and seen.group)


def _state(where: Place, seen: Seen) -> dict[str, Any]:
    """Return what a diff shows."""
    things = {f"{kind} {name}": _summary(kind, entry) for kind, name, entry in seen.things}
    group = {where.group: {"tags": seen.group.get("tags") or {}}} if seen.group and where.own_group else {}
    return {"resource_group": group, "subnets": dict(where.subnets), "things": things}


def _summary(kind: str, entry: Entry) -> dict[str, Any]:
    """Return of a thing what we decide about it."""
    inner = entry.get("properties") or {}
    found: dict[str, Any] = {"tags": dict(entry.get("tags") or {})}
    if kind == NSG:
        found["rules"] = [f"{rule} ({rule.name})" for rule in names.read_rules(entry)[0]]
    elif kind == VNET:
        found["address_space"] = list((inner.get("addressSpace") or {}).get("addressPrefixes") or ())
        found["subnets"] = {str(part["name"]): _subnet(part) for part in inner.get("subnets") or () if part["name"] == SUBNET}
    elif kind == NAT:
        found["addresses"] = sorted(names.tail(one["id"]) for one in inner.get("publicIpAddresses") or ())
    elif kind == ADDRESS:
        found["allocation"] = inner.get("publicIPAllocationMethod")
    return found


def _subnet(part: Entry) -> dict[str, Any]:
    inner = part.get("properties") or {}
    return {
        "cidr": inner.get("addressPrefix"),
        "nat_gateway": names.tail(str((inner.get("natGateway") or {}).get("id") or "")),
        "default_outbound": bool(inner.get("defaultOutboundAccess", True)),
    }


class _Builder:
    """Plans the changes of one run and makes them, level by level: what is of one level is made at once.

    :ivar todo: (kind, name) -> the document to write; the resource group's kind is empty.
    """

    def __init__(self, session: Session, where: Place, seen: Seen) -> None:
        self.session = session
        self.where = where
        self.seen = seen
        self.uid = seen.uid or secrets.token_hex(8)
        self.todo: dict[tuple[str, str], Entry] = {}
        self.surplus: list[tuple[str, str]] = []
        self.creates = False
        self._after: dict[str, dict[str, Any]] = {}

    def plan(self) -> None:
        """Find out what differs."""
        where, seen = self.where, self.seen
        if where.own_group:
            tags = {**(seen.group.get("tags") or {}), **where.own_tags("resource_group", self.uid)}
            if seen.group and seen.group["location"].lower() != where.location.lower():
                raise FlotillaError(
                    "AZURE_LOCATION_CHANGED",
                    f"The resource group {where.group} is in {seen.group['location']}, and azure.location is now {where.location}.",
                    "Set azure.location back, or delete the cluster and make it anew.",
                )
            self._after["group"] = {"tags": tags}
            if not seen.group or tags != (seen.group.get("tags") or {}):
                self.todo["", where.group] = {"location": where.location, "tags": tags}
                self.creates = self.creates or not seen.group
        if where.own_network and where.nat:
            sku = {"sku": {"name": "Standard"}}
            self._want(ADDRESS, where.name(NAT), "nat_gateway", {**sku, "properties": {"publicIPAllocationMethod": "Static"}})
            address = {"id": where.id(ADDRESS, where.name(NAT))}
            self._want(NAT, where.name(NAT), "nat_gateway", {**sku, "properties": {"publicIpAddresses": [address]}})
        for role in ROLES:
            if where.application_group(role):
                self._want(ASG, where.name(ASG, role), role, {"properties": {}})
        for role, rules in names.rules(where, seen.cidrs, self._nat_addresses()).items():
            others = names.read_rules(seen.get(NSG, where.name(NSG, role)))[1]
            entries = [*(names.write_rule(rule, where) for rule in rules), *others]
            self._want(NSG, where.name(NSG, role), role, {"properties": {"securityRules": entries}})
        if where.own_network:
            self._network()
        wanted = set(self._after)
        for kind, name, _entry in seen.things:
            if f"{kind} {name}" not in wanted:
                self.surplus.append((kind, name))

    def _want(self, kind: str, name: str, role: str, document: Entry) -> None:
        have = self.seen.get(kind, name)
        tags = {**(have.get("tags") or {}), **self.where.own_tags(role, self.uid)}
        document = {"location": self.where.location, "tags": tags, **document}
        after = _summary(kind, document)
        self._after[f"{kind} {name.lower()}"] = after
        if not have or _summary(kind, have) != after or inventory.state(have) == "Failed":
            self.todo[kind, name] = document
            self.creates = self.creates or not have

    def _network(self) -> None:
        where = self.where
        name = where.name(VNET)
        have = self.seen.get(VNET, name)
        inner = have.get("properties") or {}
        space = list((inner.get("addressSpace") or {}).get("addressPrefixes") or ())
        if have and str(where.cidr) not in space:
            raise FlotillaError(
                "AZURE_VNET_CIDR_CHANGED",
                f"The network {name} of cluster '{where.cluster}' is {', '.join(space)}, and azure.vnet_cidr is now {where.cidr}:"
                " the addresses of its machines can not change.",
                "Set azure.vnet_cidr back, or delete the cluster and make it anew.",
            )
        subnets = {str(part["name"]): part for part in inner.get("subnets") or ()}
        own = subnets.get(SUBNET) or {"name": SUBNET, "properties": {"addressPrefix": names.nodes_cidr(where)}}
        properties = {
            key: value for key, value in own["properties"].items() if key not in ("natGateway", "ipConfigurations", "provisioningState")
        }
        if where.nat:
            properties["natGateway"] = {"id": where.id(NAT, where.name(NAT))}
        properties["defaultOutboundAccess"] = False
        # Subnets that others made stay as they are.
        others = [part for part in subnets.values() if part["name"] != SUBNET]
        # So do peerings, name servers and the like: a document that leaves them out would take them away.
        rest = {key: value for key, value in inner.items() if key not in ("provisioningState", "resourceGuid")}
        space = space or [str(where.cidr)]
        document = {**rest, "addressSpace": {"addressPrefixes": space}, "subnets": [{"name": SUBNET, "properties": properties}, *others]}
        self._want(VNET, name, "network", {"properties": document})

    def _nat_addresses(self) -> list[str]:
        found = self.seen.get(ADDRESS, self.where.name(NAT))
        address = str((found.get("properties") or {}).get("ipAddress") or "")
        return [address] if address else []

    def wanted_state(self) -> dict[str, Any]:
        """Return what a diff shows after the change."""
        where = self.where
        group = {where.group: self._after["group"]} if where.own_group else {}
        things = {key: value for key, value in self._after.items() if key != "group"}
        return {"resource_group": group, "subnets": dict(where.subnets), "things": things}

    def work(self) -> None:
        """Write what differs, the one after what it hangs on, and take away what is not wanted any more."""
        group = self.todo.get(("", self.where.group))
        if group:
            self.session.repeat("resources", "resource_groups.create_or_update", self.where.group, body=group)
        for level in ((ADDRESS, ASG), (NAT, NSG), (VNET,)):
            begun = [(kind, name) for kind, name in self.todo if kind in level]
            for kind, name in begun:
                put(self.session, self.where, kind, name, self.todo[kind, name])
            busy = [(kind, name) for kind in level for name, entry in self.seen.items[kind].items() if state(entry) in _UNDER_WAY]
            for kind, name in {*begun, *((kind, name) for kind, name in busy if (kind, name) not in self.surplus)}:
                wait_for(self.session, self.where, kind, name)
        if (ADDRESS, self.where.name(NAT)) in self.todo and self.where.public_endpoint:
            # The address of the NAT gateway is known only now.
            seen = inventory.observe(self.session, self.where)
            again = _Builder(self.session, self.where, seen)
            again.plan()
            if any(kind == NSG for kind, _name in again.todo):
                again.work()
        for kind in reversed(NETWORK):
            for name in [name for found, name in self.surplus if found == kind]:
                remove(self.session, self.where, kind, name)

    def value(self, planned: bool) -> dict[str, Any]:
        """Return the network as the module returns it."""
        where = self.where
        return {
            "name": where.subnet.split("/")[8],
            "location": where.location,
            "resource_group": where.group,
            "cidr": self.seen.cidrs[0] if self.seen.cidrs else None,
            "subnets": {"machines": where.subnet, "load_balancer": where.balancer_subnet},
            "security_groups": {role: where.security_group(role) for role in ROLES},
            "uid": None if planned and not self.seen.uid else self.uid,
        }


_UNDER_WAY = ("Updating", "Creating")


def put(session: Session, where: Place, kind: str, name: str, document: Entry) -> None:
    """Write a thing; that a call was made twice makes no difference."""
    session.repeat("network", f"{OPERATIONS[kind]}.begin_create_or_update", where.group, name, body=document, fresh=True)


def wait_for(session: Session, where: Place, kind: str, name: str) -> Entry:
    """Return a thing when what was begun on it is done."""
    found: list[Entry] = []

    def done() -> bool:
        found[:] = [session.repeat("network", f"{OPERATIONS[kind]}.get", where.group, name, fresh=True)]
        if state(found[0]) in ("Failed", "Canceled"):
            raise FlotillaError(
                "AZURE_FAILED",
                f"Azure did not make {kind} {name}: its state is {state(found[0])}.",
                "See in the activity log of the resource group why, and run again: it is written anew.",
            )
        return state(found[0]) not in _UNDER_WAY

    if not session.wait(done, TIMEOUT, pause=2):
        raise FlotillaError("AZURE_SLOW", f"{kind} {name} is not ready after {TIMEOUT} s.", "Run again: it goes on waiting.")
    return found[0]


def remove(session: Session, where: Place, kind: str, name: str) -> None:
    """Delete a thing and wait until it is gone; one that is gone is no error."""
    session.find("network", f"{OPERATIONS[kind]}.begin_delete", where.group, name)

    def gone() -> bool:
        return not session.find("network", f"{OPERATIONS[kind]}.get", where.group, name)

    if not session.wait(gone, TIMEOUT, pause=2):
        raise FlotillaError("AZURE_SLOW", f"{kind} {name} is not gone after {TIMEOUT} s.", "Run again: it goes on waiting.")


# Removal


def _remove(session: Session, where: Place, seen: Seen) -> None:
    """Remove own things in the order of what hangs on what."""
    for kind in reversed(NETWORK):
        for name in sorted(seen.items[kind]):
            remove(session, where, kind, name)
    if where.own_group and seen.group:
        _remove_group(session, where)


def _remove_group(session: Session, where: Place) -> None:
    """Delete the resource group, which is empty by now: with anything in it, it stays."""
    try:
        left = session.pages("resources", "resources.list_by_resource_group", where.group)
        if left:
            return
        session.repeat("resources", "resource_groups.begin_delete", where.group)
    except NotFound:
        return
    session.wait(lambda: not session.find("resources", "resource_groups.get", where.group), TIMEOUT, pause=3)


def _refuse_attached(session: Session, where: Place, seen: Seen, check_mode: bool) -> None:
    """Fail with what is in the way of a removal and is not the network's: machines, load balancers, things of other people.

    In check mode the cluster's own machines and load balancer may be there: a run removes them first, with their modules.
    """

    def look() -> list[str]:
        return _attached(session, where, seen, check_mode)

    found = look()
    if found and not check_mode:
        # What a machine or a load balancer took with it may show a little longer.
        session.clock.sleep(CONSISTENCY)
        found = look()
    if found:
        raise FlotillaError(
            "AZURE_NETWORK_IN_USE",
            f"The network of cluster '{where.cluster}' is in use by what is not its own: {'; '.join(found)}.",
            "Remove machines and load balancer with their modules, and what others attached by hand; nothing was removed here.",
            details={"attached": found},
        )


def _attached(session: Session, where: Place, seen: Seen, check_mode: bool) -> list[str]:
    if not seen.group:
        return []
    own = {str(entry["id"]).lower() for _kind, _name, entry in seen.things}
    try:
        inside = session.pages("resources", "resources.list_by_resource_group", where.group)
    except NotFound:
        return []
    found = []
    for entry in inside:
        mine = names.is_own(entry.get("tags"), where) and (entry.get("tags") or {}).get(names.TAG_UID) == seen.uid
        if str(entry["id"]).lower() in own or (mine and check_mode):
            continue
        # In the user's own group other things are none of ours.
        if where.own_group or mine:
            found.append(f"{names.tail(entry['type'])} {entry['name']}")
    network = seen.get(VNET, where.name(VNET))
    for part in (network.get("properties") or {}).get("subnets") or ():
        if part["name"] != SUBNET:
            found.append(f"subnet {part['name']}")
        for user in (part.get("properties") or {}).get("ipConfigurations") or ():
            if not str(user["id"]).lower().startswith(f"{where.group_id.lower()}/"):
                found.append(f"{names.tail('/'.join(user['id'].split('/')[:9]))} in subnet {part['name']}")
    return sorted(found)


def interfaces(session: Session, where: Place, *, once: bool = False) -> list[Entry]:
    """Return the network interfaces of the cluster's group."""
    return session.pages("network", f"{OPERATIONS[NIC]}.list", where.group, once=once)


__all__ = ["ADDRESS", "BALANCER", "absent", "interfaces", "present", "put", "remove", "wait_for"]
