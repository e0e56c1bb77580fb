# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS for a stage."""

from __future__ import annotations

from typing import Any, ClassVar

from clouds.aws.inventory import REGION

from backing.aws.account import Account


class Scene:
    machine: ClassVar[dict[str, Any]] = {"size": "m5.large"}

    def __init__(self) -> None:
        self.account = Account()

    def definition(self, url: str, cidr: str) -> dict[str, Any]:
        image = self.account.images(url)[0]
        return {"image": {"id": image}, "aws": {"region": REGION, "vpc_cidr": cidr, "nat_gateways": "single"}}

    def pool(self, url: str) -> dict[str, Any]:
        return {}
