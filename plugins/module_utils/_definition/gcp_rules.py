# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of clusters in Google Cloud (private to flotilla.kubernetes)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.derive import CONTROL_PLANE
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.made_rules import (
    Words,
    endpoint,
    login,
    machines,
    unknown_clients,
)

if TYPE_CHECKING:
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.rules import Report

Path = tuple[Union[str, int], ...]

API_PORT = 6443
# https://cloud.google.com/vpc/docs/subnets#unusable-ip-addresses-in-every-subnet, and the API endpoint's own
_RESERVED = 5
_RESERVED_LABELS = ("flotilla-", "goog", "k8s-io-")
_WORDS = Words(
    "gcp",
    "the zones of the machines, such as [europe-west1-b, europe-west1-c, europe-west1-d]",
    "the machine type of these machines, such as e2-standard-4",
)


def gcp(data: dict[str, Any], report: Report) -> None:
    """A cluster in Google Cloud has what its machines need, and nothing twice."""
    if data.get("cloud") != "gcp":
        return
    section = data.get("gcp", {})
    name = data.get("name")
    if isinstance(name, str) and name[:1].isdigit():
        report(("name",), f"is {name}; names in Google Cloud begin with a letter.")
    _network(section, report)
    for key in section.get("labels", {}):
        prefix = next((prefix for prefix in _RESERVED_LABELS if key.startswith(prefix)), None)
        if prefix:
            report(("gcp", "labels", key), f"begins with {prefix}, which is kept for others; choose another key.")
    machines(data, _WORDS, report)
    login(data, report)
    endpoint(data, "a VPC network", report)
    unknown_clients(data, report)
    if data.get("access", {}).get("address") == "public" and not section.get("public_machines"):
        report(("access", "address"), "is public, which machines have with gcp.public_machines: true only.", about=[("gcp",)])
    wanted = data.get("api_endpoint", {})
    if wanted.get("provider") == "cloud" and wanted.get("port") not in (None, API_PORT):
        report(
            ("api_endpoint", "port"),
            f"is {wanted['port']}, but a load balancer of Google Cloud passes connections on to the port that they came to, which is "
            f"{API_PORT}; remove it.",
            about=[("api_endpoint", "provider")],
        )


def _network(section: dict[str, Any], report: Report) -> None:
    """Either a network is made, or one is there."""
    if "network" in section:
        for key in ("subnet_cidr", "secondary_ranges", "nat"):
            if section.get(key) not in (None, {}):
                report(
                    ("gcp", key),
                    "is for a network that is made, and gcp.network names one of yours; remove one.",
                    about=[("gcp", "network")],
                )
    elif section.get("public_machines") and section.get("nat"):
        report(
            ("gcp", "nat"),
            "is true, but machines with public addresses need none; remove it, or public_machines.",
            about=[("gcp", "public_machines")],
        )


def subnet_room(path: Path, network: Any, data: dict[str, Any], report: Report) -> None:
    """The subnetwork holds all machines."""
    if network.version != 4 or not 16 <= network.prefixlen <= 28:
        report(path, f"is {network}; must be an IPv4 network between /16 and /28.", "an IPv4 network between /16 and /28")
        return
    groups = [group for group in (data.get(CONTROL_PLANE), *data.get("pools", [])) if group]
    wanted = sum(group.get("count", 0) for group in groups)
    room = 2 ** (32 - network.prefixlen) - _RESERVED
    if wanted > room:
        report(
            path,
            f"is {network} with room for {room} machines, but the definition has {wanted}; choose a larger network.",
            about=[(CONTROL_PLANE,), ("pools",)],
        )
