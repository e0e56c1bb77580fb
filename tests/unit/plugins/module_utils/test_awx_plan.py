# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a fleet on its way through a workflow of AWX."""

from __future__ import annotations

import datetime as dt
import hashlib

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._awx import plan as awx
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError


def cluster(name, action="upgrade", present="1.36.2", target="1.36.3", why="", **changes):
    digest = hashlib.sha256(name.encode()).hexdigest()
    return {
        "name": name, "action": action, "present": present, "target": target, "hops": [target], "why": why, "definition": digest,
        "digest": digest[::-1], **changes,
    }  # fmt: skip


def wave(name, *clusters, canary=False, **changes):
    terms = {"max_clusters_in_flight": 2, "failure_budget": 1, "on_failure": "stop", "soak": 60.0}
    return {"foundation": "lab", "name": name, "canary": canary, **terms, "clusters": list(clusters), **changes}


def plan(*waves):
    head = {"plan_id": "5f2b8a91c0d4", "created": "2026-11-23T00:00:00Z", "expires": "2026-11-24T00:00:00Z"}
    return {**head, "waves": list(waves), "left_out": [{"name": "legacy", "foundation": "lab", "why": "moves away"}]}


FLEET = plan(
    wave("canaries", cluster("a"), canary=True),
    wave("one", cluster("b"), cluster("c")),
    wave("none"),
    wave("two", cluster("d")),
    wave("three", cluster("e")),
)


def names(waves):
    return [one["name"] for one in awx.clusters_of(waves)]


def test_a_plan_comes_out_as_it_went_in():
    out = awx.carried(awx.carry(FLEET))
    assert (out["plan_id"], out["expires"]) == (FLEET["plan_id"], FLEET["expires"])
    for was, now in zip(FLEET["waves"], out["waves"]):
        assert {key: value for key, value in now.items() if key != "clusters"} == {
            key: value for key, value in was.items() if key != "clusters"
        }
        for before, after in zip(was["clusters"], now["clusters"]):
            assert after["definition"] and before["definition"].startswith(after["definition"])
            assert all(after[key] == before[key] for key in ("name", "action", "present", "target", "hops", "why"))


def test_it_is_one_line_that_nothing_takes_for_a_template():
    text = awx.carry(FLEET)
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")


def test_a_thousand_clusters_fit_and_a_fleet_that_does_not_is_refused():
    clusters = [cluster(f"{hashlib.md5(str(one).encode()).hexdigest()[:20]}") for one in range(4000)]
    assert len(awx.carry(plan(wave("all", *clusters[:600])))) < awx.MOST
    with pytest.raises(FlotillaError) as error:
        awx.carry(plan(wave("all", *clusters)))
    assert error.value.code == "AWX_PLAN_TOO_LARGE"


@pytest.mark.parametrize(
    ("text", "code"), [("", "FLEET_PLAN_MISSING"), ("rubbish", "FLEET_PLAN_INVALID"), ("eJwDAAAAAAE=", "FLEET_PLAN_INVALID")]
)
def test_what_is_no_plan(text, code):
    with pytest.raises(FlotillaError) as error:
        awx.carried(text)
    assert error.value.code == code


@pytest.mark.parametrize(
    ("stage", "stages", "expected"),
    [
        ("canary", 2, ["a"]),
        ("1", 2, ["b", "c"]),
        ("2", 2, ["d", "e"]),
        ("2", 4, ["d"]),
        ("4", 4, []),
        ("all", 2, ["a", "b", "c", "d", "e"]),
    ],
)
def test_stages(stage, stages, expected):
    assert names(awx.stage_of(FLEET, stage, stages)) == expected


@pytest.mark.parametrize("stages", range(1, 7))
def test_every_cluster_is_in_one_stage(stages):
    found = [name for stage in ("canary", *map(str, range(1, stages + 1))) for name in names(awx.stage_of(FLEET, stage, stages))]
    assert found == ["a", "b", "c", "d", "e"]


def test_a_fleet_without_canaries_has_an_empty_canary_stage():
    assert awx.stage_of(plan(wave("one", cluster("b"))), "canary", 1) == []


@pytest.mark.parametrize("stage", ["0", "3", "first", ""])
def test_a_stage_that_is_none(stage):
    with pytest.raises(FlotillaError) as error:
        awx.stage_of(FLEET, stage, 2)
    assert error.value.code == "AWX_STAGE_UNKNOWN"


def test_clusters_are_chosen_by_version_and_pattern():
    mixed = plan(wave("one", cluster("b"), cluster("shop-1", target="1.37.0"), cluster("shop-2", target="1.37.0")))
    assert names(awx.choose(mixed, "1.37.0")["waves"]) == ["shop-1", "shop-2"]
    assert names(awx.choose(mixed, "latest-patch")["waves"]) == ["b"]
    assert names(awx.choose(mixed, "", "shop-*")["waves"]) == ["shop-1", "shop-2"]
    chosen = awx.choose(mixed, "v1.37.0", "shop-2, b")
    assert names(chosen["waves"]) == ["shop-2"]
    assert {one["name"]: one["why"] for one in chosen["left_out"]} == {
        "legacy": "moves away",
        "b": "its definition says 1.36.3",
        "shop-1": "was not asked for",
    }


@pytest.mark.parametrize(
    ("version", "clusters", "code"),
    [("1.38.0", "", "AWX_NO_CLUSTER"), ("", "shop-*", "AWX_CLUSTER_UNKNOWN"), ("", "legacy", "AWX_NO_CLUSTER")],
)
def test_a_choice_of_nothing_is_an_error(version, clusters, code):
    with pytest.raises(FlotillaError) as error:
        awx.choose(FLEET, version, clusters)
    assert error.value.code == code


def test_one_cluster_is_upgraded_only_as_planned():
    carried = awx.carried(awx.carry(plan(wave("one", cluster("b"), cluster("c", action="blocked", why="in the way: X")))))
    digest = cluster("b")["definition"]
    assert awx.planned(carried, "b", digest, "1.36.3")["name"] == "b"
    for name, of, target, code in (
        ("b", digest, "1.36.4", "FLEET_PLAN_STALE"),
        ("b", "0" * 64, "1.36.3", "FLEET_PLAN_STALE"),
        ("c", cluster("c")["definition"], "1.36.3", "AWX_NOT_PLANNED"),
        ("x", digest, "1.36.3", "AWX_NOT_PLANNED"),
    ):
        with pytest.raises(FlotillaError) as error:
            awx.planned(carried, name, of, target)
        assert error.value.code == code


def test_a_plan_is_good_for_its_time():
    carried = awx.carried(awx.carry(FLEET))
    assert not awx.is_expired(carried, dt.datetime(2026, 11, 23, 23, 59, tzinfo=dt.timezone.utc))
    assert awx.is_expired(carried, dt.datetime(2026, 11, 24, tzinfo=dt.timezone.utc))


def test_a_wave_goes_on_with_what_was_begun_and_leaves_what_is_not_as_planned():
    waves = awx.carried(awx.carry(plan(wave("one", *map(cluster, "abcdef")))))["waves"]
    present = {name: {**cluster(name), "interrupted": False} for name in "abcde"}
    present["b"].update(action="nothing", why="every part of it runs 1.36.3", digest="other")
    present["c"].update(digest="other", interrupted=True)
    present["d"].update(digest="other", why="in the way: X")
    present["e"].update(definition="other", target="1.36.4")
    now, refused = awx.settled(waves, present)
    assert {one["name"]: one["action"] for one in awx.clusters_of(now)}["b"] == "nothing"
    assert refused == {
        "d": "it is not as planned any more: in the way: X",
        "e": "its definition is not that of the plan any more: 1.36.3, now 1.36.4",
        "f": "the inventory holds no such cluster any more",
    }


def test_a_plan_is_fulfilled_by_what_is_seen_and_nothing_else():
    carried = awx.carried(awx.carry(plan(wave("one", *map(cluster, "abcd"), cluster("e", action="unknown", why="no answer")))))

    def seen(oldest, hops=(), interrupted=()):
        return {"versions": {"oldest": oldest, "interrupted": list(interrupted)}, "hops": list(hops)}

    now = {
        "a": seen("1.36.3"),
        "b": seen("1.36.2", [{"version": "1.36.3"}]),
        "c": seen("1.36.3", (), ["c-1"]),
        "d": {"problem": "no route"},
    }
    assert {one["name"]: (one["result"], one["why"]) for one in awx.fulfilled(carried, now)} == {
        "a": ("done", ""),
        "b": ("not done", "it runs 1.36.2, not 1.36.3"),
        "c": ("not done", "a run ended in its midst, at c-1"),
        "d": ("not done", "no route"),
        "e": ("not done", "nobody looked at it; it was left out: no answer"),
    }
