# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules between the fields of a fleet file, and between it and the clusters (private to flotilla.kubernetes)."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import Problem, nearest, path_text, short
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.tree import Node

Place = tuple[Any, ...]
Report = Callable[[Place, str], None]


def check(root: Node, data: dict[str, Any]) -> list[Problem]:
    """Return what is wrong in a fleet file that its schema can not tell.

    :param data: the file with its defaults, without what is invalid: an invalid item of a list is None.
    """
    problems: list[Problem] = []
    report = _reporter(root, problems)
    _once(data["waves"], "waves", report)
    _once(data["clusters"], "clusters", report)
    for place, window in _windows(data, "maintenance_windows"):
        _time_zone(place, window, report)
    for place, window in _windows(data, "freeze_windows"):
        _time_zone(place, window, report)
        _order(place, window, report)
    for index, wave in enumerate(data["waves"]):
        if wave and wave["canary"]:
            for key in ("failure_budget", "on_failure"):
                if key in wave:
                    report(("waves", index, key), "has no effect on canaries: one failure stops the fleet. Remove it.")
    return problems


def ruled_by(fleet: Mapping[str, Any], definition: Mapping[str, Any]) -> bool:
    """Return whether a fleet file is in the folder of a definition's foundation, or in one above it."""
    return Path(fleet["file"]).parent in Path(definition["file"]).parents


def check_files(fleets: Sequence[tuple[Node, Mapping[str, Any]]], definitions: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """Return what is wrong between fleet files and definitions.

    :param fleets: of each file its tree and its content, valid and with the path as ``file``.
    """
    problems: list[Problem] = []
    rulers: dict[str, str] = {}
    for root, data in fleets:
        ruled = [str(one["name"]) for one in definitions if ruled_by(data, one)]
        report = _reporter(root, problems)
        for place, name in _named(data):
            if name not in ruled:
                guess = nearest(name, ruled)
                report(place, f"is {name}, but there is no such cluster." + (f' Did you mean "{guess}"?' if guess else ""))
        other = next((name for name in ruled if name in rulers), None)
        if other:
            report((), f"rules the cluster {other}, as {rulers[other]} does; leave one of them out of the inventory.")
        rulers.update(dict.fromkeys(ruled, root.file))
    return problems


def _reporter(root: Node, problems: list[Problem]) -> Report:
    def report(path: Place, message: str) -> None:
        node = root.nearest(path)
        problems.append(Problem(node.file, node.line, path_text(path), message, short(node.text)))

    return report


def _once(items: list[dict[str, Any] | None], key: str, report: Report) -> None:
    seen: set[str] = set()
    for index, item in enumerate(items):
        name = (item or {}).get("name")
        if name in seen:
            report((key, index, "name"), f"is {name}, which is there already.")
        if name:
            seen.add(name)


def _named(data: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    for index, wave in enumerate(data["waves"]):
        for number, name in enumerate((wave or {}).get("clusters", {}).get("names", ())):
            if name:
                yield ("waves", index, "clusters", "names", number), name
    for index, cluster in enumerate(data["clusters"]):
        if cluster and cluster.get("name"):
            yield ("clusters", index, "name"), cluster["name"]


def _windows(data: dict[str, Any], key: str) -> Iterator[tuple[Place, dict[str, Any]]]:
    holders: list[tuple[Place, dict[str, Any]]] = [((), data)]
    holders += [(("clusters", index), cluster) for index, cluster in enumerate(data["clusters"]) if cluster]
    for place, holder in holders:
        yield from (((*place, key, index), window) for index, window in enumerate(holder.get(key, ())) if window)


def _time_zone(place: Place, window: dict[str, Any], report: Report) -> None:
    zone = window.get("time_zone")
    if not zone or _is_zone(zone):
        return
    known = zoneinfo.available_timezones()
    guess = nearest(zone, known)
    hint = f' Did you mean "{guess}"?' if guess else ""
    if not known:
        hint = " This machine has no time zones at all: pip install tzdata."
    report((*place, "time_zone"), f"is {zone}, which is no time zone.{hint}")


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _order(place: Place, freeze: dict[str, Any], report: Report) -> None:
    moments = []
    for key in ("from", "to"):
        if key not in freeze:
            return
        try:
            moments.append(freeze_moment(freeze[key], end=key == "to"))
        except ValueError:
            report((*place, key), f"is {freeze[key]}, which is no day of the calendar.")
            return
    if moments[1] <= moments[0]:
        report((*place, "to"), f"is {freeze['to']}, which is not after {freeze['from']}.")


def freeze_moment(text: str, end: bool) -> dt.datetime:
    """Return a moment of a freeze, without a time zone.

    :param end: whether the freeze ends then: a day without a time belongs to it.
    :raises ValueError: there is no such day.
    """
    moment = dt.datetime.fromisoformat(text)
    return moment + dt.timedelta(days=1) if end and "T" not in text else moment
