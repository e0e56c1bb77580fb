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
