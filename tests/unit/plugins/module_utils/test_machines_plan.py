# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine engine: properties over arbitrary pools and machines, and the brake."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines import plan as planning
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.model import (
    CONTROL_PLANE,
    CONTROL_PLANE_POOL,
    INCOMPLETE,
    RUNNING,
    STOPPED,
    WORKER,
    Machine,
    MachineGroup,
)
from hypothesis import given
from hypothesis import strategies as st

SPEC = "v1-same"


def machine(number=1, pool="a", zone="z1", state=RUNNING, spec=SPEC, cluster="demo"):
    role = CONTROL_PLANE if pool == CONTROL_PLANE_POOL else WORKER
    name = f"{cluster}-{pool}-{number:08x}"
    return Machine(name, name, cluster, pool, role, zone, state, {"private": "10.0.0.1", "public": None}, "", spec, "uid")


def group(pool="a", count=1, zones=("z1", "z2")):
    return MachineGroup("demo", pool, CONTROL_PLANE if pool == CONTROL_PLANE_POOL else WORKER, count, zones, SPEC)


POOLS = [CONTROL_PLANE_POOL, "a", "b"]
ZONES = ["z1", "z2", "z3"]


@st.composite
def groups(draw):
    pools = [CONTROL_PLANE_POOL, *draw(st.lists(st.sampled_from(["a", "b"]), unique=True))]
    return [
        group(
            pool,
            draw(st.sampled_from([1, 3, 5])) if pool == CONTROL_PLANE_POOL else draw(st.integers(0, 6)),
            tuple(draw(st.lists(st.sampled_from(ZONES), min_size=1, unique=True))),
        )
        for pool in pools
    ]


@st.composite
def observations(draw):
    numbers = draw(st.lists(st.integers(1, 10**6), unique=True, max_size=14))
    return [
        machine(
            number,
            draw(st.sampled_from([*POOLS, "gone"])),
            draw(st.sampled_from(ZONES)),
            draw(st.sampled_from([RUNNING, RUNNING, STOPPED, INCOMPLETE, "dead"])),
            draw(st.sampled_from([SPEC, SPEC, "v1-other"])),
            draw(st.sampled_from(["demo", "demo", "demo", "another"])),
        )
        for number in numbers
    ]


def apply(steps, observed):
    """Do a plan the way a cloud would."""
    numbers = itertools.count(2 * 10**6)
    result = {item.id: item for item in observed}
    for step in steps:
        if step.action == "delete":
            del result[step.machine.id]
        elif step.action == "start":
            result[step.machine.id] = dataclasses.replace(step.machine, state=RUNNING)
        elif step.action == "create":
            made = machine(next(numbers), step.pool, step.zone)
            result[made.id] = made
    return list(result.values())


@given(groups(), observations())
def test_plans_reach_what_is_wanted_and_then_there_is_nothing_to_do(wanted, observed):
    world = observed
    for _round in range(20):
        steps = planning.plan(wanted, world)
        if all(step.action == "keep" for step in steps):
            break
        world = apply(steps, world)
    else:
        pytest.fail("the plan does not converge")
    sizes = Counter(item.pool for item in world if item.cluster == "demo")
    if any(step.later == "delete" for step in steps):
        control_planes = [item for item in world if item.cluster == "demo" and item.pool == CONTROL_PLANE_POOL]
        serving = sum(item.state == RUNNING for item in control_planes)
        assert serving < planning.quorum(len(control_planes)), "nothing but a lost quorum keeps machines that are too many"
        del sizes[CONTROL_PLANE_POOL]
        wanted = [item for item in wanted if item.pool != CONTROL_PLANE_POOL]
    assert sizes == Counter({item.pool: item.count for item in wanted if item.count})
    assert not [item for item in world if item.cluster == "demo" and item.state in (STOPPED, INCOMPLETE)]


@given(groups(), observations())
def test_one_plan_is_enough_unless_a_control_plane_shrinks(wanted, observed):
    steps = planning.plan(wanted, apply(planning.plan(wanted, observed), observed))
    assert all(step.action == "keep" or (step.action == "delete" and step.role == CONTROL_PLANE) for step in steps)


@given(groups(), observations())
def test_control_plane_shrinks_by_one_at_most(wanted, observed):
    leaving = [step for step in planning.plan(wanted, observed) if step.action == "delete" and step.role == CONTROL_PLANE]
    assert sum(1 for step in leaving if step.machine.state != INCOMPLETE) <= 1


@given(groups(), observations(), st.randoms())
def test_order_of_the_input_does_not_matter(wanted, observed, random):
    mixed_groups, mixed = random.sample(wanted, len(wanted)), random.sample(observed, len(observed))
    assert planning.plan(mixed_groups, mixed) == planning.plan(wanted, observed)


@given(groups(), observations())
def test_no_foreign_machine_is_touched(wanted, observed):
    assert all(step.machine is None or step.machine.cluster == "demo" for step in planning.plan(wanted, observed))
    ours = [item for item in observed if item.cluster == "demo"]
    assert planning.plan(wanted, ours) == planning.plan(wanted, observed)


@given(st.integers(0, 12), st.integers(1, 3))
def test_new_machines_are_spread_over_the_zones(count, zones):
    wanted = [group("a", count, tuple(ZONES[:zones]))]
    population = Counter(step.zone for step in planning.plan(wanted, []))
    assert sum(population.values()) == count
    assert max(population.values(), default=0) - min((population[zone] for zone in ZONES[:zones]), default=0) <= 1


def test_dead_then_outdated_then_from_the_fullest_zone():
    observed = [
        machine(1, zone="z1"),
        machine(2, zone="z1"),
        machine(3, zone="z2", spec="v1-other"),
        machine(4, zone="z2", state="dead"),
        machine(5, zone="z2"),
    ]
    leaving = [step.machine.id[-1] for step in planning.plan([group(count=2)], observed) if step.action == "delete"]
    assert leaving == ["4", "3", "1"]


def test_changed_specification_keeps_the_machine_and_says_so():
    (step,) = planning.plan([group()], [machine(spec="v1-other")])
    assert step.action == "keep" and "specification" in step.reason


DEFINITION = {
    "name": "demo",
    "image": {"family": "debian-13"},
    "control_plane": {"count": 3, "machine": {}, "zones": ["z1"]},
    "pools": [{"name": "a", "count": 2, "machine": {"size": "x"}, "zones": ["z1", "z2"]}],
}


def test_desired_groups_of_a_definition():
    control_plane, pool = planning.desired_groups(DEFINITION)
    assert (control_plane.pool, control_plane.role, control_plane.count) == (CONTROL_PLANE_POOL, CONTROL_PLANE, 3)
    assert (pool.pool, pool.role, pool.count, pool.zones) == ("a", WORKER, 2, ("z1", "z2"))
    assert pool.spec_hash != control_plane.spec_hash


@pytest.mark.parametrize(("field", "value", "same"), [("count", 7, True), ("labels", {"x": "y"}, True), ("machine", {"size": "y"}, False)])
def test_spec_hash_covers_what_needs_a_new_machine_only(field, value, same):
    pool = DEFINITION["pools"][0]
    assert (planning.spec_hash(DEFINITION, {**pool, field: value}) == planning.spec_hash(DEFINITION, pool)) is same


def test_spec_hash_never_changes_with_a_release_of_ours():
    assert planning.spec_hash(DEFINITION, DEFINITION["pools"][0]) == "v1-fa3123720b3c"


def test_unique_suffix_repeats_for_the_same_view_only():
    view = ("uid", "a", "z1", ["x", "y"], SPEC, 0)
    assert planning.unique_suffix(*view) == planning.unique_suffix("uid", "a", "z1", ["y", "x"], SPEC, 0)
    others = [
        ("uid2", *view[1:]),
        ("uid", "b", *view[2:]),
        ("uid", "a", "z2", *view[3:]),
        (*view[:3], ["x"], *view[4:]),
        (*view[:4], "v1-other", 0),
        (*view[:5], 1),
    ]
    suffixes = {planning.unique_suffix(*other) for other in [view, *others]}
    assert len(suffixes) == 7 and all(len(suffix) == 8 for suffix in suffixes)


@pytest.mark.parametrize(
    ("have", "want", "held"),
    [(1, 0, True), (2, 1, True), (20, 19, True), (2, 2, False), (2, 3, False)],
)
def test_brake_on_a_pool(have, want, held):
    observed = [machine(number) for number in range(1, have + 1)]
    steps = planning.plan([group(count=want)], observed)
    if held:
        with pytest.raises(FlotillaError) as caught:
            planning.check_brake(steps, observed)
        assert caught.value.code == "MACHINES_BRAKE" and f"{have - want} of {have} in pool a" in str(caught.value)
    else:
        planning.check_brake(steps, observed)


def test_brake_holds_any_control_plane_but_no_leftover():
    observed = [machine(number, CONTROL_PLANE_POOL) for number in range(1, 4)]
    with pytest.raises(FlotillaError):
        planning.check_brake(planning.plan([group(CONTROL_PLANE_POOL, 1)], observed), observed)
    leftover = [*observed, machine(9, CONTROL_PLANE_POOL, state=INCOMPLETE)]
    steps = planning.plan([group(CONTROL_PLANE_POOL, 3)], leftover)
    assert [step.action for step in steps].count("delete") == 1
    planning.check_brake(steps, leftover)


# ---- rollouts: updates in place, replacements, quorum


def actions(steps):
    return {step.machine.name[-1]: (step.action, step.later) for step in steps if step.machine}


@given(groups(), observations(), st.randoms(), st.booleans())
def test_order_of_the_input_does_not_matter_to_a_rollout_either(wanted, observed, random, healthy):
    named = [item.id for item in observed[::3]]
    etcd = {item.id: healthy for item in observed[::2]}
    steps = planning.plan(wanted, observed, roll_out=True, replace=named, etcd=etcd)
    mixed_groups, mixed = random.sample(wanted, len(wanted)), random.sample(observed, len(observed))
    assert planning.plan(mixed_groups, mixed, roll_out=True, replace=named[::-1], etcd=etcd) == steps
    assert planning.plan_id(random.sample(steps, len(steps))) == planning.plan_id(steps)


@given(groups(), observations())
def test_each_machine_of_ours_has_one_step_with_a_reason_and_no_other_has_any(wanted, observed):
    steps = planning.plan(wanted, observed, roll_out=True)
    assert sorted(step.machine.id for step in steps if step.machine) == sorted(item.id for item in observed if item.cluster == "demo")
    assert all(step.reason for step in steps)


@given(groups(), observations())
def test_a_plan_takes_at_most_one_control_plane_and_leaves_a_quorum(wanted, observed):
    members = [item for item in observed if item.cluster == "demo" and item.pool == CONTROL_PLANE_POOL and item.state != INCOMPLETE]
    steps = planning.plan(wanted, observed, roll_out=True)
    going = [step.machine for step in steps if step.action == "delete" and step.machine in members]
    replaced = [step for step in steps if step.action == "replace" and step.role == CONTROL_PLANE]
    assert len(going) + len(replaced) <= 1
    if going:
        left = [item for item in members if item.state == RUNNING and item not in going]
        assert len(left) >= planning.quorum(len(members) - 1) and left


@pytest.mark.parametrize(
    ("fields", "changes", "words"),
    [
        ({"generation": "2"}, {"generation": "1"}, "generation 1, and the pool is to be of 2"),
        ({"image": "ami-2"}, {"image": "ami-1"}, "made from image ami-1, and the pool's is ami-2"),
        ({}, {"spec_hash": "v1-other"}, "specification has changed"),
        ({}, {"state": "dead"}, "it is dead"),
    ],
)
def test_what_needs_a_new_machine_is_replaced_with_the_reason(fields, changes, words):
    wanted = [dataclasses.replace(group(), **fields)]
    observed = [dataclasses.replace(machine(), **changes)]
    (step,) = planning.plan(wanted, observed, roll_out=True)
    assert step.action == "replace" and words in step.reason
    (kept,) = planning.plan(wanted, observed)
    assert (kept.action, kept.later) == ("keep", "")


def test_tags_and_attributes_change_in_place_and_tags_of_others_stay():
    wanted = dataclasses.replace(group(), tags={"a": "1", "b": "2"}, attributes={"groups": "sg-1"})
    observed = dataclasses.replace(machine(), tags={"a": "1", "b": "x", "theirs": "y"}, attributes={"groups": "sg-2", "other": "z"})
    (step,) = planning.plan([wanted], [observed])
    assert step.action == "update" and step.as_dict()["changes"] == {"tags": {"b": "2"}, "attributes": {"groups": "sg-1"}}
    assert step.reason == "tag b, groups differ from the definition"


def test_replacements_come_in_batches_and_one_by_one_for_a_control_plane():
    old = {"spec": "v1-other"}
    workers = [machine(number, **old) for number in range(1, 6)]
    steps = actions(planning.plan([dataclasses.replace(group(count=5), surge=2)], workers, roll_out=True))
    assert steps == {"1": ("replace", ""), "2": ("replace", ""), **dict.fromkeys("345", ("keep", "replace"))}
    control_planes = [machine(number, CONTROL_PLANE_POOL, **old) for number in (1, 2, 3)]
    wanted = [dataclasses.replace(group(CONTROL_PLANE_POOL, 3), surge=3)]
    steps = actions(planning.plan(wanted, control_planes, roll_out=True))
    assert steps == {"1": ("replace", ""), "2": ("keep", "replace"), "3": ("keep", "replace")}
    # With the successor there, the next plan takes the first one away.
    steps = actions(planning.plan(wanted, [*control_planes, machine(4, CONTROL_PLANE_POOL)], roll_out=True))
    assert steps["1"] == ("delete", "") and [step for step, _later in steps.values()].count("delete") == 1


def test_a_named_machine_is_replaced_although_nothing_is_wrong_with_it():
    observed = [machine(1), machine(2)]
    assert actions(planning.plan([group(count=2)], observed, replace=[observed[1].id])) == {"1": ("keep", ""), "2": ("replace", "")}
    steps = actions(planning.plan([group(count=2)], [*observed, machine(3)], replace=[observed[1].id]))
    assert steps == {"1": ("keep", ""), "2": ("delete", ""), "3": ("keep", "")}


def test_a_dead_control_plane_leaves_before_its_successor_is_made():
    observed = [machine(1, CONTROL_PLANE_POOL, state="dead"), machine(2, CONTROL_PLANE_POOL), machine(3, CONTROL_PLANE_POOL)]
    steps = planning.plan([group(CONTROL_PLANE_POOL, 3)], observed, roll_out=True)
    assert actions(steps)["1"] == ("delete", "") and "when it has left etcd" in steps[-1].reason


@pytest.mark.parametrize(
    ("states", "etcd", "words"),
    [
        (["dead", "dead", RUNNING], None, "1 of 3 control planes serve, and removing one takes 2"),
        (["dead"], None, "0 of 1 control planes serve, and removing one takes 1"),
        (["dead", RUNNING, RUNNING], [False, False, True], "1 of 3 control planes serve, and removing one takes 2"),
    ],
)
def test_without_quorum_no_control_plane_goes_and_the_numbers_say_why(states, etcd, words):
    observed = [machine(number, CONTROL_PLANE_POOL, state=state) for number, state in enumerate(states)]
    members = {item.id: healthy for item, healthy in zip(observed, etcd)} if etcd else None
    steps = planning.plan([group(CONTROL_PLANE_POOL, len(states))], observed, roll_out=True, etcd=members)
    assert actions(steps)["0"] == ("keep", "replace") and any(words in step.reason for step in steps)


def test_the_last_control_plane_never_goes():
    (step,) = planning.plan([group(CONTROL_PLANE_POOL, 0)], [machine(1, CONTROL_PLANE_POOL)])
    assert (step.action, step.later) == ("keep", "delete") and "0 of 0 control planes would serve" in step.reason


def test_of_too_many_control_planes_one_that_etcd_misses_goes_first():
    observed = [machine(number, CONTROL_PLANE_POOL) for number in range(5)]
    etcd = {item.id: number < 3 for number, item in enumerate(observed)}
    steps = actions(planning.plan([group(CONTROL_PLANE_POOL, 3)], observed, etcd=etcd))
    assert steps == {**dict.fromkeys("012", ("keep", "")), "3": ("delete", ""), "4": ("keep", "delete")}


def test_what_is_missing_is_made_before_anything_is_replaced():
    steps = planning.plan([group(count=3)], old(2), roll_out=True)
    assert [(step.action, step.later) for step in steps] == [("create", ""), ("keep", "replace"), ("keep", "replace")]


def test_a_control_plane_that_never_joined_etcd_may_go():
    observed = [machine(1, CONTROL_PLANE_POOL, state="dead"), *(machine(number, CONTROL_PLANE_POOL) for number in (2, 3))]
    etcd = {observed[1].id: True, observed[2].id: True}
    assert actions(planning.plan([group(CONTROL_PLANE_POOL, 3)], observed, roll_out=True, etcd=etcd))["1"] == ("delete", "")


# ---- the brake of a run that drains


def old(count, pool="a"):
    return [machine(number, pool, spec="v1-other") for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("have", "want", "held"),
    [(1, 0, True), (2, 1, False), (2, 0, True), (10, 9, False), (10, 8, True), (30, 27, False), (30, 26, True), (3, 3, False)],
)
def test_a_run_may_take_a_tenth_of_a_pool_and_at_least_one(have, want, held):
    observed = [machine(number) for number in range(1, have + 1)]
    steps = planning.plan([group(count=want)], observed)
    if held:
        with pytest.raises(FlotillaError) as caught:
            planning.check_brake(steps, observed, percent=10)
        assert caught.value.code == "MACHINES_BRAKE" and f"{have - want} of {have} in pool a" in str(caught.value)
        assert caught.value.details["plan_id"] == planning.plan_id(steps) and len(caught.value.details["machines"]) == have - want
        planning.check_brake(steps, observed, percent=10, consent=planning.plan_id(steps))
        planning.check_brake(steps, observed, percent=10, consent=[item.id for item in observed])
    else:
        planning.check_brake(steps, observed, percent=10)


def test_the_brake_counts_what_later_plans_take_too():
    observed = old(20)
    wanted = [group(count=20)]
    with pytest.raises(FlotillaError, match="20 of 20 in pool a"):
        planning.check_brake(planning.plan(wanted, observed, roll_out=True), observed, percent=10)
    few = [*old(2), *(machine(number) for number in range(3, 21))]
    planning.check_brake(planning.plan(wanted, few, roll_out=True), few, percent=10)


def test_no_pool_as_a_whole_and_no_control_plane_goes_without_consent():
    observed = [machine(1, "gone"), *(machine(number, CONTROL_PLANE_POOL) for number in (2, 3, 4))]
    with pytest.raises(FlotillaError, match="1 of 1 in pool gone"):
        planning.check_brake(planning.plan([group(CONTROL_PLANE_POOL, 3)], observed), observed, percent=10)
    with pytest.raises(FlotillaError, match="3 of 3 in pool control-plane"):
        steps = planning.plan([dataclasses.replace(group(CONTROL_PLANE_POOL, 3), generation="2")], observed[1:], roll_out=True)
        planning.check_brake(steps, observed[1:], percent=10)


def test_consent_to_one_plan_is_none_to_another():
    observed = [machine(number) for number in range(1, 11)]
    consent = planning.plan_id(planning.plan([group(count=7)], observed))
    with pytest.raises(FlotillaError) as caught:
        planning.check_brake(planning.plan([group(count=6)], observed), observed, percent=10, consent=consent)
    assert caught.value.code == "MACHINES_PLAN_OUTDATED" and consent in str(caught.value)


def test_idempotency_token_repeats_for_the_same_view_only():
    view = {"uid": "u", "group": group(), "zone": "z1", "count": 2, "live_ids": ["x", "y"], "request_hash": "r", "part": 0, "attempt": 0}
    token = planning.idempotency_token(**view)
    assert planning.idempotency_token(**{**view, "live_ids": ["y", "x"]}) == token and len(token) == 64
    others = [
        ("uid", "v"), ("group", group("b")), ("zone", "z2"), ("count", 3), ("live_ids", ["x"]), ("request_hash", "s"), ("part", 1),
        ("attempt", 1),
    ]  # fmt: skip
    tokens = {planning.idempotency_token(**{**view, key: value}) for key, value in others}
    assert len(tokens | {token}) == len(others) + 1
    names = planning.suffixes(token, 50)
    assert len(set(names)) == 50 and names[:3] == planning.suffixes(token, 3) and {len(name) for name in names} == {8}


def test_workers_that_are_named_get_their_successors_together_and_control_planes_do_not():
    workers = [machine(number) for number in range(1, 5)]
    steps = actions(planning.plan([group(count=4)], workers, replace=[workers[1].id, workers[3].id]))
    assert steps == {"1": ("keep", ""), "2": ("replace", ""), "3": ("keep", ""), "4": ("replace", "")}
    control_planes = [machine(number, CONTROL_PLANE_POOL) for number in (1, 2, 3)]
    steps = actions(planning.plan([group(CONTROL_PLANE_POOL, 3)], control_planes, replace=[item.id for item in control_planes]))
    assert [action for action, _later in steps.values()].count("replace") == 1
