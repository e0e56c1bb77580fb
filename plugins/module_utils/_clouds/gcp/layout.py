# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a definition asks of Google Cloud: names, marks of ownership and firewall rules (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from dataclasses import dataclass, field
from typing import Any

from ..._errors import FlotillaError
from ..._kubernetes.network_plugins import table
from ..._kubernetes.network_plugins.model import ANY
from ..._machines.model import CONTROL_PLANE, WORKER
from .. import ownership
from ..firewall import openings

TAG_CLUSTER = "flotilla-cluster"
TAG_ROLE = "flotilla-role"
TAG_POOL = "flotilla-pool"
TAG_UID = ownership.UID
TAG_FOUNDATION = ownership.FOUNDATION
TAG_GENERATION = "flotilla-generation"
TAG_SPEC_HASH = "flotilla-spec-hash"
HOST_KEY = "flotilla-host-key"
"""Key of a machine's metadata: a label has no room for it."""

API_PORT = 6443
ANYWHERE = "0.0.0.0/0"
# Whence Google checks the health of backends: https://cloud.google.com/load-balancing/docs/health-check-concepts#ip-ranges
PROBES = {
    "INTERNAL": ("35.191.0.0/16", "130.211.0.0/22"),
    "EXTERNAL": ("35.191.0.0/16", "209.85.152.0/22", "209.85.204.0/22"),
}
_RULES = ("api", "etcd", "health-checks", "kubelet", "nodes", "ssh")
_SAYS = "Made by flotilla.kubernetes. "


@dataclass(frozen=True)
class Place:
    """Where a cluster stands in Google Cloud, as its definition says.

    :param zones: every zone that a machine may be in, in the order of the definition.
    :param own_network: ``name``, ``subnetwork``, ``project`` and ``firewall_rules`` of the user's own network, or nothing.
    :param nat: whether machines reach the internet through Cloud NAT.
    :param labels: the user's own, on machines and disks.
    """

    cluster: str
    foundation: str
    project: str
    region: str
    zones: tuple[str, ...]
    own_network: dict[str, Any]
    subnet_cidr: ipaddress.IPv4Network
    secondary_ranges: dict[str, str]
    nat: bool
    public_machines: bool
    public_endpoint: bool
    endpoint_port: int
    allowed_cidrs: tuple[str, ...]
    ssh_cidrs: tuple[str, ...]
    network_plugin: str
    hands_on: bool
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def network_project(self) -> str:
        """The project of the network: with a shared VPC another one than that of the machines."""
        return str(self.own_network.get("project") or self.project)

    @property
    def network(self) -> str:
        return f"projects/{self.network_project}/global/networks/{self.own_network.get('name') or self.cluster}"

    @property
    def subnetwork(self) -> str:
        name = self.own_network.get("subnetwork") or self.cluster
        return f"projects/{self.network_project}/regions/{self.region}/subnetworks/{name}"

    @property
    def makes_firewall(self) -> bool:
        return not self.own_network or bool(self.own_network.get("firewall_rules", True))

    @property
    def scheme(self) -> str:
        """What Google calls the kind of the load balancer."""
        return "EXTERNAL" if self.public_endpoint else "INTERNAL"

    def network_tag(self, role: str) -> str:
        """Return the tag by which firewall rules know machines of a role."""
        return f"{self.cluster}-{role.replace('_', '-')}"

    def own_tags(self, role: str, uid: str) -> dict[str, str]:
        """Return the marks of something that is made for the cluster."""
        return {TAG_CLUSTER: self.cluster, TAG_FOUNDATION: self.foundation, TAG_ROLE: role, TAG_UID: uid}

    def labels_of(self, tags: dict[str, str]) -> dict[str, str]:
        """Return marks as labels, next to the user's own."""
        return {**self.labels, **{key: label(value) for key, value in tags.items()}}

    def shared_uid(self) -> str:
        """Return the cluster's identity in a network of the user's, which can not carry one of ours."""
        return hashlib.sha256(f"{self.foundation}/{self.cluster}/{self.network}".encode()).hexdigest()[:16]


def place(definition: dict[str, Any]) -> Place:
    """Return what a merged definition says about Google Cloud.

    :raises FlotillaError: what the definition's own rules could not know is wrong.
    """
    gcp = definition.get("gcp") or {}
    endpoint = definition.get("api_endpoint") or {}
    access = definition.get("access") or {}
    network = definition.get("network") or {}
    groups = [definition.get("control_plane") or {}, *(definition.get("pools") or [])]
    zones = tuple(dict.fromkeys(zone for group in groups for zone in group.get("zones") or ()))
    public = endpoint.get("visibility") == "public"
    result = Place(
        cluster=definition["name"],
        foundation=str(definition.get("foundation") or "default"),
        project=str(gcp["project"]),
        region=str(gcp["region"]),
        zones=zones,
        own_network={key: value for key, value in (gcp.get("network") or {}).items() if value is not None},
        subnet_cidr=_network(str(gcp.get("subnet_cidr") or "10.20.0.0/20")),
        secondary_ranges={str(key): str(value) for key, value in (gcp.get("secondary_ranges") or {}).items()},
        nat=bool(gcp.get("nat", True)) and not gcp.get("public_machines"),
        public_machines=bool(gcp.get("public_machines")),
        public_endpoint=public,
        endpoint_port=int(endpoint.get("port") or API_PORT),
        allowed_cidrs=tuple(endpoint.get("allowed_cidrs") or ()),
        ssh_cidrs=tuple(access.get("allowed_cidrs") or ()),
        network_plugin=str(network.get("plugin") or table.DEFAULT),
        hands_on=(((definition.get("bundle") or {}).get("delivery") or {}).get("method")) == "seed",
        labels={str(key): str(value) for key, value in (gcp.get("labels") or {}).items()},
    )
    if not zones:
        raise FlotillaError("GCP_ZONES", f"Cluster '{result.cluster}' names no zone.", f"Set zones, for example [{result.region}-b].")
    if not re.match(r"[a-z]", result.cluster):
        raise FlotillaError(
            "GCP_NAME", f"Google Cloud takes no names such as '{result.cluster}', which begin with a digit.", "Rename the cluster."
        )
    if result.endpoint_port != API_PORT:
        raise FlotillaError(
            "GCP_ENDPOINT_PORT",
            f"A load balancer of Google Cloud passes connections on to the port that they came to, so it can not listen on"
            f" {result.endpoint_port}.",
            f"Set api_endpoint.port to {API_PORT}, or leave it out.",
        )
    if public and not result.allowed_cidrs:
        raise FlotillaError(
            "GCP_ENDPOINT_OPEN",
            f"The API endpoint of cluster '{result.cluster}' is public, and nothing says who may reach it.",
            "Set api_endpoint.allowed_cidrs to your networks, or to [0.0.0.0/0] for everybody.",
        )
    return result


def _network(text: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        raise FlotillaError(
            "GCP_SUBNET_CIDR", f"gcp.subnet_cidr '{text}' is not an IPv4 network: {error}.", "Set for example 10.20.0.0/20."
        ) from error


def label(value: str) -> str:
    """Return a value as a label takes it: what it can not carry is replaced by its hash.

    https://cloud.google.com/compute/docs/labeling-resources#requirements
    """
    if re.fullmatch(r"[-_a-z0-9]{0,63}", value):
        return value
    words = re.sub(r"[^-_a-z0-9]", "-", value.lower())[:46]
    return f"{words}-{hashlib.sha256(value.encode()).hexdigest()[:16]}"


def describe(tags: dict[str, str], reason: str = "") -> str:
    """Return the description of a thing that has no labels: whose it is, and what for."""
    return f"{reason + '. ' if reason else ''}{_SAYS}{json.dumps(tags, sort_keys=True)}"


def marks(description: str | None) -> dict[str, str]:
    """Return whose a thing is by its description; nothing for one of somebody else."""
    _reason, found, text = (description or "").partition(_SAYS)
    try:
        tags = json.loads(text) if found else {}
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in tags.items()} if isinstance(tags, dict) else {}


def check_owner(tags: dict[str, str], where: Place, uid: str, what: str, labelled: bool = False) -> None:
    """Fail unless ``tags`` say that ``what`` belongs to this cluster of this foundation.

    :param uid: the cluster's uid, or empty to accept any.
    :param labelled: whether these are labels, which know a foundation by `label`.
    """
    if tags.get(TAG_CLUSTER, where.cluster) != where.cluster:
        raise FlotillaError(
            "CLUSTER_FOREIGN_NAME",
            f"{what} has the name that cluster '{where.cluster}' gives it, and belongs to cluster '{tags[TAG_CLUSTER]}'.",
            "Give the cluster another name.",
        )
    foundation = label(where.foundation) if labelled else where.foundation
    ownership.check_owner(tags, where.cluster, foundation, uid, what)


@dataclass(frozen=True)
class Rule:
    """One firewall rule.

    :param sources: CIDRs, or roles whose machines are the source.
    :param targets: roles whose machines it is for.
    :param allowed: protocol -> ports; no ports are all of them.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    allowed: dict[str, tuple[str, ...]]
    reason: str


def rule_names(where: Place) -> list[str]:
    """Return the names of all firewall rules that the cluster may have."""
    return [f"{where.cluster}-{name}" for name in _RULES]


def rules(where: Place, subnet_cidrs: list[str], nat_addresses: list[str]) -> dict[str, Rule]:
    """Return the firewall rules by name, the least that the cluster needs. What no rule lets in stays out.

    https://kubernetes.io/docs/reference/networking/ports-and-protocols/

    :param nat_addresses: the public addresses from which the machines reach a public endpoint.
    """
    nodes, api = (CONTROL_PLANE, WORKER), {"tcp": (str(API_PORT),)}
    between, why = _between(where)
    clients = [*subnet_cidrs, *where.allowed_cidrs, *(f"{address}/32" for address in nat_addresses if where.public_endpoint)]
    if where.public_endpoint and where.public_machines and ANYWHERE not in clients:
        raise FlotillaError(
            "GCP_ENDPOINT_UNREACHABLE",
            f"The machines of cluster '{where.cluster}' would come to its public API endpoint from addresses that nobody knows before.",
            "Set api_endpoint.visibility to private, or gcp.public_machines to false.",
        )
    found = {
        # A passthrough load balancer leaves the client's address on the packet.
        "api": Rule(tuple(dict.fromkeys(clients)), (CONTROL_PLANE,), api, "Clients of the API, nodes among them"),
        "etcd": Rule((CONTROL_PLANE,), (CONTROL_PLANE,), {"tcp": ("2379-2380",)}, "Etcd between control planes"),
        "health-checks": Rule(PROBES[where.scheme], (CONTROL_PLANE,), api, "Health checks of the API load balancer"),
        "kubelet": Rule((CONTROL_PLANE,), nodes, {"tcp": ("10250",)}, "API servers reach kubelets"),
        "nodes": Rule(nodes, nodes, between, why),
        "ssh": Rule(tuple(dict.fromkeys((*subnet_cidrs, *where.ssh_cidrs))), nodes, {"tcp": ("22",)}, "Ansible comes by SSH"),
    }
    return {f"{where.cluster}-{name}": rule for name, rule in sorted(found.items())}


def _between(where: Place) -> tuple[dict[str, tuple[str, ...]], str]:
    """Return what nodes of both roles let in from each other, ports by protocol, and why."""
    everyone = {CONTROL_PLANE, WORKER}
    parts = [part for part in openings(where.network_plugin, where.hands_on) if part.role == WORKER and set(part.sources) == everyone]
    parts = [part for part in parts if part.protocol == ANY] or parts
    why = ", and ".join(part.reason for part in parts)
    why = f"{why[0].upper()}{why[1:]}"
    if parts[0].protocol == ANY:
        return {"all": ()}, why
    ports: dict[str, tuple[str, ...]] = {}
    for part in parts:
        text = f"{part.first}" if part.first == part.last else f"{part.first}-{part.last}"
        ports[part.protocol] = (*ports.get(part.protocol, ()), text)
    return ports, why


def write_rule(where: Place, rule: Rule) -> dict[str, Any]:
    """Return a rule as Google takes it."""
    roles = [source for source in rule.sources if source in (CONTROL_PLANE, WORKER)]
    sources = {"sourceTags": [where.network_tag(role) for role in roles]} if roles else {"sourceRanges": list(rule.sources)}
    allowed = [{"IPProtocol": protocol, **({"ports": list(ports)} if ports else {})} for protocol, ports in sorted(rule.allowed.items())]
    return {
        "network": where.network,
        "direction": "INGRESS",
        "priority": 1000,
        "disabled": False,
        "allowed": allowed,
        "targetTags": [where.network_tag(role) for role in rule.targets],
        **sources,
    }
