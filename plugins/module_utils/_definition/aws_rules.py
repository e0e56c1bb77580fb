# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of clusters on AWS, and of what only they have (private to flotilla.kubernetes)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.derive import CONTROL_PLANE

if TYPE_CHECKING:
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.rules import Report

Path = tuple[Union[str, int], ...]

# Tags by which the collection, AWS itself and cloud controllers know what is whose.
_RESERVED_TAGS = ("flotilla-", "aws:", "kubernetes.io/")
# How the collection parts a VPC that it makes (`_clouds/aws/layout.py`): bits after those of the VPC, and zones.
_PRIVATE_BITS, _PUBLIC_BITS, _MOST_ZONES = 3, 6, 7
# https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
_RESERVED = 5
_ZONES_EXAMPLE = "[eu-west-1a, eu-west-1b, eu-west-1c]"


def aws(data: dict[str, Any], report: Report) -> None:
    """A cluster on AWS has what its machines need, and nothing twice."""
    if data.get("cloud") != "aws":
        return
    section = data.get("aws", {})
    _network(section, report)
    _tags(section, report)
    _zones(data, section.get("region"), report)
    _login(data, report)
    _endpoint(data, section, report)
    place = (CONTROL_PLANE, "machine", "spot")
    if data.get(CONTROL_PLANE, {}).get("machine", {}).get("spot"):
        report(place, "is true, but a control plane whose machines may be taken back loses its etcd; remove it.")


def only_with_aws(data: dict[str, Any], report: Report) -> None:
    """What has an effect on AWS only is refused elsewhere, because it may be what somebody relies on."""
    cloud = data.get("cloud")
    if cloud in (None, "aws"):
        return
    endpoint, access = data.get("api_endpoint", {}), data.get("access", {})
    set_ones: list[tuple[Path, bool]] = [
        (("api_endpoint", "visibility"), endpoint.get("visibility") == "public"),
        (("api_endpoint", "allowed_cidrs"), bool(endpoint.get("allowed_cidrs"))),
        (("api_endpoint", "dns_name"), endpoint.get("dns_name") is not None),
        (("access", "ssh_public_keys"), bool(access.get("ssh_public_keys"))),
        (("access", "allowed_cidrs"), bool(access.get("allowed_cidrs"))),
        (("access", "address"), access.get("address") == "public"),
        (("image", "ssm_parameter"), "ssm_parameter" in data.get("image", {})),
        (("image", "id"), "id" in data.get("image", {})),
        (("access", "bastion"), cloud == "local" and access.get("bastion") is not None),
    ]
    set_ones += [(path, image is not None) for path, image in _images(data)]
    for path, is_set in set_ones:
        if is_set:
            report(path, f"has no effect with cloud: {cloud}; remove it.", about=[("cloud",)])


def images(data: dict[str, Any], report: Report) -> None:
    """An image is named in one way."""
    for path, image in [(("image",), data.get("image")), *_images(data)]:
        if image is not None:
            _one_of(path, image, ("family", "id", "ssm_parameter"), report)


def _images(data: dict[str, Any]) -> list[tuple[Path, Any]]:
    """Return path and image of the control plane and of each pool."""
    found: list[tuple[Path, Any]] = [((CONTROL_PLANE, "image"), data.get(CONTROL_PLANE, {}).get("image"))]
    return found + [(("pools", index, "image"), (pool or {}).get("image")) for index, pool in enumerate(data.get("pools", []))]


def vpc_room(path: Path, network: Any, data: dict[str, Any], report: Report) -> None:
    """A VPC that is made parts into a subnet for the machines of each zone, which holds them."""
    groups = [group for group in (data.get(CONTROL_PLANE), *data.get("pools", [])) if group and group.get("zones")]
    zones = {zone for group in groups for zone in group["zones"] if zone is not None}
    if len(zones) > _MOST_ZONES:
        report((CONTROL_PLANE, "zones"), f"make {len(zones)} zones together with those of the pools; a VPC has room for {_MOST_ZONES}.")
    prefix = network.prefixlen + (_PUBLIC_BITS if data["aws"].get("public_machines") else _PRIVATE_BITS)
    room = 2 ** (32 - prefix) - _RESERVED
    for zone in sorted(zones):
        # Machines of a pool are spread evenly, and the first zones get what is left over.
        wanted = sum(-(-group.get("count", 0) // len(group["zones"])) for group in groups if zone in group["zones"])
        if wanted > room:
            report(
                path,
                f"is {network}, so the subnet in {zone} is a /{prefix} with room for {room} machines, but up to {wanted} stand in it; "
                "choose a larger network, or more zones.",
                about=[(CONTROL_PLANE,), ("pools",)],
            )
            return


def _one_of(path: Path, choice: dict[str, Any], keys: tuple[str, ...], report: Report) -> None:
    there = [key for key in keys if key in choice]
    misspelt = not there and any(bad[: len(path)] == path for bad in report.invalid)
    if len(there) != 1 and not misspelt:
        words = ", ".join(keys[:-1]) + " or " + keys[-1]
        what = f"has {' and '.join(there)}; write only one of them." if there else f"is empty; write {words}."
        report(path, what, words, about=[(*path, key) for key in keys])


def _network(section: dict[str, Any], report: Report) -> None:
    """Either a VPC is made, or one is there with its subnets."""
    if "vpc" in section:
        _one_of(("aws", "vpc"), section["vpc"], ("id", "tags"), report)
        for key in ("vpc_cidr", "nat_gateways"):
            if key in section:
                report(("aws", key), "is for a VPC that is made, and aws.vpc names one of yours; remove one.", about=[("aws", "vpc")])
        if "machines" not in section.get("subnets", {}):
            report(
                ("aws", "subnets", "machines"),
                "is missing: the subnets of the machines in your VPC, by ids or by tags.",
                about=[("aws", "vpc")],
            )
    elif section.get("public_machines") and section.get("nat_gateways") not in (None, "none"):
        report(
            ("aws", "nat_gateways"),
            f"is {section['nat_gateways']}, but machines with public addresses need none; remove it, or public_machines.",
            about=[("aws", "public_machines")],
        )
    for key, subnets in section.get("subnets", {}).items():
        if "vpc" not in section:
            report(("aws", "subnets", key), "needs aws.vpc, the VPC that they are in.", about=[("aws", "vpc")])
        _one_of(("aws", "subnets", key), subnets, ("ids", "tags"), report)


def _tags(section: dict[str, Any], report: Report) -> None:
    for key in section.get("tags", {}):
        prefix = next((prefix for prefix in _RESERVED_TAGS if key.lower().startswith(prefix)), None)
        if prefix:
            report(("aws", "tags", key), f"begins with {prefix}, which is kept for others; choose another key.")
    for name in ("vpc", "subnets"):
        for path, tags in _selectors(section, name):
            if tags == {}:
                report(path, "is empty, which every one would match; name a tag.")


def _selectors(section: dict[str, Any], name: str) -> list[tuple[Path, Any]]:
    if name == "vpc":
        return [(("aws", "vpc", "tags"), section.get("vpc", {}).get("tags"))]
    return [(("aws", "subnets", key, "tags"), subnets.get("tags")) for key, subnets in section.get("subnets", {}).items()]


def _zones(data: dict[str, Any], region: str | None, report: Report) -> None:
    """Machines have zones, which are of the region; what pools take over is blamed on the control plane alone."""
    control_plane = data.get(CONTROL_PLANE, {})
    if CONTROL_PLANE in data and "zones" not in control_plane:
        report((CONTROL_PLANE, "zones"), f"is missing: the availability zones of the machines, such as {_ZONES_EXAMPLE}.")
    groups: list[tuple[Path, dict[str, Any]]] = [((CONTROL_PLANE,), control_plane)]
    groups += [(("pools", index), pool) for index, pool in enumerate(data.get("pools", [])) if pool is not None]
    said = set()
    for path, group in groups:
        if "size" not in group.get("machine", {}) and group:
            report((*path, "machine", "size"), "is missing: the instance type of these machines, such as m7i.large.")
        for index, zone in enumerate(group.get("zones", [])):
            place = report.root.nearest((*path, "zones", index))
            if zone is None or region is None or zone.startswith(region) or (place.file, place.line, zone) in said:
                continue
            said.add((place.file, place.line, zone))
            report(
                (*path, "zones", index),
                f"is {zone}, which is no zone of aws.region {region}.",
                about=[("aws", "region")],
            )


def _login(data: dict[str, Any], report: Report) -> None:
    access = data.get("access", {})
    if not access.get("ssh_private_key_file") and not access.get("ssh_public_keys"):
        report(
            ("access",),
            "has neither ssh_private_key_file nor ssh_public_keys, so nobody could log in to the machines; write one of them.",
            about=[("access", "ssh_private_key_file"), ("access", "ssh_public_keys")],
        )
    if access.get("address") == "public" and access.get("bastion") is not None:
        report(("access", "bastion"), "reaches the private addresses of machines, but access.address is public; remove one of them.")
    section = data.get("aws", {})
    if access.get("address") == "public" and "vpc" not in section and section.get("public_machines") is False:
        report(("access", "address"), "is public, which machines have with aws.public_machines: true only.", about=[("aws",)])


def _endpoint(data: dict[str, Any], section: dict[str, Any], report: Report) -> None:
    """The load balancer has what decides who reaches it."""
    endpoint = data.get("api_endpoint", {})
    here = ("api_endpoint", "provider")
    provider = endpoint.get("provider")
    if provider in ("kube_vip", "haproxy_keepalived"):
        report(here, f"is {provider}, whose address moves by ARP, which a VPC does not have; choose cloud or external.")
    if endpoint.get("visibility") == "public" and not endpoint.get("allowed_cidrs"):
        report(
            ("api_endpoint", "allowed_cidrs"),
            "is empty, so nobody outside the VPC would reach the API; name the networks that may.",
            about=[("api_endpoint", "visibility")],
        )
    if endpoint.get("visibility") == "public" and section.get("public_machines") and "0.0.0.0/0" not in endpoint.get("allowed_cidrs", []):
        report(
            ("api_endpoint", "visibility"),
            "is public, and machines with public addresses of their own come to it from addresses that nobody knows before; "
            "make it private, allow 0.0.0.0/0, or leave out aws.public_machines.",
            about=[("aws", "public_machines"), ("api_endpoint", "allowed_cidrs")],
        )
    if section.get("hosted_zone_id") is not None and endpoint.get("dns_name") is None:
        report(("aws", "hosted_zone_id"), "needs api_endpoint.dns_name, the record's name.", about=[("api_endpoint", "dns_name")])
