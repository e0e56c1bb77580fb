# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets that go wave by wave by a clock of the test's own; the rules are checked on what happened, not by the rules' own code."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, field

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._fleet.rollout import (
    DONE,
    FAILED,
    LEFT_OUT,
    RUNNING,
    Rollout,
    State,
    states_of,
    waves_of,
)
from ansible_collections.flotilla.kubernetes.plugins.module_utils._fleet.waves import SKIP, STOP, Wave
from ansible_collections.flotilla.kubernetes.plugins.module_utils._fleet.windows import Windows
from hypothesis import given, settings
from hypothesis import strategies as st

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.timezone.utc)  # a Monday
MINUTE = dt.timedelta(minutes=1)
NIGHTS = Windows(({"days": ["mon", "tue", "wed"], "from": "22:00", "to": "02:00", "time_zone": "Europe/Berlin"},), ())
FROZEN = Windows((), ({"from": "2026-11-23T12:30", "to": "2026-11-23T18:00", "time_zone": "UTC", "reason": "a fair"},))
NEVER = Windows((), ({"from": "2026-11-01", "to": "2029-01-01", "time_zone": "UTC", "reason": "for ever"},))


@dataclass
class World:
    """Runs of clusters that take what the case says, and everything that was seen of them."""

    waves: list[Wave]
    minutes: dict[str, int]
    fails: set[str] = field(default_factory=set)
    windows: dict[str, Windows] = field(default_factory=dict)
    begun: dict[str, dt.datetime] = field(default_factory=dict)
    ended: dict[str, dt.datetime] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    most: int = 0

    def go(self, states: dict[str, State] | None = None, now: dt.datetime = NOON, stop_at: dt.datetime | None = None) -> Rollout:
        rollout = Rollout(self.waves, self.windows, states or {})
        running: dict[str, dt.datetime] = {}
        for _step in range(10_000):
            if stop_at and now >= stop_at:
                rollout.stop("somebody stopped it")
            decision = rollout.next(now)
            for name in decision.start:
                assert name not in self.begun, f"{name} was begun twice"
                self.begun[name], running[name] = now, now + self.minutes[name] * MINUTE
            self.left.update(decision.left_out)
            assert rollout.running == set(running)
            wave = self.wave_of(decision.start[0]) if decision.start else None
            assert wave is None or len(running) <= wave.in_flight
            self.most = max(self.most, len(running))
            if decision.over:
                assert not running
                return rollout
            moments = [*running.values(), *([decision.until] if decision.until else [])]
            assert moments, "it waits for nothing"
            assert not decision.until or decision.until > now
            now = min([*moments, *([stop_at] if stop_at and stop_at > now else [])])
            for name in sorted(name for name, end in running.items() if end <= now):
                self.ended[name] = running.pop(name)
                rollout.ended(name, now, "it broke" if name in self.fails else "")
        raise AssertionError("it does not end")

    def wave_of(self, name: str) -> Wave:
        return next(wave for wave in self.waves if name in wave.clusters)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    sizes = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    names = [[f"w{index}c{number}" for number in range(size)] for index, size in enumerate(sizes)]
    waves = []
    for index, clusters in enumerate(names):
        canary = draw(st.booleans())
        waves.append(
            Wave(
                f"w{index}",
                tuple(clusters),
                draw(st.integers(1, 3)),
                0 if canary else draw(st.integers(0, 2)),
                STOP if canary else draw(st.sampled_from([STOP, SKIP])),
                draw(st.sampled_from([0.0, 600.0])),
                canary,
            )
        )
    every = [name for wave in names for name in wave]
    windows = {name: draw(st.sampled_from([Windows(), NIGHTS, FROZEN, NEVER])) for name in every if draw(st.integers(0, 2)) == 0}
    fails = {name for name in every if draw(st.integers(0, 5)) == 0}
    return World(waves, {name: draw(st.integers(1, 200)) for name in every}, fails, windows)


@settings(max_examples=120, deadline=None)
@given(worlds(), st.one_of(st.none(), st.integers(0, 600)))
def test_every_fleet_keeps_the_rules(world: World, stopped: int | None) -> None:
    stop_at = None if stopped is None else NOON + stopped * MINUTE
    rollout = world.go(stop_at=stop_at)
    every = {name for wave in world.waves for name in wave.clusters}
    # Each in exactly one of the three, and as it really was.
    assert set(rollout.states) == every
    done = {name for name, state in rollout.states.items() if state.phase == DONE}
    failed = {name for name, state in rollout.states.items() if state.phase == FAILED}
    left = {name for name, state in rollout.states.items() if state.phase == LEFT_OUT}
    assert done == set(world.begun) - world.fails and failed == set(world.begun) & world.fails and left == set(world.left)
    assert all(rollout.states[name].why for name in failed | left)
    assert [rollout.counts[phase] for phase in (DONE, FAILED, LEFT_OUT, RUNNING)] == [len(done), len(failed), len(left), 0]
    assert rollout.pending == 0
    for name, moment in world.begun.items():
        assert name not in world.windows or world.windows[name].at(moment).open
        assert not stop_at or moment < stop_at
    for index, wave in enumerate(world.waves):
        begins = [world.begun[name] for later in world.waves[index + 1 :] for name in later.clusters if name in world.begun]
        ends = [world.ended[name] for name in wave.clusters if name in world.ended]
        if begins and ends:
            assert min(begins) >= max(ends) + dt.timedelta(seconds=wave.soak)
        failures = sorted(world.ended[name] for name in wave.clusters if name in failed)
        if len(failures) > wave.budget:
            spent = failures[wave.budget]
            assert all(world.begun[name] < spent for name in wave.clusters if name in world.begun)
            if wave.on_failure == STOP:
                assert not begins
        if wave.canary and (set(wave.clusters) & (failed | left)):
            assert not begins
    # Whoever is left out without a stop, a spent budget or windows that never open has no reason to be.
    if not stop_at and not failed and not any(one is NEVER for one in world.windows.values()):
        assert done == every


@settings(max_examples=40, deadline=None)
@given(worlds(), st.data())
def test_a_fleet_that_is_gone_on_with_ends_as_if_nothing_had_happened(world: World, data: st.DataObject) -> None:
    """As far as no failure decides: what was done stays done, and only the others are begun."""
    world.fails, world.windows = set(), {}
    done = {name: State(DONE, NOON) for wave in world.waves for name in wave.clusters if data.draw(st.booleans())}
    rollout = world.go(dict(done))
    assert {state.phase for state in rollout.states.values()} <= {DONE}
    assert set(world.begun) == {name for wave in world.waves for name in wave.clusters} - set(done)


def test_a_failed_canary_leaves_all_others_untouched() -> None:
    waves = [Wave("canaries", ("a", "b"), 1, 0, STOP, 0.0, True), Wave("rest", ("c", "d"), 2)]
    world = World(waves, dict.fromkeys("abcd", 5), {"a"})
    world.go()
    assert list(world.begun) == ["a"]
    assert world.left == dict.fromkeys("bcd", "the canary a failed")


def test_a_canary_that_can_not_be_tried_leaves_all_others_untouched() -> None:
    waves = [Wave("canaries", ("a", "b"), 1, 0, STOP, 0.0, True), Wave("rest", ("c",))]
    world = World(waves, dict.fromkeys("abc", 5))
    rollout = world.go({"b": State(LEFT_OUT, None, "in the way: UPGRADE_ETCD_ALARM")})
    assert not world.begun and rollout.states["c"].why == "the canary b is left out: in the way: UPGRADE_ETCD_ALARM"


@pytest.mark.parametrize(("on_failure", "begun"), [(STOP, ["a", "b"]), (SKIP, ["a", "b", "e"])])
def test_a_spent_budget_stops_the_fleet_or_skips_the_wave(on_failure, begun) -> None:
    world = World([Wave("one", ("a", "b", "c", "d"), 1, 1, on_failure), Wave("two", ("e",))], dict.fromkeys("abcde", 5), {"a", "b"})
    world.go()
    assert list(world.begun) == begun
    assert world.left["c"] == "2 clusters of wave one failed, and 1 may"


def test_a_wave_waits_until_the_one_before_has_soaked_and_no_longer() -> None:
    world = World([Wave("one", ("a", "b"), 2, soak=600.0), Wave("two", ("c",), soak=600.0)], {"a": 3, "b": 7, "c": 1})
    world.go()
    assert world.begun["c"] == NOON + 17 * MINUTE


def test_a_soak_of_an_earlier_run_counts() -> None:
    waves = [Wave("one", ("a",), soak=600.0), Wave("two", ("b",))]
    world = World(waves, {"a": 1, "b": 1})
    world.go({"a": State(DONE, NOON - 8 * MINUTE)})
    assert world.begun == {"b": NOON + 2 * MINUTE}
    nothing = World(waves, {"a": 1, "b": 1})
    nothing.go({"a": State(DONE)})
    assert nothing.begun == {"b": NOON}, "nothing was run in a, so there is nothing to soak"


def test_windows_are_kept_to_the_second() -> None:
    world = World([Wave("one", ("a", "b", "c"), 1)], {"a": 40, "b": 5, "c": 5}, windows={"b": FROZEN, "c": NIGHTS})
    rollout = Rollout(world.waves, world.windows, {})
    assert rollout.next(NOON).start == ("a",)
    rollout.ended("a", NOON + 40 * MINUTE)
    waits = rollout.next(NOON + 40 * MINUTE)
    assert (waits.start, waits.until, waits.waits_for) == ((), NOON.replace(hour=18), "frozen: a fair")
    assert rollout.next(NOON.replace(hour=18) - dt.timedelta(seconds=1)).start == ()
    assert rollout.next(NOON.replace(hour=18)).start == ("b",)
    rollout.ended("b", NOON.replace(hour=18, minute=5))
    assert rollout.next(NOON.replace(hour=18, minute=5)).until == NOON.replace(hour=21)
    # A clock that goes back, as after a bad sync, opens nothing.
    assert rollout.next(NOON).start == ()
    assert rollout.next(NOON.replace(hour=21)).start == ("c",)


def test_a_cluster_that_waits_for_its_window_does_not_hold_the_others_of_its_wave() -> None:
    world = World([Wave("one", ("a", "b", "c"), 1)], dict.fromkeys("abc", 5), windows={"a": NIGHTS})
    world.go()
    assert sorted(world.begun, key=world.begun.get) == ["b", "c", "a"]


def test_a_running_cluster_of_an_earlier_run_is_not_begun_and_has_its_place() -> None:
    rollout = Rollout([Wave("one", ("a", "b"), 1)], {}, {"a": State(RUNNING)})
    assert rollout.next(NOON).start == ()
    rollout.ended("a", NOON)
    assert rollout.next(NOON).start == ("b",)


def test_a_cluster_taken_out_again_is_left_out() -> None:
    rollout = Rollout([Wave("one", ("a", "b"), 1)], {}, {})
    assert rollout.next(NOON).start == ("a",)
    rollout.leave_out("a", "its definition is another one")
    assert rollout.next(NOON).start == ("b",)
    assert rollout.states["a"].phase == LEFT_OUT


def test_the_states_of_a_plan() -> None:
    def stage(*clusters: dict) -> dict:
        terms = {"max_clusters_in_flight": 2, "failure_budget": 1, "on_failure": "skip", "soak": 60.0, "canary": False}
        return {"foundation": "lab", "name": "all", "clusters": list(clusters), **terms}

    plan = {
        "waves": [
            stage(*({"name": action, "action": action, "why": f"is {action}"} for action in ("upgrade", "nothing", "blocked", "unknown")))
        ]
    }
    assert waves_of(plan) == [Wave("lab/all", ("upgrade", "nothing", "blocked", "unknown"), 2, 1, "skip", 60.0, False)]
    assert states_of(plan, {}) == {
        "nothing": State(DONE, None, "is nothing"),
        "blocked": State(LEFT_OUT, None, "is blocked"),
        "unknown": State(LEFT_OUT, None, "is unknown"),
    }
    assert states_of(plan, {"blocked": State(DONE, NOON)})["blocked"] == State(DONE, NOON)


def test_a_step_costs_the_same_in_a_fleet_of_any_size() -> None:
    def per_cluster(size: int) -> float:
        names = tuple(f"c{number}" for number in range(size))
        world = World([Wave("one", names, 10)], dict.fromkeys(names, 1), windows=dict.fromkeys(names, NIGHTS))
        rollout = Rollout(world.waves, world.windows, {})
        now, began = NOON.replace(hour=21), time.process_time()
        decision = rollout.next(now)
        while not decision.over:
            for name in decision.start:
                rollout.ended(name, now)
            decision = rollout.next(now)
        return (time.process_time() - began) / size

    small = min(per_cluster(500) for _try in range(3))
    assert per_cluster(10_000) < 6 * small, "a step is not linear"
