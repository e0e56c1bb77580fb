# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema of `addons` (private to flotilla.kubernetes)."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.schema_parts import (
    DNS_LABEL,
    FILE_NAME,
    mapping,
    pattern,
)
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.addons.model import Addon
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.addons.table import ADDONS as TABLE
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.addons.table import OWN

_ENABLED = {
    "type": "boolean",
    "description": "Whether the cluster has it; `false` takes away what a cluster class gives.",
    "default": True,
}
_OWN = mapping(
    {
        "name": {
            "type": "string",
            "maxLength": 40,
            "pattern": pattern(DNS_LABEL),
            "x-allowed": "a DNS label of at most 40 characters",
            "description": "Its name, unique among all add-ons.",
        },
        "enabled": _ENABLED,
        "version": {
            "type": "string",
            "minLength": 1,
            "maxLength": 63,
            "pattern": pattern("[^\\s]+"),
            "x-allowed": "a version such as 1.4.2",
            "description": "What people are told; left out: a digest of its objects.",
        },
        "manifests": {
            "type": "array",
            "items": FILE_NAME,
            "minItems": 1,
            "description": "Files with its objects, relative to the file that names them. Nodes pull its images as those of any workload.",
        },
    },
    "One.",
    required=("name", "manifests"),
)


def _addon(addon: Addon) -> dict[str, Any]:
    values = mapping(dict(addon.values), "What is set of it.", required=addon.required)
    if not addon.required:
        values["default"] = {}
    properties = {"enabled": _ENABLED, "values": values}
    return mapping(properties, f"{addon.description}.", required=("values",) if addon.required else ())


ADDONS = mapping(
    {
        **{name: _addon(addon) for name, addon in TABLE.items()},
        OWN: {"type": "array", "items": _OWN, "description": "Your own, installed after the others. They inherit by name.", "default": []},
    },
    "What runs beside Kubernetes ([add-ons](addons.md)); each is there when its name is, such as `metrics-server: {}`.",
    default={},
)
