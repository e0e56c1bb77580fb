# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts that the schema of definitions is made of (private to flotilla.kubernetes)."""

from __future__ import annotations

from typing import Any

# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names
DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names; it is a label value, too, and the inventory
# has hosts of its own with the endings that are left out.
NODE_NAME = f"(?!.*[.](cluster|new-[0-9]+)$){DNS_LABEL}([.]{DNS_LABEL})*"
NODE_NAME_LENGTH = 63
# A zone becomes the label topology.kubernetes.io/zone, so it has to be a label value.
LABEL_VALUE = "[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
QUALIFIED_NAME = f"({DNS_LABEL}(\\.{DNS_LABEL})*/)?{LABEL_VALUE}"

HOST = "([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+\\])"
PORT = "(:[0-9]{1,5})?"


def pattern(inner: str) -> str:
    """Anchor a pattern; JSON Schema patterns match anywhere, and Python's ``$`` matches before a last newline."""
    return f"^(?:{inner})(?!\\n)$"


def mapping(properties: dict[str, Any], description: str, required: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    schema = {"type": "object", "description": description, "properties": properties, "additionalProperties": False, **more}
    if required:
        schema["required"] = list(required)
    return schema


FILE_NAME = {"type": "string", "minLength": 1, "pattern": pattern("[^\\n]+"), "x-allowed": "a file's path"}
CIDR = {"type": "string", "pattern": pattern("[0-9A-Fa-f:.]+/[0-9.]+"), "x-allowed": "a network such as 10.244.0.0/16"}
DURATION = {
    "type": "string",
    "pattern": pattern("(?=[0-9])([0-9]+h)?([0-9]+m)?([0-9]+s)?"),
    "x-allowed": "a duration such as 90s, 10m or 1h30m",
}


def url(schemes: str, example: str, path: str = "(/[^\\s@?#\"'\\\\]*)?", query: bool = False) -> dict[str, Any]:
    """Describe a URL of host, port and path only: what is before an "@" would be a secret, and definitions hold none.

    :param query: whether a query may follow.
    """
    more = "(\\?[^\\s#\"'\\\\]*)?" if query else ""
    return {
        "type": "string",
        "pattern": pattern(f"{schemes}://{HOST}{PORT}{path}{more}"),
        "x-allowed": f"a URL without user name and password such as {example}",
    }
