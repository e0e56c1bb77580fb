# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a definition asks of NSX: names, marks of ownership and the documents of what is wanted (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any

from ..._errors import FlotillaError
from ..._kubernetes.network_plugins import table
from ..._kubernetes.network_plugins.model import ANY, UDP
from ..._kubernetes.network_plugins.ncp import NCP
from ..._machines.model import CONTROL_PLANE, WORKER
from .. import firewall, ownership
from ..firewall import API_PORT, Opening

TAG_CLUSTER = "flotilla-cluster"
TAG_ROLE = "flotilla-role"
TAG_UID = ownership.UID
TAG_FOUNDATION = ownership.FOUNDATION
OWN_TAGS = (TAG_CLUSTER, TAG_FOUNDATION, TAG_ROLE, TAG_UID)

NETWORK, LOAD_BALANCER = "network", "load_balancer"
"""Values of `TAG_ROLE`: which of the two modules a thing belongs to."""
ROLES = (CONTROL_PLANE, WORKER)
SITE = "/infra/sites/default/enforcement-points/default"
DOMAIN = "/infra/domains/default"
TRANSIT = ("100.64.0.0/16",)
"""Where the links between a Tier-0 and its Tier-1 routers are, unless the Tier-0 says otherwise."""

Entry = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a cluster stands in NSX, as its definition says. What people name is a name, an id or a path.

    :param tier1: a Tier-1 of the user's; empty where one is made.
    :param ip_block: whence segments take their networks; empty where ``cidrs`` says them.
    :param sizes: role -> how many addresses its segment takes from the block.
    :param routed_pod_cidrs: addresses of pods, where those are addresses in NSX and not behind the machines' own.
    :param tags: the user's own.
    """

    cluster: str
    foundation: str
    tier0: str
    tier1: str
    edge_cluster: str
    transport_zone: str
    ip_block: str
    cidrs: dict[str, ipaddress.IPv4Network]
    sizes: dict[str, int]
    dhcp: bool
    dns_servers: tuple[str, ...]
    domain_name: str
    snat: bool
    floating_ip_pool: str
    balancer: bool
    balancer_size: str
    balancer_address: str
    balancer_service: str
    endpoint_address: str
    endpoint_port: int
    allowed_cidrs: tuple[str, ...]
    ssh_cidrs: tuple[str, ...]
    firewall: bool
    network_plugin: str
    routed_pod_cidrs: tuple[str, ...]
    hands_on: bool
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Id and beginning of the ids of all that is made."""
        return f"flotilla-{self.cluster}"

    def own_tags(self, role: str, uid: str) -> dict[str, str]:
        """Return the marks of something that is made for the cluster."""
        return {**self.tags, TAG_CLUSTER: self.cluster, TAG_FOUNDATION: self.foundation, TAG_ROLE: role, TAG_UID: uid}

    def segment(self, role: str) -> str:
        return f"/infra/segments/{self.name}-{dashed(role)}"

    def group(self, name: str) -> str:
        return f"{DOMAIN}/groups/{self.name}-{dashed(name)}"

    @property
    def own_tier1(self) -> str:
        return f"/infra/tier-1s/{self.name}"

    @property
    def pool(self) -> str:
        """The pool whose subnets are the segments' networks."""
        return f"/infra/ip-pools/{self.name}"

    def subnet(self, role: str) -> str:
        return f"{self.pool}/ip-subnets/{dashed(role)}"

    @property
    def dhcp_server(self) -> str:
        return f"/infra/dhcp-server-configs/{self.name}"

    @property
    def policy(self) -> str:
        return f"{DOMAIN}/security-policies/{self.name}"

    @property
    def service(self) -> str:
        """The load balancer service that is made."""
        return f"/infra/lb-services/{self.name}"

    def balancer_part(self, kind: str) -> str:
        return f"/infra/{kind}/{self.name}-api"


@dataclass(frozen=True)
class Refs:
    """What the names in a definition stand for, by their paths.

    :param advertised: what the Tier-1 tells its Tier-0, for one that is the user's.
    :param transit: the networks between the Tier-0 and its Tier-1 routers.
    """

    tier0: str
    tier1: str
    edge_cluster: str
    transport_zone: str = ""
    ip_block: str = ""
    floating_ip_pool: str = ""
    transit: tuple[str, ...] = TRANSIT

    @property
    def nat(self) -> str:
        return f"{self.tier1}/nat/USER/nat-rules"


def dashed(role: str) -> str:
    return role.replace("_", "-")


def section(definition: dict[str, Any]) -> dict[str, Any]:
    """Return the section ``nsx`` of a merged definition.

    :raises FlotillaError: there is none.
    """
    found: dict[str, Any] = definition.get("nsx") or {}
    if not found:
        raise FlotillaError(
            "NSX_SECTION",
            f"The definition of cluster '{definition['name']}' has no section nsx.",
            "Add one, or name a network profile that has one.",
        )
    return found


def place(definition: dict[str, Any]) -> Place:
    """Return what a merged definition says about NSX.

    :raises FlotillaError: there is no section ``nsx``.
    """
    nsx = section(definition)
    endpoint = definition.get("api_endpoint") or {}
    network = definition.get("network") or {}
    segments = nsx.get("segments") or {}
    given = {role: segments.get(role) or {} for role in ROLES}
    return Place(
        cluster=definition["name"],
        foundation=str(definition.get("foundation") or "default"),
        tier0=str(nsx.get("tier0") or ""),
        tier1=str(nsx.get("tier1") or ""),
        edge_cluster=str(nsx.get("edge_cluster") or ""),
        transport_zone=str(nsx.get("transport_zone") or ""),
        ip_block=str(nsx.get("ip_block") or ""),
        cidrs={role: ipaddress.IPv4Network(part["cidr"]) for role, part in given.items() if part.get("cidr")},
        sizes={role: int(part.get("size") or DEFAULT_SIZES[role]) for role, part in given.items()},
        dhcp=nsx.get("addresses", "dhcp") == "dhcp",
        dns_servers=tuple(nsx.get("dns_servers") or ()),
        domain_name=str(nsx.get("domain_name") or ""),
        snat=nsx.get("outbound", "snat") == "snat",
        floating_ip_pool=str(nsx.get("floating_ip_pool") or ""),
        balancer=endpoint.get("provider", "cloud") == "cloud",
        balancer_size=str(nsx.get("load_balancer_size") or "SMALL"),
        balancer_address=str(nsx.get("load_balancer_address") or ""),
        balancer_service=str(nsx.get("load_balancer_service") or ""),
        endpoint_address=str(endpoint.get("address") or ""),
        endpoint_port=int(endpoint.get("port") or API_PORT),
        allowed_cidrs=tuple(endpoint.get("allowed_cidrs") or ()),
        ssh_cidrs=tuple((definition.get("access") or {}).get("allowed_cidrs") or ()),
        firewall=bool(nsx.get("firewall", True)),
        network_plugin=str(network.get("plugin") or table.DEFAULT),
        routed_pod_cidrs=tuple(network.get("pod_cidrs") or ()) if network.get("plugin") == NCP.name else (),
        hands_on=((definition.get("bundle") or {}).get("delivery") or {}).get("method") == "seed",
        tags={str(key): str(value) for key, value in (nsx.get("tags") or {}).items()},
    )


DEFAULT_SIZES = {CONTROL_PLANE: 16, WORKER: 256}


def tags_of(entry: Entry) -> dict[str, str]:
    """Return the tags of a thing as scope -> value."""
    return {str(tag.get("scope") or ""): str(tag.get("tag") or "") for tag in entry.get("tags") or ()}


def write_tags(tags: dict[str, str]) -> list[Entry]:
    return [{"scope": scope, "tag": value} for scope, value in sorted(tags.items())]


def is_own(entry: Entry, where: Place) -> bool:
    """Tell whether a thing belongs to this cluster of this foundation."""
    tags = tags_of(entry)
    return tags.get(TAG_CLUSTER) == where.cluster and tags.get(TAG_FOUNDATION) == where.foundation


def check_owner(entry: Entry, where: Place, uid: str, path: str) -> None:
    """Fail unless a thing that has one of our ids is the cluster's."""
    tags = tags_of(entry)
    if tags.get(TAG_CLUSTER) != where.cluster:
        raise FlotillaError(
            "CLUSTER_FOREIGN_NAME",
            f"{path} has the id that cluster '{where.cluster}' gives it, and does not belong to it.",
            "Give the cluster another name, or remove it in NSX if nobody needs it.",
        )
    ownership.check_owner(tags, where.cluster, where.foundation, uid, path, " in NSX", " in NSX")


# Documents. A value None stands for "not set".


def tier1(where: Place, refs: Refs) -> Entry:
    """Return the cluster's own Tier-1: it tells its Tier-0 no more routes than others need.

    Ansible, or its bastion, comes to the machines' own addresses, also where machines reach others under another one.
    """
    routes = ["TIER1_CONNECTED", *(["TIER1_NAT"] if where.snat else [])]
    return {
        "tier0_path": refs.tier0,
        "failover_mode": "NON_PREEMPTIVE",
        "route_advertisement_types": [*(["TIER1_LB_VIP"] if where.balancer else []), *routes],
    }


def segment(where: Place, refs: Refs, role: str, cidr: ipaddress.IPv4Network) -> Entry:
    """Return the segment of a role's machines."""
    subnet: Entry = {"gateway_address": f"{cidr[1]}/{cidr.prefixlen}", "dhcp_ranges": None, "dhcp_config": None}
    if where.dhcp:
        subnet["dhcp_ranges"] = ranges(where, cidr)
        subnet["dhcp_config"] = {
            "resource_type": "SegmentDhcpV4Config",
            "server_address": f"{cidr[2]}/{cidr.prefixlen}",
            "dns_servers": list(where.dns_servers) or None,
        }
    return {
        "connectivity_path": refs.tier1,
        **({"transport_zone_path": refs.transport_zone} if refs.transport_zone else {}),
        "domain_name": where.domain_name or None,
        "dhcp_config_path": where.dhcp_server if where.dhcp else None,
        "subnets": [subnet],
    }


def ranges(where: Place, cidr: ipaddress.IPv4Network) -> list[str]:
    """Return the addresses that DHCP gives: all but gateway, server and an API endpoint that control planes hand on."""
    first, last = cidr[3], cidr[-2]
    try:
        taken = ipaddress.IPv4Address(where.endpoint_address) if where.endpoint_address and not where.balancer else None
    except ValueError:
        taken = None  # a name
    parts = [(first, last)] if taken is None or not first <= taken <= last else [(first, taken - 1), (taken + 1, last)]
    return [f"{low}-{high}" for low, high in parts if low <= high]


def snat_rule(cidrs: list[str], address: str) -> Entry:
    """Return the rule that lets machines out under one address."""
    return {
        "action": "SNAT",
        "source_network": ",".join(cidrs),
        "translated_network": address,
        "enabled": True,
        "firewall_match": "MATCH_INTERNAL_ADDRESS",
    }


def segment_group(where: Place, role: str) -> Entry:
    """Return the group of a role's machines: whatever is attached to the role's segment, whatever its name is."""
    return {"expression": [{"resource_type": "PathExpression", "paths": [where.segment(role)]}]}


def address_group(addresses: list[str]) -> Entry:
    return {"expression": [{"resource_type": "IPAddressExpression", "ip_addresses": addresses}]}


@dataclass(frozen=True)
class Rule:
    """One rule of the distributed firewall, for what comes in.

    :param sources: paths of groups and CIDRs; none are everybody.
    :param roles: whose machines it is for.
    :param protocol: ``tcp``, ``udp``, or ``any``, which has no ports.
    """

    sources: tuple[str, ...]
    roles: tuple[str, ...]
    protocol: str
    ports: str
    reason: str
    source_ports: str = ""
    action: str = "ALLOW"


def rules(where: Place, transit: tuple[str, ...]) -> dict[str, Rule]:
    """Return the firewall's rules by id in their order, the least that the cluster needs: what none lets in is dropped by the last."""
    groups = tuple(where.group(role) for role in ROLES)
    found = {_id(part): _rule(where, part) for part in firewall.openings(where.network_plugin, where.hands_on)}
    api = str(API_PORT)
    if where.balancer:
        found["load-balancer"] = Rule(transit, (CONTROL_PLANE,), "tcp", api, "The load balancer's checks and what it passes on")
    elif where.allowed_cidrs:
        found["api-clients"] = Rule(where.allowed_cidrs, (CONTROL_PLANE,), "tcp", api, "Clients of the API")
    if where.routed_pod_cidrs:
        found["pods"] = Rule(
            where.routed_pod_cidrs, (CONTROL_PLANE,), "tcp", api, "Pods reach the API servers under addresses of their own"
        )
    found["ssh"] = Rule((*groups, *where.ssh_cidrs), ROLES, "tcp", "22", "Ansible comes by SSH")
    if where.dhcp:
        found["dhcp"] = Rule((), ROLES, "udp", "68", "Answers of the DHCP server", source_ports="67")
    found["rest"] = Rule((), ROLES, "any", "", "Nothing else comes in", action="DROP")
    return found


def _id(part: Opening) -> str:
    return f"{dashed(part.role)}-{part.name}"


def _rule(where: Place, part: Opening) -> Rule:
    ports = "" if part.protocol == ANY else str(part.first) if part.first == part.last else f"{part.first}-{part.last}"
    sources = tuple(where.group(role) for role in part.sources)
    return Rule(sources, (part.role,), part.protocol, ports, part.reason[0].upper() + part.reason[1:])


def policy(where: Place, transit: tuple[str, ...]) -> Entry:
    """Return the section of the distributed firewall."""
    return {
        "category": "Application",
        "stateful": True,
        # One of its own would take the place of those of its rules.
        "scope": ["ANY"],
        "rules": [_write_rule(where, number, name, rule) for number, (name, rule) in enumerate(rules(where, transit).items(), start=1)],
    }


def _write_rule(where: Place, number: int, name: str, rule: Rule) -> Entry:
    entry: Entry = {"resource_type": "L4PortSetServiceEntry", "l4_protocol": "UDP" if rule.protocol == UDP else "TCP"}
    entry |= {"destination_ports": [rule.ports], "source_ports": [rule.source_ports] if rule.source_ports else []}
    return {
        "resource_type": "Rule",
        "id": name,
        "display_name": name,
        "description": rule.reason,
        "sequence_number": 10 * number,
        "action": rule.action,
        "direction": "IN",
        "ip_protocol": "IPV4_IPV6" if rule.action == "DROP" else "IPV4",
        "source_groups": list(rule.sources) or ["ANY"],
        # Where it is enforced says for whom it is: the address of an API endpoint that control planes hand on is in no group.
        "destination_groups": ["ANY"],
        "scope": [where.group(role) for role in rule.roles],
        "services": ["ANY"],
        "service_entries": [] if rule.protocol == ANY else [entry],
        "disabled": False,
    }
