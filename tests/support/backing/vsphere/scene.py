# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster's definition says for the vCenter of the tests."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any, ClassVar

from clouds.vsphere.account import COMPUTE, DATACENTER, IMAGES, NETWORK, VsphereEndpoint


class Scene:
    """Racks are groups of hosts; machines get fixed addresses, and the control planes hand on that of the API."""

    machine: ClassVar[dict[str, Any]] = {"cpus": 2, "memory_gib": 4}

    def __init__(self) -> None:
        self.account = VsphereEndpoint()

    def definition(self, url: str, cidr: str) -> dict[str, Any]:
        network = IPv4Network(cidr)
        addresses = {
            "cidr": cidr,
            "gateway": str(network[1]),
            "ranges": [f"{network[20]}-{network[60]}"],
            "name_servers": [str(network[2])],
        }
        section = {
            "datacenter": DATACENTER,
            "cluster": COMPUTE,
            "network": NETWORK,
            "zones": {zone: {"host_group": zone} for zone in self.account.zones},
            "addresses": addresses,
        }
        return {"image": {"id": IMAGES[0]}, "api_endpoint": {"address": str(network[5])}, "vsphere": section}

    def pool(self, url: str) -> dict[str, Any]:
        return {}
