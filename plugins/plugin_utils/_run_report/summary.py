# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the records of a run, and of the runs that it goes on with, mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...module_utils._moments import precise

# Of reports and of what they are made from.
SCHEMA = 1
DONE, FAILED, INTERRUPTED = "done", "failed", "interrupted"
Record = Mapping[str, Any]


def build(records: Sequence[Record], earlier: Sequence[tuple[str, Sequence[Record]]] = ()) -> dict[str, Any]:
    """Return the report of a run.

    :param records: what the run wrote down, in this order, with the record ``run`` first. Without a record ``end`` it was interrupted.
    :param earlier: runs that it goes on with, the oldest first: a name, and what they wrote down.
    """
    every = [list(one) for _name, one in earlier] + [list(records)]
    first = records[0]
    results = [one for one in records if one["kind"] == "result"]
    fence = next((one for one in records if one["kind"] == "fence"), {})
    failures = _failures(results)
    began, ended = first["at"], records[-1]["at"]
    return {
        "schema": SCHEMA,
        "cluster": first["cluster"],
        "playbook": first["playbook"],
        "result": result_of(records),
        "check_mode": first["check_mode"],
        "began": precise(began),
        "ended": precise(ended),
        "seconds": round(ended - began, 3),
        "run": fence.get("run", ""),
        "generation": fence.get("generation", 0),
        "took_over_from": _predecessors(results, fence),
        "by": first["by"],
        "made_with": first["made_with"],
        "stopped": _stop(records, failures),
        "failures": failures,
        "versions": _versions(first, every),
        "backup": next((one["detail"]["backup"] for one in reversed(_results(every)) if one["detail"].get("backup")), None),
        "findings": _findings(results),
        "gates": _gates(every),
        "checks": _checks(every),
        "evictions": _evictions(every),
        "phases": _phases(records),
        "nodes": _nodes(every),
        "earlier": [_as_earlier(name, one) for name, one in earlier],
    }


def head_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a report what a list of runs shows: how the run ended, and from which to which version it brought the cluster."""
    stopped = report["stopped"] or {}
    return {
        "playbook": report["playbook"],
        "began": report["began"],
        "seconds": report["seconds"],
        "result": report["result"],
        "from": _oldest(report["versions"]["before"]),
        "to": _oldest(report["versions"]["after"]),
        "why": stopped.get("message", ""),
        "remedy": stopped.get("remedy", ""),
    }


def _oldest(versions: Mapping[str, Mapping[str, str]]) -> str:
    """Return the version of the oldest API server; without one, as after a run that only looked at nodes, nothing."""
    servers = [parts["kube-apiserver"] for parts in versions.values() if parts.get("kube-apiserver")]
    return min(servers, key=lambda one: [int(number) for number in re.findall(r"\d+", one)], default="")


def result_of(records: Sequence[Record]) -> str:
    """Return how a run ended."""
    end = records[-1]
    if end["kind"] != "end":
        return INTERRUPTED
    return FAILED if end["failed"] or end["unreachable"] else DONE


def _results(attempts: Iterable[Sequence[Record]]) -> list[Record]:
    return [one for records in attempts for one in records if one["kind"] == "result"]


def _predecessors(results: Iterable[Record], fence: Record) -> list[str]:
    """Return the runs that had the nodes and did not say that they ended; what they did may be written down on another controller."""
    signs = [one["detail"].get("sign") or {} for one in results if one["action"] == "node_fence"]
    if not fence:
        return []
    return sorted({str(sign["run"]) for sign in signs if sign.get("run") not in ("", None, fence["run"]) and not sign.get("ended")})


def _failures(results: Iterable[Record]) -> list[dict[str, Any]]:
    """Return what failed, the first first; several nodes often fail alike and are one entry then."""
    failures: dict[tuple[Any, ...], dict[str, Any]] = {}
    for one in results:
        if one["status"] not in ("failed", "unreachable"):
            continue
        key = (one["title"], one["error"].get("code"), one["error"]["message"])
        entry = failures.setdefault(
            key, {"at": precise(one["at"]), "step": one["title"], "phase": one["phase"], "nodes": [], **one["error"]}
        )
        if one["node"] not in entry["nodes"]:
            entry["nodes"].append(one["node"])
    return list(failures.values())


def _unfinished(records: Sequence[Record]) -> list[Record]:
    """Return the steps that had begun and of whose end nothing is known."""
    if records[-1]["kind"] == "end":
        return []
    begun: dict[tuple[str, str], Record] = {}
    for one in records:
        if one["kind"] == "begin":
            begun[one["host"], one["task"]] = one
        elif one["kind"] == "result":
            begun.pop((one["host"], one["task"]), None)
    return list(begun.values())


def _stop(records: Sequence[Record], failures: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return where a run stopped and why."""
    result = result_of(records)
    if result == FAILED and failures:
        return failures[0]
    if result != INTERRUPTED:
        return None
    unfinished = _unfinished(records)
    return {
        "at": precise(records[-1]["at"]),
        "step": unfinished[-1]["title"] if unfinished else "",
        "phase": unfinished[-1]["phase"] if unfinished else "",
        "nodes": sorted({one["node"] for one in unfinished}),
        "message": "The run ended without a word: it was killed, or the machine that it ran on went down.",
        "remedy": "Run again: it goes on with what is left to do.",
    }


def _versions(first: Record, attempts: Iterable[Sequence[Record]]) -> dict[str, Any]:
    """Return the version of every part of each node before and after, as far as they were read."""
    before: dict[str, dict[str, str]] = {}
    after: dict[str, dict[str, str]] = {}
    for one in _results(attempts):
        detail = one["detail"]
        seen: dict[str, dict[str, str]] = {node: dict(parts) for node, parts in (detail.get("control_planes") or {}).items()}
        for node, version in (detail.get("kubelets") or {}).items():
            seen.setdefault(node, {})["kubelet"] = version
        if one["action"] == "kubeadm_upgrade" and one["node"]:
            seen.setdefault(one["node"], {}).update(detail.get("versions") or {})
        for node, parts in seen.items():
            known = before.setdefault(node, {})
            for part, version in parts.items():
                known.setdefault(part, version)
            after.setdefault(node, {}).update(parts)
    return {"wanted": first["wanted"], "before": before, "after": after}


def _findings(results: Iterable[Record]) -> list[dict[str, Any]]:
    """Return what the last look of the preflight at the cluster and at each node found, the blocking ones first."""
    looks = {one["host"]: one["detail"].get("findings", ()) for one in results if one["action"] == "upgrade_preflight"}
    found = {(str(one.get("code")), str(one.get("object"))): dict(one) for findings in looks.values() for one in findings}
    order = {"blocker": 0, "warning": 1}
    return sorted(found.values(), key=lambda one: (order.get(one.get("severity", ""), 2), str(one.get("code")), str(one.get("object"))))


def _gates(attempts: Sequence[Sequence[Record]]) -> list[dict[str, Any]]:
    return [
        {
            "at": precise(one["at"]),
            "attempt": number,
            "step": one["title"],
            "node": one["node"],
            "held": one["status"] == "ok" and bool(one["detail"].get("healthy", True)),
            "waited": one["detail"].get("waited", round(one["at"] - one["began"], 3)),
            "findings": one["detail"].get("findings", []),
        }
        for number, records in enumerate(attempts)
        for one in records
        if one["kind"] == "result" and one["action"] == "cluster_health"
    ]


def _checks(attempts: Sequence[Sequence[Record]]) -> list[dict[str, Any]]:
    return [
        {
            "at": precise(one["at"]),
            "attempt": number,
            "step": one["title"],
            "held": one["status"] == "ok" and not one["detail"].get("failures"),
            "waited": round(one["at"] - one["began"], 3),
            "answers": one["detail"].get("checks", []),
            "failures": one["detail"].get("failures", []),
        }
        for number, records in enumerate(attempts)
        for one in records
        if one["kind"] == "result" and one["action"] == "health_checks"
    ]


def _evictions(attempts: Iterable[Sequence[Record]]) -> list[dict[str, Any]]:
    return [
        {"at": precise(one["at"]), "node": one["node"], "pod": pod, "forced": pod in (one["detail"].get("forced") or ())}
        for one in _results(attempts)
        for pod in dict.fromkeys([*(one["detail"].get("evicted") or ()), *(one["detail"].get("forced") or ())])
    ]


def _phases(records: Sequence[Record]) -> list[dict[str, Any]]:
    begins = [one for one in records if one["kind"] == "phase"]
    ends = [one["at"] for one in begins[1:]] + [records[-1]["at"]]
    return [{"name": one["name"], "began": precise(one["at"]), "seconds": round(end - one["at"], 3)} for one, end in zip(begins, ends)]


def _nodes(attempts: Sequence[Sequence[Record]]) -> list[dict[str, Any]]:
    """Return the steps of the cluster as a whole and then of each node, in the order in which they began."""
    nodes: dict[str, dict[str, Any]] = {"": {"name": "", "role": "", "pool": "", "steps": []}}
    for number, records in enumerate(attempts):
        last = records[-1]["at"]
        unfinished = [{**one, "began": one["at"], "at": last, "status": INTERRUPTED, "told": True} for one in _unfinished(records)]
        for one in [*(one for one in records if one["kind"] == "result"), *unfinished]:
            if not one["told"]:
                continue
            node = nodes.setdefault(one["node"], {"name": one["node"], "role": one["role"], "pool": one["pool"], "steps": []})
            step = {
                "step": one["title"],
                "kind": one["step_kind"],
                "phase": one["phase"],
                "began": precise(one["began"]),
                "ended": precise(one["at"]),
                "seconds": round(one["at"] - one["began"], 3),
                "result": one["status"],
                "attempt": number,
            }
            if one.get("error"):
                step["error"] = one["error"]
            node["steps"].append(step)
    for node in nodes.values():
        node["steps"].sort(key=lambda step: (step["attempt"], step["began"], step["ended"]))
    ordered = sorted(nodes.values(), key=lambda one: (one["name"] != "", one["role"] != "control_plane", one["pool"], one["name"]))
    return [one for one in ordered if one["steps"]]


def _as_earlier(name: str, records: Sequence[Record]) -> dict[str, Any]:
    return {
        "folder": name,
        "result": result_of(records),
        "began": precise(records[0]["at"]),
        "ended": precise(records[-1]["at"]),
        "seconds": round(records[-1]["at"] - records[0]["at"], 3),
        "stopped": _stop(records, _failures(one for one in records if one["kind"] == "result")),
    }


def _ends_a_row(records: Sequence[Record], playbook: str) -> bool:
    """Return whether nothing is left of what runs of ``playbook`` began before this one."""
    return (
        result_of(records) == DONE
        and not records[0]["check_mode"]
        and records[0]["playbook"] in (playbook, "cluster_restore", "cluster_rollback", "cluster_delete")
    )


def pick_earlier(header: Record, others: Iterable[tuple[str, Sequence[Record]]], most: int = 5) -> list[tuple[str, Sequence[Record]]]:
    """Return the runs that one goes on with, the oldest first.

    :param header: the record ``run`` of the one.
    :param others: name and records of the runs of its cluster before it, the newest first.
    """
    picked: list[tuple[str, Sequence[Record]]] = []
    for name, records in others:
        if _ends_a_row(records, header["playbook"]) or len(picked) == most:
            break
        if all(records[0][one] == header[one] for one in ("playbook", "check_mode")):
            picked.append((name, records))
    return picked[::-1]
