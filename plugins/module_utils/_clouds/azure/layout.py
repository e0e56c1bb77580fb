# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a definition asks of Azure: names, ids, tags, firewall rules and documents (private to flotilla.kubernetes). Pure."""

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
from ..firewall import API_PORT, openings

TAG_CLUSTER = "flotilla-cluster"
TAG_ROLE = "flotilla-role"
TAG_POOL = "flotilla-pool"
TAG_UID = ownership.UID
TAG_FOUNDATION = ownership.FOUNDATION
TAG_GENERATION = "flotilla-generation"
TAG_SPEC_HASH = "flotilla-spec-hash"
TAG_HOST_KEY = "flotilla-host-key"

VNET, NSG, ASG, NAT, ADDRESS, BALANCER, NIC, MACHINE = (
    "virtualNetworks",
    "networkSecurityGroups",
    "applicationSecurityGroups",
    "natGateways",
    "publicIPAddresses",
    "loadBalancers",
    "networkInterfaces",
    "virtualMachines",
)
ROLES = (CONTROL_PLANE, WORKER)
SUBNET = "nodes"
# Rules of ours stand before those of the cloud controller, which begin at 500.
_FIRST_PRIORITY, _LAST_PRIORITY, _STEP = 100, 4096, 10
_CONTROLLERS = "k8s-azure"
_PROTOCOLS = {"tcp": "Tcp", "udp": "Udp", ANY: "*"}


@dataclass(frozen=True)
class Place:
    """Where a cluster stands in Azure, as its definition says.

    :param zones: every zone that a machine may be in, in the order of the definition.
    :param own_group: whether the resource group is made for the cluster.
    :param subnets: ids of the user's own subnets by what they are for, or nothing.
    :param security_groups: role -> id of the user's own network security group.
    """

    cluster: str
    foundation: str
    subscription: str
    location: str
    zones: tuple[str, ...]
    group: str
    own_group: bool
    cidr: ipaddress.IPv4Network
    subnets: dict[str, str]
    security_groups: dict[str, str]
    nat: bool
    public_machines: bool
    public_endpoint: bool
    endpoint_port: int
    allowed_cidrs: tuple[str, ...]
    ssh_cidrs: tuple[str, ...]
    network_plugin: str
    hands_on: bool
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def group_id(self) -> str:
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"

    @property
    def own_network(self) -> bool:
        """Whether the network is made for the cluster."""
        return not self.subnets

    def name(self, kind: str, role: str = "") -> str:
        """Return the name of the one thing of a kind, or of that for a role."""
        endings = {VNET: "vnet", NAT: "nat", BALANCER: "api"}
        return f"{self.cluster}-{role.replace('_', '-') if role else endings[kind]}"

    def id(self, kind: str, name: str) -> str:
        """Return the id of a thing of the cluster's group."""
        provider = "Microsoft.Compute" if kind == MACHINE else "Microsoft.Network"
        return f"{self.group_id}/providers/{provider}/{kind}/{name}"

    @property
    def subnet(self) -> str:
        """The id of the machines' subnet."""
        return self.subnets.get("machines") or f"{self.id(VNET, self.name(VNET))}/subnets/{SUBNET}"

    @property
    def balancer_subnet(self) -> str:
        return self.subnets.get("load_balancer") or self.subnet

    def security_group(self, role: str) -> str:
        """Return the id of the network security group of machines with a role."""
        return self.security_groups.get(role) or self.id(NSG, self.name(NSG, role))

    def application_group(self, role: str) -> str:
        """Return the id by which firewall rules know the machines with a role; none where the rules are the user's."""
        return "" if len(self.security_groups) == len(ROLES) else self.id(ASG, self.name(ASG, role))

    def own_tags(self, role: str, uid: str, **more: str) -> dict[str, str]:
        """Return the tags of something that is made for the cluster."""
        tags = {**self.tags, TAG_CLUSTER: self.cluster, TAG_FOUNDATION: self.foundation, TAG_ROLE: role, TAG_UID: uid}
        return {**tags, **{key: value for key, value in more.items() if value}}

    @property
    def shared_uid(self) -> str:
        """The cluster's identity in a resource group of the user's, which can not carry one of ours."""
        return hashlib.sha256(f"{self.foundation}/{self.cluster}/{self.group_id.lower()}".encode()).hexdigest()[:16]

    def zone_number(self, zone: str) -> str:
        """Return Azure's number of a zone; nothing for the location as a whole."""
        return zone.removeprefix(self.location).removeprefix("-")

    def zone_name(self, numbers: Iterable[str]) -> str:
        """Return a zone as Kubernetes' labels name it, by Azure's number."""
        return next((f"{self.location}-{number}" for number in numbers), self.location)


def place(definition: dict[str, Any], subscription: str) -> Place:
    """Return what a merged definition says about Azure.

    :raises FlotillaError: what the definition's own rules could not know is wrong.
    """
    azure = definition.get("azure") or {}
    endpoint = definition.get("api_endpoint") or {}
    access = definition.get("access") or {}
    groups = [definition.get("control_plane") or {}, *(definition.get("pools") or [])]
    public = endpoint.get("visibility") == "public"
    own_groups = azure.get("security_groups") or {}
    result = Place(
        cluster=definition["name"],
        foundation=str(definition.get("foundation") or "default"),
        subscription=subscription,
        location=str(azure["location"]),
        zones=tuple(dict.fromkeys(zone for group in groups for zone in group.get("zones") or ())),
        group=str(azure.get("resource_group") or f"flotilla-{definition['name']}"),
        own_group=not azure.get("resource_group"),
        cidr=ipaddress.IPv4Network(str(azure.get("vnet_cidr") or "10.20.0.0/16")),
        subnets={key: str(value) for key, value in (azure.get("subnets") or {}).items() if value},
        security_groups={role: str(own_groups[role]) for role in ROLES if own_groups.get(role)},
        nat=not azure.get("public_machines") and azure.get("outbound") != "none",
        public_machines=bool(azure.get("public_machines")),
        public_endpoint=public,
        endpoint_port=int(endpoint.get("port") or API_PORT),
        allowed_cidrs=tuple(endpoint.get("allowed_cidrs") or ()),
        ssh_cidrs=tuple(access.get("allowed_cidrs") or ()),
        network_plugin=str((definition.get("network") or {}).get("plugin") or table.DEFAULT),
        hands_on=(((definition.get("bundle") or {}).get("delivery") or {}).get("method")) == "seed",
        tags={str(key): str(value) for key, value in (azure.get("tags") or {}).items()},
    )
    if not result.zones:
        example = f"[{result.location}-1, {result.location}-2, {result.location}-3]"
        raise FlotillaError("AZURE_ZONES", f"Cluster '{result.cluster}' names no zone.", f"Set zones, for example {example}.")
    if public and not result.allowed_cidrs:
        raise FlotillaError(
            "AZURE_ENDPOINT_OPEN",
            f"The API endpoint of cluster '{result.cluster}' is public, and nothing says who may reach it.",
            "Set api_endpoint.allowed_cidrs to your networks, or to [0.0.0.0/0] for everybody.",
        )
    return result


def check_owner(tags: dict[str, str], where: Place, uid: str, what: str) -> None:
    """Fail unless ``tags`` say that ``what`` belongs to this cluster of this foundation.

    :param uid: the cluster's uid, or empty to accept any.
    """
    ownership.check_owner(tags, where.cluster, where.foundation, uid, what)


def is_own(tags: dict[str, str] | None, where: Place) -> bool:
    """Tell whether something carries the tags of the cluster."""
    found = tags or {}
    return (found.get(TAG_CLUSTER), found.get(TAG_FOUNDATION)) == (where.cluster, where.foundation)


def tail(number: str, segments: int = 1) -> str:
    """Return the last parts of an id."""
    return "/".join(number.split("/")[-segments:])


@dataclass(frozen=True, order=True)
class Rule:
    """One incoming rule of a network security group.

    :param ports: one port, a range, or ``*``.
    :param sources: CIDRs and service tags as they are, application security groups by their ids in lower case; sorted.
    """

    priority: int
    name: str
    allow: bool
    protocol: str
    ports: str
    sources: tuple[str, ...]
    reason: str = field(compare=False, default="")

    def __str__(self) -> str:
        words = ", ".join(tail(source) for source in self.sources)
        return f"{self.priority} {'allow' if self.allow else 'deny'} {self.protocol.lower()} {self.ports} from {words}"


def rules(where: Place, network_cidrs: list[str], nat_addresses: list[str]) -> dict[str, list[Rule]]:
    """Return the rules of each of the cluster's groups, the least that it needs, each with its reason.

    A load balancer of Azure hands connections on as they come, so a control plane lets the clients in themselves.

    :param nat_addresses: the public addresses from which the machines reach a public endpoint.
    """

    def asgs(roles: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(where.application_group(role).lower() for role in roles))

    clients = {*network_cidrs, *where.allowed_cidrs, *(f"{address}/32" for address in nat_addresses if where.public_endpoint)}
    found: dict[str, list[tuple[str, str, str, tuple[str, ...], str]]] = {role: [] for role in ROLES}
    for role in ROLES:
        sources = tuple(sorted({*network_cidrs, *where.ssh_cidrs}))
        found[role].append(("ssh", "Tcp", "22", sources, "Ansible comes by SSH"))
    for opening in openings(where.network_plugin, where.hands_on):
        ports = (
            "*"
            if opening.protocol == ANY
            else f"{opening.first}-{opening.last}".replace(f"{opening.first}-{opening.first}", f"{opening.first}")
        )
        found[opening.role].append((opening.name, _PROTOCOLS[opening.protocol], ports, asgs(opening.sources), opening.reason))
    control_plane, port = found[CONTROL_PLANE], str(API_PORT)
    control_plane.append(("api-clients", "Tcp", port, tuple(sorted(clients)), "clients of the API come through the load balancer"))
    control_plane.append(("api-probes", "Tcp", port, ("AzureLoadBalancer",), "health checks of the load balancer"))
    wanted = {}
    for role in ROLES:
        if role in where.security_groups:
            continue
        made = [
            Rule(_FIRST_PRIORITY + _STEP * number, name, True, protocol, ports, sources, reason)
            for number, (name, protocol, ports, sources, reason) in enumerate(found[role])
        ]
        # Azure's own rule below lets the whole network in.
        last = Rule(_LAST_PRIORITY, "nothing-else", False, "*", "*", ("*",), "whatever nobody has asked for")
        wanted[role] = [*made, last]
    return wanted


def read_rules(group: dict[str, Any]) -> tuple[list[Rule], list[dict[str, Any]]]:
    """Return the incoming rules of a group, and those that others look after as they are: of the cloud controller, and outgoing ones."""
    ours, others = [], []
    for entry in (group.get("properties") or {}).get("securityRules") or ():
        inner = entry.get("properties") or {}
        if str(entry.get("name", "")).startswith(_CONTROLLERS) or str(inner.get("direction")).lower() == "outbound":
            others.append({"name": entry["name"], "properties": {k: v for k, v in inner.items() if k != "provisioningState"}})
            continue
        sources = [
            str(one)
            for one in inner.get("sourceAddressPrefixes") or ([inner["sourceAddressPrefix"]] if inner.get("sourceAddressPrefix") else [])
        ]
        sources += [str(one["id"]).lower() for one in inner.get("sourceApplicationSecurityGroups") or ()]
        ports = [str(one) for one in inner.get("destinationPortRanges") or [inner.get("destinationPortRange") or "*"]]
        ours.append(
            Rule(
                int(inner.get("priority") or 0),
                str(entry.get("name")),
                str(inner.get("access")).lower() == "allow",
                str(inner.get("protocol")).capitalize(),
                ",".join(ports),
                tuple(sorted(sources)),
                str(inner.get("description") or ""),
            )
        )
    return sorted(ours), others


def write_rule(rule: Rule, where: Place) -> dict[str, Any]:
    """Return a rule as Azure takes it."""
    known = {where.application_group(role).lower(): where.application_group(role) for role in ROLES}
    groups = [{"id": known[source]} for source in rule.sources if source in known]
    source: dict[str, Any] = {"sourceApplicationSecurityGroups": groups}
    if not groups:
        single = len(rule.sources) == 1
        source = {"sourceAddressPrefix": rule.sources[0]} if single else {"sourceAddressPrefixes": list(rule.sources)}
    return {
        "name": rule.name,
        "properties": {
            "priority": rule.priority,
            "direction": "Inbound",
            "access": "Allow" if rule.allow else "Deny",
            "protocol": rule.protocol,
            "sourcePortRange": "*",
            "destinationAddressPrefix": "*",
            "destinationPortRange": rule.ports,
            "description": rule.reason,
            **source,
        },
    }


def nodes_cidr(where: Place) -> str:
    """Return the network of the machines' subnet: the first half, so that there is room for what else a network is for."""
    return str(next(where.cidr.subnets(prefixlen_diff=1)))
