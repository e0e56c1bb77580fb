# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of clusters whose network is in NSX (private to flotilla.kubernetes)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Union

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.derive import CONTROL_PLANE

if TYPE_CHECKING:
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.rules import Report

Path = tuple[Union[str, int], ...]

_ROLES = (CONTROL_PLANE, "worker")
_DEFAULT_SIZES = {CONTROL_PLANE: 16, "worker": 256}
# Network, broadcast, gateway and DHCP server.
_RESERVED = 4
_RESERVED_TAG = "flotilla-"


def nsx(data: dict[str, Any], report: Report) -> None:
    """A network in NSX has what it is made from, and nothing twice."""
    section = data.get("nsx")
    if section is None:
        return
    cloud = data.get("cloud")
    if cloud not in (None, "vsphere"):
        report(("nsx",), f"is the network of clusters on vsphere; the cluster has cloud: {cloud}. Remove the section.", about=[("cloud",)])
        return
    _routers(section, report)
    _networks(data, section, report)
    _outside(data, section, report)
    for key in section.get("tags", {}):
        if key.lower().startswith(_RESERVED_TAG):
            report(("nsx", "tags", key), f"begins with {_RESERVED_TAG}, which is kept for others; choose another scope.")


def _routers(section: dict[str, Any], report: Report) -> None:
    if not section.get("tier0") and not section.get("tier1"):
        report(("nsx", "tier0"), "is missing: the Tier-0 of the cluster's tenant.", about=[("nsx", "tier1")])
    if section.get("tier1") and section.get("edge_cluster"):
        report(("nsx", "edge_cluster"), "is for a Tier-1 that is made, and nsx.tier1 names yours; remove one.", about=[("nsx", "tier1")])
    if section.get("load_balancer_service") and not section.get("tier1"):
        here = ("nsx", "load_balancer_service")
        report(here, "is that of a Tier-1 of yours, which nsx.tier1 does not name; name it, or remove this.", about=[("nsx", "tier1")])


def _networks(data: dict[str, Any], section: dict[str, Any], report: Report) -> None:
    """Each segment has its network from one place, with room for its machines."""
    block = section.get("ip_block")
    for role in _ROLES:
        part, here = section.get("segments", {}).get(role, {}), ("nsx", "segments", role)
        about = [("nsx", "ip_block")]
        if block and "cidr" in part:
            report((*here, "cidr"), "is there, and nsx.ip_block gives the network; remove one.", about=about)
        elif block:
            _room((*here, "size"), part.get("size", _DEFAULT_SIZES[role]), role, data, report)
        elif "size" in part:
            report((*here, "size"), "is how much is taken from nsx.ip_block, which is not there; write cidr, or name a block.", about=about)
        elif "cidr" not in part:
            report((*here, "cidr"), "is missing: an IPv4 network such as 10.20.0.0/24, or name an nsx.ip_block.", about=about)


def segment_room(path: Path, network: Any, data: dict[str, Any], report: Report) -> None:
    """A segment's network holds its machines, and the API endpoint where control planes hand it on."""
    if network.version != 4 or not 20 <= network.prefixlen <= 28:
        report(path, f"is {network}; must be an IPv4 network between /20 and /28.", "an IPv4 network between /20 and /28")
        return
    role = str(path[2])
    _room(path, network.num_addresses, role, data, report)
    endpoint = data.get("api_endpoint", {})
    address = endpoint.get("address")
    if role != CONTROL_PLANE or address is None or endpoint.get("provider") not in ("kube_vip", "haproxy_keepalived"):
        return
    try:
        inside = ipaddress.ip_address(address) in network
    except ValueError:
        return
    if not inside:
        report(
            ("api_endpoint", "address"),
            f"is {address}, which is not in the control planes' segment {network}, where they hand it on; choose one of it.",
            about=[path],
        )


def _room(path: Path, addresses: int, role: str, data: dict[str, Any], report: Report) -> None:
    groups = [data.get(CONTROL_PLANE, {})] if role == CONTROL_PLANE else [pool for pool in data.get("pools", []) if pool is not None]
    wanted = sum(group.get("count", 0) for group in groups)
    handed_on = role == CONTROL_PLANE and data.get("api_endpoint", {}).get("provider") in ("kube_vip", "haproxy_keepalived")
    # One more, for a machine that takes the place of another.
    room = addresses - _RESERVED - handed_on - 1
    if wanted > room:
        about: list[Path] = [(CONTROL_PLANE,)] if role == CONTROL_PLANE else [("pools",)]
        report(path, f"has {addresses} addresses, room for {room} machines, but there are {wanted}; choose a larger one.", about=about)


def _outside(data: dict[str, Any], section: dict[str, Any], report: Report) -> None:
    """What is reached from outside, or reaches it, has an address and somebody who may."""
    endpoint, access, pool = data.get("api_endpoint", {}), data.get("access", {}), section.get("floating_ip_pool")
    here = ("nsx", "floating_ip_pool")
    if section.get("outbound") == "snat" and not pool:
        report(here, "is missing: the IP pool of the outbound address, which nsx.outbound: snat needs.", about=[("nsx", "outbound")])
    elif endpoint.get("provider") == "cloud" and not pool and not section.get("load_balancer_address"):
        about = [("nsx", "load_balancer_address"), ("api_endpoint", "provider")]
        report(here, "is missing: the IP pool of the API load balancer's address; or set nsx.load_balancer_address.", about=about)
    if section.get("firewall") and not access.get("allowed_cidrs") and access.get("bastion") is None:
        report(
            ("access", "allowed_cidrs"),
            "is empty, so the firewall of nsx.firewall would let nobody outside the cluster log in to its machines; "
            "name the networks that Ansible comes from.",
            about=[("access", "bastion"), ("nsx", "firewall")],
        )
