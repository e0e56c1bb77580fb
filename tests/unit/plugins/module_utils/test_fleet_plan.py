# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime as dt
import json

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._fleet import plan as planning

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.timezone.utc)
DAY = dt.timedelta(days=1)
WORKERS = [
    {"name": "workers", "count": 5, "rollout": {"max_unavailable": 2}},
    {"name": "few", "count": 3, "rollout": {"max_unavailable": "50%"}},
]
FILE = {
    "file": "/inventories/lab/fleet.yml",
    "foundation": "lab",
    "max_clusters_in_flight": 2,
    "failure_budget": 0,
    "on_failure": "stop",
    "maintenance_windows": [],
    "freeze_windows": [],
    "waves": [{"name": "all", "clusters": {}, "canary": False, "soak": "10m"}],
    "clusters": [],
}
HOPS = [{"version": "1.35.4", "workers": False}, {"version": "1.36.3", "workers": True}]


def definition(name: str, foundation: str = "lab") -> dict:
    return {
        "name": name,
        "file": f"/inventories/{foundation}/clusters/{name}.yml",
        "foundation": foundation,
        "cloud": "aws",
        "labels": {},
        "kubernetes_version": "1.36.3",
        "control_plane": {"count": 3},
        "pools": WORKERS,
    }


def seen(*findings: dict, hops: list | None = None) -> dict:
    return {"versions": {"oldest": "1.34.4"}, "hops": HOPS if hops is None else hops, "findings": list(findings)}


def finding(code: str, severity: str = "blocker", acknowledged: bool = False) -> dict:
    return {"code": code, "object": "cluster", "severity": severity, "acknowledged": acknowledged}


def make(things: dict[str, dict], **definitions: dict) -> dict:
    there = definitions or {name: definition(name) for name in things}
    return planning.make_plan(planning.fleets_of([FILE], there.values()), there, things, NOW, DAY)


@pytest.mark.parametrize(
    ("there", "action", "why"),
    [
        (seen(), "upgrade", ""),
        (seen(finding("UPGRADE_NODE_CORDONED", "warning")), "upgrade", ""),
        (seen(finding("UPGRADE_ETCD_ALARM", acknowledged=True)), "upgrade", ""),
        (seen(finding("UPGRADE_ETCD_ALARM")), "blocked", "in the way: UPGRADE_ETCD_ALARM"),
        (seen(hops=[]), "nothing", "every part of it runs 1.36.3"),
        ({"problem": "no control plane answers"}, "unknown", "no control plane answers"),
        ({}, "unknown", "nobody looked at it"),
    ],
)
def test_what_becomes_of_a_cluster(there, action, why) -> None:
    (wave,) = make({"a": there})["waves"]
    (cluster,) = wave["clusters"]
    assert (cluster["action"], cluster["why"]) == (action, why)
    assert (cluster["minutes"] > 0) == (action == "upgrade")


def test_minutes_follow_from_the_model_and_from_what_goes_at_the_same_time() -> None:
    one = planning.minutes(definition("a"), HOPS)
    # Two hops, each with a start and three control planes; the workers come along once, in three batches and three.
    assert one == 2 * (planning.START_MINUTES + 3 * planning.CONTROL_PLANE_MINUTES) + 6 * planning.BATCH_MINUTES
    replaced = definition("a")
    replaced["pools"] = [{**pool, "rollout": {**pool["rollout"], "strategy": "replace"}} for pool in replaced["pools"]]
    # Eight machines, each with a successor of its own.
    assert planning.minutes(replaced, HOPS) - one == 2 * planning.BATCH_MINUTES
    (wave,) = make({"a": seen(), "b": seen(), "c": seen()})["waves"]
    assert wave["minutes"] == 2 * one + 10


def test_foundations_without_a_fleet_file_come_last_as_one_wave_each() -> None:
    there = {name: definition(name, foundation) for name, foundation in (("a", "office"), ("b", "lab"), ("c", "dmz"), ("d", "dmz"))}
    plan = make({}, **there)
    assert [(wave["foundation"], wave["name"], [one["name"] for one in wave["clusters"]]) for wave in plan["waves"]] == [
        ("lab", "all", ["b"]),
        ("dmz", "all", ["c", "d"]),
        ("office", "all", ["a"]),
    ]


def test_the_digest_changes_with_what_the_plan_rests_on() -> None:
    there = {"a": definition("a")}
    digest = planning.digest_of(there, {"a": seen()})
    assert digest == planning.digest_of({"a": {**there["a"], "file": "/elsewhere/a.yml"}}, {"a": seen()})
    assert digest == planning.digest_of(there, {"a": seen(finding("UPGRADE_NODE_CORDONED", "warning"))})
    others = [
        planning.digest_of({"a": {**there["a"], "kubernetes_version": "1.36.4"}}, {"a": seen()}),
        planning.digest_of(there, {"a": {**seen(), "versions": {"oldest": "1.35.4"}}}),
        planning.digest_of(there, {"a": seen(finding("UPGRADE_ETCD_ALARM"))}),
        planning.digest_of(there, {"a": {"problem": "silent"}}),
    ]
    assert len({digest, *others}) == 5


def test_the_plan_is_plain_data_with_an_id_and_an_end() -> None:
    plan = make({"a": seen()})
    assert json.loads(json.dumps(plan)) == plan
    assert (plan["created"], plan["expires"]) == ("2026-11-23T12:00:00Z", "2026-11-24T12:00:00Z")
    assert len(plan["plan_id"]) == 12 and plan["plan_id"] == make({"a": seen()})["plan_id"]


def test_what_changed_since_a_plan_is_told_by_name() -> None:
    plan = make({"a": seen(), "b": seen(), "c": seen()})
    assert planning.changes_since(plan, make({"a": seen(), "b": seen(), "c": seen()})) == []
    moved = {**seen(), "versions": {"oldest": "1.35.4"}}
    assert planning.changes_since(plan, make({"a": moved, "b": seen(finding("UPGRADE_ETCD_ALARM")), "d": seen()})) == [
        "a: was 1.34.4 upgrade 1.35.4 -> 1.36.3, is 1.35.4 upgrade 1.35.4 -> 1.36.3",
        "b: was 1.34.4 upgrade 1.35.4 -> 1.36.3, is 1.34.4 blocked 1.35.4 -> 1.36.3 in the way: UPGRADE_ETCD_ALARM",
        "c: there is no such cluster any more",
        "d: is new",
    ]
    # What a run does to a cluster is no change; that it is to be something else now is one.
    assert planning.changes_since(plan, make({"a": moved, "b": seen(), "c": seen()}), begun=["a"]) == []
    other = make({}, a={**definition("a"), "kubernetes_version": "1.36.4"}, b=definition("b"), c=definition("c"))
    assert "a: its definition is another one: 1.36.3 -> 1.36.4" in planning.changes_since(plan, other, begun=["a"])


def test_other_waves_and_terms_are_changes() -> None:
    def planned(**terms: object) -> dict:
        there = {"a": definition("a")}
        return planning.make_plan(planning.fleets_of([{**FILE, **terms}], there.values()), there, {"a": seen()}, NOW, DAY)

    assert planning.changes_since(planned(), planned(max_clusters_in_flight=3)) == ["wave lab/all: max_clusters_in_flight was 2, is 3"]
    renamed = planned(waves=[{"name": "first", "clusters": {}, "canary": False, "soak": "10m"}])
    assert planning.changes_since(planned(), renamed) == [
        "wave lab/all: there is no such wave any more",
        "wave lab/first: is new",
        "a: was in wave lab/all, is in wave lab/first",
    ]


def test_a_plan_without_a_look_runs_in_every_cluster() -> None:
    there = {"a": definition("a"), "b": definition("b")}
    plan = planning.make_plan(planning.fleets_of([FILE], there.values()), there, None, NOW, DAY)
    assert [one["action"] for one in plan["waves"][0]["clusters"]] == ["run", "run"]
