# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of an upgrade of a fleet: what was seen, what would be done in which wave, and how long that takes (private to
flotilla.kubernetes). Pure."""

from __future__ import annotations

import datetime as dt
import hashlib
import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .._definition.defaults import fill
from .._definition.fleet_rules import ruled_by
from .._definition.schema import file_schema
from .._machines.roll import is_replaced, surge_of
from .._moments import stamp
from .waves import Fleet, Wave, fleet_of
from .windows import Opening

UPGRADE, NOTHING, BLOCKED, UNKNOWN, RUN = "upgrade", "nothing", "blocked", "unknown", "run"

# Minutes of one hop, as a rule of thumb for machines of 2 to 4 cores: what kubeadm, the way out of the load balancer and the gate take.
CONTROL_PLANE_MINUTES = 5.0
BATCH_MINUTES = 4.0
START_MINUTES = 3.0
"""Preflight, backup, files and images."""


def fleets_of(files: Sequence[Mapping[str, Any]], definitions: Iterable[Mapping[str, Any]]) -> list[tuple[str, Fleet]]:
    """Return the name of each foundation or fleet file with its waves, in the order in which they come.

    :param files: the content of the fleet files, in the order of the inventory's sources. Foundations without one come last: all of their
        clusters are one wave.
    """
    free = list(definitions)
    found = []
    for file in files:
        ruled = [one for one in free if ruled_by(file, one)]
        free = [one for one in free if not ruled_by(file, one)]
        found.append((str(file["foundation"]), fleet_of(file, ruled)))
    plain = fill({}, file_schema("fleet"))
    for foundation in sorted({str(one["foundation"]) for one in free}):
        found.append((foundation, fleet_of(plain, [one for one in free if one["foundation"] == foundation])))
    return found


def make_plan(
    fleets: Sequence[tuple[str, Fleet]],
    definitions: Mapping[str, Mapping[str, Any]],
    seen: Mapping[str, Mapping[str, Any]] | None,
    now: dt.datetime,
    lasts: dt.timedelta,
) -> dict[str, Any]:
    """Return the plan as plain data.

    :param definitions: every cluster's, by its name.
    :param seen: of each cluster what was seen: ``versions``, ``hops`` and ``findings``, or ``problem``: why nothing was. None: a playbook
        runs in each, whatever there is.
    :param lasts: how long the plan is good for.
    """
    stages, left_out = [], []
    for foundation, fleet in fleets:
        for wave in fleet.waves:
            clusters = [
                _cluster(definitions[name], None if seen is None else seen.get(name, {}), fleet.windows[name].at(now))
                for name in wave.clusters
            ]
            stages.append({"foundation": foundation, **_wave(wave, clusters), "clusters": clusters})
        left_out += [{"name": name, "foundation": foundation, "why": why} for name, why in sorted(fleet.left_out.items())]
    digest = digest_of(definitions, seen or {})
    plan = {
        "digest": digest,
        "created": stamp(now.timestamp()),
        "expires": stamp((now + lasts).timestamp()),
        "waves": stages,
        "left_out": left_out,
        "minutes": sum(stage["minutes"] for stage in stages),
    }
    return {"plan_id": _hash(plan)[:12], **plan}


def digest_of(definitions: Mapping[str, Mapping[str, Any]], seen: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a digest of what a plan rests on: it changes when a definition, a version or a finding that blocks does."""
    return _hash({name: cluster_digest(definition, seen.get(name, {})) for name, definition in definitions.items()})


def cluster_digest(definition: Mapping[str, Any], seen: Mapping[str, Any]) -> str:
    """Return a digest of what the plan for one cluster rests on."""
    blocking = sorted({f"{one['code']} {one['object']}" for one in blockers(seen)})
    return _hash([definition_digest(definition), seen.get("versions"), seen.get("problem", ""), blocking])


def definition_digest(definition: Mapping[str, Any]) -> str:
    """Return a digest of what a cluster is to be; where its file lies is no part of that."""
    return _hash({key: value for key, value in definition.items() if key != "file"})


def blockers(seen: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the findings that would stop an upgrade."""
    return [one for one in seen.get("findings", ()) if one["severity"] == "blocker" and not one["acknowledged"]]


def _cluster(definition: Mapping[str, Any], looked: Mapping[str, Any] | None, opening: Opening) -> dict[str, Any]:
    name, target = str(definition["name"]), str(definition["kubernetes_version"])
    seen = looked or {}
    hops = [hop["version"] for hop in seen.get("hops", ())]
    blocking = sorted({str(one["code"]) for one in blockers(seen)})
    if looked is None:
        action, why = RUN, ""
    elif seen.get("problem") or "versions" not in seen:
        action, why = UNKNOWN, str(seen.get("problem") or "nobody looked at it")
    elif not hops:
        action, why = NOTHING, f"every part of it runs {target}"
    elif blocking:
        action, why = BLOCKED, f"in the way: {', '.join(blocking)}"
    else:
        action, why = UPGRADE, ""
    return {
        "name": name,
        "cloud": definition["cloud"],
        "present": seen.get("versions", {}).get("oldest", ""),
        "target": target,
        "hops": hops,
        "action": action,
        "why": why,
        "minutes": minutes(definition, seen.get("hops", ())) if action == UPGRADE else 0.0,
        "findings": list(seen.get("findings", ())),
        "definition": definition_digest(definition),
        "digest": cluster_digest(definition, seen),
        "open": opening.open,
        "changes": stamp(opening.changes.timestamp()) if opening.changes else None,
        "closed_why": opening.why,
    }


def minutes(definition: Mapping[str, Any], hops: Iterable[Mapping[str, Any]]) -> float:
    """Return about how many minutes an upgrade takes, by a model: so many for each control plane and each batch of workers of each hop."""
    total = 0.0
    for hop in hops:
        total += START_MINUTES + CONTROL_PLANE_MINUTES * int(definition["control_plane"]["count"])
        for pool in definition["pools"] if hop["workers"] else ():
            together = pool["rollout"]["max_unavailable"]
            count = int(pool["count"])
            size = max(1, count * int(together.rstrip("%")) // 100) if isinstance(together, str) else int(together)
            size = surge_of(pool) if is_replaced(pool) else size
            total += BATCH_MINUTES * -(-count // size)
    return total


def changes_since(plan: Mapping[str, Any], present: Mapping[str, Any], begun: Iterable[str] = ()) -> list[str]:
    """Return what is not any more as a plan saw it, a line each; none if the plan still holds.

    :param present: a plan of now.
    :param begun: clusters that a run of the plan has begun: what it does to them is no change, another definition is.
    """
    lines = []
    terms = ("max_clusters_in_flight", "failure_budget", "on_failure", "soak", "canary")
    before, after = ({(one["foundation"], one["name"]): one for one in each["waves"]} for each in (plan, present))
    for key in [*before, *(key for key in after if key not in before)]:
        title = f"wave {'/'.join(key)}"
        if key not in after or key not in before:
            lines.append(f"{title}: {'there is no such wave any more' if key in before else 'is new'}")
        else:
            lines += [
                f"{title}: {term} was {before[key][term]}, is {after[key][term]}" for term in terms if before[key][term] != after[key][term]
            ]
    if [key for key in before if key in after] != [key for key in after if key in before]:
        lines.append("the waves come in another order")
    was, now = (_by_name(each) for each in (plan, present))
    gone_on = set(begun)
    for name in sorted({*was, *now}):
        lines += [f"{name}: {change}" for change in _changes(was.get(name), now.get(name), name in gone_on)]
    return lines


def _by_name(plan: Mapping[str, Any]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Return each cluster of a plan with the place that it has there."""
    places = {one["name"]: (f"wave {wave['foundation']}/{wave['name']}", one) for wave in plan["waves"] for one in wave["clusters"]}
    return {**places, **{one["name"]: ("left out", one) for one in plan["left_out"]}}


def _changes(was: tuple[str, Mapping[str, Any]] | None, now: tuple[str, Mapping[str, Any]] | None, begun: bool) -> Iterator[str]:
    if was is None or now is None:
        yield "is new" if was is None else "there is no such cluster any more"
        return
    (place, before), (other, after) = was, now
    if place != other:
        yield f"was {'in ' * place.startswith('wave')}{place}, is {'in ' * other.startswith('wave')}{other}"
    elif before.get("definition") != after.get("definition"):
        wanted = "its definition is another one"
        yield f"{wanted}: {before['target']} -> {after['target']}" if before["target"] != after["target"] else wanted
    elif before.get("digest") != after.get("digest") and not begun:
        said = [f"{one['present']} {one['action']} {' -> '.join(one['hops'])} {one['why']}".strip() for one in (before, after)]
        yield f"was {said[0]}, is {said[1]}" if said[0] != said[1] else "what it runs, or what is in its way, is not the same"


def _wave(wave: Wave, clusters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    taken = [one["minutes"] for one in clusters if one["action"] in (UPGRADE, RUN)]
    return {
        "name": wave.name,
        "canary": wave.canary,
        "max_clusters_in_flight": wave.in_flight,
        "failure_budget": wave.budget,
        "on_failure": wave.on_failure,
        "soak": wave.soak,
        "minutes": _together(taken, wave.in_flight) + (wave.soak / 60 if taken else 0.0),
    }


def _together(taken: Iterable[float], lanes: int) -> float:
    """Return how long pieces of work take that are begun in their order, so many at a time."""
    ends = [0.0] * lanes
    for one in taken:
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)


def _hash(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()
