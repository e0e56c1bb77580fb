# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machines a run replaces because they have failed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.kubernetes.plugins.filter import machines_to_heal
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.healing import Healing, choose
from ansible_collections.flotilla.kubernetes.plugins.module_utils._moments import stamp
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
AFTER = 600.0


def machine(name: str, state: str = "running") -> dict[str, Any]:
    pool = name.rpartition("-")[0]
    return {"id": f"i-{name}", "name": name, "pool": pool, "role": "control_plane" if pool == "cp" else "worker", "state": state}


def node(name: str, silent: float | None = None, schedulable: bool = True) -> dict[str, Any]:
    since = "" if silent is None else stamp((NOW - timedelta(seconds=silent)).timestamp())
    return {"name": name, "ready": silent is None, "not_ready_since": since, "schedulable": schedulable}


def cluster(workers: int = 4) -> list[str]:
    return [f"cp-{number}" for number in range(3)] + [f"w-{number}" for number in range(workers)]


def heal(silent: dict[str, float], dead: tuple[str, ...] = (), cordoned: tuple[str, ...] = (), workers: int = 4) -> Healing:
    names = cluster(workers)
    machines = [machine(name, "terminated" if name in dead else "running") for name in names]
    return choose(machines, [node(name, silent.get(name), name not in cordoned) for name in names], AFTER, NOW)


def test_one_that_is_not_ready_for_long_is_replaced_and_one_that_just_began_is_not() -> None:
    done = heal({"w-1": AFTER, "w-2": AFTER - 1})
    assert [(one.id, one.reason) for one in done.replace] == [("i-w-1", "its Node is not Ready since 10m")]
    assert not done.left and not done.ghosts


def test_who_is_dead_goes_before_who_is_silent_and_the_rest_waits() -> None:
    done = heal({"w-0": 7200, "w-1": 3600}, dead=("w-2",))
    assert [one.name for one in done.replace] == ["w-2"]
    assert [one.name for one in done.left] == ["w-0", "w-1"]
    assert "a run replaces 1 of pool w" in done.left[0].reason


def test_control_planes_are_replaced_one_by_one() -> None:
    done = heal({"cp-0": 700, "cp-1": 800})
    assert ([one.name for one in done.replace], [one.name for one in done.left]) == (["cp-1"], ["cp-0"])


def test_nobody_is_replaced_where_most_have_failed() -> None:
    done = heal(dict.fromkeys(cluster()[:4], 900))
    assert not done.replace and len(done.left) == 4 and "4 of 7 machines have failed" in done.left[0].reason


def test_who_is_cordoned_is_left_to_who_did_it() -> None:
    done = heal({"w-1": 900}, cordoned=("w-1",))
    assert not done.replace and "cordoned" in done.left[0].reason


def test_a_machine_that_is_stopped_is_started_instead() -> None:
    done = choose([machine("w-0", "stopped"), machine("w-1"), machine("w-2")], [node("w-0", 900), node("w-1"), node("w-2")], AFTER, NOW)
    assert not done.replace and not done.left


def test_nodes_without_a_machine_are_ghosts_once_they_are_silent_for_long() -> None:
    nodes = [node("w-0"), node("gone-1", 900), node("gone-2", 10), node("alive")]
    assert choose([machine("w-0")], nodes, AFTER, NOW).ghosts == ["gone-1"]


@given(
    workers=st.integers(1, 40),
    silent=st.dictionaries(st.integers(0, 42), st.floats(0, 10**5)),
    dead=st.sets(st.integers(0, 42)),
    cordoned=st.sets(st.integers(0, 42)),
)
def test_the_brake_holds_and_nothing_is_forgotten(workers: int, silent: dict[int, float], dead: set[int], cordoned: set[int]) -> None:
    names = cluster(workers)

    def of(numbers: Any) -> tuple[str, ...]:
        return tuple(names[number] for number in numbers if number < len(names))

    quiet = {names[number]: seconds for number, seconds in silent.items() if number < len(names)}
    done = heal(quiet, of(dead), of(cordoned), workers)
    going = [one.name for one in done.replace]
    assert sum(name.startswith("cp-") for name in going) <= 1
    assert sum(name.startswith("w-") for name in going) <= max(1, workers // 10)
    assert len(going) <= len(names) / 2
    # By the second, as Kubernetes writes times.
    ill = set(of(dead)) | {name for name, seconds in quiet.items() if seconds >= AFTER + 1}
    assert ill <= {*going, *(one.name for one in done.left)} and not set(going) & {one.name for one in done.left}


def test_the_filter_tells_a_wrong_limit() -> None:
    with pytest.raises(AnsibleFilterError, match="flotilla_heal_after is 'soon'"):
        machines_to_heal.machines_to_heal([], [], "soon")
    assert machines_to_heal.machines_to_heal([machine("w-0")], [node("w-0")]) == {"replace": [], "left": [], "ghosts": []}
