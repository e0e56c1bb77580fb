# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema as editors and other programs take it (private to flotilla.kubernetes).

Editors know draft 7 best, and nothing here needs a newer one: https://json-schema.org/draft-07.
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.schema import file_schema

_TEXTS = {
    "cluster": ("Cluster definition", "One Kubernetes cluster."),
    "cluster_class": ("Cluster class", "What clusters inherit that name the class."),
    "network_profile": ("Network profile", "Networking that clusters and cluster classes inherit that name the profile."),
    "policy_profile": ("Policy profile", "Rights and pod security levels that clusters and cluster classes inherit that name the profile."),
    "fleet": ("Fleet file", "In which order and when the clusters of a fleet are changed."),
}
KINDS = tuple(_TEXTS)


def file_name(kind: str) -> str:
    """Return the name of a kind's file in docs/schema/."""
    return f"{kind}.schema.json"


def published(kind: str) -> dict[str, Any]:
    """Return the schema of one file of a kind: the texts of the reference as hover texts, and nothing that only the collection knows."""
    schema = _part(file_schema(kind), "")
    schema["properties"]["kind"] = {**schema["properties"]["kind"], "enum": [kind]}
    schema["properties"]["kind"].pop("const", None)
    title, description = _TEXTS[kind]
    return {
        **schema,
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"{title} of flotilla.kubernetes",
        "description": description,
    }


def render(kind: str) -> str:
    """Return the text of a kind's file."""
    schema = published(kind)
    first = ("$schema", "title", "description")
    ordered = {**{key: schema[key] for key in first}, **{key: value for key, value in schema.items() if key not in first}}
    return json.dumps(ordered, indent=2, ensure_ascii=False) + "\n"


def _part(schema: dict[str, Any], path: str) -> dict[str, Any]:
    """Return a copy of a schema with a title at every key, and with what a pattern means where editors look for it."""
    part = {key: value for key, value in schema.items() if not key.startswith("x-")}
    if path:
        part["title"] = path
    if "pattern" in part and "x-allowed" in schema:
        part["patternErrorMessage"] = f"must be {schema['x-allowed']}"
        part.setdefault("description", f"{schema['x-allowed'][0].upper()}{schema['x-allowed'][1:]}.")
    if "properties" in part:
        part["properties"] = {name: _part(child, f"{path}.{name}" if path else name) for name, child in part["properties"].items()}
    if "items" in part:
        part["items"] = _part(part["items"], f"{path}[]")
    for key, title in (("propertyNames", ""), ("additionalProperties", f"{path}.*")):
        if isinstance(part.get(key), dict):
            part[key] = _part(part[key], title)
    return part
