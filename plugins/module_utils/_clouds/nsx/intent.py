# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of NSX against what there is: what differs, and how it is written (private to flotilla.kubernetes). Pure.

A wanted document says only what the cluster decides. Whatever else a thing has stays as it is, and None stands for "not set".
"""

from __future__ import annotations

from typing import Any

from . import layout
from .layout import Entry

_NOTHING: tuple[Any, ...] = (None, "", [], {})
_OF_THE_MANAGER = ("_create_time", "_create_user", "_last_modified_time", "_last_modified_user", "_system_owned", "_protection")


def holds(have: Any, wanted: Any) -> bool:
    """Tell whether what there is says all that is wanted."""
    if wanted is None:
        return have in _NOTHING
    if isinstance(wanted, dict):
        return isinstance(have, dict) and all(_part_holds(key, have.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return _lists_hold(have or [], wanted)
    return bool(have == wanted)


def _part_holds(key: str, have: Any, wanted: Any) -> bool:
    if key == "tags":
        found = {(tag.get("scope"), tag.get("tag")) for tag in have or ()}
        return all((tag["scope"], tag["tag"]) in found for tag in wanted)
    return holds(have, wanted)


def _lists_hold(have: list[Any], wanted: list[Any]) -> bool:
    if len(have) != len(wanted):
        return False
    key = _key(wanted)
    if key:
        found = {part.get(key): part for part in have}
        return all(part[key] in found and holds(found[part[key]], part) for part in wanted)
    if all(isinstance(part, str) for part in wanted):
        return sorted(have) == sorted(wanted)
    return all(holds(one, other) for one, other in zip(have, wanted))


def _key(parts: list[Any]) -> str:
    """Return by what the parts of a list are known; nothing where it is their place."""
    known = ("id", "ip_address")
    return next((key for key in known if parts and all(isinstance(part, dict) and key in part for part in parts)), "")


def merged(have: Any, wanted: Any) -> Any:
    """Return the document to write: what is wanted over what there is, with its revision."""
    if isinstance(wanted, dict):
        base = have if isinstance(have, dict) else {}
        found = {key: value for key, value in base.items() if key not in _OF_THE_MANAGER}
        for key, value in wanted.items():
            done = _tags(base.get(key) or [], value) if key == "tags" else merged(base.get(key), value)
            if done is None:
                found.pop(key, None)
            else:
                found[key] = done
        return found
    if isinstance(wanted, list) and any(isinstance(part, dict) for part in wanted):
        base = have or []
        known_by = _key(wanted)
        if known_by:
            by_key = {part.get(known_by): part for part in base}
            return [merged(by_key.get(part[known_by]), part) for part in wanted]
        same = len(base) == len(wanted)
        return [merged(base[number] if same else None, part) for number, part in enumerate(wanted)]
    return wanted


def _tags(have: list[Entry], wanted: list[Entry]) -> list[Entry]:
    """Return tags with those of others, who may have marked the thing, too."""
    scopes = {tag["scope"] for tag in wanted}
    return [*(tag for tag in have if tag.get("scope") not in scopes), *wanted]


def shown(have: Entry, wanted: Entry) -> Entry:
    """Return of what there is the part that is decided here, for a diff."""
    found: Entry = {}
    for key, value in wanted.items():
        there = have.get(key)
        if key == "tags":
            found[key] = {tag["scope"]: layout.tags_of(have).get(tag["scope"], "") for tag in value}
        elif there not in _NOTHING or value not in _NOTHING:
            found[key] = _shown(there, value)
    return found


def _shown(have: Any, wanted: Any) -> Any:
    if isinstance(have, dict) and isinstance(wanted, dict):
        return shown(have, wanted)
    if isinstance(have, list) and all(isinstance(part, dict) for part in have) and isinstance(wanted, list) and wanted:
        key = _key(wanted)
        if key:
            by_key = {part[key]: part for part in wanted}
            return [shown(part, by_key.get(part.get(key), part)) for part in have]
        if len(have) == len(wanted):
            return [_shown(one, other) for one, other in zip(have, wanted)]
    return have
