# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run changed, or in check mode said that it would change, object by object. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from journal import Entry

# Return values of modules that name the objects which they changed.
OBJECTS = ("written", "removed", "installed", "imported", "service_steps", "objects", "loaded", "set", "renewed", "members", "nodes")


@dataclass(frozen=True, order=True)
class Changed:
    """One object that a task changed on a host; ``object`` is empty for a task that does not say."""

    host: str
    task: str
    object: str


def changes(entries: Iterable[Entry]) -> set[Changed]:
    """Return everything that a run changed."""
    found = set()
    for entry in entries:
        if not entry.changed:
            continue
        results = [item for item in entry.items if item["changed"]] or [entry.result]
        for result in results:
            for name in set(_objects(result)) or {""}:
                found.add(Changed(entry.host, entry.task, name))
    return found


def _objects(result: dict[str, Any]) -> Iterator[str]:
    named = False
    for key in OBJECTS:
        for name in result.get(key) or ():
            # A dictionary is what the module has seen, not what it changed: members of a load balancer with their health.
            if isinstance(name, str):
                named = True
                yield f"{key} {name}"
    if named:
        return
    diff = result.get("diff") or []
    for one in diff if isinstance(diff, list) else [diff]:
        before, after = one.get("before"), one.get("after")
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences("", before, after)
        elif one.get("after_header") or before != after:
            yield str(one.get("after_header") or f"{before!r} -> {after!r}")


def _differences(path: str, before: Any, after: Any) -> Iterator[str]:
    """Yield each leaf of two nested dictionaries that differs, with both values."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}, key=str):
            yield from _differences(f"{path}.{key}" if path else str(key), before.get(key), after.get(key))
    elif before != after:
        yield f"{path}: {before!r} -> {after!r}"
