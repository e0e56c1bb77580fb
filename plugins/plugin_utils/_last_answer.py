# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cloud last said of a cluster's machines, for people who rather work with that than not at all (private to flotilla.kubernetes)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import clear_os_errors
from ansible_collections.flotilla.kubernetes.plugins.module_utils._files import write_atomically
from ansible_collections.flotilla.kubernetes.plugins.module_utils._moments import stamp
from ansible_collections.flotilla.kubernetes.plugins.module_utils._paths import cache_dir


@dataclass(frozen=True)
class Answer:
    """Machines as `*_machines` modules return them, and when the cloud named them (ISO 8601, UTC)."""

    machines: list[dict[str, Any]]
    time: str


def view(definition: dict[str, Any]) -> str:
    """Return the hash of what decides which machines a cloud names; an answer to another question is none."""
    cloud = definition["cloud"]
    asked = [definition["name"], definition["foundation"], cloud, definition.get(cloud)]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def read(cluster: str, asked: str) -> Answer | None:
    """Return the last answer, or None if there is none to this question or its file is damaged."""
    try:
        kept = json.loads(_path(cluster, asked).read_text(encoding="utf-8"))
        return Answer(kept["machines"], kept["time"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(cluster: str, asked: str, machines: list[dict[str, Any]]) -> None:
    """Keep an answer, readable for its owner only.

    :raises FlotillaError: ``FILE_NOT_WRITTEN``.
    """
    path = _path(cluster, asked)
    with clear_os_errors(path, "written"):
        kept = {"time": stamp(), "machines": machines}
        write_atomically(path, json.dumps(kept).encode(), 0o600)


def _path(cluster: str, asked: str) -> Path:
    return cache_dir() / "inventory" / f"{cluster}-{asked}.json"
