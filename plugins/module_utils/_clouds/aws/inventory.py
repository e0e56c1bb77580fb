# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading what AWS has of a cluster's network (private to flotilla.kubernetes)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..._errors import FlotillaError
from ..._machines.model import CONTROL_PLANE, WORKER
from ..patience import CONSISTENCY
from . import layout as names
from .layout import LOAD_BALANCER, Place
from .session import Session

Entry = dict[str, Any]

VPC, GATEWAY, SUBNET, ADDRESS, NAT, TABLE, GROUP = (
    "vpc",
    "internet_gateway",
    "subnet",
    "address",
    "nat_gateway",
    "route_table",
    "security_group",
)
NAT_GONE = ("deleting", "deleted", "failed")

# kind -> (call, key of the answer, key of the id)
READS = {
    VPC: ("describe_vpcs", "Vpcs", "VpcId"),
    GATEWAY: ("describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    SUBNET: ("describe_subnets", "Subnets", "SubnetId"),
    ADDRESS: ("describe_addresses", "Addresses", "AllocationId"),
    NAT: ("describe_nat_gateways", "NatGateways", "NatGatewayId"),
    TABLE: ("describe_route_tables", "RouteTables", "RouteTableId"),
    GROUP: ("describe_security_groups", "SecurityGroups", "GroupId"),
}


@dataclass
class Seen:
    """What there is: own things by (kind, role), the user's own things, and what the cloud controller made.

    :param items: kind -> what carries the cluster's tags.
    :param vpc: the VPC that the cluster is in, its own or the user's.
    :param subnets: ``private``, ``public`` and ``load_balancer`` of the user's own VPC.
    :param clusters_groups: ids of security groups that carry the cluster's tag and are not ours.
    :param dns: whether the VPC answers DNS and gives names, or None without a VPC.
    """

    items: dict[str, list[Entry]]
    vpc: Entry | None = None
    subnets: dict[str, list[Entry]] = field(default_factory=dict)
    clusters_groups: set[str] = field(default_factory=set)
    dns: bool | None = None
    uid: str = ""

    def own(self, kind: str, role: str, zone: str = "") -> list[Entry]:
        """Return the own things of one kind with a role, in a zone where one is given, ordered by id."""
        key = READS[kind][2]
        found = [
            entry for entry in self.items[kind] if tag(entry, names.TAG_ROLE) == role and (not zone or tag(entry, names.TAG_ZONE) == zone)
        ]
        return sorted(found, key=lambda entry: str(entry[key]))

    @property
    def empty(self) -> bool:
        """Whether nothing of the cluster's is there."""
        return not any(self.items.values())


def tag(entry: Entry, key: str) -> str:
    """Return the value of a tag, or nothing."""
    return names.to_tags(entry.get("Tags")).get(key, "")


def by_tag(key: str, value: str) -> dict[str, Any]:
    """Return a filter by a tag."""
    return {"Name": f"tag:{key}", "Values": [value]}


def read(session: Session, kind: str, *filters: dict[str, Any], once: bool = False, **parameters: Any) -> list[Entry]:
    """Return the things of one kind that pass the filters."""
    call, key, _id = READS[kind]
    arguments: dict[str, Any] = {**parameters, **({"Filters": list(filters)} if filters else {})}
    found = session.pages("ec2", call, key, once=once, **arguments)
    # A gateway that is gone is listed for an hour.
    return [entry for entry in found if kind != NAT or entry.get("State") not in ("deleted", "failed")]


def read_own(session: Session, where: Place, kind: str) -> list[Entry]:
    """Return what carries the cluster's tag."""
    found = read(session, kind, by_tag(names.TAG_CLUSTER, where.cluster))
    return [entry for entry in found if tag(entry, names.TAG_CLUSTER) == where.cluster]


def observe(session: Session, where: Place) -> Seen:
    """Read everything; changes nothing. What belongs to somebody else under the cluster's name is an error."""
    groups = read(session, GROUP, {"Name": "tag-key", "Values": [where.owned_tag]})
    own_groups = [entry for entry in groups if tag(entry, names.TAG_CLUSTER) == where.cluster]
    foreign = {str(entry["GroupId"]) for entry in groups} - {str(entry["GroupId"]) for entry in own_groups}
    kinds = [kind for kind in READS if kind != GROUP] if not where.vpc else []
    seen = Seen({kind: [] for kind in READS})
    seen.items.update({kind: read_own(session, where, kind) for kind in kinds})
    seen.items[GROUP] = own_groups
    seen.clusters_groups = foreign
    if where.vpc:
        _observe_users(session, where, seen)
        seen.uid = where.shared_uid(str((seen.vpc or {})["VpcId"]))
    else:
        vpcs = sorted(seen.own(VPC, VPC), key=lambda entry: (-len(children(seen, entry)), str(entry["VpcId"])))
        seen.vpc = vpcs[0] if vpcs else None
        others = [entry for kind in READS if kind != VPC for entry in seen.items[kind]]
        seen.uid = tag(seen.vpc, names.TAG_UID) if seen.vpc else next((tag(entry, names.TAG_UID) for entry in others), "")
    for kind in READS:
        for entry in seen.items[kind]:
            # Another VPC under the name is a second one of an interrupted run's: it is looked at by who wants to reap it.
            uid = "" if kind == VPC else seen.uid
            names.check_owner(names.to_tags(entry.get("Tags")), where, uid, f"{kind.replace('_', ' ')} {entry[READS[kind][2]]}")
    if seen.vpc:
        seen.dns = all(_attribute(session, str(seen.vpc["VpcId"]), name) for name in ("enableDnsSupport", "enableDnsHostnames"))
    return seen


def children(seen: Seen, vpc: Entry) -> list[Entry]:
    """Return the cluster's own things in a VPC."""
    own = vpc["VpcId"]
    inside = [entry for kind in (SUBNET, NAT, TABLE, GROUP) for entry in seen.items[kind] if entry.get("VpcId") == own]
    return inside + [entry for entry in seen.items[GATEWAY] if any(item.get("VpcId") == own for item in entry.get("Attachments") or ())]


def _attribute(session: Session, vpc_id: str, name: str) -> bool:
    answer = session.repeat("ec2", "describe_vpc_attribute", VpcId=vpc_id, Attribute=name, fresh=True)
    return bool((answer.get(name[0].upper() + name[1:]) or {}).get("Value"))


def selection(wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a read that finds what a definition names by ``ids``, ``id`` or ``tags``."""
    ids = list(wanted.get("ids") or ([wanted["id"]] if wanted.get("id") else []))
    if ids:
        return {"ids": ids}
    return {"filters": [by_tag(str(key), str(value)) for key, value in sorted((wanted.get("tags") or {}).items())]}


def _find(session: Session, kind: str, wanted: dict[str, Any], *more: dict[str, Any], once: bool = False) -> list[Entry]:
    """Return what the user named, by ids or tags."""
    found = selection(wanted)
    key = READS[kind][2]
    if "ids" not in found:
        return read(session, kind, *found["filters"], *more, once=once)
    ids = found["ids"]
    entries = read(session, kind, {"Name": {VPC: "vpc-id", SUBNET: "subnet-id", GROUP: "group-id"}[kind], "Values": ids}, *more, once=once)
    missing = sorted(set(ids) - {str(entry[key]) for entry in entries})
    if missing:
        raise FlotillaError(
            "AWS_OWN_MISSING",
            f"The {kind.replace('_', ' ')} {', '.join(missing)} of the definition is not there, or not in the VPC of the definition.",
            "Correct the id, or aws.region.",
        )
    return entries


def _observe_users(session: Session, where: Place, seen: Seen) -> None:
    """Read and check the user's own VPC, subnets and groups."""
    vpcs = _find(session, VPC, where.vpc)
    if len(vpcs) != 1:
        raise FlotillaError(
            "AWS_OWN_VPC",
            f"aws.vpc of cluster '{where.cluster}' fits {len(vpcs)} VPCs in {where.region}"
            f"{': ' + ', '.join(str(entry['VpcId']) for entry in vpcs) if vpcs else ''}.",
            "Name one VPC by its id.",
        )
    seen.vpc = vpcs[0]
    inside = {"Name": "vpc-id", "Values": [str(vpcs[0]["VpcId"])]}
    machines = _find(session, SUBNET, where.subnets.get("machines") or {"tags": {}}, inside)
    missing = [zone for zone in where.zones if zone not in {entry["AvailabilityZone"] for entry in machines}]
    if missing:
        raise FlotillaError(
            "AWS_OWN_SUBNETS",
            f"aws.subnets.machines of cluster '{where.cluster}' has no subnet in {', '.join(missing)}.",
            "Name a subnet in every zone of the control plane and the pools.",
        )
    balancer = _find(session, SUBNET, where.subnets["load_balancer"], inside) if where.subnets.get("load_balancer") else machines
    if not balancer:
        raise FlotillaError(
            "AWS_OWN_SUBNETS", f"aws.subnets.load_balancer of cluster '{where.cluster}' fits no subnet.", "Name its subnets by their ids."
        )
    seen.subnets = {"private": machines, "load_balancer": balancer}
    ids = sorted({group for groups in where.own_groups.values() for group in groups})
    if ids:
        _find(session, GROUP, {"ids": ids}, inside)


@dataclass(frozen=True)
class Base:
    """What machines and load balancer stand on.

    :param uid: the cluster's identity; empty while there is no network.
    :param subnets: ``private``, ``public`` and ``load_balancer`` -> zone -> id.
    :param groups: role -> ids of its security groups.
    """

    uid: str
    vpc_id: str
    subnets: dict[str, dict[str, str]]
    groups: dict[str, list[str]]

    def lacks(self, where: Place) -> list[str]:
        """Return what is missing for machines and load balancer, in words."""
        kind = "public" if where.public_machines else "private"
        missing = [f"a {kind} subnet in {zone}" for zone in where.zones if zone not in self.subnets[kind]]
        missing += [] if self.subnets["load_balancer"] else ["a subnet for the load balancer"]
        return missing + [f"a security group for {role}" for role in (CONTROL_PLANE, WORKER, LOAD_BALANCER) if not self.groups[role]]


def base(session: Session, where: Place, *, once: bool = False) -> Base:
    """Return what the network's module made or the user has, in two reads.

    :param once: leave repeating to the caller.
    """

    def own(kind: str) -> list[Entry]:
        found = read(session, kind, by_tag(names.TAG_CLUSTER, where.cluster), once=once)
        for entry in found:
            names.check_owner(names.to_tags(entry.get("Tags")), where, "", f"{kind.replace('_', ' ')} {entry[READS[kind][2]]}")
        return found

    groups = {role: list(ids) for role, ids in where.own_groups.items()}
    own_groups = own(GROUP) if not all(groups.values()) else []
    for entry in own_groups:
        role = tag(entry, names.TAG_ROLE)
        if role in groups and not where.own_groups[role]:
            groups[role].append(str(entry["GroupId"]))
    subnets: dict[str, dict[str, str]] = {"private": {}, "public": {}, "load_balancer": {}}
    if where.vpc:
        found = {
            kind: _find(session, SUBNET, where.subnets[key], once=once) for kind, key in _USERS_SUBNETS.items() if key in where.subnets
        }
        for kind, entries in found.items():
            subnets[kind] = {str(entry["AvailabilityZone"]): str(entry["SubnetId"]) for entry in reversed(entries)}
        subnets["public"] = subnets["private"]
        subnets["load_balancer"] = subnets["load_balancer"] or subnets["private"]
        vpcs = {str(entry["VpcId"]) for entries in found.values() for entry in entries}
        if len(vpcs) != 1:
            raise FlotillaError(
                "AWS_OWN_SUBNETS",
                f"aws.subnets of cluster '{where.cluster}' are in {len(vpcs)} VPCs.",
                "Name subnets of aws.vpc by their ids.",
            )
        (vpc,) = vpcs
        return Base(where.shared_uid(vpc), vpc, subnets, groups)
    uid = vpc = ""
    for entry in sorted(own(SUBNET), key=lambda entry: str(entry["SubnetId"]), reverse=True):
        kind = tag(entry, names.TAG_ROLE).removesuffix("_subnet")
        if kind in subnets:
            subnets[kind][tag(entry, names.TAG_ZONE)] = str(entry["SubnetId"])
        uid, vpc = tag(entry, names.TAG_UID), str(entry["VpcId"])
    subnets["load_balancer"] = dict(subnets["public" if where.public_endpoint else "private"])
    return Base(uid, vpc, subnets, groups)


def removal_base(session: Session, where: Place) -> Base:
    """Return what is to be known for a removal: the identity, where it can be found without the user's VPC, which may have gone first."""
    return base(session, where) if not where.vpc else Base("", "", {}, {})


_USERS_SUBNETS = {"private": "machines", "load_balancer": "load_balancer"}


def ready_base(session: Session, where: Place) -> Base:
    """Return the base when all of it is there; what was made a moment ago may take that long to show.

    :raises FlotillaError: ``AWS_NETWORK_MISSING``.
    """
    found = [base(session, where)]
    if found[0].lacks(where):
        session.clock.sleep(CONSISTENCY)
        found.append(base(session, where))
    missing = found[-1].lacks(where)
    if missing:
        raise FlotillaError(
            "AWS_NETWORK_MISSING",
            f"The network of cluster '{where.cluster}' lacks {', '.join(missing)}.",
            "Run the module flotilla.kubernetes.aws_network with the same definition first.",
        )
    return found[-1]
