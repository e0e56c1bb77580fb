# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a definition asks of a vCenter: places, marks of ownership, addresses and rules (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..._errors import FlotillaError
from ..._machines.model import CONTROL_PLANE
from .. import ownership

TAG_CLUSTER = "flotilla-cluster"
TAG_ROLE = "flotilla-role"
TAG_POOL = "flotilla-pool"
TAG_UID = ownership.UID
TAG_FOUNDATION = ownership.FOUNDATION
TAG_GENERATION = "flotilla-generation"
TAG_SPEC_HASH = "flotilla-spec-hash"
TAG_ZONE = "flotilla-zone"
TAG_NAME = "flotilla-name"
"""The machine's and its Node's name: a virtual machine may be renamed."""
TAG_ID = "flotilla-id"
"""The instance UUID that the machine was made with: a copy that somebody makes of it has the same marks and another instance UUID."""
TAG_IMAGE = "flotilla-image"
TAG_ADDRESS = "flotilla-address"
TAG_DISKS = "flotilla-disks"
TAG_TAGS = "flotilla-tags"
"""The tags of the vCenter that the machine was given here."""
TAG_ITEM = "flotilla-item"
"""Of a template that was made from an item of a content library: the item's id and version."""
HOST_KEY = "flotilla-host-key"

OWNER = (TAG_CLUSTER, TAG_FOUNDATION, TAG_POOL, TAG_NAME, TAG_ID, TAG_ADDRESS)
"""What is read of every virtual machine of the vCenter."""
MARKS = (*OWNER, TAG_ROLE, TAG_UID, TAG_GENERATION, TAG_SPEC_HASH, TAG_ZONE, TAG_IMAGE, TAG_DISKS, TAG_TAGS, TAG_ITEM, HOST_KEY)
_PREFIX = "guestinfo.flotilla."

DEFAULT_ZONE = "default"


def option(tag: str) -> str:
    """Return the key under which a virtual machine's extraConfig has a mark."""
    return _PREFIX + tag.removeprefix("flotilla-")


def path(tag: str) -> str:
    """Return the PropertyCollector's path to a mark, so that a vCenter sends it and not all of the extraConfig."""
    return f'config.extraConfig["{option(tag)}"]'


@dataclass(frozen=True)
class Spot:
    """Where machines of a zone are, in the words of the definition.

    :param cluster: name or path of the compute cluster.
    :param resource_pool: its path below the cluster's own one; empty for that.
    :param host_group: the hosts of the cluster that they are to run on; empty for all.
    """

    zone: str
    cluster: str
    resource_pool: str
    host_group: str
    datastore: str
    datastore_cluster: str
    storage_policy: str
    network: str


@dataclass(frozen=True)
class Addresses:
    """Addresses that machines get from the definition.

    :param network: of the machines.
    :param ranges: first and last address.
    :param setting: what gives them, for messages.
    """

    network: ipaddress.IPv4Network
    gateway: str
    ranges: tuple[tuple[ipaddress.IPv4Address, ipaddress.IPv4Address], ...]
    name_servers: tuple[str, ...]
    search: tuple[str, ...]
    setting: str = "vsphere.addresses.ranges"

    def __iter__(self) -> Iterator[str]:
        for first, last in self.ranges:
            for number in range(int(first), int(last) + 1):
                yield str(ipaddress.IPv4Address(number))

    def choose(self, taken: Collection[str], count: int) -> list[str]:
        """Return free addresses.

        :raises FlotillaError: ``VSPHERE_NO_ADDRESS``: there are not so many.
        """
        free = [address for address in self if address not in taken][:count]
        if len(free) < count:
            raise FlotillaError(
                "VSPHERE_NO_ADDRESS",
                f"{self.setting} has {len(free)} free addresses, and {count} machines are to be made.",
                "Add a range, or remove machines that have one: those of other clusters in this vCenter count, too.",
            )
        return free


@dataclass(frozen=True)
class Segment:
    """A segment of NSX that the machines of a role are on.

    :param path: its policy path, such as ``/infra/segments/flotilla-payments-worker``.
    :param addresses: None where NSX's DHCP gives them, or while nobody knows the segment's network.
    """

    name: str
    path: str
    addresses: Addresses | None


@dataclass(frozen=True)
class Place:
    """Where a cluster stands, as its definition says.

    :param anti_affinity: ``preferred``, ``required`` or ``none``.
    :param linked: whether disks are made on top of the template's snapshot.
    :param addresses: None where machines ask a DHCP server.
    :param avoid: addresses that are no machine's own.
    :param segments: role -> segment; empty where machines are on a network of the user's.
    :param tags: tags of the vCenter that machines get: category -> name.
    """

    cluster: str
    foundation: str
    datacenter: str
    folder: str
    spots: dict[str, Spot]
    anti_affinity: str
    linked: bool
    firmware: str
    secure_boot: bool | None
    addresses: Addresses | None
    avoid: tuple[str, ...]
    segments: Mapping[str, Segment] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def addresses_of(self, role: str) -> Addresses | None:
        """Return where the addresses of a role's machines come from; None where they ask a DHCP server."""
        return self.segments[role].addresses if role in self.segments else self.addresses

    def uid(self, vcenter: str) -> str:
        """Return the cluster's identity: there is nothing in a vCenter that could carry a random one before the first machine does."""
        return hashlib.sha256(f"{self.foundation}/{self.cluster}/{vcenter}/{self.datacenter}".encode()).hexdigest()[:16]

    def spot(self, zone: str) -> Spot:
        """Return where the machines of a zone are."""
        return self.spots[zone]

    def rule(self, pool: str) -> str:
        """Return the name of the rule that keeps machines of a pool apart. No name of a cluster or pool has a dot."""
        return f"flotilla.{self.cluster}.{pool}"

    def host_rule(self, zone: str) -> str:
        """Return the name of what keeps machines of a zone on its hosts: a rule, and a group of machines."""
        return f"flotilla.{self.cluster}.zone.{zone}"


def place(definition: Mapping[str, Any], network: Mapping[str, Any] | None = None) -> Place:
    """Return what a merged definition says about vSphere.

    :param network: what ``nsx_network`` returned, where NSX has the network.
    """
    section = definition.get("vsphere") or {}
    groups = [definition.get("control_plane") or {}, *(definition.get("pools") or [])]
    zones = list(dict.fromkeys(zone for group in groups for zone in group.get("zones") or (DEFAULT_ZONE,)))
    endpoint = definition.get("api_endpoint") or {}
    return Place(
        cluster=str(definition["name"]),
        foundation=str(definition.get("foundation") or "default"),
        datacenter=str(section.get("datacenter") or ""),
        folder=str(section.get("folder") or ""),
        spots={zone: _spot(zone, section) for zone in zones},
        anti_affinity=str(section.get("anti_affinity") or "preferred"),
        linked=section.get("clone") == "linked",
        firmware=str(section.get("firmware") or ""),
        secure_boot=section.get("secure_boot"),
        addresses=_addresses(section.get("addresses"), definition),
        avoid=tuple(str(endpoint[key]) for key in ("address",) if endpoint.get(key)),
        segments=_segments(network or {}, definition),
        tags={str(category): str(name) for category, name in (section.get("tags") or {}).items()},
    )


def _spot(zone: str, section: Mapping[str, Any]) -> Spot:
    own = (section.get("zones") or {}).get(zone) or {}

    def value(key: str) -> str:
        return str(own.get(key) or section.get(key) or "")

    # A zone's own datastore takes the place of whatever kind of store all have.
    stores = {key: str(own.get(key) or "") for key in ("datastore", "datastore_cluster")}
    if not any(stores.values()):
        stores = {key: str(section.get(key) or "") for key in stores}
    return Spot(
        zone=zone,
        cluster=value("cluster"),
        resource_pool=value("resource_pool"),
        host_group=str(own.get("host_group") or ""),
        network=value("network"),
        storage_policy=value("storage_policy"),
        **stores,
    )


def _addresses(section: Mapping[str, Any] | None, definition: Mapping[str, Any]) -> Addresses | None:
    if not section:
        return None
    dns = (definition.get("site") or {}).get("dns") or {}
    return Addresses(
        network=ipaddress.IPv4Network(str(section["cidr"])),
        gateway=str(section["gateway"]),
        ranges=tuple(range_of(text) for text in section["ranges"]),
        name_servers=tuple(str(server) for server in section.get("name_servers") or dns.get("servers") or ()),
        search=tuple(str(domain) for domain in dns.get("search") or ()),
    )


def _segments(network: Mapping[str, Any], definition: Mapping[str, Any]) -> dict[str, Segment]:
    found = {}
    for role, part in (network.get("segments") or {}).items():
        given = None if network.get("dhcp", True) or not part.get("cidr") else _of_segment(role, part, network, definition)
        found[role] = Segment(str(part["name"]), str(part["path"]), given)
    return found


def _of_segment(role: str, part: Mapping[str, Any], network: Mapping[str, Any], definition: Mapping[str, Any]) -> Addresses:
    """Return the addresses of a segment that no DHCP server gives: all but the gateway's, and an API endpoint's that is handed on."""
    dns = (definition.get("site") or {}).get("dns") or {}
    cidr = ipaddress.IPv4Network(str(part["cidr"]))
    first, last = cidr[2], cidr[-2]
    try:
        taken = ipaddress.IPv4Address(str((definition.get("api_endpoint") or {}).get("address")))
    except ValueError:
        taken = None
    parts = [(first, last)]
    if role == CONTROL_PLANE and taken is not None and first <= taken <= last:
        parts = [(first, taken - 1), (taken + 1, last)]
    return Addresses(
        network=cidr,
        gateway=str(part["gateway"]),
        ranges=tuple((low, high) for low, high in parts if low <= high),
        name_servers=tuple(str(server) for server in network.get("dns_servers") or dns.get("servers") or ()),
        search=tuple(str(domain) for domain in dns.get("search") or ()),
        setting=f"nsx.segments.{role}",
    )


def range_of(text: str) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]:
    """Return first and last address of a range such as ``10.0.0.20-10.0.0.60``."""
    first, _dash, last = str(text).partition("-")
    return ipaddress.IPv4Address(first.strip()), ipaddress.IPv4Address((last or first).strip())


def check_owner(tags: Mapping[str, str], where: Place, uid: str, what: str) -> None:
    """Fail unless ``tags`` say that ``what`` belongs to this cluster of this foundation.

    :param uid: the cluster's uid, or empty to accept any.
    """
    ownership.check_owner(dict(tags), where.cluster, where.foundation, uid, what)


def machine_id(uid: str, name: str) -> str:
    """Return the id of a machine, which is its instance UUID in the vCenter: the same name asked for again is the same machine."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"flotilla.kubernetes/{uid}/{name}"))


def metadata(name: str, number: str, address: str, addresses: Addresses | None) -> str:
    """Return what cloud-init is told of a machine: its name and its network.

    https://docs.cloud-init.io/en/latest/reference/datasources/vmware.html
    """
    card: dict[str, Any] = {"match": {"name": "e*"}}
    if addresses and address:
        card["dhcp4"] = False
        card["addresses"] = [f"{address}/{addresses.network.prefixlen}"]
        card["routes"] = [{"to": "0.0.0.0/0", "via": addresses.gateway}]
        if addresses.name_servers:
            card["nameservers"] = {"addresses": list(addresses.name_servers), "search": list(addresses.search)}
    else:
        # Machines of one template have one machine id until cloud-init has run: a server that goes by it would give all the same address.
        card.update({"dhcp4": True, "dhcp-identifier": "mac"})
    told = {"instance-id": number, "local-hostname": name, "network": {"version": 2, "ethernets": {"primary": card}}}
    return json.dumps(told, sort_keys=True)


def disks(pairs: Sequence[tuple[int, int]]) -> str:
    """Return the mark that says which disks a machine was made with, by controller and unit."""
    return ",".join(f"{controller}:{unit}" for controller, unit in sorted(pairs))
