# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the status of a fleet says of what was seen."""

from __future__ import annotations

import copy
import datetime as dt
import json
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.catalogue import END_OF_LIFE, RELEASES
from ansible_collections.flotilla.kubernetes.plugins.module_utils._fleet.status import (
    STATES,
    Seen,
    cluster_status,
    fleet_status,
    releases,
)
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.plan import spec_hash
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.timezone.utc)
CP, WORKER = "demo-control-plane-1", "demo-general-1"
DEFINITION: dict[str, Any] = {
    "name": "demo",
    "foundation": "lab",
    "cloud": "aws",
    "labels": {"stage": "canary"},
    "kubernetes_version": "1.36.3",
    "image": {"family": "debian-13"},
    "control_plane": {"count": 1, "machine": {"size": "m"}},
    "pools": [{"name": "general", "count": 1, "machine": {"size": "l"}}],
}
MACHINES = [
    {"name": CP, "pool": "control-plane", "spec_hash": spec_hash(DEFINITION, DEFINITION["control_plane"])},
    {"name": WORKER, "pool": "general", "spec_hash": spec_hash(DEFINITION, DEFINITION["pools"][0])},
]


def look(version: str = "1.36.3", kubelet: str = "") -> dict[str, Any]:
    """Return what a healthy cluster of one version answers."""
    components = {"kube-apiserver": version, "kube-controller-manager": version, "kube-scheduler": version, "etcd": "3.6.8"}
    return {
        "versions": {
            "oldest": version,
            "control_planes": {CP: components},
            "kubelets": {CP: version, WORKER: kubelet or version},
            "interrupted": [],
        },
        "findings": [],
        "nodes": [
            {
                "name": name,
                "roles": roles,
                "ready": True,
                "schedulable": True,
                "version": version,
                "address": "10.0.0.1",
                "runtime": "containerd://2.2.9",
            }
            for name, roles in ((CP, ["control-plane"]), (WORKER, []))
        ],
        "certificates": [certificate("apiserver", 200)],
        "sign": {"run": "", "generation": 0, "ended": True, "age": 0.0},
    }


def certificate(name: str, days: int, due: bool = False, node: str = "", kind: str = "control_plane") -> dict[str, Any]:
    ends = (NOW + dt.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "node": node,
        "name": name,
        "kind": kind,
        "ends": ends,
        "days_left": days,
        "due": due,
        "reason": f"ends in {days} days" if due else "",
    }


def run(result: str = "done", **more: Any) -> dict[str, Any]:
    told = {
        "playbook": "cluster_upgrade",
        "began": "2026-11-20T07:30:11.250Z",
        "seconds": 412.6,
        "from": "1.35.4",
        "to": "1.36.3",
        "why": "",
        "remedy": "",
    }
    return {**told, "result": result, **more}


def status(seen: Seen, definition: dict[str, Any] | None = None, now: dt.datetime = NOW) -> dict[str, Any]:
    return cluster_status(definition or DEFINITION, seen, now)


def codes(seen: Seen, definition: dict[str, Any] | None = None, now: dt.datetime = NOW) -> list[tuple[str, str]]:
    return [(one["severity"], one["code"]) for one in status(seen, definition, now)["items"]]


def test_a_cluster_that_is_as_it_should_be_needs_nothing() -> None:
    found = status(Seen(look=look(), asked=CP, machines=MACHINES, runs=[run()]))
    assert (found["state"], found["items"], found["version"], found["asked"]) == ("healthy", [], "1.36.3", CP)
    assert found["components"]["kubelet"] == ["1.36.3"] and found["components"]["etcd"] == ["3.6.8"]
    assert found["supported_until"] == "2027-06-28"
    assert found["certificate"] == {"node": "", "name": "apiserver", "ends": "2027-06-11T12:00:00Z", "days_left": 200}
    json.dumps(found)


def test_one_that_nobody_could_ask_is_unknown_with_the_reason_and_still_has_what_the_controller_knows() -> None:
    found = status(
        Seen(problem="cp-1: timed out", backup={"place": "the bucket b", "age": 60, "id": "x"}, runs=[run("failed", why="It broke.")])
    )
    assert found["state"] == "unknown"
    assert [one["code"] for one in found["items"]] == ["CLUSTER_SILENT", "LAST_RUN_NOT_DONE"]
    assert "cp-1: timed out" in found["items"][0]["message"] and found["items"][0]["remedy"]
    assert found["backup"]["age"] == 60 and found["components"] == {} and found["certificate"] is None


def test_what_is_not_healthy_is_critical() -> None:
    seen = look()
    seen["findings"] = [{"code": "NODE_NOT_READY", "object": "node/a", "message": "It is not.", "remedy": "Mend it."}]
    found = status(Seen(look=seen, machines=MACHINES))
    assert found["state"] == "critical"
    assert found["items"] == [
        {"severity": "critical", "code": "NODE_NOT_READY", "object": "node/a", "message": "It is not.", "remedy": "Mend it."}
    ]


@pytest.mark.parametrize(("days", "severity"), [(40, "warning"), (7, "warning"), (6, "critical"), (-3, "critical")])
def test_certificates_that_are_due_are_told_once_for_each_control_plane(days: int, severity: str) -> None:
    seen = look()
    seen["certificates"] = [
        certificate("apiserver", days, True),
        certificate("etcd-peer", days, True),
        certificate("apiserver", 200, node="cp-2"),
    ]
    found = status(Seen(look=seen, machines=MACHINES))
    assert [(one["severity"], one["code"]) for one in found["items"]] == [(severity, "CERTIFICATE_DUE")]
    assert "and 1 more" in found["items"][0]["message"] and found["certificate"]["days_left"] == days


def test_an_authority_is_not_the_next_certificate_to_end() -> None:
    seen = look()
    seen["certificates"] = [certificate("/etc/kubernetes/pki/ca.crt", 100, kind="authority"), certificate("apiserver", 200)]
    assert status(Seen(look=seen, machines=MACHINES))["certificate"]["name"] == "apiserver"


@pytest.mark.parametrize(
    ("version", "today", "found"),
    [
        ("1.35.4", "2026-12-29", []),
        ("1.35.4", "2026-12-31", [("warning", "VERSION_ENDS")]),
        ("1.35.4", "2027-02-28", [("warning", "VERSION_ENDS")]),
        ("1.35.4", "2027-03-01", [("warning", "VERSION_UNSUPPORTED")]),
        ("1.29.1", "2026-11-23", [("warning", "VERSION_UNSUPPORTED")]),
        ("1.99.0", "2026-11-23", []),
    ],
)
def test_upstream_stops_at_a_day(version: str, today: str, found: list[tuple[str, str]]) -> None:
    now = dt.datetime.fromisoformat(f"{today}T12:00:00+00:00")
    definition = {**DEFINITION, "kubernetes_version": version}
    assert codes(Seen(look=look(version), machines=MACHINES), definition, now) == found


def test_an_upgrade_that_is_pending_is_a_note_and_one_that_stopped_halfway_is_not() -> None:
    assert codes(Seen(look=look("1.35.4"), machines=MACHINES)) == [("note", "DRIFT_VERSION")]
    assert status(Seen(look=look("1.35.4"), machines=MACHINES))["state"] == "healthy"
    halfway = look("1.36.3", kubelet="1.35.4")
    halfway["versions"]["interrupted"] = [WORKER]
    found = status(Seen(look=halfway, machines=MACHINES))
    assert [one["code"] for one in found["items"]] == ["UPGRADE_HALF_DONE", "DRIFT_VERSION"] and found["half_done"] == [WORKER]
    assert found["components"]["kubelet"] == ["1.35.4", "1.36.3"]


def test_a_cluster_that_is_newer_than_its_definition_needs_a_hand() -> None:
    assert codes(Seen(look=look("1.36.9"), machines=MACHINES)) == [("warning", "DRIFT_VERSION")]


@pytest.mark.parametrize(
    ("ended", "age", "code"), [(False, 5.0, "RUN_AT_WORK"), (False, 700.0, "UPGRADE_HALF_DONE"), (True, 5.0, "UPGRADE_HALF_DONE")]
)
def test_a_run_that_is_at_work_is_not_one_that_stopped(ended: bool, age: float, code: str) -> None:
    halfway = look()
    halfway["versions"]["interrupted"] = [WORKER]
    halfway["sign"] = {"run": "awx-7", "generation": 3, "ended": ended, "age": age}
    assert [one for _severity, one in codes(Seen(look=halfway, machines=MACHINES))] == [code]


def test_machines_are_held_against_the_definition() -> None:
    less = Seen(look=look(), machines=MACHINES[:1])
    assert codes(less) == [("warning", "DRIFT_MACHINES")]
    other = copy.deepcopy(MACHINES)
    other[1]["spec_hash"] = "v1-000000000000"
    assert codes(Seen(look=look(), machines=other)) == [("note", "DRIFT_SPECIFICATION")]
    # Those that exist already have no specification of ours, and the inventory has them all.
    assert codes(Seen(look=look(), machines=[]), {**DEFINITION, "cloud": "existing"}) == []


@pytest.mark.parametrize(("result", "expected"), [("done", []), ("failed", ["LAST_RUN_NOT_DONE"]), ("interrupted", ["LAST_RUN_NOT_DONE"])])
def test_only_the_last_run_counts(result: str, expected: list[str]) -> None:
    runs = [run(result, why="It broke.", remedy="Mend it."), run("failed")]
    assert [code for _severity, code in codes(Seen(look=look(), machines=MACHINES, runs=runs))] == expected


def test_backups_and_a_stale_inventory_are_told() -> None:
    late = [{"code": "BACKUP_TOO_OLD", "message": "It is old.", "remedy": "Make one."}]
    found = codes(Seen(look=look(), machines=MACHINES, backup_findings=late, stale="of 09:00: no answer"))
    assert found == [("warning", "BACKUP_TOO_OLD"), ("warning", "INVENTORY_STALE")]


def test_the_releases_are_counted_and_have_the_days_that_are_left() -> None:
    found = releases(["1.36.3", "1.36.1", "1.29.1", ""], NOW.date())
    assert [(one["minor"], one["clusters"]) for one in found] == [("1.36", 2), ("1.35", 0), ("1.34", 0), ("1.29", 1)]
    assert found[2]["days_left"] == -27 and found[3]["days_left"] is None and found[3]["ends"] == ""


def test_every_minor_that_is_installed_has_its_last_day() -> None:
    assert {one.minor for one in RELEASES} <= set(END_OF_LIFE)


def _seen(state: str) -> Seen:
    sick = look()
    sick["findings"] = [{"code": "A", "object": "b", "message": "c", "remedy": "d"}]
    by_state = {
        "healthy": Seen(look=look(), machines=MACHINES),
        "warning": Seen(look=look(), machines=MACHINES, stale="of 09:00"),
        "critical": Seen(look=sick, machines=MACHINES),
        "unknown": Seen(problem="no answer"),
    }
    return by_state[state]


@settings(deadline=None)
@given(st.lists(st.sampled_from(STATES), max_size=30))
def test_every_cluster_is_in_the_status_once_and_what_is_worst_comes_first(states: list[str]) -> None:
    names = {f"c{number}": state for number, state in enumerate(states)}
    found = fleet_status([{**DEFINITION, "name": name} for name in names], {name: _seen(state) for name, state in names.items()}, NOW)
    assert {one["name"]: one["state"] for one in found["clusters"]} == names
    ranks = [STATES.index(one["state"]) for one in found["clusters"]]
    assert ranks == sorted(ranks)
    assert found["counts"] == {state: states.count(state) for state in STATES}
    assert sum(one["clusters"] for one in found["releases"]) == len(states) - states.count("unknown")


def test_one_that_nobody_looked_at_is_unknown() -> None:
    (found,) = fleet_status([DEFINITION], {}, NOW)["clusters"]
    assert found["state"] == "unknown" and "nobody looked at it" in found["items"][0]["message"]
