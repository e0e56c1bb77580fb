# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which cluster belongs to which wave (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._kubernetes.duration import parse_duration
from .windows import Windows

STOP, SKIP = "stop", "skip"
ALL = "all"
"""The name of the wave of a fleet that has none."""


@dataclass(frozen=True)
class Wave:
    """Clusters that are changed before those of the next wave.

    :param in_flight: how many of them at the same time.
    :param budget: how many of them may fail.
    :param on_failure: what one more does, `STOP` or `SKIP`.
    :param soak: seconds between the end of its last cluster and the next wave.
    """

    name: str
    clusters: tuple[str, ...]
    in_flight: int = 1
    budget: int = 0
    on_failure: str = STOP
    soak: float = 0.0
    canary: bool = False


@dataclass(frozen=True)
class Fleet:
    """The waves of a fleet file, in their order.

    :param left_out: clusters that are not changed, each with the reason.
    :param windows: when each cluster may be begun.
    """

    waves: tuple[Wave, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    windows: Mapping[str, Windows] = field(default_factory=dict)


def fleet_of(data: Mapping[str, Any], definitions: Iterable[Mapping[str, Any]]) -> Fleet:
    """Return the waves of a fleet file.

    :param data: the content of a valid fleet file, with its defaults.
    :param definitions: those that it rules; within a wave they go in the order of their names.
    """
    special = {one["name"]: one for one in data["clusters"]}
    left_out = {name: one["leave_out"] for name, one in special.items() if "leave_out" in one}
    free = sorted((one for one in definitions if one["name"] not in left_out), key=lambda one: str(one["name"]))
    windows = {one["name"]: _windows(data, special.get(one["name"], {})) for one in free}
    waves = []
    for wave in data["waves"] or [{"name": ALL, "clusters": {}, "canary": False, "soak": "0s"}]:
        taken = [one["name"] for one in free if _fits(one, wave["clusters"])]
        free = [one for one in free if one["name"] not in set(taken)]
        waves.append(_wave(data, wave, taken))
    left_out.update({one["name"]: "no wave of the fleet takes it" for one in free})
    return Fleet(tuple(waves), left_out, {name: windows[name] for wave in waves for name in wave.clusters})


def _fits(definition: Mapping[str, Any], chosen: Mapping[str, Any]) -> bool:
    labels = definition["labels"]
    return (
        definition["name"] in chosen.get("names", [definition["name"]])
        and definition["cloud"] in chosen.get("clouds", [definition["cloud"]])
        and all(labels.get(key) == value for key, value in chosen.get("labels", {}).items())
    )


def _wave(data: Mapping[str, Any], wave: Mapping[str, Any], clusters: Sequence[str]) -> Wave:
    budget = 0 if wave["canary"] else _share(wave.get("failure_budget", data["failure_budget"]), len(clusters))
    return Wave(
        name=wave["name"],
        clusters=tuple(clusters),
        in_flight=int(wave.get("max_clusters_in_flight", data["max_clusters_in_flight"])),
        budget=budget,
        on_failure=STOP if wave["canary"] else wave.get("on_failure", data["on_failure"]),
        soak=parse_duration(wave["soak"], "soak"),
        canary=wave["canary"],
    )


def _share(value: int | str, count: int) -> int:
    """Return a number of clusters, or the part of ``count`` that a text such as ``10%`` says, rounded down."""
    return value if isinstance(value, int) else count * int(value.rstrip("%")) // 100


def _windows(data: Mapping[str, Any], special: Mapping[str, Any]) -> Windows:
    maintenance = special.get("maintenance_windows", data["maintenance_windows"])
    return Windows(tuple(maintenance), (*data["freeze_windows"], *special.get("freeze_windows", ())))
