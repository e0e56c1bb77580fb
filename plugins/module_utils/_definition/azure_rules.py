# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of clusters on Azure (private to flotilla.kubernetes)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.derive import CONTROL_PLANE
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.made_rules import (
    Words,
    endpoint,
    groups_of,
    login,
    machines,
    unknown_clients,
)

if TYPE_CHECKING:
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.rules import Report

Path = tuple[Union[str, int], ...]

_RESERVED_TAG = "flotilla-"
# https://learn.microsoft.com/azure/virtual-network/virtual-networks-faq#are-there-any-restrictions-on-using-ip-addresses-within-these-subnets
_RESERVED = 5
# https://learn.microsoft.com/azure/virtual-machines/linux/faq#what-are-the-username-requirements-when-creating-a-vm-
_LOGINS = frozenset({"admin", "administrator", "root", "guest", "user", "test", "console", "sys", "owner", "support", "david", "john"})
_WORDS = Words(
    "azure",
    "the availability zones of the machines, such as [westeurope-1, westeurope-2, westeurope-3]",
    "the size of these machines, such as Standard_D4s_v5",
    "location",
)


def azure(data: dict[str, Any], report: Report) -> None:
    """A cluster on Azure has what its machines need, and nothing twice."""
    if data.get("cloud") != "azure":
        return
    section = data.get("azure", {})
    own = bool(section.get("subnets"))
    _network(section, own, report)
    machines(data, _WORDS, report)
    login(data, report)
    endpoint(data, "a virtual network", report)
    unknown_clients(data, report)
    if data.get("access", {}).get("address") == "public" and not own and section.get("public_machines") is False:
        report(("access", "address"), "is public, which machines have with azure.public_machines: true only.", about=[("azure",)])
    user = data.get("access", {}).get("ssh_user")
    if user in _LOGINS:
        report(("access", "ssh_user"), f"is {user}, a login that Azure refuses; choose another one.")
    for key in section.get("tags", {}):
        if key.lower().startswith(_RESERVED_TAG):
            report(("azure", "tags", key), f"begins with {_RESERVED_TAG}, which is kept for others; choose another key.")


def vnet_room(path: Path, network: Any, data: dict[str, Any], report: Report) -> None:
    """The machines' subnet, half of a network that is made, holds them."""
    if network.version != 4 or not 16 <= network.prefixlen <= 24:
        report(path, f"is {network}; must be an IPv4 network between /16 and /24.", "an IPv4 network between /16 and /24")
        return
    room = 2 ** (32 - network.prefixlen - 1) - _RESERVED - 1
    wanted = sum(group.get("count", 0) for _path, group in groups_of(data))
    if wanted > room:
        report(
            path,
            f"is {network}, so the machines' subnet is a /{network.prefixlen + 1} with room for {room} of them and the load balancer, "
            f"but there are {wanted}; choose a larger network.",
            about=[(CONTROL_PLANE,), ("pools",)],
        )


def _network(section: dict[str, Any], own: bool, report: Report) -> None:
    """Either a network is made, or subnets are there."""
    subnets = section.get("subnets", {})
    if own:
        for key in ("vnet_cidr", "outbound"):
            if key in section:
                report(
                    ("azure", key),
                    "is for a network that is made, and azure.subnets names yours; remove one.",
                    about=[("azure", "subnets")],
                )
        if "machines" not in subnets:
            report(("azure", "subnets", "machines"), "is missing: the id of the machines' subnet.", about=[("azure", "subnets")])
        elif "load_balancer" in subnets and _network_of(subnets["machines"]) != _network_of(subnets["load_balancer"]):
            report(
                ("azure", "subnets", "load_balancer"),
                "is a subnet of another network than that of the machines; name one of the same network.",
                about=[("azure", "subnets", "machines")],
            )
    elif section.get("public_machines") and section.get("outbound") == "nat_gateway":
        report(
            ("azure", "outbound"),
            "is nat_gateway, but machines with public addresses need none; remove it, or public_machines.",
            about=[("azure", "public_machines")],
        )
    if len(section.get("security_groups", {})) == 1:
        report(("azure", "security_groups"), "names one of control_plane and worker; name both, or none.")


def _network_of(subnet: Any) -> str:
    return str(subnet).lower().rpartition("/subnets/")[0]
