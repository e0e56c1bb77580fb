# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of clusters on AWS (private to flotilla.kubernetes)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.derive import CONTROL_PLANE
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.made_rules import (
    Words,
    endpoint,
    login,
    machines,
    one_of,
    unknown_clients,
)

if TYPE_CHECKING:
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.rules import Report

Path = tuple[Union[str, int], ...]

# Tags by which the collection, AWS itself and cloud controllers know what is whose.
_RESERVED_TAGS = ("flotilla-", "aws:", "kubernetes.io/")
# How the collection parts a VPC that it makes (`_clouds/aws/layout.py`): bits after those of the VPC, and zones.
_PRIVATE_BITS, _PUBLIC_BITS, _MOST_ZONES = 3, 6, 7
# https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
_RESERVED = 5
_WORDS = Words(
    "aws",
    "the availability zones of the machines, such as [eu-west-1a, eu-west-1b, eu-west-1c]",
    "the instance type of these machines, such as m7i.large",
)


def aws(data: dict[str, Any], report: Report) -> None:
    """A cluster on AWS has what its machines need, and nothing twice."""
    if data.get("cloud") != "aws":
        return
    section = data.get("aws", {})
    _network(section, report)
    _tags(section, report)
    machines(data, _WORDS, report)
    login(data, report)
    if data.get("access", {}).get("address") == "public" and "vpc" not in section and section.get("public_machines") is False:
        report(("access", "address"), "is public, which machines have with aws.public_machines: true only.", about=[("aws",)])
    _endpoint(data, section, report)


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


def _network(section: dict[str, Any], report: Report) -> None:
    """Either a VPC is made, or one is there with its subnets."""
    if "vpc" in section:
        one_of(("aws", "vpc"), section["vpc"], ("id", "tags"), report)
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
        one_of(("aws", "subnets", key), subnets, ("ids", "tags"), report)


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


def _endpoint(data: dict[str, Any], section: dict[str, Any], report: Report) -> None:
    endpoint(data, "a VPC", report)
    unknown_clients(data, report)
    if section.get("hosted_zone_id") is not None and data.get("api_endpoint", {}).get("dns_name") is None:
        report(("aws", "hosted_zone_id"), "needs api_endpoint.dns_name, the record's name.", about=[("api_endpoint", "dns_name")])
