# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a plan in a cloud (private to flotilla.kubernetes).

A run may be killed between any two calls. What it did by then is in the cloud; the next run plans from there, and tokens make sure that a
create which the cloud accepted and nobody saw is not done twice.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Callable, TypeVar

from .._errors import FlotillaError
from . import plan as planning
from .cloud import Cloud, NoCapacity, NotFound, QuotaExceeded, Unauthorised
from .model import (
    CONTROL_PLANE,
    CREATE,
    DEAD_STATES,
    DELETE,
    INCOMPLETE,
    LEAVING,
    PENDING,
    REPLACE,
    RUNNING,
    START,
    STOPPED,
    UPDATE,
    Machine,
    MachineGroup,
    Order,
    Step,
)
from .retry import Caller, Stopped

Item = TypeVar("Item")

ATTEMPTS = 20
"""Tokens tried for one order: each one more than the first stands for machines that were made from the same view and are gone again."""

ROUNDS = 2
"""How often a machine that died before it ran is made anew in one run."""


@dataclass(frozen=True)
class Failure:
    """A machine that did not become what it was to be; it is None where it was never made."""

    pool: str
    zone: str
    machine: Machine | None
    error: FlotillaError

    @property
    def title(self) -> str:
        """What to call the machine."""
        return self.machine.name if self.machine else f"a machine of pool {self.pool} in zone {self.zone}"

    def as_dict(self) -> dict[str, str | None]:
        """Return the failure as modules return it."""
        name = self.machine.name if self.machine else None
        return {"pool": self.pool, "zone": self.zone, "machine": name, "code": self.error.code, "message": self.error.message}


@dataclass
class Outcome:
    """What a run did.

    :param machines: the machines that there are now, ordered by name, known without another read that might lag.
    :param made: the ids of those that this run made, or found made by a run before it.
    :param waiting: the ids of those that are not ready yet, where the run was to return before that.
    """

    machines: list[Machine] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def raise_failures(self, cluster: str) -> None:
        """Raise one error that names every failed machine with the cloud's own reason, or do nothing."""
        if not self.failures:
            return
        errors = [failure.error for failure in self.failures]
        codes = {error.code for error in errors}
        reasons = Counter(f"{failure.title}: {failure.error.message}" for failure in self.failures)
        listed = "; ".join(f"{f'{count} times ' if count > 1 else ''}{reason}" for reason, count in sorted(reasons.items()))
        causes = sorted({str(error.cause).strip() for error in errors if error.cause})
        raise FlotillaError(
            errors[0].code if len(codes) == 1 else "MACHINES_FAILED",
            f"{len(self.failures)} machines of cluster '{cluster}' failed. {listed.rstrip('.')}. What was made is kept.",
            " ".join(dict.fromkeys(error.remedy for error in errors if error.remedy)),
            cause="\n\n".join(causes),
            details={"failed": [failure.as_dict() for failure in self.failures], "made": sorted(self.made)},
        )


def look(cloud: Cloud, groups: Sequence[MachineGroup], call: Caller) -> list[Machine]:
    """Return the cluster's machines, and a second time after the cloud's lag where the first look may be half of what a run began.

    The token of a create covers a view in which all of it or nothing shows; a view that shows a part of it is always young.
    """
    observed = call(cloud.observe)
    lag = cloud.limits.consistency
    unsettled = any(
        machine.state in (PENDING, LEAVING) or (machine.created and call.clock.time() - machine.created < lag) for machine in observed
    )
    if lag and unsettled and any(step.action in (CREATE, REPLACE) for step in planning.plan(groups, observed, roll_out=True)):
        call.clock.sleep(lag)
        observed = call(cloud.observe)
    return observed


def apply(
    steps: Sequence[Step],
    groups: Sequence[MachineGroup],
    observed: Iterable[Machine],
    cloud: Cloud,
    call: Caller,
    *,
    uid: str,
    report: Callable[[str], None] = lambda _line: None,
    reachable: Callable[[Machine], bool] | None = None,
    also_wait: Collection[str] = (),
    until: float | None = None,
) -> Outcome:
    """Do the steps of a plan: leftovers go, then machines are started, changed and made, and when all of them are ready, others go.

    A machine that fails stops no other one, but nothing is removed then. A replacement ends with the successor: what was replaced is
    deleted by the plan after this one, between the two its node is drained.

    :param uid: the cluster's random identity.
    :param report: gets progress lines.
    :param reachable: tells of a machine that runs whether it can be worked on; it is called from several threads.
    :param also_wait: ids of kept machines to wait for too (what `Outcome.waiting` of an earlier slice says).
    :param until: the moment of the caller's clock (monotonic) from which on no more waiting is done.
    :raises FlotillaError: ``MACHINES_QUORUM`` for steps that no plan gives. What fails on the way is in the outcome.
    """
    control_planes = [step for step in steps if step.action == DELETE and step.role == CONTROL_PLANE and step.machine]
    if sum(step.machine.state != INCOMPLETE for step in control_planes if step.machine) > 1:
        raise FlotillaError("MACHINES_QUORUM", "Two control planes were to be removed at once.", "This is a defect: please report it.")
    run = _Run(groups, observed, cloud, call, uid, report, reachable, until)
    run.add(steps, also_wait)
    if not run.outcome.failures and not run.outcome.waiting:
        run.remove([step.machine for step in steps if step.action == DELETE and step.machine and step.machine.state != INCOMPLETE])
    run.outcome.machines = sorted(run.machines.values(), key=lambda machine: (machine.name, machine.id))
    return run.outcome


class _Run:
    """The state of one `apply`."""

    def __init__(
        self,
        groups: Sequence[MachineGroup],
        observed: Iterable[Machine],
        cloud: Cloud,
        call: Caller,
        uid: str,
        report: Callable[[str], None],
        reachable: Callable[[Machine], bool] | None,
        until: float | None,
    ) -> None:
        self.outcome = Outcome()
        self.groups = {group.pool: group for group in groups}
        self.cloud = cloud
        self.limits = cloud.limits
        self.call = call
        self.clock = call.clock
        self.uid = uid
        self.report = report
        self.reachable = reachable
        self.until = until
        seen = list(observed)
        self.machines = {machine.id: machine for machine in seen if machine.state not in DEAD_STATES}
        self.dead = {machine.id for machine in seen if machine.state in DEAD_STATES}
        self.no_more: FlotillaError | None = None
        self.full: dict[str, set[str]] = defaultdict(set)

    def add(self, steps: Sequence[Step], also_wait: Collection[str]) -> None:
        """Do everything that removes no machine which serves, and wait for it."""
        self.delete([step.machine for step in steps if step.action == DELETE and step.machine and step.machine.state == INCOMPLETE])
        starting = [step.machine for step in steps if step.action == START and step.machine]
        self._each(self._start, _chunks(starting, self.limits.per_call))
        self._each(self._update, [step for step in steps if step.action == UPDATE])
        awaited = {machine.id for machine in starting} | set(also_wait)
        awaited |= {step.machine.id for step in steps if step.machine and step.machine.state == PENDING}
        wanted = self._wanted(steps)
        for number in range(1 + ROUNDS):
            before = set(self.machines)
            self._create(wanted)
            awaited |= set(self.machines) - before
            died = self._wait_ready(awaited & set(self.machines), last=number == ROUNDS)
            wanted = self._again(died)
            awaited = set()
            if not wanted:
                break

    # ---- making machines

    def _wanted(self, steps: Sequence[Step]) -> Counter[tuple[str, str]]:
        """Return how many machines are to be made in each pool and zone, successors among them."""
        wanted = Counter((step.pool, step.zone) for step in steps if step.action == CREATE)
        for step in steps:
            if step.action == REPLACE:
                zones = self.groups[step.pool].zones
                zone = step.zone if step.zone in zones else planning.emptiest(zones, self._population(step.pool, wanted))
                wanted[step.pool, zone] += 1
        return wanted

    def _population(self, pool: str, wanted: Counter[tuple[str, str]]) -> Counter[str]:
        population = Counter(machine.zone for machine in self.machines.values() if machine.pool == pool)
        population.update({zone: count for (name, zone), count in wanted.items() if name == pool})
        return population

    def _create(self, wanted: Counter[tuple[str, str]]) -> None:
        """Make machines, in other zones of the pool where one has no capacity."""
        while wanted:
            total, before = sum(wanted.values()), len(self.outcome.made)
            parts = []
            for (pool, zone), count in sorted(wanted.items()):
                live = sorted(machine.id for machine in self.machines.values() if (machine.pool, machine.zone) == (pool, zone))
                # Where reads lag, a view may show one call's machines and not the next one's. So each call's token tells of those before
                # it, which makes them one after the other; elsewhere the view is sure, and they are made at once.
                sizes = [count] if self.limits.consistency else [len(chunk) for chunk in _chunks(range(count), self.limits.per_create)]
                parts.extend(_Part(self.groups[pool], zone, count, number, size, live) for number, size in enumerate(sizes))
            self._each(self._make, parts)
            wanted = Counter()
            for part in parts:
                if not part.missing:
                    continue
                if isinstance(part.error, NoCapacity):
                    self.full[part.group.pool].add(part.zone)
                others = tuple(zone for zone in part.group.zones if zone not in self.full[part.group.pool])
                # Where control planes are is what makes them outlive a zone, so they wait for theirs.
                if isinstance(part.error, NoCapacity) and others and part.group.role != CONTROL_PLANE:
                    for _number in range(part.missing):
                        wanted[part.group.pool, planning.emptiest(others, self._population(part.group.pool, wanted))] += 1
                else:
                    error = (
                        part.error
                        or self.no_more
                        or FlotillaError("MACHINES_NOT_MADE", "The cloud answered without a machine and without a reason.")
                    )
                    self.outcome.failures += [Failure(part.group.pool, part.zone, None, error)] * part.missing
            made = len(self.outcome.made) - before
            self.report(f"{made} of {total} machines were made{f', {sum(wanted.values())} go to another zone' if wanted else ''}")

    def _again(self, died: Sequence[Machine]) -> Counter[tuple[str, str]]:
        """Return how many machines are to be made anew, in other zones where the cloud said late that one has no room."""
        wanted: Counter[tuple[str, str]] = Counter()
        for machine in died:
            self.full[machine.pool] |= {machine.zone} if machine.no_capacity else set()
        for machine in died:
            group, zone = self.groups[machine.pool], machine.zone
            others = tuple(other for other in group.zones if other not in self.full[machine.pool])
            if machine.no_capacity and others and group.role != CONTROL_PLANE:
                zone = planning.emptiest(others, self._population(machine.pool, wanted))
            wanted[machine.pool, zone] += 1
        return wanted

    def _make(self, part: _Part) -> None:
        """Fulfil one part of an order; what could not be made and why is in the part afterwards."""
        live, attempt = list(part.live), 0
        while part.missing and attempt < ATTEMPTS:
            if self.no_more:
                part.error = self.no_more
                return
            request = self.cloud.request_hash(part.group, part.zone)
            # The first call's token tells of the whole order; what a partial answer left open is an order of its own.
            count = part.order_count if not part.made else part.missing
            token = planning.idempotency_token(self.uid, part.group, part.zone, count, live, request, part.number, attempt)
            try:
                order = Order(part.group, part.zone, min(part.missing, self.limits.per_create), token)
                answer = self.call(self.cloud.create, order)
            except FlotillaError as error:
                self._note(error)
                part.error = error
                return
            new = [machine for machine in answer if machine.state not in DEAD_STATES and machine.id not in self.dead]
            new = [machine for machine in new if machine.id not in self.machines]
            for machine in new:
                self.machines[machine.id] = machine
                self.outcome.made.append(machine.id)
            part.made += len(new)
            live += [machine.id for machine in new]
            attempt = 0 if new else attempt + 1

    def _note(self, error: FlotillaError) -> None:
        """Remember what makes further calls pointless."""
        if isinstance(error, (QuotaExceeded, Unauthorised)):
            self.no_more = self.no_more or error
        if isinstance(error, Unauthorised):
            self.call.stop.set()

    # ---- machines that there are

    def _start(self, machines: Sequence[Machine]) -> None:
        self._change(machines, self.cloud.start, machines)

    def _update(self, step: Step) -> None:
        machine, changes = step.machine, step.changes
        if machine and changes and self._change([machine], self.cloud.update, machine, changes):
            tags, attributes = {**machine.tags, **changes.tags}, {**machine.attributes, **changes.attributes}
            self.machines[machine.id] = dataclasses.replace(machine, tags=tags, attributes=attributes)

    def _change(self, machines: Sequence[Machine], method: Callable[..., None], *arguments: Any) -> bool:
        try:
            self.call(method, *arguments, unknown_for=self.limits.consistency)
        except FlotillaError as error:
            self._note(error)
            self.outcome.failures += [Failure(machine.pool, machine.zone, machine, error) for machine in machines]
            return False
        return True

    def remove(self, machines: Sequence[Machine]) -> None:
        """Remove machines that serve, unless their pools are not as the plan saw them.

        What a run that was killed removed last may still look alive, and then another machine looks like the one too many.
        """
        pools = {machine.pool for machine in machines}
        if machines and self.limits.consistency:
            self.clock.sleep(self.limits.consistency)
            there = {key: machine for key, machine in self.machines.items() if machine.pool in pools}
            states = self._describe(dict(there))
            if states is None:
                return
            left = {machine.pool for key, machine in there.items() if key not in states or states[key].state in DEAD_STATES}
            for machine in machines:
                if machine.pool in left:
                    self._fail(
                        machine, "MACHINES_CHANGED", f"it is not removed, because another machine of pool {machine.pool} has just gone"
                    )
            machines = [machine for machine in machines if machine.pool not in left]
        self.delete(machines)

    def delete(self, machines: Sequence[Machine]) -> None:
        """Remove machines and wait until they are gone."""
        if not machines:
            return
        failed = len(self.outcome.failures)
        self._each(self._delete, _chunks(machines, self.limits.per_call))
        refused = {failure.machine.id for failure in self.outcome.failures[failed:] if failure.machine}
        self._wait_gone({machine.id: machine for machine in machines if machine.id not in refused})

    def _delete(self, machines: Sequence[Machine]) -> None:
        try:
            self.call(self.cloud.delete, machines, unknown_for=self.limits.consistency if self._young(machines) else 0.0)
        except NotFound:
            # One unknown machine makes some clouds refuse a whole call.
            if len(machines) > 1:
                for machine in machines:
                    self._delete([machine])
        except FlotillaError as error:
            self._note(error)
            self.outcome.failures += [Failure(machine.pool, machine.zone, machine, error) for machine in machines]

    def _young(self, machines: Sequence[Machine]) -> bool:
        return any(self.clock.time() - machine.created < self.limits.consistency for machine in machines if machine.created)

    # ---- waiting

    def _wait_ready(self, ids: set[str], last: bool) -> list[Machine]:
        """Wait until machines run and can be reached; return those that died, unless it was their last time: then they are failures."""
        started, awaited, died = self.clock.monotonic(), {machine_id: self.machines[machine_id] for machine_id in ids}, []
        unmade: list[Machine] = []
        for waited in self._polls(awaited, "are ready", self.call.patience.ready):
            # A read may take long: what it does not show was not there when it began, which says nothing about now.
            asked = self.clock.monotonic()
            states = self._describe(awaited)
            if states is None:
                return []
            up = [machine for machine in states.values() if machine.state == RUNNING]
            ready = dict(zip((machine.id for machine in up), self._each(self.reachable or (lambda _machine: True), up)))
            for machine_id in sorted(awaited):
                machine = states.get(machine_id)
                if machine:
                    self.machines[machine_id] = awaited[machine_id] = machine
                if machine is None and asked - started <= 2 * self.limits.consistency:
                    continue
                if machine and machine.state in (PENDING, STOPPED):
                    continue
                if machine and machine.state == RUNNING:
                    if ready[machine_id]:
                        del awaited[machine_id]
                    continue
                known = awaited.pop(machine_id)
                if machine and machine.state == INCOMPLETE:
                    unmade.append(known)
                    continue
                if machine is None or machine.state in DEAD_STATES:
                    self.dead.add(machine_id)
                    del self.machines[machine_id]
                    if machine_id in self.outcome.made:
                        self.outcome.made.remove(machine_id)
                        if not last:
                            died.append(known)
                            continue
                word = known.state if machine else "unknown to the cloud"
                self._fail(known, "MACHINE_DIED", f"it is {word} before it was ready{f': {known.reason}' if known.reason else ''}")
            if waited >= self.call.patience.ready:
                break
        self._overdue(awaited, self.call.patience.ready, "ready")
        return died + self._discard(unmade, last)

    def _discard(self, machines: Sequence[Machine], last: bool) -> list[Machine]:
        """Remove machines that the cloud accepted and then could not make; return those to make anew, unless it was their last time."""
        self.delete(machines)
        gone = [machine for machine in machines if machine.id not in self.machines]
        for machine in gone:
            if machine.id in self.outcome.made:
                self.outcome.made.remove(machine.id)
        for machine in gone if last else [machine for machine in machines if machine not in gone]:
            self._fail(
                machine,
                "MACHINE_NO_CAPACITY" if machine.no_capacity else "MACHINE_DIED",
                f"the cloud could not make it in {machine.zone}{f': {machine.reason}' if machine.reason else ''}",
            )
        return [] if last else gone

    def _wait_gone(self, awaited: dict[str, Machine]) -> None:
        for waited in self._polls(awaited, "are gone", self.call.patience.gone):
            states = self._describe(awaited)
            if states is None:
                return
            for machine_id in list(awaited):
                machine = states.get(machine_id)
                if machine is None or machine.state in DEAD_STATES:
                    self.machines.pop(machine_id, None)
                    self.dead.add(machine_id)
                if machine is None or machine.state not in (RUNNING, STOPPED, PENDING, INCOMPLETE, LEAVING):
                    del awaited[machine_id]
            if waited >= self.call.patience.gone:
                break
        self._overdue(awaited, self.call.patience.gone, "gone")

    def _polls(self, awaited: dict[str, Machine], what: str, patience: float) -> Iterable[float]:
        """Yield the seconds waited so far at each moment to look, as long as something is waited for; report in between."""
        started, pause, total, reported = self.clock.monotonic(), self.call.patience.poll, len(awaited), None
        while awaited:
            waited = self.clock.monotonic() - started
            yield waited
            now = self.clock.monotonic()
            if awaited and (reported is None or now - reported >= self.call.patience.report):
                reported = now
                oldest = min(awaited.values(), key=lambda machine: (machine.created, machine.name))
                self.report(
                    f"{total - len(awaited)} of {total} machines {what}, the longest wait is {now - started:.0f} s for {oldest.name}"
                )
            if awaited and self.until is not None and now >= self.until:
                self.outcome.waiting += sorted(awaited)
                awaited.clear()
            if awaited:
                left = max(0.0, patience - (now - started))
                self.clock.sleep(min(pause, left) if self.until is None else min(pause, left, self.until - now))
                pause = min(1.5 * pause, self.call.patience.longest_poll)
        if total and not self.outcome.waiting:
            self.report(f"{total} of {total} machines {what} or have failed")

    def _overdue(self, awaited: dict[str, Machine], patience: float, what: str) -> None:
        for machine in awaited.values():
            self._fail(machine, "MACHINE_NOT_READY", f"it is {machine.state} and not {what} after {patience:g} s", machine.reason)

    def _fail(self, machine: Machine, code: str, message: str, cause: str = "") -> None:
        remedy = "See what the cloud says about it, and run again."
        self.outcome.failures.append(Failure(machine.pool, machine.zone, machine, FlotillaError(code, message, remedy, cause)))

    def _describe(self, awaited: dict[str, Machine]) -> dict[str, Machine] | None:
        """Return what is known of the machines now, or None when that can not be found out: then all of them have failed."""
        if self.call.stop.is_set():
            awaited.clear()
            return None
        try:
            answers = self._each(lambda ids: self.call(self.cloud.describe, ids), _chunks(sorted(awaited), self.limits.per_call))
        except FlotillaError as error:
            self._note(error)
            self.outcome.failures += [Failure(machine.pool, machine.zone, machine, error) for machine in awaited.values()]
            awaited.clear()
            return None
        return {machine.id: machine for answer in answers for machine in answer or []}

    def _each(self, work: Callable[[Item], Any], items: Sequence[Item]) -> list[Any]:
        """Return what ``work`` returns for each item, several at once; the first unexpected end is the end of all of them."""

        def one(item: Item) -> Any:
            try:
                return work(item)
            except Stopped:
                return None
            except FlotillaError:
                raise
            except BaseException:
                self.call.stop.set()
                raise

        if len(items) <= 1 or self.limits.concurrency <= 1:
            return [one(item) for item in items]
        with ThreadPoolExecutor(min(self.limits.concurrency, len(items))) as executor:
            return [future.result() for future in [executor.submit(one, item) for item in items]]


@dataclass
class _Part:
    """What is to be made one call after the other of an order.

    :param order_count: machines of the whole order.
    :param live: ids seen alive in pool and zone before it.
    """

    group: MachineGroup
    zone: str
    order_count: int
    number: int
    size: int
    live: list[str]
    made: int = 0
    error: FlotillaError | None = None

    @property
    def missing(self) -> int:
        """How many machines are still to be made."""
        return self.size - self.made


def _chunks(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
