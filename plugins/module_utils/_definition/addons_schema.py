# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema of `addons` (private to flotilla.kubernetes)."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.schema_parts import mapping
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.addons.model import Addon
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.addons.table import ADDONS as TABLE


def _addon(addon: Addon) -> dict[str, Any]:
    values = mapping(dict(addon.values), "What is set of it.", required=addon.required)
    if not addon.required:
        values["default"] = {}
    properties = {
        "enabled": {
            "type": "boolean",
            "description": "Whether the cluster has it; `false` takes away what a cluster class gives.",
            "default": True,
        },
        "values": values,
    }
    return mapping(properties, f"{addon.description}.", required=("values",) if addon.required else ())


ADDONS = mapping(
    {name: _addon(addon) for name, addon in TABLE.items()},
    "What runs beside Kubernetes ([add-ons](addons.md)); each is there when its name is, such as `metrics-server: {}`.",
    default={},
)
