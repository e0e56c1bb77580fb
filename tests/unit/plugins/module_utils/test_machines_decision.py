# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who removes what a plan takes away, and with whose consent."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.decision import DEFER, NOW, REFUSE, Wish, decide
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.model import (
    CONTROL_PLANE,
    CONTROL_PLANE_POOL,
    INCOMPLETE,
    RUNNING,
    WORKER,
    Machine,
    MachineGroup,
)


def machine(number, pool="a", state=RUNNING):
    role = CONTROL_PLANE if pool == CONTROL_PLANE_POOL else WORKER
    return Machine(f"i-{number}", f"demo-{pool}-{number}", "demo", pool, role, "z1", state, spec_hash="same")


def group(count, pool="a"):
    return MachineGroup("demo", pool, CONTROL_PLANE if pool == CONTROL_PLANE_POOL else WORKER, count, ("z1",), "same")


def actions(steps):
    return sorted(step.action for step in steps)


def code(*arguments, **options):
    with pytest.raises(FlotillaError) as caught:
        decide(*arguments, **options)
    return caught.value.code


THREE = [machine(number) for number in range(3)]
PLANES = [machine(number, CONTROL_PLANE_POOL) for number in range(3)]


def test_refuse_now_and_defer():
    assert code([group(2)], THREE, Wish(REFUSE)) == "MACHINES_BRAKE"
    now = decide([group(2)], THREE, Wish(NOW))
    assert actions(now.steps) == actions(now.plan) == ["delete", "keep", "keep"] and now.leaving == [] and now.changes
    later = decide([group(2)], THREE, Wish(DEFER))
    assert actions(later.plan) == ["delete", "keep", "keep"] and actions(later.steps) == ["keep"] * 3 and not later.changes
    assert [one.id for one in later.leaving] == later.consented == ["i-0"]
    assert next(step for step in later.steps if step.machine.id == "i-0").later == "delete"


def test_a_stopped_control_plane_that_may_not_go_is_told_with_the_numbers():
    stopped = [PLANES[0], *(dataclasses.replace(one, state="stopped") for one in PLANES[1:])]
    decision = decide([group(3, CONTROL_PLANE_POOL)], stopped, Wish(DEFER, replace=("i-1",)))
    step = next(step for step in decision.plan if step.machine.id == "i-1")
    assert (step.action, step.later) == ("start", "replace")
    assert "it is stopped" in step.reason and "1 of 3 control planes serve, and removing one takes 2" in step.reason


def test_leftovers_are_nobody_to_wait_for():
    decision = decide([group(2)], [*THREE[:2], machine(9, state=INCOMPLETE)], Wish(DEFER))
    assert actions(decision.steps) == ["delete", "keep", "keep"] and decision.leaving == []


def test_a_dead_machine_is_named_before_anything_is_done():
    dead = [*THREE[:2], machine(7, state="impaired")]
    with pytest.raises(FlotillaError) as caught:
        decide([group(3)], dead, Wish(DEFER))
    assert caught.value.code == "MACHINE_DEAD" and "demo-a-7 (impaired)" in str(caught.value) and "machine_replace" in str(caught.value)
    assert not decide([group(3)], dead, Wish(NOW)).changes, "a plan shows it"
    assert decide([group(3)], dead, Wish(DEFER, replace=("i-7",))).changes
    assert [one.id for one in decide([group(2)], dead, Wish(DEFER)).leaving] == ["i-7"]


def test_consent_by_plan_then_by_the_ids_that_it_named():
    assert code([group(1)], THREE, Wish(DEFER)) == "MACHINES_BRAKE"
    plan_id = decide([group(1)], THREE, Wish(NOW)).plan_id
    first = decide([group(1)], THREE, Wish(DEFER, plan_id=plan_id))
    assert len(first.leaving) == 2 and len(first.consented) == 2
    rest = [one for one in THREE if one.id != first.leaving[0].id]
    assert code([group(1)], rest, Wish(DEFER, plan_id=plan_id)) == "MACHINES_PLAN_OUTDATED"
    assert [one.id for one in decide([group(1)], rest, Wish(DEFER, consent=tuple(first.consented))).leaving] == [first.leaving[1].id]
    assert code([group(0)], rest, Wish(DEFER, consent=tuple(first.consented))) == "MACHINES_BRAKE"


def test_control_planes_leave_one_by_one_under_one_consent():
    plan_id = decide([group(1, CONTROL_PLANE_POOL)], PLANES, Wish(NOW)).plan_id
    decision = decide([group(1, CONTROL_PLANE_POOL)], PLANES, Wish(DEFER, plan_id=plan_id))
    assert len(decision.leaving) == 1 and len(decision.consented) == 2


def test_etcd_decides_which_control_plane_is_dead():
    etcd = {one.name: number != 2 for number, one in enumerate(PLANES)}
    alive = decide([group(3, CONTROL_PLANE_POOL)], PLANES, Wish(DEFER, replace=("i-0",)))
    assert actions(alive.steps) == ["keep", "keep", "replace"], "its successor is made first"
    dead = decide([group(3, CONTROL_PLANE_POOL)], PLANES, Wish(DEFER, replace=("i-2",), etcd=etcd))
    assert [one.id for one in dead.leaving] == ["i-2"] and not dead.changes, "etcd must not grow while a member is dead"
    two_dead = {**etcd, PLANES[1].name: False}
    refused = decide([group(3, CONTROL_PLANE_POOL)], PLANES, Wish(DEFER, replace=("i-2",), etcd=two_dead))
    assert refused.leaving == [] and "1 of 3 control planes serve" in next(s.reason for s in refused.plan if s.machine.id == "i-2")


def test_a_plan_of_one_pool_leaves_all_others_as_they_are():
    groups = [group(3), group(5, "b"), group(0, CONTROL_PLANE_POOL)]
    others = [machine(7, "b"), machine(8, "gone"), *(dataclasses.replace(one, id=f"c-{one.id}") for one in PLANES)]
    decision = decide(groups, [*THREE, *others], Wish(DEFER, replace=("i-0", "i-1"), pools=("a",)))
    assert actions(decision.steps) == ["keep", "replace", "replace"] and {step.pool for step in decision.plan} == {"a"}
    # One of two successors is there, and nobody has to agree to what the definition's strategy takes away.
    again = decide(groups, [*THREE, machine(3), machine(4), *others], Wish(DEFER, consent=("i-0", "i-1"), pools=("a",)))
    assert [one.id for one in again.leaving] == ["i-0", "i-1"] and actions(again.steps) == ["keep"] * 5
