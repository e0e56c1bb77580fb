# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google Cloud for a stage."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any, ClassVar

from clouds.gcp.account import IMAGES, PROJECT, REGION, SIZE

from backing.gcp.account import Account

WITH_CLOUD_INIT = "projects/ubuntu-os-cloud/global/images/ubuntu-2404-noble-amd64-v20261014"


class Scene:
    """Control planes are of an image that makes logins from metadata, and workers of one that has cloud-init."""

    machine: ClassVar[dict[str, Any]] = {"size": SIZE}

    def __init__(self) -> None:
        self.account = Account()

    def definition(self, url: str, cidr: str) -> dict[str, Any]:
        # The other half is the bridge's own, see the adapter.
        half = next(IPv4Network(cidr).subnets())
        return {"image": {"id": IMAGES[0]}, "gcp": {"project": PROJECT, "region": REGION, "subnet_cidr": str(half)}}

    def pool(self, url: str) -> dict[str, Any]:
        return {"image": {"id": WITH_CLOUD_INIT}}
