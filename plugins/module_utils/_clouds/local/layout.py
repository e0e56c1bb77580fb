# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, addresses and labels of the local cloud, all computed from the definition (private to flotilla.kubernetes; pure)."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from typing import Any

from ..._errors import FlotillaError
from .. import ownership

LABEL_CLUSTER = "flotilla-cluster"
LABEL_POOL = "flotilla-pool"
LABEL_ROLE = "flotilla-role"
LABEL_ZONE = "flotilla-zone"
LABEL_GENERATION = "flotilla-generation"
LABEL_SPEC_HASH = "flotilla-spec-hash"
LABEL_UID = ownership.UID
LABEL_FOUNDATION = ownership.FOUNDATION
LABEL_HOST_KEY = "flotilla-host-key"
LABEL_ADDRESS = "flotilla-address"
LABEL_HOST_SETTINGS = "flotilla-host-settings"

ROLE_SERVICES = "services"
ROLE_LOAD_BALANCER = "load_balancer"

FIRST_MACHINE = 10
"""Machines get the addresses from this one up; gateway, services and load balancer are .1 to .3, .4 to .9 are for later."""


@dataclass(frozen=True)
class Layout:
    """Where the parts of one cluster are on the host."""

    cluster: str
    foundation: str
    cidr: ipaddress.IPv4Network
    service_cidrs: tuple[str, ...] = ()

    @property
    def network(self) -> str:
        """Name of the podman network."""
        return f"flotilla-{self.cluster}"

    @property
    def services(self) -> str:
        """Name of the container with resolver and time source."""
        return f"flotilla-{self.cluster}-services"

    @property
    def load_balancer(self) -> str:
        """Name of the container with the API load balancer."""
        return f"flotilla-{self.cluster}-api"

    @property
    def table(self) -> str:
        """Name of the nftables table (family inet)."""
        return f"flotilla_{self.cluster.replace('-', '_')}"

    @property
    def gateway(self) -> str:
        """The host's address on the network."""
        return str(self.cidr[1])

    @property
    def services_address(self) -> str:
        """Address of resolver and time source."""
        return str(self.cidr[2])

    @property
    def load_balancer_address(self) -> str:
        """Address of the API load balancer."""
        return str(self.cidr[3])

    def free_address(self, used: set[str]) -> str:
        """Return the lowest machine address that is not in ``used``."""
        for number in range(FIRST_MACHINE, self.cidr.num_addresses - 1):
            address = str(self.cidr[number])
            if address not in used:
                return address
        raise FlotillaError(
            "LOCAL_NETWORK_FULL",
            f"Network {self.network} ({self.cidr}) has no address left for another machine of cluster '{self.cluster}'.",
            "Lower the counts, or delete the cluster and make it with a larger local.network_cidr.",
        )

    def labels(self, role: str, uid: str) -> dict[str, str]:
        """Return the labels that every part of the cluster carries."""
        return {LABEL_CLUSTER: self.cluster, LABEL_ROLE: role, LABEL_UID: uid, LABEL_FOUNDATION: self.foundation}


def mac(address: str) -> str:
    """Return the MAC address that goes with an IPv4 address: locally administered, and as unique on the network as that."""
    return "02:f1:" + ":".join(f"{part:02x}" for part in ipaddress.IPv4Address(address).packed)


def layout(definition: dict[str, Any]) -> Layout:
    """Return the layout of a merged cluster definition, or fail on a network that is too small."""
    try:
        cidr = ipaddress.ip_network(definition["local"]["network_cidr"])
    except (KeyError, ValueError) as error:
        raise FlotillaError(
            "LOCAL_NETWORK_CIDR",
            f"local.network_cidr of cluster '{definition['name']}' is missing or not an IPv4 network.",
            "Set it to a free private network such as 172.30.86.0/24.",
            cause=error,
        ) from error
    if cidr.version != 4 or cidr.num_addresses < 16:
        raise FlotillaError(
            "LOCAL_NETWORK_CIDR",
            f"local.network_cidr {cidr} of cluster '{definition['name']}' is not an IPv4 network of 16 or more addresses.",
            "Set it to a free private network such as 172.30.86.0/24.",
        )
    return Layout(definition["name"], str(definition["foundation"]), cidr, tuple(definition.get("network", {}).get("service_cidrs", ())))


def taken_by(cidr: ipaddress.IPv4Network, routes: list[dict[str, Any]], networks: list[dict[str, Any]]) -> str:
    """Return what on the host overlaps ``cidr``, in words, or an empty string.

    :param routes: ``ip -json route``.
    :param networks: ``podman network ls --format json``.
    """
    for network in networks:
        for subnet in network.get("subnets") or []:
            other = ipaddress.ip_network(subnet["subnet"])
            if other.version == 4 and other.overlaps(cidr):
                return f"podman network {network['name']} ({other})"
    for route in routes:
        if route.get("dst", "default") == "default":
            continue
        other = ipaddress.ip_network(route["dst"], strict=False)
        if other.version == 4 and other.overlaps(cidr):
            return f"the route to {other} on interface {route.get('dev', 'of this host')}"
    return ""


def free_cidr(wanted: ipaddress.IPv4Network, routes: list[dict[str, Any]], networks: list[dict[str, Any]], avoid: list[str]) -> str:
    """Return the first free /24 of 172.30.0.0/16 and then of 10.0.0.0/8 that neither the host nor ``avoid`` uses, or an empty string."""
    others = [ipaddress.ip_network(text, strict=False) for text in avoid]
    for area in ("172.30.0.0/16", "10.0.0.0/8"):
        for candidate in ipaddress.ip_network(area).subnets(new_prefix=24):
            clash = any(other.version == 4 and other.overlaps(candidate) for other in others)
            if not clash and not candidate.overlaps(wanted) and not taken_by(candidate, routes, networks):
                return str(candidate)
    return ""


def check_owner(labels: dict[str, str], place: Layout, uid: str, what: str) -> None:
    """Fail unless ``labels`` say that ``what`` belongs to this cluster of this foundation.

    :param uid: the cluster's uid, or empty to accept any.
    """
    ownership.check_owner(labels, place.cluster, place.foundation, uid, what, " on this host", " (podman rm -f)")


def parse_settings(text: str) -> dict[str, str]:
    """Return the host settings that a label of the network remembers (``key=value key=value``)."""
    return dict(part.split("=", 1) for part in text.split() if "=" in part)


def format_settings(settings: dict[str, str]) -> str:
    """Return the label text of host settings; the reverse of `parse_settings`."""
    return " ".join(f"{key}={value}" for key, value in sorted(settings.items()))


def upstream_resolvers(texts: list[str]) -> list[str]:
    """Return the IPv4 resolvers of the first resolv.conf text that names one which is not on loopback.

    A container can not reach 127.0.0.53, and the network has no IPv6.
    """
    for text in texts:
        found = []
        for line in text.splitlines():
            match = re.match(r"^nameserver\s+(\S+)", line)
            if not match:
                continue
            try:
                address = ipaddress.ip_address(match.group(1).split("%")[0])
            except ValueError:
                continue
            if address.version == 4 and not address.is_loopback:
                found.append(str(address))
        if found:
            return found
    return []


def resolver_config(place: Layout, upstreams: list[str]) -> str:
    """Return dnsmasq's configuration; without upstreams every name from outside is answered NXDOMAIN."""
    lines = [
        "# Written by flotilla.kubernetes.",
        "no-resolv",
        "no-hosts",
        "user=dnsmasq",
        "bind-interfaces",
        f"listen-address={place.services_address}",
        "cache-size=1000",
        "bogus-priv",
        "domain-needed",
    ]
    lines += [f"server={address}" for address in upstreams] or ["local=/#/"]
    return "\n".join(lines) + "\n"


def time_config(place: Layout) -> str:
    """Return chronyd's configuration: the host's clock is served, nothing is asked of others."""
    return "\n".join(
        [
            "# Written by flotilla.kubernetes.",
            "local stratum 10",
            f"allow {place.cidr}",
            f"bindaddress {place.services_address}",
            "cmdport 0",
            "",
        ]
    )


def chain_suffix(policy: str, bridge: str) -> str:
    """Return what the chains' names end with: the names alone tell whether the rules in the kernel are the wanted ones."""
    return f"v2_{policy}_{bridge.replace('-', '_').replace('.', '_')}"


def egress_rules(place: Layout, policy: str, bridge: str, stale_chains: list[str]) -> str:
    """Return the nft script that counts, and with ``deny`` drops, what leaves the network (IPv4 and IPv6), in one transaction.

    ``egress`` counts what would be forwarded to anywhere but the network itself; ``host`` counts new connections to the host.
    The counters are named, so they outlive a change of the policy. Addresses of Services mean something on machines only: a pod of the
    host's network that asks for one before kube-proxy has its rules would send that out, so such packets are dropped and are no egress.
    """
    services = [
        f'        iifname "{bridge}" oifname != "{bridge}" {"ip6" if ":" in cidr else "ip"} daddr {cidr} drop'
        for cidr in place.service_cidrs
    ]
    verdict = " drop" if policy == "deny" else ""
    suffix = chain_suffix(policy, bridge)
    delete = [f"flush chain inet {place.table} {chain}\ndelete chain inet {place.table} {chain}" for chain in stale_chains]
    return "\n".join(
        [
            f"add table inet {place.table}",
            f"add counter inet {place.table} egress",
            f"add counter inet {place.table} host",
            *delete,
            f"table inet {place.table} {{",
            f"    chain forward_{suffix} {{",
            "        type filter hook forward priority filter - 10; policy accept;",
            *services,
            f'        iifname "{bridge}" oifname != "{bridge}" counter name egress{verdict}',
            "    }",
            f"    chain input_{suffix} {{",
            "        type filter hook input priority filter - 10; policy accept;",
            f'        iifname "{bridge}" meta l4proto {{ tcp, udp }} ct state new counter name host{verdict}',
            "    }",
            "}",
            "",
        ]
    )


@dataclass(frozen=True)
class Table:
    """What the kernel has of the cluster's nftables table."""

    chains: tuple[str, ...] = ()
    packets: int = 0
    bytes: int = 0
    host_packets: int = 0

    @classmethod
    def from_json(cls, text: str) -> Table:
        """Read ``nft --json list table``; an empty text is an absent table."""
        if not text.strip():
            return cls()
        chains, counters = [], {}
        for entry in json.loads(text).get("nftables", []):
            if "chain" in entry:
                chains.append(entry["chain"]["name"])
            if "counter" in entry:
                counters[entry["counter"]["name"]] = entry["counter"]
        egress = counters.get("egress", {})
        return cls(tuple(sorted(chains)), egress.get("packets", 0), egress.get("bytes", 0), counters.get("host", {}).get("packets", 0))

    def matches(self, policy: str, bridge: str) -> bool:
        """Tell whether the table has the chains of ``policy`` on ``bridge`` and no others."""
        suffix = chain_suffix(policy, bridge)
        return self.chains == (f"forward_{suffix}", f"input_{suffix}")
