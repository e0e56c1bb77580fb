# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API load balancer of a cluster in Azure: a Standard Load Balancer (private to flotilla.kubernetes)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ..._errors import FlotillaError
from ..._machines.cloud import CloudError, NotFound
from ..members import ACTIVE, DRAINED, checked, patience
from ..patience import CONSISTENCY
from ..result import Result
from . import inventory, network
from . import layout as names
from .inventory import Entry, state
from .layout import ADDRESS, API_PORT, BALANCER, NIC, Place
from .session import Session

PART = "api"
"""Name of frontend, pool, probe and rule."""
_ROUNDS = 6
_TRIES = 8
# An API server that is told to end goes on serving for 20 s while its /readyz fails: by then no connection comes any more.
_PROBE = {"protocol": "Https", "port": API_PORT, "requestPath": "/readyz", "intervalInSeconds": 5, "probeThreshold": 2}


@dataclass
class Seen:
    """What there is of a load balancer; empty mappings for what is not there.

    :param interfaces: id of a machine -> its network interface.
    """

    balancer: Entry = field(default_factory=dict)
    address: Entry = field(default_factory=dict)
    interfaces: dict[str, Entry] = field(default_factory=dict)

    def serving(self, pool: str) -> set[str]:
        """Return the ids of the machines whose interfaces are in the pool."""
        return {machine for machine, entry in self.interfaces.items() if _is_member(entry, pool)}


def _pool_id(where: Place) -> str:
    return f"{where.id(BALANCER, where.name(BALANCER))}/backendAddressPools/{PART}"


def _is_member(interface: Entry, pool: str) -> bool:
    return any(str(one["id"]).lower() == pool.lower() for part in _parts(interface) for one in _pools(part))


def _parts(interface: Entry) -> list[Entry]:
    return list((interface.get("properties") or {}).get("ipConfigurations") or ())


def _pools(part: Entry) -> list[Entry]:
    return list((part.get("properties") or {}).get("loadBalancerBackendAddressPools") or ())


def observe(session: Session, where: Place) -> Seen:
    """Read everything; changes nothing. A load balancer of somebody else's under the name is an error."""
    seen = Seen()
    name = where.name(BALANCER)
    try:
        balancers = session.pages("network", "load_balancers.list", where.group)
    except NotFound:
        return seen
    seen.balancer = next((entry for entry in balancers if str(entry["name"]).lower() == name.lower()), {})
    if (
        where.public_endpoint
        or any("publicIPAddress" in (part.get("properties") or {}) for part in _frontends(seen.balancer))
        or not seen.balancer
    ):
        seen.address = session.find("network", "public_ip_addresses.get", where.group, name)
    for entry in (seen.balancer, seen.address):
        if entry:
            names.check_owner(entry.get("tags") or {}, where, "", f"The load balancer {name}")
    try:
        machines = session.pages("compute", "virtual_machines.list", where.group)
        interfaces = {str(entry["id"]).lower(): entry for entry in network.interfaces(session, where)}
    except NotFound:
        return seen
    for machine in machines:
        inner = machine.get("properties") or {}
        mine = [str(one["id"]).lower() for one in (inner.get("networkProfile") or {}).get("networkInterfaces") or ()]
        if names.is_own(machine.get("tags"), where) and mine and mine[0] in interfaces:
            seen.interfaces[str(inner.get("vmId"))] = interfaces[mine[0]]
    return seen


def _frontends(balancer: Entry) -> list[Entry]:
    return list((balancer.get("properties") or {}).get("frontendIPConfigurations") or ())


def observed(session: Session, definition: dict[str, Any]) -> Result:
    """Return what there is, whatever the definition asks for."""
    where = names.place(definition, session.subscription)
    seen = observe(session, where)
    members = [{"id": member, "address": "", "state": ACTIVE} for member in sorted(seen.serving(_pool_id(where)))]
    health = _health(session, where, seen) if members else {}
    return Result(value=_value(where, definition, seen, members, health=health))


def _health(session: Session, where: Place, seen: Seen) -> dict[str, tuple[str, str]]:
    """Return what the load balancer thinks of its members: id -> whether it is healthy, and why."""
    name = where.name(BALANCER)
    answer = session.find("network", "load_balancer_load_balancing_rules.begin_health", where.group, name, PART, finish=True)
    owners = {str(part["id"]).lower(): machine for machine, entry in seen.interfaces.items() for part in _parts(entry)}
    found = {}
    for entry in answer.get("loadBalancerBackendAddresses") or ():
        part = entry.get("networkInterfaceIPConfigurationId") or {}
        machine = owners.get(str(part.get("id") if isinstance(part, dict) else part).lower())
        if machine:
            word = "healthy" if str(entry.get("state")).lower() == "up" else "unhealthy"
            found[machine] = (word, "" if word == "healthy" else str(entry.get("reason") or ""))
    return found


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
    where = names.place(definition, session.subscription)
    members = checked(items)
    base = inventory.base(session, where) if check_mode else inventory.ready_base(session, where)
    seen = observe(session, where)
    if not check_mode and not seen.balancer:
        session.clock.sleep(CONSISTENCY)
        seen = observe(session, where)
    builder = _Builder(session, where, seen, base, members, patience(drain_timeout, close))
    result = Result(builder.changes, _state(where, seen), builder.wanted_state())
    if check_mode:
        result.value = _value(where, definition, seen, members, planned=True)
        return result
    builder.check_members()
    builder.work()
    result.value = _value(where, definition, seen, members)
    return result


def absent(session: Session, definition: dict[str, Any], check_mode: bool = False) -> Result:
    """Remove the load balancer and its address. Two looks, apart by the lag of reads, have to see nothing."""
    where = names.place(definition, session.subscription)
    result, clean = Result(), False
    for number in range(_ROUNDS):
        seen = observe(session, where)
        there = bool(seen.balancer or seen.address)
        if number == 0:
            result = Result(there, _state(where, seen), {})
            if check_mode:
                return result
        result.changed = result.changed or there
        if clean and not there:
            return result
        clean = not there
        if seen.balancer:
            network.remove(session, where, BALANCER, where.name(BALANCER))
        if seen.address:
            network.remove(session, where, ADDRESS, where.name(BALANCER))
        session.clock.sleep(CONSISTENCY)
    return result


def _state(where: Place, seen: Seen) -> dict[str, Any]:
    """Return what a diff shows."""
    return {
        "load_balancer": {**_decided(seen.balancer), "tags": seen.balancer.get("tags") or {}} if seen.balancer else None,
        "address": {"tags": seen.address.get("tags") or {}} if seen.address else None,
        "members": sorted(seen.serving(_pool_id(where))),
    }


def _decided(document: Entry) -> dict[str, Any]:
    """Return of a load balancer's document what we decide about it, ids by their ends."""
    inner = document.get("properties") or {}
    front = next((part["properties"] for part in _frontends(document)), {})
    probe = next((part["properties"] for part in inner.get("probes") or ()), {})
    rules = inner.get("loadBalancingRules") or ()
    return {
        "frontend": str((front.get("publicIPAddress") or front.get("subnet") or {}).get("id") or "").lower(),
        "zones": sorted(zone for part in _frontends(document) for zone in part.get("zones") or ()),
        "pools": sorted(str(part["name"]) for part in inner.get("backendAddressPools") or ()),
        "probe": {key: probe.get(key) for key in _PROBE},
        "rules": sorted(
            (
                {
                    "from": int(part["properties"].get("frontendPort") or 0),
                    "to": int(part["properties"].get("backendPort") or 0),
                    "probe": names.tail(str((part["properties"].get("probe") or {}).get("id") or "")),
                    "pool": names.tail(str((part["properties"].get("backendAddressPool") or {}).get("id") or "")),
                    "idle_minutes": part["properties"].get("idleTimeoutInMinutes"),
                    "tcp_reset": bool(part["properties"].get("enableTcpReset")),
                    "outbound": not part["properties"].get("disableOutboundSnat"),
                }
                for part in rules
            ),
            key=lambda rule: json.dumps(rule, sort_keys=True),
        ),
    }


def _value(
    where: Place,
    definition: dict[str, Any],
    seen: Seen,
    members: list[dict[str, Any]],
    planned: bool = False,
    health: dict[str, tuple[str, str]] | None = None,
) -> dict[str, Any]:
    """Return endpoint and members as the module returns them.

    :param health: id of a member -> whether it is healthy, and why; to ask for it takes Azure seconds.
    """

    def one(member: dict[str, Any]) -> dict[str, Any]:
        word, detail = (health or {}).get(str(member["id"]), ("unknown", ""))
        word = DRAINED if member["state"] == DRAINED else word
        return {"id": member["id"], "address": member["address"], "state": member["state"], "health": word, "detail": detail}

    front = next((part["properties"] for part in _frontends(seen.balancer)), {})
    address = front.get("privateIPAddress") or (seen.address.get("properties") or {}).get("ipAddress")
    host = (definition.get("api_endpoint") or {}).get("dns_name") or address
    there = planned or bool(seen.balancer)
    return {"endpoint": {"host": host, "port": where.endpoint_port} if there else {}, "members": [one(member) for member in members]}


class _Builder:
    """Plans the changes of one run and makes them; ``seen`` grows as things are made."""

    def __init__(
        self, session: Session, where: Place, seen: Seen, base: inventory.Base, members: list[dict[str, Any]], seconds: int | None
    ) -> None:
        self.session = session
        self.where = where
        self.seen = seen
        self.seconds = seconds or 0
        self.pool = _pool_id(where)
        self.tags = where.own_tags("load_balancer", base.uid)
        self.wanted = {str(member["id"]) for member in members if member["state"] == ACTIVE}
        serving = seen.serving(self.pool)
        self.join, self.leave = self.wanted - serving, serving - self.wanted
        self.document = self._document()
        self._check_fixed()
        self.write_address = where.public_endpoint and (not seen.address or self._lacks_tags(seen.address))
        have = seen.balancer
        self.write = not have or self._lacks_tags(have) or _decided(have) != _decided(self.document) or state(have) == "Failed"

    @property
    def changes(self) -> bool:
        return bool(self.write or self.write_address or self.join or self.leave)

    def check_members(self) -> None:
        """Refuse members that are no machines; in check mode some of them are not made yet.

        :raises FlotillaError: ``AZURE_MEMBER_UNKNOWN``.
        """
        unknown = sorted(member for member in self.join if member not in self.seen.interfaces)
        if unknown:
            raise FlotillaError(
                "AZURE_MEMBER_UNKNOWN",
                f"Not machines of cluster '{self.where.cluster}' with a network interface: {', '.join(unknown)}.",
                "Name machines by the ids that azure_machines returns.",
            )

    def _lacks_tags(self, entry: Entry) -> bool:
        tags = entry.get("tags") or {}
        return any(tags.get(key) != value for key, value in self.tags.items())

    def _document(self) -> Entry:
        where, seen = self.where, self.seen
        own = where.id(BALANCER, where.name(BALANCER))
        front: dict[str, Any] = {"name": PART, "properties": {"subnet": {"id": where.balancer_subnet}}}
        if where.public_endpoint:
            front["properties"] = {"publicIPAddress": {"id": where.id(ADDRESS, where.name(BALANCER))}}
        else:
            numbers = sorted({where.zone_number(zone) for zone in where.zones} - {""})
            have = _frontends(seen.balancer)
            zones = sorted(have[0].get("zones") or ()) if have else numbers if len(numbers) == 3 else []
            # In all zones or in none: a load balancer lasts longer than a list of zones, and can not change its own.
            front.update({"zones": zones} if zones else {})
        rule = {
            "frontendIPConfiguration": {"id": f"{own}/frontendIPConfigurations/{PART}"},
            "backendAddressPool": {"id": self.pool},
            "probe": {"id": f"{own}/probes/{PART}"},
            "protocol": "Tcp",
            "frontendPort": where.endpoint_port,
            "backendPort": API_PORT,
            "idleTimeoutInMinutes": 30,
            "enableTcpReset": True,
            "disableOutboundSnat": True,
        }
        return {
            "location": where.location,
            "sku": {"name": "Standard"},
            "tags": {**(seen.balancer.get("tags") or {}), **self.tags},
            "properties": {
                "frontendIPConfigurations": [front],
                "backendAddressPools": [{"name": PART}],
                "probes": [{"name": PART, "properties": dict(_PROBE)}],
                "loadBalancingRules": [{"name": PART, "properties": rule}],
            },
        }

    def _check_fixed(self) -> None:
        have, wanted = _decided(self.seen.balancer)["frontend"], _decided(self.document)["frontend"]
        if self.seen.balancer and have != wanted:
            raise FlotillaError(
                "AZURE_ENDPOINT_FIXED",
                f"The load balancer {self.where.name(BALANCER)} is at {names.tail(have, 2)},"
                f" and the definition asks for {names.tail(wanted, 2)}: its address would change.",
                "Set api_endpoint.visibility and azure.subnets back, or delete the cluster and make it anew.",
            )

    def wanted_state(self) -> dict[str, Any]:
        """Return what a diff shows after the change."""
        address = {"tags": {**(self.seen.address.get("tags") or {}), **self.tags}} if self.where.public_endpoint else None
        return {
            "load_balancer": {**_decided(self.document), "tags": self.document["tags"]},
            "address": address,
            "members": sorted(self.wanted),
        }

    def work(self) -> None:
        """Make what is missing, then let members in and out, one after another: each change of a member locks the load balancer."""
        where, name = self.where, self.where.name(BALANCER)
        if self.write_address:
            tags = {**(self.seen.address.get("tags") or {}), **self.tags}
            document = {
                "location": where.location,
                "sku": {"name": "Standard"},
                "tags": tags,
                "properties": {"publicIPAllocationMethod": "Static"},
            }
            network.put(self.session, where, ADDRESS, name, document)
            self.seen.address = network.wait_for(self.session, where, ADDRESS, name)
        if self.write:
            network.put(self.session, where, BALANCER, name, self.document)
        if self.write or state(self.seen.balancer) in ("Updating", "Creating"):
            self.seen.balancer = network.wait_for(self.session, where, BALANCER, name)
        for member in sorted(self.join):
            self._change(self.seen.interfaces[member], True)
        for member in sorted(self.leave):
            self._change(self.seen.interfaces[member], False)
        if self.leave:
            # New connections go elsewhere from now on; those that are open get their time.
            self.session.clock.sleep(self.seconds)

    def _change(self, interface: Entry, join: bool) -> None:
        """Let an interface into the pool or out of it, by its newest document: others may change it, too."""
        name = str(interface["name"])
        for attempt in range(_TRIES):
            found = self.session.find("network", "network_interfaces.get", self.where.group, name)
            if not found or _is_member(found, self.pool) == join:
                break
            for number, part in enumerate(_parts(found)):
                others = [{"id": one["id"]} for one in _pools(part) if str(one["id"]).lower() != self.pool.lower()]
                mine = [{"id": self.pool}] if join and number == 0 else []
                part["properties"]["loadBalancerBackendAddressPools"] = [*others, *mine]
            try:
                self.session.repeat(
                    "network",
                    "network_interfaces.begin_create_or_update",
                    self.where.group,
                    name,
                    body=found,
                    headers={"If-Match": str(found.get("etag") or "*")},
                    fresh=True,
                )
            except CloudError as error:
                # Somebody changed it meanwhile, or a call whose answer was lost did.
                if error.details.get("azure_code") != "PreconditionFailed" or attempt + 1 == _TRIES:
                    raise
                self.session.pause(attempt, CONSISTENCY)
                continue
            network.wait_for(self.session, self.where, NIC, name)
            break
