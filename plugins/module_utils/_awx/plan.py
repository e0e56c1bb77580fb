# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a fleet on its way through a workflow (private to flotilla.kubernetes). Pure.

Jobs of a workflow share no files. What the preflight has planned goes to the jobs after it as an artifact, which AWX hands on as a
variable: one line of text, so that nothing on its way changes or templates it, and small, since AWX keeps it with every job.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import fnmatch
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._errors import FlotillaError
from .._fleet.plan import BLOCKED, NOTHING, UNKNOWN, UPGRADE
from .._moments import parse
from .surveys import LATEST_PATCH

ALL, CANARY = "all", "canary"
MOST = 48 * 1024
"""Bytes that an artifact may have; AWX copies it into the record of each job."""

# Characters of a digest that are enough to tell two of one cluster apart.
_DIGEST = 12
_TERMS = ("foundation", "name", "canary", "max_clusters_in_flight", "failure_budget", "on_failure", "soak")
_KEYS = ("name", "action", "present", "target", "hops", "why", "definition", "digest")


def choose(plan: Mapping[str, Any], version: str = "", clusters: str = "") -> dict[str, Any]:
    """Return a plan of those clusters only that a person asked for; the others are left out, with the reason.

    :param version: clusters whose definitions say it; `LATEST_PATCH` those whose definitions say a patch of the minor that they run; empty
        for all.
    :param clusters: names or patterns, separated by commas or white space; empty for all.
    :raises FlotillaError: ``AWX_CLUSTER_UNKNOWN``, or ``AWX_NO_CLUSTER`` if none is left.
    """
    wanted = [part for part in re.split(r"[,\s]+", clusters) if part]
    planned = [one for wave in plan["waves"] for one in wave["clusters"]]
    known = [str(one["name"]) for one in (*planned, *plan["left_out"])]
    unknown = [one for one in wanted if not fnmatch.filter(known, one)]
    if unknown:
        raise FlotillaError(
            "AWX_CLUSTER_UNKNOWN",
            f"flotilla_clusters names {', '.join(unknown)}, and the inventory holds no such cluster.",
            f"There are: {', '.join(sorted(known))}.",
        )
    left_out, waves = list(plan["left_out"]), []
    for wave in plan["waves"]:
        kept = []
        for one in wave["clusters"]:
            why = _not_chosen(one, version, wanted)
            if why:
                left_out.append({"name": one["name"], "foundation": wave["foundation"], "why": why})
            else:
                kept.append(one)
        waves.append({**wave, "clusters": kept})
    if not any(wave["clusters"] for wave in waves):
        targets = ", ".join(sorted({str(one["target"]) for one in planned})) or "nothing"
        raise FlotillaError(
            "AWX_NO_CLUSTER",
            f"No cluster is to be upgraded: kubernetes_version is {version or 'not given'}, and the definitions say {targets}.",
            "Change kubernetes_version in the definitions, push that to the project, and launch it again.",
        )
    return {**plan, "waves": waves, "left_out": left_out}


def _not_chosen(one: Mapping[str, Any], version: str, wanted: Sequence[str]) -> str:
    if wanted and not any(fnmatch.fnmatchcase(str(one["name"]), pattern) for pattern in wanted):
        return "was not asked for"
    if version == LATEST_PATCH:
        another = one["present"] and _minor(one["present"]) != _minor(one["target"])
        return f"its definition says {one['target']}, which is no patch of {one['present']}" if another else ""
    return f"its definition says {one['target']}" if version and version.removeprefix("v") != one["target"] else ""


def _minor(version: str) -> str:
    return version.rpartition(".")[0]


def carry(plan: Mapping[str, Any]) -> str:
    """Return a plan as one line of text.

    :raises FlotillaError: ``AWX_PLAN_TOO_LARGE``.
    """
    small = {
        **{key: plan[key] for key in ("plan_id", "created", "expires")},
        "waves": [[*(wave[term] for term in _TERMS), [_small(one) for one in wave["clusters"]]] for wave in plan["waves"]],
    }
    text = base64.urlsafe_b64encode(zlib.compress(json.dumps(small, separators=(",", ":")).encode(), 9)).decode()
    if len(text) > MOST:
        raise FlotillaError(
            "AWX_PLAN_TOO_LARGE",
            f"The plan takes {len(text) // 1024} KiB, and AWX hands on {MOST // 1024} KiB at most.",
            "Split the foundation, or name fewer clusters in flotilla_clusters.",
        )
    return text


def _small(one: Mapping[str, Any]) -> list[Any]:
    return [str(one[key])[:_DIGEST] if key in ("definition", "digest") else one[key] for key in _KEYS]


def carried(text: str) -> dict[str, Any]:
    """Return the plan that `carry` wrote.

    :raises FlotillaError: ``FLEET_PLAN_MISSING`` or ``FLEET_PLAN_INVALID``.
    """
    again = "Launch the workflow, whose preflight plans; or a preflight, and give its artifact flotilla_carried_plan."
    if not text:
        raise FlotillaError("FLEET_PLAN_MISSING", "There is no plan: flotilla_carried_plan is not set.", again)
    try:
        small = json.loads(zlib.decompress(base64.urlsafe_b64decode(text.encode())))
        waves = [
            {**dict(zip(_TERMS, terms)), "clusters": [{**dict(zip(_KEYS, one)), "minutes": 0.0} for one in clusters]}
            for *terms, clusters in small["waves"]
        ]
        return {**{key: str(small[key]) for key in ("plan_id", "created", "expires")}, "waves": waves, "left_out": []}
    except (ValueError, KeyError, TypeError, zlib.error, binascii.Error) as error:
        raise FlotillaError("FLEET_PLAN_INVALID", "flotilla_carried_plan is no plan of a fleet.", again, error) from error


def stage_of(plan: Mapping[str, Any], stage: str, stages: int) -> list[dict[str, Any]]:
    """Return the waves of a plan that one node of a workflow works on.

    The first waves that are canaries are the node `CANARY`, the others follow one by one, and the last node takes all that are left.

    :param stage: `ALL`, `CANARY` or a number from 1 on.
    :param stages: how many numbers there are.
    :raises FlotillaError: ``AWX_STAGE_UNKNOWN``.
    """
    waves = [wave for wave in plan["waves"] if wave["clusters"]]
    first = next((index for index, wave in enumerate(waves) if not wave["canary"]), len(waves))
    if stage == ALL:
        return waves
    if stage == CANARY:
        return waves[:first]
    if not str(stage).isdigit() or not 1 <= int(stage) <= stages:
        raise FlotillaError("AWX_STAGE_UNKNOWN", f"flotilla_stage is {stage!r}.", f"It is {ALL}, {CANARY} or a number from 1 to {stages}.")
    begin = first + int(stage) - 1
    return waves[begin:] if int(stage) == stages else waves[begin : begin + 1]


def clusters_of(waves: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the clusters of waves."""
    return [one for wave in waves for one in wave["clusters"]]


def planned(plan: Mapping[str, Any], name: str, definition_digest: str, target: str) -> dict[str, Any]:
    """Return what is planned for a cluster, if a job may do it.

    :param definition_digest: of its definition as it is now.
    :raises FlotillaError: ``AWX_NOT_PLANNED`` or ``FLEET_PLAN_STALE``.
    """
    found = next((one for one in clusters_of(plan["waves"]) if one["name"] == name), None)
    if found is None or found["action"] in (BLOCKED, UNKNOWN):
        why = f" ({found['why']})" if found else ""
        raise FlotillaError(
            "AWX_NOT_PLANNED",
            f"The plan {plan['plan_id']} does not upgrade {name}{why}.",
            "Launch a preflight and read what it says of it.",
        )
    if found["definition"] != definition_digest[:_DIGEST] or found["target"] != target:
        raise FlotillaError(
            "FLEET_PLAN_STALE",
            f"The plan {plan['plan_id']} is not good any more: the definition of {name} is another one ({found['target']}, now {target}).",
            "Launch the workflow again; its preflight plans anew.",
        )
    return found


def is_expired(plan: Mapping[str, Any], now: dt.datetime) -> bool:
    """Return whether a plan is older than it was good for."""
    return now >= parse(plan["expires"])


def settled(waves: Iterable[Mapping[str, Any]], present: Mapping[str, Mapping[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the waves with what their clusters need now, and why some are not touched.

    One that has its version needs nothing any more, and one in whose midst a run ended is gone on with. Any other one has to be as it was
    planned.

    :param present: each cluster of a plan of now.
    """
    refused: dict[str, str] = {}
    result = []
    for wave in waves:
        clusters = []
        for was in wave["clusters"]:
            now = present.get(was["name"])
            one = dict(was)
            if now is None:
                refused[was["name"]] = "the inventory holds no such cluster any more"
            elif was["definition"] != now["definition"][:_DIGEST]:
                refused[was["name"]] = f"its definition is not that of the plan any more: {was['target']}, now {now['target']}"
            elif now["action"] == NOTHING:
                one.update(action=NOTHING, why=now["why"])
            elif was["action"] == UPGRADE and was["digest"] != now["digest"][:_DIGEST] and not now.get("interrupted"):
                refused[was["name"]] = (
                    f"it is not as planned any more: {now['why'] or 'what it runs, or what is in its way, is not the same'}"
                )
            clusters.append(one)
        result.append({**wave, "clusters": clusters})
    return result, refused


def fulfilled(plan: Mapping[str, Any], seen: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return what became of every planned cluster: its name, ``done`` or ``not done``, and why.

    :param seen: of each cluster what was seen now, as for `make_plan`.
    """
    result = []
    for one in clusters_of(plan["waves"]):
        now = seen.get(one["name"], {})
        if now.get("problem") or "versions" not in now:
            why = str(now.get("problem") or "nobody looked at it")
        elif now["hops"]:
            why = f"it runs {now['versions']['oldest']}, not {one['target']}"
        elif now["versions"]["interrupted"]:
            why = f"a run ended in its midst, at {', '.join(now['versions']['interrupted'])}"
        else:
            why = ""
        planned_why = f"; it was left out: {one['why']}" if why and one["action"] in (BLOCKED, UNKNOWN) else ""
        result.append({"name": one["name"], "result": "not done" if why else "done", "why": f"{why}{planned_why}"})
    return result
