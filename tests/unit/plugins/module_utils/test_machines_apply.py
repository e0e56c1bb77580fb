# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine engine against a simulated cloud that throttles, loses answers, runs out of capacity, lags, and under kills at any call."""

from __future__ import annotations

import dataclasses
import itertools
import random
import threading
from collections import Counter
from dataclasses import dataclass, field

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines import apply as applying
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines import plan as planning
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.cloud import (
    Limits,
    NoCapacity,
    NotFound,
    QuotaExceeded,
    Refused,
    Throttled,
    Transient,
    Unauthorised,
)
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.model import (
    CONTROL_PLANE,
    CONTROL_PLANE_POOL,
    GONE,
    INCOMPLETE,
    LEAVING,
    PENDING,
    RUNNING,
    STOPPED,
    WORKER,
    Machine,
    MachineGroup,
    Step,
)
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.retry import Caller, Patience
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

ZONES = ("z1", "z2", "z3")
LAG = 5.0
BOOT = 20.0
STOPPING = 8.0
TAGS = {"team": "web"}


class Killed(BaseException):
    """The process ends here: nothing of ours may catch it."""


class VirtualClock:
    """Time passes only by sleeping, at once."""

    def __init__(self):
        self.now = 1_000_000.0

    def time(self):
        return self.now

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        assert seconds >= 0
        self.now += seconds


@dataclass
class Faults:
    """How often what happens, each between 0 and 1; `kills` is how many more times the process is killed."""

    throttle: float = 0.0
    broken: float = 0.0
    lost: float = 0.0
    death: float = 0.0
    kill: float = 0.0
    kills: int = 0


@dataclass
class Fact:
    """The truth about one machine over time."""

    machine: Machine
    created: float
    boot: float = BOOT
    dies: bool = False
    removed: float | None = None
    state: str = ""
    changes: list = field(default_factory=list)

    def at(self, now):
        """Return the machine as it was at a moment, or None."""
        if now < self.created:
            return None
        state, reason = RUNNING, ""
        if self.removed is not None and now >= self.removed:
            state = LEAVING if now < self.removed + STOPPING else GONE
        elif self.state:
            state = self.state
        elif self.dies and now >= self.created + self.boot / 2:
            state, reason = GONE, "Server.InternalError: it died"
        elif now < self.created + self.boot:
            state = PENDING
        tags = dict(self.machine.tags)
        for moment, changed in self.changes:
            if now >= moment:
                tags.update(changed)
        return dataclasses.replace(self.machine, state=state, reason=reason, tags=tags)


class SimulatedCloud:
    """A cloud in memory. It checks what must never happen when it happens, not afterwards."""

    def __init__(self, clock, seed=0, faults=None, limits=None, capacity=None, seen=()):
        self.clock = clock
        self.random = random.Random(seed)
        self.faults = faults or Faults()
        self.limits = limits or Limits(per_create=100, per_call=100, concurrency=1, consistency=LAG)
        self.capacity = capacity or {}
        self.facts = {}
        self.tokens = {}
        self.calls = Counter()
        self.numbers = itertools.count(1)
        self.max_alive = {}
        self.lock = threading.Lock()
        for machine in seen:
            self.facts[machine.id] = Fact(machine, 0.0, state="" if machine.state == RUNNING else machine.state)

    # ---- the truth

    def truth(self, cluster="demo"):
        machines = [fact.at(self.clock.now) for fact in self.facts.values()]
        return [machine for machine in machines if machine and machine.cluster == cluster and machine.state != GONE]

    def alive(self, pool):
        return [machine for machine in self.truth() if machine.pool == pool and machine.state not in (LEAVING, INCOMPLETE)]

    def _ours(self, machine_id):
        assert self.facts[machine_id].machine.cluster == "demo", "a foreign machine is touched"
        return self.facts[machine_id]

    # ---- calls

    def _call(self, name, effect, changes=True):
        with self.lock:
            self.calls[name] += 1
            self.clock.now += self.random.uniform(0.05, 0.5)
            chance, faults = self.random.random, self.faults
            if faults.kills and chance() < faults.kill:
                faults.kills -= 1
                if changes and chance() < 0.5:
                    effect()
                raise Killed
            if chance() < faults.throttle:
                raise Throttled("SIM_THROTTLED", "Slow down.", retry_after=self.random.choice([0, 0, 3]))
            if chance() < faults.broken:
                raise Transient("SIM_BROKEN", "The connection was refused.")
            answer = effect()
            if chance() < faults.lost:
                raise Transient("SIM_LOST", "The connection was reset.")
            return answer

    def _seen(self, fact):
        return fact.at(self.clock.now - self.random.uniform(0, self.limits.consistency))

    def observe(self):
        # Foreign machines too, although the protocol forbids it: nothing may depend on a cloud that gets this right.
        return self._call("observe", lambda: [seen for fact in self.facts.values() if (seen := self._seen(fact))], changes=False)

    def describe(self, ids):
        assert 0 < len(ids) <= self.limits.per_call
        return self._call(
            "describe", lambda: [seen for key in ids if key in self.facts and (seen := self._seen(self.facts[key]))], changes=False
        )

    def request_hash(self, group, zone):
        return f"{group.spec_hash} {group.generation} {group.image} {zone}"

    def create(self, order):
        assert 0 < order.count <= self.limits.per_create
        return self._call("create", lambda: self._create(order))

    def _create(self, order):
        request = (self.request_hash(order.group, order.zone), order.count)
        if order.token in self.tokens:
            known, ids = self.tokens[order.token]
            assert known == request, "a token came back with other parameters"
            return [self.facts[key].at(self.clock.now) for key in ids]
        count = order.count
        if order.group.role == WORKER and order.zone in self.capacity:
            there = [machine for machine in self.truth() if machine.zone == order.zone and machine.role == WORKER]
            count = min(count, self.capacity[order.zone] - len(there))
        if count <= 0:
            raise NoCapacity("SIM_CAPACITY", f"There is no capacity in {order.zone}.", "Wait, or add a zone.")
        ids = []
        for _number in range(count):
            name = f"demo-{order.group.pool}-new{next(self.numbers):05d}"
            group = order.group
            made = Machine(
                id=name,
                name=name,
                cluster="demo",
                pool=group.pool,
                role=group.role,
                zone=order.zone,
                state=PENDING,
                spec_hash=group.spec_hash,
                generation=group.generation,
                image=group.image,
                created=self.clock.now,
                tags=dict(group.tags),
                uid="uid",
            )
            self.facts[name] = Fact(made, self.clock.now, self.random.uniform(1, BOOT), self.random.random() < self.faults.death)
            ids.append(name)
        self.tokens[order.token] = (request, ids)
        alive = len(self.alive(order.group.pool))
        self.max_alive[order.group.pool] = max(alive, self.max_alive.get(order.group.pool, 0))
        return [self.facts[key].at(self.clock.now) for key in ids]

    def start(self, machines):
        def effect():
            for machine in machines:
                fact = self._ours(machine.id)
                if fact.state == STOPPED:
                    fact.state, fact.created, fact.boot = "", self.clock.now, 3.0
                    fact.created = min(fact.created, self.clock.now - self.limits.consistency)

        assert 0 < len(machines) <= self.limits.per_call
        self._call("start", effect)

    def update(self, machine, changes):
        self._call("update", lambda: self._ours(machine.id).changes.append((self.clock.now, changes.tags)))

    def delete(self, machines):
        def effect():
            for machine in machines:
                fact = self._ours(machine.id)
                now = fact.at(self.clock.now)
                if now.state in (LEAVING, GONE):
                    continue
                if now.role == CONTROL_PLANE and now.state != INCOMPLETE:
                    self._check_quorum(now)
                fact.removed = self.clock.now

        assert 0 < len(machines) <= self.limits.per_call
        self._call("delete", effect)

    def _check_quorum(self, leaving):
        members = self.alive(CONTROL_PLANE_POOL)
        serving = [machine for machine in members if machine.state == RUNNING]
        parting = [item.id for item in self.truth() if item.role == CONTROL_PLANE and item.state == LEAVING]
        assert all(self.facts[key].machine.state == INCOMPLETE for key in parting), "two control planes leave at once"
        assert len(serving) >= planning.quorum(len(members)), "a control plane is removed without quorum"
        left = [machine for machine in serving if machine.id != leaving.id]
        assert len(left) >= planning.quorum(len(members) - 1), "the removal costs the quorum"


# ---- what is wanted and what is there


def machine(number=1, pool="a", zone="z1", state=RUNNING, cluster="demo", **fields):
    role = CONTROL_PLANE if pool == CONTROL_PLANE_POOL else WORKER
    name = f"{cluster}-{pool}-{number:08d}"
    fields = {"spec_hash": "v1-same", "generation": "1", "image": "i-1", "tags": TAGS, **fields}
    return Machine(name, name, cluster, pool, role, zone, state, {"private": "10.0.0.1", "public": None}, uid="uid", **fields)


def group(pool="a", count=1, zones=ZONES, **fields):
    role = CONTROL_PLANE if pool == CONTROL_PLANE_POOL else WORKER
    return MachineGroup("demo", pool, role, count, tuple(zones), **{"spec_hash": "v1-same", "generation": "1", "tags": TAGS, **fields})


@st.composite
def groups(draw):
    image = draw(st.sampled_from(["", "i-1", "i-2"]))
    generation = draw(st.sampled_from(["1", "2"]))
    wanted = [group(CONTROL_PLANE_POOL, draw(st.sampled_from([1, 3, 5])), image=image, generation=generation)]
    for pool in draw(st.lists(st.sampled_from(["a", "b"]), unique=True)):
        zones = draw(st.lists(st.sampled_from(ZONES), min_size=1, unique=True))
        wanted.append(group(pool, draw(st.integers(0, 7)), zones, image=image, generation=generation, surge=draw(st.integers(1, 3))))
    return wanted


@st.composite
def worlds(draw):
    """Any machines, but control planes with a quorum: without one nothing but a restore helps."""
    numbers = iter(draw(st.lists(st.integers(1, 10**6), unique=True, min_size=24, max_size=24)))
    dead = draw(st.integers(0, 2))
    control_planes = [STOPPED] * draw(st.integers(0, 2)) + ["dead"] * dead
    states = draw(st.permutations(control_planes + [RUNNING] * (dead + draw(st.integers(0 if not dead else 1, 2)))))
    pools = [(CONTROL_PLANE_POOL, state) for state in states]
    anything = st.tuples(st.sampled_from(["a", "a", "b", "gone"]), st.sampled_from([RUNNING, RUNNING, STOPPED, INCOMPLETE, "dead"]))
    pools += draw(st.lists(anything, max_size=10))
    if draw(st.booleans()):
        pools.append((CONTROL_PLANE_POOL, INCOMPLETE))
    return [
        machine(
            next(numbers),
            pool,
            draw(st.sampled_from(ZONES)),
            state,
            draw(st.sampled_from(["demo", "demo", "demo", "another"])) if pool != CONTROL_PLANE_POOL else "demo",
            spec_hash=draw(st.sampled_from(["v1-same", "v1-same", "v1-old"])),
            generation=draw(st.sampled_from(["1", "1", "2"])),
            image=draw(st.sampled_from(["i-1", "i-2"])),
            tags=draw(st.sampled_from([TAGS, {}, {"team": "db", "other": "kept"}])),
        )
        for pool, state in pools
    ]


def run(cloud, wanted, seed=0, report=lambda _line: None, **options):
    """One run of a module: look, plan, apply."""
    call = Caller(cloud.clock, random.Random(seed), Patience(call=3600.0))
    observed = applying.look(cloud, wanted, call)
    steps = planning.plan(wanted, observed, roll_out=True)
    return steps, applying.apply(steps, wanted, observed, cloud, call, uid="uid", report=report, **options)


def until_done(cloud, wanted, runs=120):
    """Run until a run that begins after the lag has nothing to do; kills and failures are run over."""
    for number in range(runs):
        try:
            steps, outcome = run(cloud, wanted, number)
        except Killed:
            cloud.clock.sleep(cloud.random.uniform(0, 4))
            continue
        if all(step.action == "keep" and not step.later for step in steps) and not outcome.failures:
            return number + 1
        if cloud.random.random() < 0.5:
            cloud.clock.sleep(2 * LAG)
    pytest.fail(f"no end after {runs} runs; the last plan: {[step.as_dict() for step in steps if step.action != 'keep' or step.later]}")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    groups(),
    worlds(),
    st.integers(0, 2**32),
    st.builds(
        Faults,
        throttle=st.sampled_from([0, 0.1, 0.3]),
        broken=st.sampled_from([0, 0.05]),
        lost=st.sampled_from([0, 0.05, 0.3]),
        death=st.sampled_from([0, 0, 0.1]),
        kill=st.sampled_from([0, 0.1, 0.4]),
        kills=st.integers(0, 12),
    ),
    st.sampled_from([1, 2, 100]),
    st.integers(0, 5),
)
def test_any_world_becomes_what_is_wanted(wanted, world, seed, faults, per_create, capacity):
    cloud = SimulatedCloud(
        VirtualClock(),
        seed,
        faults,
        Limits(per_create=per_create, per_call=max(2, per_create), concurrency=1, consistency=LAG),
        # The first zone of a pool may be short of machines; one of its zones never is.
        {zone: capacity for zone in ZONES if all(zone in item.zones[:-1] for item in wanted if item.role == WORKER)},
        world,
    )
    before = Counter(item.pool for item in cloud.truth() if item.state != INCOMPLETE)
    foreign = sorted(item.id for item in cloud.truth("another"))
    until_done(cloud, wanted)
    cloud.clock.sleep(100)
    after = cloud.truth()
    assert Counter(item.pool for item in after) == Counter({item.pool: item.count for item in wanted if item.count})
    by_pool = {item.pool: item for item in wanted}
    for item in after:
        goal = by_pool[item.pool]
        assert (item.state, item.spec_hash, item.generation) == (RUNNING, goal.spec_hash, goal.generation)
        assert goal.image in ("", item.image) and TAGS.items() <= item.tags.items()
    assert sorted(item.id for item in cloud.truth("another")) == foreign
    for pool, most in cloud.max_alive.items():
        goal = by_pool[pool]
        surge = 1 if goal.role == CONTROL_PLANE else goal.surge
        assert most <= max(before[pool], goal.count + surge), f"pool {pool} had {most} machines"
    calls = cloud.calls.copy()
    cloud.faults = Faults()
    steps, outcome = run(cloud, wanted)
    assert all(step.action == "keep" and not step.later for step in steps) and not outcome.failures
    assert cloud.calls - calls == Counter(observe=1), "nothing to do is one read"
    event(f"kills left {faults.kills}")


# ---- how it fails


class Failing(SimulatedCloud):
    """A simulated cloud of which single methods raise."""

    def __init__(self, *arguments, raises, **options):
        super().__init__(*arguments, **options)
        self.raises = raises

    def _call(self, name, effect, changes=True):
        error = self.raises.get(name)
        if callable(error):
            error = error(self)
        if error:
            self.calls[name] += 1
            raise error
        return super()._call(name, effect, changes)


def test_what_was_made_is_kept_and_each_machine_that_failed_is_named_with_the_reason():
    cloud = SimulatedCloud(VirtualClock(), capacity={"z1": 2, "z2": 1})
    _steps, outcome = run(cloud, [group("a", 6, ("z1", "z2"))])
    assert len(cloud.alive("a")) == 3 and len(outcome.machines) == len(outcome.made) == 3
    with pytest.raises(FlotillaError) as caught:
        outcome.raise_failures("demo")
    assert caught.value.code == "SIM_CAPACITY" and caught.value.remedy == "Wait, or add a zone."
    assert "3 machines of cluster 'demo' failed" in str(caught.value) and "There is no capacity in z" in str(caught.value)
    assert len(caught.value.details["failed"]) == 3 and len(caught.value.details["made"]) == 3
    assert {"pool": "a", "machine": None, "code": "SIM_CAPACITY"}.items() <= caught.value.details["failed"][0].items()


def test_workers_go_to_another_zone_and_stay_there():
    cloud = SimulatedCloud(VirtualClock(), capacity={"z1": 1})
    wanted = [group("a", 6, ("z1", "z2"))]
    _steps, outcome = run(cloud, wanted)
    assert Counter(item.zone for item in outcome.machines) == {"z1": 1, "z2": 5} and not outcome.failures
    assert {step.action for step in run(cloud, wanted)[0]} == {"keep"}


def test_control_planes_wait_for_their_zone():
    cloud = Failing(VirtualClock(), raises={"create": NoCapacity("SIM_CAPACITY", "There is no capacity.")})
    _steps, outcome = run(cloud, [group(CONTROL_PLANE_POOL, 3)])
    assert cloud.calls["create"] == 3 and sorted(failure.zone for failure in outcome.failures) == list(ZONES)


def test_a_quota_ends_the_making_and_nothing_is_removed():
    cloud = Failing(VirtualClock(), raises={"create": QuotaExceeded("SIM_QUOTA", "No more than this.")}, seen=[machine(pool="gone")])
    _steps, outcome = run(cloud, [group("a", 6)])
    assert cloud.calls["create"] == 1 and cloud.calls["delete"] == 0 and len(outcome.failures) == 6


def test_without_rights_nothing_else_is_tried():
    cloud = Failing(VirtualClock(), raises={"start": Unauthorised("SIM_DENIED", "Denied.")}, seen=[machine(state=STOPPED)])
    _steps, outcome = run(cloud, [group("a", 6)])
    assert cloud.calls == Counter(observe=1, start=1)
    assert {failure.error.code for failure in outcome.failures} == {"SIM_DENIED"} and len(outcome.failures) == 6


def test_throttling_is_waited_for_with_growing_pauses_and_has_an_end():
    clock = VirtualClock()
    cloud = Failing(clock, raises={"observe": Throttled("SIM_THROTTLED", "Slow down.")})
    call = Caller(clock, random.Random(1), Patience(call=100))
    began = clock.now
    with pytest.raises(Throttled):
        call(cloud.observe)
    assert 100 <= clock.now - began <= 101 and 5 < cloud.calls["observe"] < 40


def test_a_cloud_is_not_called_before_it_asks_for_it():
    clock = VirtualClock()
    errors = iter([Throttled("SIM_THROTTLED", "Slow down.", retry_after=42.0), None])
    cloud = Failing(clock, raises={"observe": lambda _cloud: next(errors)})
    began = clock.now
    Caller(clock, random.Random(1))(cloud.observe)
    assert 42 <= clock.now - began < 43


def test_what_was_refused_is_not_repeated():
    cloud = Failing(VirtualClock(), raises={"create": Refused("SIM_WRONG", "This is wrong.")})
    _steps, outcome = run(cloud, [group("a", 2, ("z1",))])
    assert cloud.calls["create"] == 1 and [failure.error.code for failure in outcome.failures] == ["SIM_WRONG"] * 2


def test_a_machine_that_does_not_get_ready_is_named_and_nothing_is_removed():
    cloud = SimulatedCloud(VirtualClock(), seen=[machine(1, "gone"), machine(2)])
    _steps, outcome = run(cloud, [group("a", 3)], reachable=lambda item: item.zone != "z3")
    (failure,) = outcome.failures
    assert failure.error.code == "MACHINE_NOT_READY" and failure.machine.zone == "z3" and "600 s" in failure.error.message
    assert len(cloud.truth()) == 4 and cloud.calls["delete"] == 0


def test_a_machine_that_dies_is_made_anew_and_at_last_reported_with_the_clouds_reason():
    cloud = SimulatedCloud(VirtualClock(), faults=Faults(death=1.0))
    _steps, outcome = run(cloud, [group("a", 2, ("z1",))])
    # Each round first asks with the tokens of those before it, whose machines are gone.
    assert cloud.calls["create"] == sum(range(1, 2 + applying.ROUNDS)) and not cloud.truth() and not outcome.machines
    assert "Server.InternalError: it died" in outcome.failures[0].error.message and len(outcome.failures) == 2


class Late(SimulatedCloud):
    """A cloud that accepts machines, and says later that a zone has no room for them."""

    def __init__(self, *arguments, full, **options):
        super().__init__(*arguments, **options)
        self.full = full

    def _shown(self, found):
        late = {"state": INCOMPLETE, "no_capacity": True, "reason": "AllocationFailed: no room"}
        return [dataclasses.replace(item, **late) if item.zone in self.full and item.state == RUNNING else item for item in found]

    def describe(self, ids):
        return self._shown(super().describe(ids))


def test_a_machine_for_which_there_is_no_room_after_all_goes_and_is_made_in_another_zone():
    cloud = Late(VirtualClock(), full={"z1"})
    _steps, outcome = run(cloud, [group("a", 3)])
    assert not outcome.failures and len(outcome.made) == 3
    assert {item.zone for item in cloud.truth()} == {"z2", "z3"} and len(cloud.truth()) == 3


def test_where_no_zone_has_room_after_all_nothing_is_left_and_the_reason_is_told():
    cloud = Late(VirtualClock(), full={"z1", "z2", "z3"})
    _steps, outcome = run(cloud, [group("a", 2)])
    assert not cloud.truth() and not outcome.made and not outcome.machines
    assert {failure.error.code for failure in outcome.failures} == {"MACHINE_NO_CAPACITY"} and len(outcome.failures) == 2
    assert "AllocationFailed: no room" in outcome.failures[0].error.message


def test_a_control_plane_waits_for_its_zone_also_when_that_is_told_late():
    cloud = Late(VirtualClock(), full={"z1"})
    _steps, outcome = run(cloud, [group("control-plane", 3)])
    assert [failure.zone for failure in outcome.failures] == ["z1"] and {item.zone for item in cloud.truth()} == {"z2", "z3"}


def test_a_token_that_only_gives_gone_machines_is_followed_by_the_next():
    cloud = SimulatedCloud(VirtualClock())
    wanted = [group("a", 2, ("z1",))]
    run(cloud, wanted)
    for fact in cloud.facts.values():
        fact.removed = cloud.clock.now
    cloud.clock.sleep(100)
    calls = cloud.calls["create"]
    assert not run(cloud, wanted)[1].failures
    assert len(cloud.alive("a")) == 2 and cloud.calls["create"] == calls + 2


def test_one_unknown_machine_does_not_keep_the_others_from_being_removed():
    cloud = SimulatedCloud(VirtualClock(), limits=Limits(1, 100, 1), seen=[machine(number, "gone") for number in (1, 2, 3)])
    effect = cloud.delete

    def strict(machines):
        if any(cloud.facts[item.id].at(cloud.clock.now).state == GONE for item in machines):
            raise NotFound("SIM_UNKNOWN", "There is no such machine.")
        effect(machines)

    cloud.delete = strict
    observed = cloud.truth()
    cloud.facts[observed[1].id].removed = 0.0
    steps = planning.plan([group("a", 0)], observed)
    outcome = applying.apply(steps, [group("a", 0)], observed, cloud, Caller(cloud.clock, random.Random(1)), uid="uid")
    assert not outcome.failures and not outcome.machines and not [item for item in cloud.truth() if item.state != LEAVING]


def test_a_slice_returns_what_it_waits_for_and_the_next_goes_on():
    cloud = SimulatedCloud(VirtualClock(), seen=[machine(1, "gone")])
    wanted = [group("a", 3)]
    _steps, outcome = run(cloud, wanted, until=cloud.clock.now + 2)
    assert sorted(outcome.waiting) == sorted(outcome.made) and cloud.calls["delete"] == 0 and len(outcome.machines) == 4
    _steps, outcome = run(cloud, wanted, also_wait=outcome.waiting)
    assert not outcome.waiting and {item.state for item in outcome.machines} == {RUNNING} and len(outcome.machines) == 3


def test_progress_says_how_many_of_how_many_and_the_longest_wait():
    lines = []
    run(SimulatedCloud(VirtualClock()), [group("a", 3, ("z1",))], report=lines.append)
    assert lines[0] == "3 of 3 machines were made"
    assert any("of 3 machines are ready, the longest wait is " in line and "s for demo-a-new" in line for line in lines[1:])


def test_two_control_planes_are_never_removed_by_one_plan():
    observed = [machine(number, CONTROL_PLANE_POOL) for number in range(3)]
    steps = [Step("delete", item.pool, item.role, item.zone, item, "by hand") for item in observed[:2]]
    cloud = SimulatedCloud(VirtualClock(), seen=observed)
    with pytest.raises(FlotillaError) as caught:
        applying.apply(steps, [group(CONTROL_PLANE_POOL, 3)], observed, cloud, Caller(cloud.clock), uid="uid")
    assert caught.value.code == "MACHINES_QUORUM" and not cloud.calls


def test_calls_are_made_at_once_up_to_the_limit_and_a_kill_ends_all():
    at_once, most = [], []
    barrier = threading.Barrier(3, timeout=20)

    class Concurrent(SimulatedCloud):
        def create(self, order):
            at_once.append(order)
            most.append(len(at_once))
            barrier.wait()
            at_once.remove(order)
            return super().create(order)

    limits = Limits(per_create=1, per_call=100, concurrency=3, consistency=0)
    cloud = Concurrent(VirtualClock(), limits=limits)
    _steps, outcome = run(cloud, [group("a", 6, ("z1", "z2"))])
    assert len(outcome.made) == 6 and max(most) == 3

    def kill(_order):
        raise Killed

    killed = SimulatedCloud(VirtualClock(), limits=limits)
    killed.create = kill
    with pytest.raises(Killed):
        run(killed, [group("a", 50)])


@pytest.mark.parametrize("count", [1, 100, 1000])
def test_calls_grow_by_calls_of_the_cloud_and_not_by_machines(count):
    cloud = SimulatedCloud(VirtualClock())
    wanted = [group("a", count, ("z1",))]
    _steps, outcome = run(cloud, wanted)
    assert len(outcome.machines) == count and cloud.calls["observe"] + cloud.calls["create"] <= 6 + count / 50
    calls = cloud.calls.copy()
    cloud.clock.sleep(100)
    run(cloud, wanted)
    assert cloud.calls - calls == Counter(observe=1)


def test_half_of_what_a_killed_run_made_is_no_reason_to_make_the_other_half_again():
    cloud = SimulatedCloud(VirtualClock())
    wanted = [group("a", 4, ("z1",))]
    run(cloud, wanted, until=cloud.clock.now)
    seen = cloud.observe
    hidden_until = cloud.clock.now + LAG
    cloud.observe = lambda: [item for item in seen() if cloud.clock.now > hidden_until or int(item.id[-1]) % 2]
    for fact in cloud.facts.values():
        fact.created, fact.boot = cloud.clock.now - 1, 0.0
        fact.machine = dataclasses.replace(fact.machine, created=fact.created)
    cloud._seen = lambda fact: fact.at(cloud.clock.now)
    _steps, outcome = run(cloud, wanted)
    assert len(cloud.alive("a")) == len(outcome.machines) == 4


def test_a_slow_read_does_not_make_a_new_machine_look_dead():
    cloud = SimulatedCloud(VirtualClock())
    answers = cloud.describe
    reads = []

    def slow(ids):
        reads.append(ids)
        if len(reads) == 1:
            cloud.clock.sleep(10 * LAG)
            return []
        return answers(ids)

    cloud.describe = slow
    _steps, outcome = run(cloud, [group("a", 2, ("z1",))])
    assert len(outcome.machines) == len(cloud.alive("a")) == 2 and cloud.calls["create"] == 1


def test_a_change_that_the_cloud_does_not_know_the_machine_for_yet_is_repeated():
    errors = iter([NotFound("SIM_UNKNOWN", "There is no such machine."), None])
    cloud = Failing(VirtualClock(), raises={"update": lambda _cloud: next(errors)}, seen=[machine(tags={})])
    _steps, outcome = run(cloud, [group("a", 1)])
    assert not outcome.failures and cloud.calls["update"] == 2 and outcome.machines[0].tags == cloud.alive("a")[0].tags == TAGS


def test_a_machine_stays_when_another_of_its_pool_has_just_gone():
    cloud = SimulatedCloud(VirtualClock(), seen=[machine(number, CONTROL_PLANE_POOL) for number in range(4)])
    observed = cloud.truth()
    cloud.facts[observed[3].id].removed = cloud.clock.now  # by a run that was killed; a read that lags does not show it
    wanted = [group(CONTROL_PLANE_POOL, 3)]
    steps = planning.plan(wanted, observed)
    outcome = applying.apply(steps, wanted, observed, cloud, Caller(cloud.clock, random.Random(1)), uid="uid")
    assert [failure.error.code for failure in outcome.failures] == ["MACHINES_CHANGED"] and cloud.calls["delete"] == 0
    assert "has just gone" in outcome.failures[0].error.message


def test_a_later_part_of_an_order_is_known_by_the_parts_before_it():
    cloud = SimulatedCloud(VirtualClock(), limits=Limits(per_create=2, per_call=100, concurrency=1, consistency=LAG))
    wanted = [group("a", 4, ("z1",))]
    run(cloud, wanted)
    cloud.clock.sleep(100)
    first, later = sorted(cloud.facts)[:2], sorted(cloud.facts)[2:]
    for key in later:  # accepted just now, after the call had been throttled for long; the read that lags shows the first part only
        cloud.facts[key].created = cloud.clock.now
    observed = [item for item in cloud.truth() if item.id in first]
    call = Caller(cloud.clock, random.Random(1))
    outcome = applying.apply(planning.plan(wanted, observed), wanted, observed, cloud, call, uid="uid")
    assert len(cloud.alive("a")) == len(outcome.machines) == 4


def test_a_machine_that_an_earlier_run_left_on_its_way_is_waited_for():
    cloud = SimulatedCloud(VirtualClock())
    wanted = [group("a", 1)]
    run(cloud, wanted, until=cloud.clock.now)
    cloud.clock.sleep(LAG)
    cloud.facts["demo-a-new00001"].boot = 60.0
    _steps, outcome = run(cloud, wanted)
    assert [item.state for item in outcome.machines] == [RUNNING] and cloud.calls["create"] == 1
