# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of clusters in vSphere (private to flotilla.kubernetes)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Union

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.derive import CONTROL_PLANE
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.made_rules import groups_of, login

if TYPE_CHECKING:
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.rules import Report

Path = tuple[Union[str, int], ...]

_SIZES = {"cpus": "the number of virtual CPUs, such as 4", "memory_gib": "the memory in GiB, such as 16"}


def vsphere(data: dict[str, Any], report: Report) -> None:
    """A cluster in vSphere has what its machines need, and nothing twice."""
    if data.get("cloud") != "vsphere":
        for path, group in groups_of(data):
            for key in _SIZES:
                if key in group.get("machine", {}):
                    report((*path, "machine", key), "is for cloud: vsphere; elsewhere machine.size says it. Remove it.", about=[("cloud",)])
        return
    section = data.get("vsphere", {})
    _machines(data, report)
    _images(data, report)
    if "vsphere" in data:
        _places(data, section, report)
    _addresses(data, section.get("addresses"), report)
    login(data, report)
    _endpoint(data, report)
    if section.get("secure_boot") and section.get("firmware") == "bios":
        report(("vsphere", "secure_boot"), "is true, which needs firmware: efi.", about=[("vsphere", "firmware")])


def _machines(data: dict[str, Any], report: Report) -> None:
    for path, group in groups_of(data):
        machine = group.get("machine", {})
        for key, words in _SIZES.items():
            if key not in machine and group:
                report((*path, "machine", key), f"is missing: {words}.")
        for key in ("size", "spot"):
            if key in machine:
                report((*path, "machine", key), "is not for cloud: vsphere; write cpus and memory_gib.", about=[("cloud",)])


def _images(data: dict[str, Any], report: Report) -> None:
    """Nobody publishes templates, so each machine's is named."""
    for path, image in [(("image",), data.get("image")), *(((*path, "image"), group.get("image")) for path, group in groups_of(data))]:
        if image and "content_library" in image and "id" not in image:
            report(path, f"names no item of the content library {image['content_library']}: set id to the item's name, such as debian-13.")
        elif image is not None and "id" not in image and "ssm_parameter" not in image:
            report(path, "names no template, and vSphere has none of its own: set id to the name or path of yours, such as debian-13.")


def _places(data: dict[str, Any], section: dict[str, Any], report: Report) -> None:
    own = section.get("zones", {})
    used = list(dict.fromkeys(zone for _path, group in groups_of(data) for zone in group.get("zones", ()) if zone is not None))
    needed = [("cluster", "the compute cluster of the machines")]
    if "nsx" not in data:
        needed.append(("network", "the port group of the machines"))
    for key, words in needed:
        bare = [zone for zone in used if not (own.get(zone) or {}).get(key)]
        if key not in section and (bare or not used):
            where = f" (zone {bare[0]} has none of its own)" if bare and own else ""
            report(("vsphere", key), f"is missing: {words}{where}.", about=[("vsphere", "zones")])
    for zone in own:
        if zone not in used and used:
            report(("vsphere", "zones", zone), "is the place of a zone that no machine is in; remove it or add the zone to a pool.")
    for path, place in [(("vsphere",), section), *((("vsphere", "zones", zone), place or {}) for zone, place in own.items())]:
        if "nsx" in data and place.get("network"):
            report((*path, "network"), "stands next to nsx, which makes the machines' segments; remove one of them.", about=[("nsx",)])
        if place.get("datastore") and place.get("datastore_cluster"):
            report((*path, "datastore_cluster"), "stands next to datastore; write only one of them.", about=[(*path, "datastore")])


def _addresses(data: dict[str, Any], section: dict[str, Any] | None, report: Report) -> None:
    """The addresses are in their network, and there are enough of them."""
    here = ("vsphere", "addresses")
    if section and "nsx" in data:
        report(here, "is for a network of yours; with nsx, whose segments they are of, nsx.addresses says it. Remove it.", about=[("nsx",)])
        return
    network = _parsed(ipaddress.IPv4Network, (section or {}).get("cidr"))
    if not section or network is None:
        return
    gateway = _parsed(ipaddress.IPv4Address, section.get("gateway"))
    if gateway is not None and gateway not in network:
        report((*here, "gateway"), f"is {gateway}, which is not in {network}.", about=[(*here, "cidr")])
    endpoint = _parsed(ipaddress.IPv4Address, data.get("api_endpoint", {}).get("address"))
    room, seen = 0, list[tuple[int, int]]()
    for index, text in enumerate(section.get("ranges", [])):
        ends = [_parsed(ipaddress.IPv4Address, part) for part in str(text or "").split("-")]
        path = (*here, "ranges", index)
        if None in ends:
            report(path, f"is {text}; must be a range of addresses such as 10.20.0.20-10.20.0.60.")
            continue
        first, last = int(ends[0]), int(ends[-1])  # type: ignore[arg-type]
        outside = [str(end) for end in ends if end not in network or end in (network.network_address, network.broadcast_address)]
        if outside:
            report(path, f"is {text}, and {outside[0]} is no address of a machine in {network}.", about=[(*here, "cidr")])
        if last < first:
            report(path, f"is {text}, which ends before it begins.")
        if any(first <= other_last and other_first <= last for other_first, other_last in seen):
            report(path, f"is {text}, and has addresses of another range.")
        for name, address in (("vsphere.addresses.gateway", gateway), ("api_endpoint.address", endpoint)):
            if address is not None and first <= int(address) <= last:
                report(path, f"is {text}, and {address} is {name}; leave it out of the range.")
        seen.append((first, last))
        room += max(0, last - first + 1)
    wanted = sum(group.get("count", 0) for _path, group in groups_of(data))
    if seen and room < wanted:
        # A replaced machine leaves when its successor is there.
        report(
            (*here, "ranges"),
            f"have {room} addresses, and the definition has {wanted} machines; add a range, with some to spare for replacements.",
            about=[(CONTROL_PLANE,), ("pools",)],
        )


def _parsed(kind: Any, text: Any) -> Any:
    try:
        return kind(str(text).strip()) if text else None
    except ValueError:
        return None


def _endpoint(data: dict[str, Any], report: Report) -> None:
    """vSphere makes no load balancer and no firewall, NSX does; nothing may rely on what is not there."""
    wanted, access = data.get("api_endpoint", {}), data.get("access", {})
    provider = wanted.get("provider")
    here = ("api_endpoint", "provider")
    nsx = data.get("nsx")
    if provider == "cloud" and nsx is None:
        report(
            here,
            "is cloud, and vSphere has no load balancer of its own; choose kube_vip, haproxy_keepalived or external, "
            "or let NSX have one: add the section nsx, or a network profile that has it.",
        )
    firewall = nsx is not None and nsx.get("firewall") is not False
    for path, is_set, has_effect in (
        (("api_endpoint", "visibility"), wanted.get("visibility") == "public", False),
        (("api_endpoint", "allowed_cidrs"), bool(wanted.get("allowed_cidrs")), firewall or (nsx is not None and provider == "cloud")),
        (("access", "allowed_cidrs"), bool(access.get("allowed_cidrs")), firewall),
        (("access", "address"), access.get("address") == "public", False),
    ):
        if not is_set or has_effect:
            continue
        if nsx is None or path[-1] in ("visibility", "address"):
            what = "has no firewall of its own" if path[-1] == "allowed_cidrs" else "gives machines and load balancers private addresses"
            report(path, f"has no effect with cloud: vsphere, which {what}; remove it.", about=[("cloud",)])
        else:
            report(path, "has no effect with nsx.firewall: false; remove it, or let NSX have a firewall.", about=[("nsx", "firewall")])
