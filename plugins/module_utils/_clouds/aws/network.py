# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of a cluster in AWS: VPC, subnets, gateways, routes and firewall (private to flotilla.kubernetes)."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Callable

from ..._errors import FlotillaError
from ..._machines.cloud import CloudError, NotFound, Transient
from ..._machines.model import CONTROL_PLANE, WORKER
from ..patience import CONSISTENCY
from ..result import Result
from . import inventory
from . import layout as names
from .inventory import ADDRESS, GATEWAY, GROUP, NAT, SUBNET, TABLE, VPC, Entry, Seen
from .layout import LOAD_BALANCER, Place, Rule
from .session import Session

NAT_TIMEOUT = 600
LEAVE_TIMEOUT = 600
_ROUNDS = 6
_REASONS = {
    CONTROL_PLANE: "control planes",
    WORKER: "workers",
    LOAD_BALANCER: "API load balancer",
}


@dataclass(frozen=True)
class Action:
    """One change, in words and as what does it."""

    text: str
    do: Callable[[], Any]


def present(session: Session, definition: dict[str, Any], check_mode: bool = False) -> Result:
    """Make the network as the definition says, or with ``check_mode`` say what would be done.

    Everything that can be refused is refused before the first change.
    """
    where = names.place(definition)
    seen = inventory.observe(session, where)
    builder = _Builder(session, where, seen)
    actions = builder.plan()
    if not check_mode and builder.creates:
        # What an interrupted run made a moment ago may not show yet, and would be made twice.
        session.clock.sleep(CONSISTENCY)
        seen = inventory.observe(session, where)
        builder = _Builder(session, where, seen)
        actions = builder.plan()
    result = Result(bool(actions), _state(where, seen), builder.wanted_state(), {}, builder.warnings)
    if actions and builder.creates:
        builder.check_zones()
    if not check_mode:
        for action in actions:
            action.do()
    result.value = builder.value(planned=check_mode and bool(actions))
    return result


def absent(session: Session, definition: dict[str, Any], check_mode: bool = False) -> Result:
    """Remove what carries the cluster's tags, in the order of what hangs on what. Nothing there is nothing to do.

    Two looks, apart by the time that a read may lag, have to see nothing.

    :raises FlotillaError: ``AWS_NETWORK_IN_USE``, with what somebody else attached; then nothing was removed.
    """
    where = names.place(definition)
    seen = _observe_for_removal(session, where)
    result = Result(not seen.empty, _state(where, seen), {})
    if seen.vpc and not seen.empty:
        _refuse_attached(session, where, seen, check_mode)
    if check_mode:
        return result
    for _round in range(_ROUNDS):
        if not seen.empty:
            _remove(session, where, seen)
        was_empty = seen.empty
        session.clock.sleep(CONSISTENCY)
        seen = _observe_for_removal(session, where)
        result.changed = result.changed or not seen.empty
        if was_empty and seen.empty:
            return result
    left = sorted(str(entry[inventory.READS[kind][2]]) for kind in inventory.READS for entry in seen.items[kind])
    if not left:
        return result
    raise FlotillaError(
        "AWS_NETWORK_LEFT",
        f"Of the network of cluster '{where.cluster}' there is still {', '.join(left)}.",
        "Run again; when it lasts, look in the AWS console at what uses it.",
        details={"left": left},
    )


def _observe_for_removal(session: Session, where: Place) -> Seen:
    try:
        return inventory.observe(session, where)
    except FlotillaError as error:
        # The user's own VPC may have gone first.
        if where.vpc and error.code in ("AWS_OWN_VPC", "AWS_OWN_MISSING", "AWS_OWN_SUBNETS"):
            seen = Seen({kind: [] for kind in inventory.READS})
            seen.items[GROUP] = inventory.read_own(session, where, GROUP)
            return seen
        raise


def _state(where: Place, seen: Seen) -> dict[str, Any]:
    """Return what a diff shows."""
    roles = {str(entry["GroupId"]): inventory.tag(entry, names.TAG_ROLE) for entry in seen.items[GROUP]}
    groups = {}
    for entry in seen.items[GROUP]:
        found = names.read_rules(entry, roles)
        groups[roles[entry["GroupId"]]] = sorted(str(rule) for rule in found if not names.is_foreign_rule(rule, seen.clusters_groups))
    if where.vpc:
        return {"vpc": str((seen.vpc or {}).get("VpcId", "")), "security_groups": groups}
    nats = [entry for entry in seen.items[NAT] if entry.get("State") not in inventory.NAT_GONE]
    return {
        "vpc": str(seen.vpc["CidrBlock"]) if seen.vpc else None,
        "dns": bool(seen.dns),
        "internet_gateway": bool(_attached(seen)),
        "subnets": {f"{kind} {zone}": cidr for (kind, zone), cidr in sorted(_subnet_cidrs(seen).items())},
        "nat_gateways": sorted({inventory.tag(entry, names.TAG_ZONE) for entry in nats}),
        "routes": _routes(seen),
        "security_groups": groups,
        "tags": {
            str(entry[inventory.READS[kind][2]]): names.to_tags(entry.get("Tags")) for kind in inventory.READS for entry in seen.items[kind]
        },
    }


def _subnet_cidrs(seen: Seen) -> dict[tuple[str, str], str]:
    return {
        (kind, inventory.tag(entry, names.TAG_ZONE)): str(entry["CidrBlock"])
        for kind in ("private", "public")
        for entry in seen.own(SUBNET, f"{kind}_subnet")
    }


def _attached(seen: Seen) -> str:
    """Return the internet gateway of the cluster's VPC."""
    vpc = (seen.vpc or {}).get("VpcId")
    for entry in seen.own(GATEWAY, GATEWAY):
        if vpc and any(item.get("VpcId") == vpc for item in entry.get("Attachments") or ()):
            return str(entry["InternetGatewayId"])
    return ""


def _default_route(table: Entry) -> str:
    """Return where a route table sends what is for outside: a gateway's id, or nothing."""
    for route in table.get("Routes") or ():
        if route.get("DestinationCidrBlock") == names.ANYWHERE and route.get("State", "active") == "active":
            return str(
                route.get("NatGatewayId") or route.get("GatewayId") or route.get("InstanceId") or route.get("NetworkInterfaceId") or "other"
            )
    return ""


def _associated(table: Entry) -> set[str]:
    return {str(item["SubnetId"]) for item in table.get("Associations") or () if item.get("SubnetId")}


def _routes(seen: Seen) -> dict[str, str]:
    gateway = _attached(seen)
    nats = {str(entry["NatGatewayId"]): f"NAT gateway {inventory.tag(entry, names.TAG_ZONE)}" for entry in seen.items[NAT]}
    found = {}
    for table in seen.items[TABLE]:
        target = _default_route(table)
        name = f"{inventory.tag(table, names.TAG_ROLE)} {inventory.tag(table, names.TAG_ZONE)}".strip()
        found[name] = "internet gateway" if gateway and target == gateway else nats.get(target, target)
    return found


class _Builder:
    """Plans the changes of one run and makes them. ``ids`` grows as things are made."""

    def __init__(self, session: Session, where: Place, seen: Seen) -> None:
        self.session = session
        self.where = where
        self.seen = seen
        self.uid = seen.uid or secrets.token_hex(8)
        self.ids: dict[tuple[str, ...], str] = {}
        self.addresses: dict[str, str] = {}
        self.actions: list[Action] = []
        self.creates = False
        self.warnings: list[str] = []
        self.cidrs = names.subnet_cidrs(where, _subnet_cidrs(seen)) if not where.vpc else {}
        self.new_zones: list[str] = []
        self._wanted_tags: dict[str, dict[str, str]] = {}
        self._dropped: set[str] = set()

    # Planning

    def plan(self) -> list[Action]:
        """Return the changes in their order."""
        if self.where.vpc:
            self.ids[VPC,] = str((self.seen.vpc or {})["VpcId"])
            if not self.seen.dns:
                self.warnings.append(
                    f"The VPC {self.ids[VPC,]} gives no DNS names (enableDnsSupport, enableDnsHostnames): machines find the API"
                    " endpoint only through a name server of yours."
                )
        else:
            self._vpc()
            self._gateway()
            self._subnets()
            self._public_table()
            self._nat_gateways()
            self._private_tables()
        self._groups()
        if not self.where.vpc:
            self._surplus()
        return self.actions

    def wanted_state(self) -> dict[str, Any]:
        """Return what a diff shows after the change."""
        where = self.where
        groups = {role: sorted(str(rule) for rule in wanted) for role, wanted in self._wanted_rules().items()}
        if where.vpc:
            return {"vpc": self.ids[VPC,], "security_groups": groups}
        now = _state(where, self.seen)
        nat_zones = self._nat_zones()
        routes = {**now["routes"], "public_route_table": "internet gateway"}
        for zone in where.zones:
            routes[f"private_route_table {zone}"] = f"NAT gateway {self._nat_zone(zone)}" if nat_zones else ""
        tags = {item: self._wanted_tags.get(item, have) for item, have in now["tags"].items() if item not in self._dropped}
        return {
            "vpc": str(where.vpc_cidr) if self.seen.vpc is None else now["vpc"],
            "dns": True,
            "internet_gateway": True,
            "subnets": {f"{kind} {zone}": cidr for (kind, zone), cidr in sorted(self.cidrs.items())},
            "nat_gateways": sorted(nat_zones),
            "routes": routes,
            "security_groups": groups,
            "tags": tags,
        }

    def check_zones(self) -> None:
        """Fail on zones that the region does not have."""
        if not self.new_zones:
            return
        answer = self.session.repeat("ec2", "describe_availability_zones")
        has = sorted(str(entry["ZoneName"]) for entry in answer.get("AvailabilityZones") or () if entry.get("State") == "available")
        missing = [zone for zone in self.new_zones if zone not in has]
        if missing:
            raise FlotillaError(
                "AWS_ZONE_UNKNOWN",
                f"The region {self.where.region} has no zone {', '.join(missing)} for this account.",
                f"Use some of: {', '.join(has)}.",
            )

    def _need(self, text: str, do: Callable[[], Any]) -> None:
        self.actions.append(Action(text, do))

    def _tags(self, role: str, zone: str = "", **more: str) -> dict[str, str]:
        name = f"{self.where.cluster}-{role.replace('_', '-')}{'-' + zone if zone else ''}"
        tags = self.where.own_tags(role, self.uid, name, **more)
        return {**tags, names.TAG_ZONE: zone} if zone else tags

    def _one(self, kind: str, role: str, zone: str, busy: Callable[[Entry], bool], make: Callable[[], Entry], tags: dict[str, str]) -> str:
        """Plan that there is exactly one thing of a kind: returns its id, or nothing where it is still to be made."""
        key = inventory.READS[kind][2]
        found = self.seen.own(kind, role, zone)
        if kind == NAT:
            found = [entry for entry in found if entry.get("State") not in inventory.NAT_GONE]
        found.sort(key=lambda entry: (not busy(entry), str(entry[key])))
        place = (kind, role, zone)
        if not found:
            self.creates = True

            def create() -> None:
                self.ids[place] = str(make()[key])

            self._need(f"create {self._text(role, zone)}", create)
            return ""
        self.ids[place] = str(found[0][key])
        self._check_tags(found[0], key, tags)
        for extra in found[1:]:
            if busy(extra):
                self.warnings.append(f"There is a second {self._text(role, zone)}, {extra[key]}, and something uses it: it is left alone.")
            else:
                self._dropped.add(str(extra[key]))
                self._need(f"delete the second {self._text(role, zone)}", lambda extra=extra: _delete_one(self.session, kind, extra))
        return self.ids[place]

    def _text(self, role: str, zone: str) -> str:
        return f"{role.replace('_', ' ')}{' of ' + zone if zone else ''}"

    def _check_tags(self, entry: Entry, key: str, wanted: dict[str, str]) -> None:
        have = names.to_tags(entry.get("Tags"))
        wanted = {**wanted, names.TAG_UID: have.get(names.TAG_UID, self.uid)}
        missing = {name: value for name, value in wanted.items() if have.get(name) != value}
        self._wanted_tags[str(entry[key])] = {**have, **wanted}
        if missing:
            self._need(
                f"tag {entry[key]}",
                lambda: self.session.repeat("ec2", "create_tags", Resources=[str(entry[key])], Tags=names.from_tags(missing), fresh=True),
            )

    def _make(self, kind: str, role: str, zone: str, operation: str, resource: str, answer: str, **parameters: Any) -> Entry:
        """Make a thing that AWS would make twice when asked twice: after an answer that was lost, look before asking again."""
        tags = parameters.pop("tags")
        specification = [{"ResourceType": resource, "Tags": names.from_tags(tags)}]
        attempt = 0
        while True:
            try:
                done = self.session.repeat("ec2", operation, repeatable=False, fresh=True, TagSpecifications=specification, **parameters)
                return done[answer] if answer else done
            except Transient:
                if attempt >= _ROUNDS:
                    raise
                self.session.clock.sleep(CONSISTENCY)
                self.session.pause(attempt)
                seen = Seen({kind: inventory.read_own(self.session, self.where, kind)})
                before = {str(entry[inventory.READS[kind][2]]) for entry in self.seen.own(kind, role, zone)}
                new = [entry for entry in seen.own(kind, role, zone) if str(entry[inventory.READS[kind][2]]) not in before]
                if new:
                    return new[0]
            attempt += 1

    def _vpc(self) -> None:
        where, seen = self.where, self.seen
        tags = self._tags(VPC)
        found = self._one(
            VPC,
            VPC,
            "",
            lambda entry: bool(inventory.children(seen, entry)),
            lambda: self._make(VPC, VPC, "", "create_vpc", "vpc", "Vpc", CidrBlock=str(where.vpc_cidr), tags=tags),
            tags,
        )
        self._alias(VPC, VPC)
        if found and seen.vpc and seen.vpc["CidrBlock"] != str(where.vpc_cidr):
            raise FlotillaError(
                "AWS_VPC_CIDR_CHANGED",
                f"The VPC {found} of cluster '{where.cluster}' is {seen.vpc['CidrBlock']}, and aws.vpc_cidr is now {where.vpc_cidr}:"
                " the addresses of its machines can not change.",
                "Set aws.vpc_cidr back, or delete the cluster and make it anew.",
            )
        if not seen.dns:
            for name in ("EnableDnsSupport", "EnableDnsHostnames"):
                self._need(
                    f"turn on {name}",
                    lambda name=name: self.session.repeat(
                        "ec2", "modify_vpc_attribute", VpcId=self.ids[VPC,], fresh=True, **{name: {"Value": True}}
                    ),
                )

    def _alias(self, kind: str, role: str) -> None:
        """Let the one thing of a kind be found without its role and zone."""
        if (kind, role, "") in self.ids:
            self.ids[kind,] = self.ids[kind, role, ""]
        else:

            def alias() -> None:
                self.ids[kind,] = self.ids[kind, role, ""]

            self._need(f"remember {self._text(role, '')}", alias)

    def _gateway(self) -> None:
        tags = self._tags(GATEWAY)
        self._one(
            GATEWAY,
            GATEWAY,
            "",
            lambda entry: bool(entry.get("Attachments")),
            lambda: self._make(GATEWAY, GATEWAY, "", "create_internet_gateway", "internet-gateway", "InternetGateway", tags=tags),
            tags,
        )
        self._alias(GATEWAY, GATEWAY)
        if not _attached(self.seen):
            self._need("attach the internet gateway", self._attach)

    def _attach(self) -> None:
        _tolerate(
            ("Resource.AlreadyAssociated",),
            lambda: self.session.repeat(
                "ec2", "attach_internet_gateway", fresh=True, InternetGatewayId=self.ids[GATEWAY,], VpcId=self.ids[VPC,]
            ),
        )

    def _subnets(self) -> None:
        hints = {"private": "kubernetes.io/role/internal-elb", "public": "kubernetes.io/role/elb"}
        for kind in ("private", "public"):
            for zone in self.where.zones:
                role = f"{kind}_subnet"
                tags = self._tags(role, zone, **{hints[kind]: "1"})

                def make(kind: str = kind, zone: str = zone, role: str = role, tags: dict[str, str] = tags) -> Entry:
                    cidr = self.cidrs[kind, zone]
                    return self._make(
                        SUBNET, role, zone, "create_subnet", "subnet", "Subnet",
                        VpcId=self.ids[VPC,], AvailabilityZone=zone, CidrBlock=cidr, tags=tags,
                    )  # fmt: skip

                if not self._one(SUBNET, role, zone, lambda _entry: True, make, tags) and zone not in self.new_zones:
                    self.new_zones.append(zone)

    def _table(self, role: str, zone: str) -> Entry:
        tags = self._tags(role, zone)
        return self._make(TABLE, role, zone, "create_route_table", "route-table", "RouteTable", VpcId=self.ids[VPC,], tags=tags)

    def _routing(self, role: str, zone: str, subnets: list[tuple[str, str]], target: Callable[[], str], known: str) -> None:
        """Plan a route table with its way outside and its subnets.

        :param target: returns the gateway's id once it is made; ``known`` is it when it is there.
        """
        found = self._one(
            TABLE, role, zone, lambda entry: bool(_associated(entry)), lambda: self._table(role, zone), self._tags(role, zone)
        )
        table = next((entry for entry in self.seen.items[TABLE] if entry["RouteTableId"] == found), {}) if found else {}
        now = _default_route(table)
        if target is not _nowhere and (not now or now != known):
            self._need(f"route what is for outside in the {self._text(role, zone)}", lambda: self._route((TABLE, role, zone), target()))
        elif target is _nowhere and now:
            self._need(
                f"close the way outside in the {self._text(role, zone)}",
                lambda: _gone(lambda: self.session.repeat("ec2", "delete_route", RouteTableId=found, DestinationCidrBlock=names.ANYWHERE)),
            )
        for kind, subnet_zone in subnets:
            subnet = self.ids.get((SUBNET, f"{kind}_subnet", subnet_zone), "")
            if not subnet or subnet not in _associated(table):
                self._need(
                    f"route the {kind} subnet of {subnet_zone}",
                    lambda kind=kind, subnet_zone=subnet_zone: self._associate(
                        (TABLE, role, zone), (SUBNET, f"{kind}_subnet", subnet_zone)
                    ),
                )

    def _route(self, table: tuple[str, str, str], target: str) -> None:
        key = "NatGatewayId" if target.startswith("nat-") else "GatewayId"
        parameters = {"RouteTableId": self.ids[table], "DestinationCidrBlock": names.ANYWHERE, key: target}
        try:
            self.session.repeat("ec2", "create_route", fresh=True, **parameters)
        except CloudError as error:
            if error.details.get("aws_code") != "RouteAlreadyExists":
                raise
            self.session.repeat("ec2", "replace_route", fresh=True, **parameters)

    def _associate(self, table: tuple[str, str, str], subnet: tuple[str, str, str]) -> None:
        parameters = {"RouteTableId": self.ids[table]}
        subnet_id = self.ids[subnet]
        tables = inventory.read(self.session, TABLE, {"Name": "association.subnet-id", "Values": [subnet_id]})
        old = [item for entry in tables for item in entry.get("Associations") or () if item.get("SubnetId") == subnet_id]
        if old:
            association = str(old[0]["RouteTableAssociationId"])
            self.session.repeat("ec2", "replace_route_table_association", AssociationId=association, fresh=True, **parameters)
        else:
            _tolerate(
                ("Resource.AlreadyAssociated",),
                lambda: self.session.repeat("ec2", "associate_route_table", SubnetId=subnet_id, fresh=True, **parameters),
            )

    def _public_table(self) -> None:
        subnets = [("public", zone) for zone in self.where.zones]
        self._routing("public_route_table", "", subnets, lambda: self.ids[GATEWAY,], _attached(self.seen))

    def _nat_zones(self) -> list[str]:
        if self.where.nat == "none":
            return []
        if self.where.nat == "per_zone":
            return list(self.where.zones)
        # One that is there stays where it is, also when the first zone is another now.
        have = [inventory.tag(entry, names.TAG_ZONE) for entry in self.seen.own(NAT, NAT) if entry.get("State") not in inventory.NAT_GONE]
        return [next((zone for zone in self.where.zones if zone in have), self.where.zones[0])]

    def _nat_zone(self, zone: str) -> str:
        zones = self._nat_zones()
        return zone if zone in zones else zones[0]

    def _nat_gateways(self) -> None:
        zones = self._nat_zones()
        waiting = []
        for zone in zones:
            tags = self._tags(ADDRESS, zone)

            def allocate(zone: str = zone, tags: dict[str, str] = tags) -> Entry:
                return self._make(ADDRESS, ADDRESS, zone, "allocate_address", "elastic-ip", "", Domain="vpc", tags=tags)

            self._one(ADDRESS, ADDRESS, zone, lambda entry: bool(entry.get("AssociationId")), allocate, tags)
            nat_tags = self._tags(NAT, zone)

            def make(zone: str = zone, tags: dict[str, str] = nat_tags) -> Entry:
                address = self.ids[ADDRESS, ADDRESS, zone]
                subnet = self.ids[SUBNET, "public_subnet", zone]
                ids = sorted(str(entry["NatGatewayId"]) for entry in self.seen.items[NAT])
                token = hashlib.sha256("/".join([self.uid, zone, address, subnet, *ids]).encode()).hexdigest()
                return self._make(
                    NAT, NAT, zone, "create_nat_gateway", "natgateway", "NatGateway",
                    SubnetId=subnet, AllocationId=address, ClientToken=token, tags=tags,
                )  # fmt: skip

            found = self._one(NAT, NAT, zone, self._routed, make, nat_tags)
            entry = next((entry for entry in self.seen.items[NAT] if entry["NatGatewayId"] == found), None)
            if entry is None or entry.get("State") != "available":
                waiting.append(zone)
        if waiting:
            self._need(f"wait for the NAT gateway of {', '.join(waiting)}", lambda: self._wait_for_nat(waiting))

    def _routed(self, nat: Entry) -> bool:
        return any(_default_route(table) == nat["NatGatewayId"] for table in self.seen.items[TABLE])

    def _wait_for_nat(self, zones: list[str]) -> None:
        ids = {self.ids[NAT, NAT, zone]: zone for zone in zones}
        states: dict[str, Entry] = {}

        def ready() -> bool:
            call, key, _id = inventory.READS[NAT]
            answer = self.session.repeat("ec2", call, fresh=True, NatGatewayIds=sorted(ids))
            states.update({str(entry["NatGatewayId"]): entry for entry in answer.get(key) or ()})
            for entry in states.values():
                if entry.get("State") in inventory.NAT_GONE:
                    raise FlotillaError(
                        "AWS_NAT_FAILED",
                        f"The NAT gateway {entry['NatGatewayId']} of {ids[str(entry['NatGatewayId'])]} is {entry['State']}:"
                        f" {entry.get('FailureMessage') or 'AWS says no reason'}.",
                        "Mend that and run again: another one is made.",
                    )
            return all(states.get(nat, {}).get("State") == "available" for nat in ids)

        if not self.session.wait(ready, NAT_TIMEOUT, pause=5):
            raise FlotillaError(
                "AWS_NAT_SLOW",
                f"NAT gateways in {', '.join(zones)} are not available after {NAT_TIMEOUT} s.",
                "Run again: it goes on waiting.",
            )

    def _private_tables(self) -> None:
        for zone in self.where.zones:
            if self.where.nat == "none":
                self._routing("private_route_table", zone, [("private", zone)], _nowhere, "")
                continue
            place = (NAT, NAT, self._nat_zone(zone))
            self._routing("private_route_table", zone, [("private", zone)], lambda place=place: self.ids[place], self.ids.get(place, ""))

    def _surplus(self) -> None:
        """Plan the removal of NAT gateways, with their addresses, in zones that are to have none any more."""
        zones = self._nat_zones()
        for kind in (NAT, ADDRESS):
            for entry in self.seen.own(kind, kind):
                zone = inventory.tag(entry, names.TAG_ZONE)
                if zone not in zones and entry.get("State") not in inventory.NAT_GONE:
                    self._dropped.add(str(entry[inventory.READS[kind][2]]))
                    self._need(
                        f"delete the {self._text(kind, zone)}", lambda kind=kind, entry=entry: _delete_one(self.session, kind, entry)
                    )

    # Firewall

    def _nat_addresses(self) -> list[str]:
        """Return the public addresses of the NAT gateways that there are now."""
        wanted = set(self._nat_zones()) if not self.where.vpc else set()
        own = [entry for entry in self.seen.own(ADDRESS, ADDRESS) if inventory.tag(entry, names.TAG_ZONE) in wanted]
        return sorted({str(entry["PublicIp"]) for entry in own if entry.get("PublicIp")})

    def _vpc_cidrs(self) -> list[str]:
        vpc = self.seen.vpc
        if not vpc:
            return [str(self.where.vpc_cidr)]
        extra = [item["CidrBlock"] for item in vpc.get("CidrBlockAssociationSet") or () if item.get("CidrBlock")]
        return sorted({str(vpc["CidrBlock"]), *map(str, extra)})

    def _wanted_rules(self) -> dict[str, set[Rule]]:
        return names.rules(self.where, self._vpc_cidrs(), self._nat_addresses())

    def _roles(self) -> dict[str, str]:
        return {str(entry["GroupId"]): inventory.tag(entry, names.TAG_ROLE) for entry in self.seen.items[GROUP]}

    def _rules_now(self, role: str) -> set[Rule]:
        found = self.seen.own(GROUP, role)
        return names.read_rules(found[0], self._roles()) if found else set()

    def _groups(self) -> None:
        wanted = self._wanted_rules()
        for role in wanted:
            name = f"{self.where.cluster}-{role.replace('_', '-')}"
            tags = self._tags(role)

            def make(role: str = role, name: str = name, tags: dict[str, str] = tags) -> Entry:
                return self._make(
                    GROUP, role, "", "create_security_group", "security-group", "",
                    GroupName=name, Description=f"{_REASONS[role]} of cluster {self.where.cluster}", VpcId=self.ids[VPC,], tags=tags,
                )  # fmt: skip

            self._one(GROUP, role, "", lambda _entry: True, make, tags)
        for role in wanted:
            found = self.seen.own(GROUP, role)
            have = self._rules_now(role) if found else {Rule("egress", "-1", -1, -1, names.ANYWHERE)}
            ours = {rule for rule in have if not names.is_foreign_rule(rule, self.seen.clusters_groups)}
            add, drop = wanted[role] - have, ours - wanted[role]
            late = self.where.public_endpoint and role == LOAD_BALANCER and len(self._nat_addresses()) < len(self._nat_zones_or_none())
            if add or late:
                self._need(
                    f"open in {role}: {', '.join(map(str, sorted(add)))}", lambda role=role, add=add, late=late: self._open(role, add, late)
                )
            if drop:
                self._need(f"close in {role}: {', '.join(map(str, sorted(drop)))}", lambda role=role, drop=drop: self._close(role, drop))

    def _nat_zones_or_none(self) -> list[str]:
        return [] if self.where.vpc else self._nat_zones()

    def _group_ids(self) -> dict[str, str]:
        return {role: self.ids[GROUP, role, ""] for role in names.GROUP_ROLES if (GROUP, role, "") in self.ids}

    def _open(self, role: str, add: set[Rule], late: bool) -> None:
        if late:
            # The addresses of the NAT gateways are known only now.
            self.seen.items[ADDRESS] = inventory.read_own(self.session, self.where, ADDRESS)
            add = add | (self._wanted_rules()[role] - self._rules_now(role))
        for direction in ("ingress", "egress"):
            for rule in sorted(rule for rule in add if rule.direction == direction):
                _tolerate(("InvalidPermission.Duplicate",), lambda rule=rule: self._change_rules("authorize", role, [rule]))

    def _close(self, role: str, drop: set[Rule]) -> None:
        for rule in sorted(drop):
            _tolerate(("InvalidPermission.NotFound",), lambda rule=rule: self._change_rules("revoke", role, [rule]))

    def _change_rules(self, verb: str, role: str, rules: list[Rule]) -> None:
        ids = self._group_ids()
        permissions = [names.write_rule(rule, ids) for rule in rules]
        direction = rules[0].direction
        self.session.repeat("ec2", f"{verb}_security_group_{direction}", fresh=True, GroupId=ids[role], IpPermissions=permissions)

    # Result

    def value(self, planned: bool) -> dict[str, Any]:
        """Return the network as the module returns it; ids of what check mode would make are null."""
        where = self.where
        if where.vpc:
            private = {str(entry["AvailabilityZone"]): str(entry["SubnetId"]) for entry in reversed(self.seen.subnets["private"])}
            balancer = {str(entry["AvailabilityZone"]): str(entry["SubnetId"]) for entry in reversed(self.seen.subnets["load_balancer"])}
            subnets: dict[str, Any] = {"private": private, "public": {}, "load_balancer": balancer}
        else:
            subnets = {
                kind: {zone: self.ids.get((SUBNET, f"{kind}_subnet", zone)) for zone in where.zones} for kind in ("private", "public")
            }
            subnets["load_balancer"] = subnets["public" if where.public_endpoint else "private"]
        groups = {
            role: list(where.own_groups[role]) or [group for group in [self.ids.get((GROUP, role, ""))] if group]
            for role in names.GROUP_ROLES
        }
        cidrs = self._vpc_cidrs()
        return {
            "name": self.ids.get((VPC,)),
            "region": where.region,
            "vpc_id": self.ids.get((VPC,)),
            "cidr": cidrs[0],
            "subnets": subnets,
            "security_groups": groups,
            "nat_gateways": {} if where.vpc else {zone: self.ids.get((NAT, NAT, zone)) for zone in self._nat_zones()},
            "uid": None if planned and not self.seen.uid else self.uid,
        }


def _nowhere() -> str:
    return ""


def _tolerate(codes: tuple[str, ...], do: Callable[[], Any]) -> None:
    """Do something that may have been done by a call whose answer was lost."""
    try:
        do()
    except CloudError as error:
        if error.details.get("aws_code") not in codes:
            raise


def _gone(do: Callable[[], Any]) -> None:
    """Do something to a thing that may be gone."""
    try:
        do()
    except NotFound:
        return


# Removal


def _remove(session: Session, where: Place, seen: Seen) -> None:
    """Remove own things in the order of what hangs on what."""
    _delete_nats(session, seen.items[NAT])
    for entry in seen.items[ADDRESS]:
        _delete_one(session, ADDRESS, entry)
    # Groups name each other in their rules, and AWS deletes none that is named.
    for entry in seen.items[GROUP]:
        for direction, key in (("ingress", "IpPermissions"), ("egress", "IpPermissionsEgress")):
            if entry.get(key):
                named = [permission for permission in entry[key] if permission.get("UserIdGroupPairs")]
                for permission in named:
                    _revoke_pairs(session, entry, direction, permission)
    for entry in seen.items[TABLE]:
        for item in entry.get("Associations") or ():
            if item.get("SubnetId"):
                association = str(item["RouteTableAssociationId"])
                _gone(lambda association=association: session.repeat("ec2", "disassociate_route_table", AssociationId=association))
    for kind in (GROUP, TABLE, SUBNET):
        for entry in seen.items[kind]:
            _delete_one(session, kind, entry)
    for entry in seen.items[GATEWAY]:
        for attachment in entry.get("Attachments") or ():
            _gone(
                lambda entry=entry, attachment=attachment: session.repeat(
                    "ec2", "detach_internet_gateway", InternetGatewayId=entry["InternetGatewayId"], VpcId=attachment["VpcId"]
                )
            )
        _delete_one(session, GATEWAY, entry)
    for entry in seen.items[VPC]:
        _delete_one(session, VPC, entry)


def _revoke_pairs(session: Session, group: Entry, direction: str, permission: Entry) -> None:
    named = {key: permission[key] for key in ("IpProtocol", "FromPort", "ToPort") if key in permission}
    named["UserIdGroupPairs"] = [{"GroupId": pair["GroupId"]} for pair in permission["UserIdGroupPairs"]]
    _tolerate(
        ("InvalidPermission.NotFound", "InvalidGroup.NotFound"),
        lambda: session.repeat("ec2", f"revoke_security_group_{direction}", GroupId=group["GroupId"], IpPermissions=[named]),
    )


def _delete_one(session: Session, kind: str, entry: Entry) -> None:
    """Delete one thing; one that is gone is no error."""
    call = {
        VPC: "delete_vpc",
        GATEWAY: "delete_internet_gateway",
        SUBNET: "delete_subnet",
        ADDRESS: "release_address",
        TABLE: "delete_route_table",
        GROUP: "delete_security_group",
    }
    if kind == NAT:
        _delete_nats(session, [entry])
        return
    key = inventory.READS[kind][2]
    _gone(lambda: session.repeat("ec2", call[kind], **{key: entry[key]}))


def _delete_nats(session: Session, entries: list[Entry]) -> None:
    """Delete NAT gateways and wait until they are gone: their addresses and subnets are in use until then."""
    ids = [str(entry["NatGatewayId"]) for entry in entries]
    for entry in entries:
        if entry.get("State") not in inventory.NAT_GONE:
            _gone(lambda entry=entry: session.repeat("ec2", "delete_nat_gateway", NatGatewayId=entry["NatGatewayId"]))

    def gone() -> bool:
        answer: list[Entry] = []
        _gone(lambda: answer.extend(session.repeat("ec2", "describe_nat_gateways", NatGatewayIds=ids).get("NatGateways") or ()))
        return all(entry.get("State") in ("deleted", "failed") for entry in answer)

    if ids and not session.wait(gone, LEAVE_TIMEOUT, pause=5):
        raise FlotillaError(
            "AWS_NAT_SLOW", f"The NAT gateways {', '.join(ids)} are not deleted after {LEAVE_TIMEOUT} s.", "Run again: it goes on waiting."
        )


def _refuse_attached(session: Session, where: Place, seen: Seen, check_mode: bool) -> None:
    """Fail with what is in the way of a removal and is not the network's: machines, load balancers, things of other people.

    In check mode the cluster's own machines and load balancer may be there: a run removes them first, with their modules.
    """

    def look() -> list[str]:
        return _attached_things(session, where, seen, _goes_before(session, where, seen) if check_mode else lambda _entry: False)

    found = look()
    # Interfaces of a load balancer outlive it by minutes.
    if not check_mode and found and all(_balancer_words(where) in thing for thing in found):
        session.wait(lambda: not look(), LEAVE_TIMEOUT, pause=10)
        found = look()
    if found:
        raise FlotillaError(
            "AWS_NETWORK_IN_USE",
            f"The network of cluster '{where.cluster}' is in use by what is not its own: {'; '.join(found)}.",
            "Remove machines and load balancer with their modules, and what others attached by hand; nothing was removed here.",
            details={"attached": found},
        )


def _balancer_words(where: Place) -> str:
    """Return what the description of each interface of the cluster's load balancer begins with after its first word."""
    return f"ELB net/{names.balancer_name(where)}/"


def _goes_before(session: Session, where: Place, seen: Seen) -> Callable[[Entry], bool]:
    """Return what tells of an interface whether it goes with a machine or the load balancer of this very cluster."""

    def own(tags: list[dict[str, str]] | None) -> bool:
        found = names.to_tags(tags)
        return (found.get(names.TAG_CLUSTER), found.get(names.TAG_FOUNDATION), found.get(names.TAG_UID)) == (
            where.cluster,
            where.foundation,
            seen.uid,
        )

    filters = [inventory.by_tag(names.TAG_CLUSTER, where.cluster)]
    found = session.pages("ec2", "describe_instances", "Reservations", Filters=filters, MaxResults=1000)
    instances = {str(entry["InstanceId"]) for part in found for entry in part.get("Instances") or () if own(entry.get("Tags"))}
    balancers: list[Entry] = []
    _gone(
        lambda: balancers.extend(
            session.repeat("elbv2", "describe_load_balancers", Names=[names.balancer_name(where)]).get("LoadBalancers") or ()
        )
    )
    arns = [str(entry["LoadBalancerArn"]) for entry in balancers]
    tags = session.repeat("elbv2", "describe_tags", ResourceArns=arns).get("TagDescriptions") or () if arns else ()
    with_balancer = any(own(entry.get("Tags")) for entry in tags)

    def goes(entry: Entry) -> bool:
        attachment = entry.get("Attachment") or {}
        if attachment.get("InstanceId") in instances:
            # One that somebody attached later stays behind.
            return bool(attachment.get("DeleteOnTermination", True))
        return with_balancer and _balancer_words(where) in str(entry.get("Description") or "")

    return goes


def _attached_things(session: Session, where: Place, seen: Seen, goes_before: Callable[[Entry], bool]) -> list[str]:
    """Return what is in the VPC, or in the user's VPC uses the cluster's groups, and is not the network's own.

    :param goes_before: tells of an interface that it is gone when the network goes.
    """
    if seen.vpc is None:
        return []
    inside = {"Name": "vpc-id", "Values": [str(seen.vpc["VpcId"])]}
    if where.vpc:
        ids = [str(entry["GroupId"]) for entry in seen.items[GROUP]]
        only = {"Name": "group-id", "Values": ids}
        used = session.pages("ec2", "describe_network_interfaces", "NetworkInterfaces", Filters=[only])
        return [_interface(entry) for entry in used if not goes_before(entry)]
    nats = session.pages("ec2", "describe_nat_gateways", "NatGateways", Filters=[inside])
    own = {str(item.get("NetworkInterfaceId")) for entry in nats for item in entry.get("NatGatewayAddresses") or ()}
    own_ids = {str(entry[inventory.READS[kind][2]]) for kind in inventory.READS for entry in seen.items[kind]}
    own_subnets = {str(entry["SubnetId"]) for entry in seen.items[SUBNET]}
    found = []
    for entry in session.pages("ec2", "describe_network_interfaces", "NetworkInterfaces", Filters=[inside]):
        if entry.get("InterfaceType") != "nat_gateway" and str(entry["NetworkInterfaceId"]) not in own and not goes_before(entry):
            found.append(_interface(entry))
    for entry in nats:
        if entry["NatGatewayId"] not in own_ids and entry.get("State") not in ("deleted", "failed"):
            found.append(f"NAT gateway {entry['NatGatewayId']}")
    for entry in inventory.read(session, SUBNET, inside):
        if entry["SubnetId"] not in own_subnets:
            found.append(f"subnet {entry['SubnetId']}")
    for entry in inventory.read(session, GROUP, inside):
        if entry["GroupId"] not in own_ids and entry.get("GroupName") != "default":
            found.append(f"security group {entry['GroupId']} ({entry.get('GroupName', '')})")
    for entry in inventory.read(session, TABLE, inside):
        if entry["RouteTableId"] not in own_ids and not any(item.get("Main") for item in entry.get("Associations") or ()):
            found.append(f"route table {entry['RouteTableId']}")
    return sorted(found)


def _interface(entry: Entry) -> str:
    instance = (entry.get("Attachment") or {}).get("InstanceId")
    what = f"instance {instance}" if instance else entry.get("Description") or "unknown purpose"
    return f"network interface {entry['NetworkInterfaceId']} of {what}"
