# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of a pool are replaced by what is live alone, from whatever a killed run left."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.filter.upgrade_rolls import upgrade_rolls
from ansible_collections.flotilla.kubernetes.plugins.filter.upgrade_workers import upgrade_workers
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.plan import spec_hash
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.roll import rolls, surge_of
from hypothesis import given, settings
from hypothesis import strategies as st

OLD, NEW = "1.35.4", "1.36.3"


def pool(count: int, surge: Any = 1, **rollout: Any) -> dict[str, Any]:
    return {"name": "w", "count": count, "rollout": {"strategy": "replace", "max_surge": surge, **rollout}}


def definition(*pools: dict[str, Any]) -> dict[str, Any]:
    return {"name": "demo", "image": {"family": "debian-13"}, "pools": list(pools)}


def machine(name: str, *, of: str = "w", spec: str = "", state: str = "running") -> dict[str, Any]:
    wanted = spec_hash(definition(), pool(1))
    return {"id": f"id-{name}", "name": name, "pool": of, "role": "worker", "state": state, "spec_hash": spec or wanted}


class Live:
    """A cluster with one pool, whose roll is done one thing at a time."""

    def __init__(self, count: int, surge: int, old: int, other_spec: int, joined: int, new: int) -> None:
        self.definition = definition(pool(count, surge))
        self.count, self.surge, self.number = count, surge, 0
        self.machines: list[dict[str, Any]] = []
        self.kubelets: dict[str, str] = {"c": NEW}
        for kind, number in (("old", old), ("spec", other_spec), ("joined", joined), ("new", new)):
            for _number in range(number):
                name = self.make("v1-other" if kind == "spec" else "")
                if kind != "new":
                    self.kubelets[name] = OLD if kind == "old" else NEW

    def make(self, spec: str = "") -> str:
        self.number += 1
        self.machines.append(machine(f"m{self.number}", spec=spec))
        return f"m{self.number}"

    def step(self) -> bool:
        """Do what comes next, as the tasks do; return whether there was anything."""
        found = rolls(self.definition, self.machines, self.kubelets, NEW)
        if not found:
            return False
        (roll,) = found
        before = len(self.machines)
        if roll.leaving:
            gone = {one["name"] for one in roll.outdated[: roll.leaving]}
            self.machines = [one for one in self.machines if one["name"] not in gone]
            self.kubelets = {name: version for name, version in self.kubelets.items() if name not in gone}
            assert len(self.machines) >= min(self.count, before), "a roll makes no pool smaller"
            return True
        # What the engine does: what is missing, or else a successor of each that is named.
        for _number in range(max(0, self.count - before) or len(roll.making)):
            self.make()
        assert len(self.machines) <= max(self.count + self.surge, before)
        joining = rolls(self.definition, self.machines, self.kubelets, NEW)[0].joining
        assert 0 < len(joining) <= self.surge, "each step does something"
        self.kubelets.update(dict.fromkeys((one["name"] for one in joining), NEW))
        return True


numbers = st.integers(0, 4)


@settings(deadline=None)  # the machine may have other work
@given(st.integers(1, 6), st.integers(1, 4), numbers, numbers, numbers, numbers)
def test_whatever_was_left_a_roll_ends_with_the_machines_of_the_definition(
    count: int, surge: int, old: int, spec: int, joined: int, new: int
) -> None:
    live = Live(count, surge, old, spec, joined, new)
    found = rolls(live.definition, live.machines, live.kubelets, NEW)
    to_join = found[0].to_join if found else 0
    size, before = len(live.machines), set(live.kubelets)
    for _number in range(60):
        if not live.step():
            break
    assert not live.step()
    assert set(live.kubelets.values()) == {NEW} and {one["spec_hash"] for one in live.machines} <= {machine("x")["spec_hash"]}
    assert {one["name"] for one in live.machines} == set(live.kubelets) - {"c"}
    assert len(set(live.kubelets) - before) == to_join
    # What a pool has too many, and is as it should be, is not this one's to take away; nor does it begin for what is missing alone.
    assert len(live.machines) == (max(count, joined + new) if old + spec + new else size)


@settings(deadline=None)  # the machine may have other work
@given(st.integers(1, 6), st.integers(1, 4), numbers, numbers)
def test_new_machines_join_before_anything_else_happens(count: int, surge: int, old: int, new: int) -> None:
    live = Live(count, surge, old, 0, 0, new)
    for roll in rolls(live.definition, live.machines, live.kubelets, NEW):
        assert not (roll.new and (roll.making or roll.leaving)) and not (roll.making and roll.leaving)
        assert len(roll.joining) == min(len(roll.new), surge)


@pytest.mark.parametrize(("count", "surge", "number"), [(10, 3, 3), (10, "25%", 3), (4, "25%", 1), (1, "1%", 1), (3, "100%", 3)])
def test_a_part_of_a_pool_is_rounded_up(count: int, surge: Any, number: int) -> None:
    assert surge_of(pool(count, surge)) == number


def test_pools_that_are_upgraded_in_place_are_none_of_it() -> None:
    place = {"name": "p", "count": 1, "rollout": {"strategy": "in_place"}}
    machines = [machine("a"), machine("b", of="p", spec="v1-other")]
    live = {"kubelets": {"a": OLD, "b": OLD}, "drained": []}
    (roll,) = upgrade_rolls(live, NEW, definition(place, pool(1)), machines)
    assert (roll["pool"], roll["outdated"], roll["outdated_ids"], roll["making"], roll["to_join"]) == ("w", ["a"], ["id-a"], ["id-a"], 1)
    assert upgrade_rolls({"kubelets": {"a": NEW, "b": OLD}}, NEW, definition(place, pool(1)), machines) == []


def left(live: dict[str, Any], machines: list[dict[str, Any]], *pools: dict[str, Any], left_out: tuple[str, ...] = ()) -> dict[str, Any]:
    found = upgrade_rolls(live, NEW, definition(*pools), machines)
    return upgrade_workers(live, NEW, pools, machines, left_out, found, True)


def test_who_is_drained_or_out_of_reach_leaves_first_and_no_more_than_have_successors() -> None:
    machines = [machine(name) for name in "abcd"]
    live = {"kubelets": {"a": OLD, "b": OLD, "c": OLD, "d": NEW}, "drained": ["b"]}
    found = left(live, machines, pool(3, drain_timeout="3m"))
    assert (found["nodes"], found["begun"], found["max_unavailable"], found["drain_timeout"]) == (["a", "b", "c"], ["b"], "1", "3m")
    assert left({**live, "drained": []}, machines, pool(3), left_out=("c",))["begun"] == ["c"]
    # Its successor has not joined: nobody leaves.
    found = left({"kubelets": {"a": OLD, "b": OLD, "c": OLD}, "drained": ["b"]}, machines, pool(3))
    assert (found["nodes"], found["begun"], found["roll"]["joining"]) == ([], [], ["d"])


def test_canaries_that_are_replaced_come_before_others_that_are_not() -> None:
    place = {"name": "p", "count": 1, "rollout": {"strategy": "in_place"}}
    machines = [machine("a"), machine("b", of="p")]
    live = {"kubelets": {"a": OLD, "b": OLD}, "drained": []}
    assert left(live, machines, place, pool(1))["pool"] == "p"
    assert left(live, machines, place, pool(1, canary=True, soak="10m"))["soak"] == "10m"
    # A version on the way is passed in place, as updates of the operating system are.
    found = upgrade_workers(live, NEW, [place, pool(1, canary=True)], machines)
    assert (found["pool"], found["nodes"], found["roll"]) == ("w", ["a"], {})


def test_a_machine_that_was_never_started_is_no_successor() -> None:
    machines = [machine("a"), machine("b", state="incomplete"), machine("c", state="leaving")]
    (roll,) = upgrade_rolls({"kubelets": {"a": OLD}}, NEW, definition(pool(1)), machines)
    assert (roll["new"], roll["leftovers"], roll["making"], roll["to_join"]) == ([], ["b"], ["id-a"], 1)
