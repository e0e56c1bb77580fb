# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a definition asks of AWS: names, tags, addresses and firewall rules (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..._errors import FlotillaError
from ..._kubernetes.network_plugins import table
from ..._kubernetes.network_plugins.model import ANY
from ..._machines.model import CONTROL_PLANE, WORKER
from .. import ownership
from ..firewall import ANYWHERE, API_PORT, openings

TAG_CLUSTER = "flotilla-cluster"
TAG_ROLE = "flotilla-role"
TAG_POOL = "flotilla-pool"
TAG_ZONE = "flotilla-zone"
TAG_UID = ownership.UID
TAG_FOUNDATION = ownership.FOUNDATION
TAG_GENERATION = "flotilla-generation"
TAG_SPEC_HASH = "flotilla-spec-hash"
TAG_HOST_KEY = "flotilla-host-key"
TAG_PROTECTED = "flotilla-deletion-protection"
TAG_NODE = "flotilla-node"
"""Name of the Node of a machine that somebody else made; all others are called like their machine."""

LOAD_BALANCER = "load_balancer"
GROUP_ROLES = (CONTROL_PLANE, WORKER, LOAD_BALANCER)

# A block of an eighth per zone for machines; the last eighth is split again for what is public.
_PRIVATE_BITS, _PUBLIC_BITS, _SMALLEST = 3, 6, 28


@dataclass(frozen=True)
class Place:
    """Where a cluster stands in AWS, as its definition says.

    :param zones: every zone that a machine may be in, in the order of the definition.
    :param vpc: how to find the user's own VPC, or nothing.
    :param nat: ``per_zone``, ``single`` or ``none``.
    :param own_groups: role -> ids of the user's own security groups.
    :param protected: whether machines and load balancer refuse to be deleted by anything that does not lift that before.
    """

    cluster: str
    foundation: str
    region: str
    zones: tuple[str, ...]
    vpc: dict[str, Any]
    vpc_cidr: ipaddress.IPv4Network
    nat: str
    public_machines: bool
    subnets: dict[str, dict[str, Any]]
    own_groups: dict[str, tuple[str, ...]]
    public_endpoint: bool
    endpoint_port: int
    allowed_cidrs: tuple[str, ...]
    ssh_cidrs: tuple[str, ...]
    network_plugin: str
    hands_on: bool
    tags: dict[str, str] = field(default_factory=dict)
    protected: bool = True

    @property
    def owned_tag(self) -> str:
        """The tag by which the cloud controller knows what is the cluster's.

        https://cloud-provider-aws.sigs.k8s.io/prerequisites/
        """
        return f"kubernetes.io/cluster/{self.cluster}"

    def own_tags(self, role: str, uid: str, name: str = "", **more: str) -> dict[str, str]:
        """Return the tags of something that is made for the cluster."""
        tags = {
            **self.tags,
            "Name": name or f"{self.cluster}-{role.replace('_', '-')}",
            TAG_CLUSTER: self.cluster,
            TAG_FOUNDATION: self.foundation,
            TAG_ROLE: role,
            TAG_UID: uid,
            self.owned_tag: "owned",
        }
        return {**tags, **{key: value for key, value in more.items() if value}}

    def shared_uid(self, vpc_id: str) -> str:
        """Return the cluster's identity in a VPC of the user's, which can not carry one of ours."""
        return hashlib.sha256(f"{self.foundation}/{self.cluster}/{vpc_id}".encode()).hexdigest()[:16]


def place(definition: dict[str, Any]) -> Place:
    """Return what a merged definition says about AWS.

    :raises FlotillaError: what the definition's own rules could not know is wrong.
    """
    aws = definition.get("aws") or {}
    endpoint = definition.get("api_endpoint") or {}
    access = definition.get("access") or {}
    network = definition.get("network") or {}
    groups = [definition.get("control_plane") or {}, *(definition.get("pools") or [])]
    zones = tuple(dict.fromkeys(zone for group in groups for zone in group.get("zones") or ()))
    vpc = {key: value for key, value in (aws.get("vpc") or {}).items() if value}
    own = aws.get("security_groups") or {}
    public = endpoint.get("visibility") == "public"
    result = Place(
        cluster=definition["name"],
        foundation=str(definition.get("foundation") or "default"),
        region=aws["region"],
        zones=zones,
        vpc=vpc,
        vpc_cidr=_network(str(aws.get("vpc_cidr") or "10.20.0.0/16")),
        nat="none" if aws.get("public_machines") else str(aws.get("nat_gateways") or "per_zone"),
        public_machines=bool(aws.get("public_machines")),
        subnets={key: value for key, value in (aws.get("subnets") or {}).items() if value},
        own_groups={role: tuple(own.get(role) or ()) for role in GROUP_ROLES},
        public_endpoint=public,
        endpoint_port=int(endpoint.get("port") or API_PORT),
        allowed_cidrs=tuple(endpoint.get("allowed_cidrs") or ()),
        ssh_cidrs=tuple(access.get("allowed_cidrs") or ()),
        network_plugin=str(network.get("plugin") or table.DEFAULT),
        hands_on=(((definition.get("bundle") or {}).get("delivery") or {}).get("method")) == "seed",
        tags={str(key): str(value) for key, value in (aws.get("tags") or {}).items()},
        protected=bool(aws.get("deletion_protection", True)),
    )
    if not zones:
        raise FlotillaError("AWS_ZONES", f"Cluster '{result.cluster}' names no zone.", f"Set zones, for example [{result.region}a].")
    if public and not result.allowed_cidrs:
        raise FlotillaError(
            "AWS_ENDPOINT_OPEN",
            f"The API endpoint of cluster '{result.cluster}' is public, and nothing says who may reach it.",
            "Set api_endpoint.allowed_cidrs to your networks, or to [0.0.0.0/0] for everybody.",
        )
    if public and result.public_machines and ANYWHERE not in result.allowed_cidrs:
        raise FlotillaError(
            "AWS_ENDPOINT_UNREACHABLE",
            f"The machines of cluster '{result.cluster}' would come to its public API endpoint from addresses that nobody knows before.",
            "Set api_endpoint.visibility to private, or aws.public_machines to false.",
        )
    return result


def _network(text: str) -> ipaddress.IPv4Network:
    try:
        found = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise FlotillaError(
            "AWS_VPC_CIDR", f"aws.vpc_cidr '{text}' is not an IPv4 network: {error}.", "Set for example 10.20.0.0/16."
        ) from error
    if not 16 <= found.prefixlen <= 24:
        raise FlotillaError("AWS_VPC_CIDR", f"aws.vpc_cidr {text} is not between /16 and /24.", "Set for example 10.20.0.0/16.")
    return found


def balancer_name(where: Place) -> str:
    """Return the name of load balancer and target group, which AWS keeps unique in account and region."""
    return f"{where.cluster}-api"


def check_owner(tags: dict[str, str], where: Place, uid: str, what: str) -> None:
    """Fail unless ``tags`` say that ``what`` belongs to this cluster of this foundation.

    :param uid: the cluster's uid, or empty to accept any.
    """
    ownership.check_owner(tags, where.cluster, where.foundation, uid, what)


def to_tags(items: Iterable[dict[str, str]] | None) -> dict[str, str]:
    """Return AWS's list of tags as a mapping."""
    return {item["Key"]: item["Value"] for item in items or ()}


def from_tags(tags: dict[str, str]) -> list[dict[str, str]]:
    """Return a mapping as AWS's list of tags."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def subnet_cidrs(where: Place, have: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Return the network of each subnet, (``public`` or ``private``, zone) -> CIDR: those that are there keep theirs.

    :param have: the subnets that there are.
    """
    blocks = list(where.vpc_cidr.subnets(prefixlen_diff=_PRIVATE_BITS))
    small = min(where.vpc_cidr.prefixlen + _PUBLIC_BITS, _SMALLEST)
    offers = {"private": blocks[:-1], "public": list(blocks[-1].subnets(new_prefix=small))}
    taken = [ipaddress.ip_network(cidr) for cidr in have.values()]
    result = dict(have)
    for kind in ("private", "public"):
        for zone in where.zones:
            if (kind, zone) in result:
                continue
            free = next((offer for offer in offers[kind] if not any(offer.overlaps(other) for other in taken)), None)
            if free is None:
                raise FlotillaError(
                    "AWS_ADDRESSES_SPENT",
                    f"{where.vpc_cidr} of '{where.cluster}' has no room for a {kind} subnet in {zone}.",
                    "Use fewer zones, or your own VPC with aws.vpc and aws.subnets.",
                )
            taken.append(free)
            result[kind, zone] = str(free)
    return result


@dataclass(frozen=True, order=True)
class Rule:
    """One rule of a security group.

    :param source: a CIDR, or the role of one of the cluster's own groups, or a group's id.
    """

    direction: str
    protocol: str
    first: int
    last: int
    source: str
    reason: str = field(compare=False, default="")

    def __str__(self) -> str:
        ports = "all ports" if self.protocol == "-1" else f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        way = "from" if self.direction == "ingress" else "to"
        protocol = "all protocols" if self.protocol == "-1" else self.protocol
        return f"{protocol} {ports} {way} {self.source}"


def rules(where: Place, vpc_cidrs: list[str], nat_addresses: list[str]) -> dict[str, set[Rule]]:
    """Return the rules of each of the cluster's groups, the least that it needs, each with its reason.

    :param nat_addresses: the public addresses from which the machines reach a public endpoint.
    """

    def tcp(port: int, source: str, reason: str) -> Rule:
        return Rule("ingress", "tcp", port, port, source, reason)

    nodes = (CONTROL_PLANE, WORKER)
    everywhere = Rule("egress", "-1", -1, -1, ANYWHERE, "images, packages, name and time servers and the API of AWS")
    ssh = {tcp(22, cidr, "Ansible comes by SSH") for cidr in (*vpc_cidrs, *where.ssh_cidrs)}
    wanted = {role: {*ssh, everywhere} for role in nodes}
    for opening in openings(where.network_plugin, where.hands_on):
        every = opening.protocol == ANY
        ports = (-1, -1) if every else (opening.first, opening.last)
        wanted[opening.role] |= {
            Rule("ingress", "-1" if every else opening.protocol, *ports, source, opening.reason) for source in opening.sources
        }
    wanted[CONTROL_PLANE].add(tcp(API_PORT, LOAD_BALANCER, "API requests through the load balancer, and its health checks"))
    clients = [*vpc_cidrs, *where.allowed_cidrs, *(f"{address}/32" for address in nat_addresses if where.public_endpoint)]
    port = where.endpoint_port
    balancer = {
        *(tcp(port, cidr, "clients of the API") for cidr in clients),
        *(tcp(port, role, "nodes reach the API endpoint") for role in nodes),
        Rule("egress", "tcp", API_PORT, API_PORT, CONTROL_PLANE, "to the API servers, and their health checks"),
    }
    wanted[LOAD_BALANCER] = balancer
    # Rules can not name a group by its role where the user has an own one: its first id stands for it.
    swap = {role: ids[0] for role, ids in where.own_groups.items() if ids}
    return {
        role: {Rule(r.direction, r.protocol, r.first, r.last, swap.get(r.source, r.source), r.reason) for r in group}
        for role, group in wanted.items()
        if role not in swap
    }


def read_rules(group: dict[str, Any], roles: dict[str, str]) -> set[Rule]:
    """Return the rules of a group as AWS describes it.

    :param roles: group id -> role, for the cluster's own groups.
    """
    found = set()
    for direction, key in (("ingress", "IpPermissions"), ("egress", "IpPermissionsEgress")):
        for entry in group.get(key) or ():
            protocol = str(entry["IpProtocol"])
            every = protocol == "-1"
            first, last = (-1 if every else int(entry.get(name, -1)) for name in ("FromPort", "ToPort"))
            sources = [(item["CidrIp"], item) for item in entry.get("IpRanges") or ()]
            sources += [(item["CidrIpv6"], item) for item in entry.get("Ipv6Ranges") or ()]
            sources += [(item["PrefixListId"], item) for item in entry.get("PrefixListIds") or ()]
            sources += [(roles.get(item["GroupId"], item["GroupId"]), item) for item in entry.get("UserIdGroupPairs") or ()]
            found |= {Rule(direction, protocol, first, last, source, item.get("Description") or "") for source, item in sources}
    return found


def write_rule(rule: Rule, ids: dict[str, str]) -> dict[str, Any]:
    """Return a rule as AWS takes it.

    :param ids: role -> group id, for the cluster's own groups.
    """
    source = ids.get(rule.source, rule.source)
    note = {"Description": rule.reason} if rule.reason else {}
    entry: dict[str, Any] = {"IpProtocol": rule.protocol}
    if rule.protocol != "-1":
        entry.update(FromPort=rule.first, ToPort=rule.last)
    if source.startswith("sg-"):
        entry["UserIdGroupPairs"] = [{"GroupId": source, **note}]
    elif source.startswith("pl-"):
        entry["PrefixListIds"] = [{"PrefixListId": source, **note}]
    elif ":" in source:
        entry["Ipv6Ranges"] = [{"CidrIpv6": source, **note}]
    else:
        entry["IpRanges"] = [{"CidrIp": source, **note}]
    return entry


def is_foreign_rule(rule: Rule, clusters_groups: set[str]) -> bool:
    """Tell whether the cloud controller made a rule, for a Service of type LoadBalancer: it also takes it away.

    :param clusters_groups: ids of groups that carry the cluster's tag and are not ours.
    """
    return rule.reason.startswith("kubernetes.io/rule/") or rule.source in clusters_groups
