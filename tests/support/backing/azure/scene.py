# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure for a stage."""

from __future__ import annotations

from typing import Any, ClassVar

from clouds.azure.account import IMAGES
from clouds.azure.offers import LOCATION

from backing.azure.account import Account


class Scene:
    machine: ClassVar[dict[str, Any]] = {"size": "Standard_D2s_v5"}

    def __init__(self) -> None:
        self.account = Account()

    def definition(self, url: str, cidr: str) -> dict[str, Any]:
        return {"image": {"id": IMAGES[0]}, "azure": {"location": LOCATION, "vnet_cidr": cidr}}

    def pool(self, url: str) -> dict[str, Any]:
        return {}
