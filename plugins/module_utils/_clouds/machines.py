# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules ``*_machines`` do, whichever cloud (private to flotilla.kubernetes)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Callable, Protocol

from .._errors import FlotillaError
from .._machines import apply as applying
from .._machines import plan as planning
from .._machines.cloud import Cloud, NotFound
from .._machines.decision import NO_REMOVAL, Wish, decide
from .._machines.model import (
    CREATE,
    DEAD_STATES,
    DELETE,
    GONE,
    LEAVING,
    PLANNED,
    REPLACE,
    RUNNING,
    Machine,
    MachineGroup,
    Step,
)
from .._machines.retry import Caller, Clock, Patience
from .first_contact import scan_host_key
from .result import Result, machines_value

_ROUNDS = 6
_PAUSE = 3.0


class Provider(Cloud, Protocol):
    """One cluster in a cloud that makes machines, with what a definition says about them."""

    cluster: str
    title: str
    """What people call the cloud."""
    place: str
    """Where in the cloud the cluster is, such as its region."""
    uid: str
    """The cluster's identity."""
    clock: Clock

    def group(self, group: MachineGroup) -> MachineGroup:
        """Return a group with what its machines are to carry in this cloud."""

    def choose_images(self, groups: Sequence[MachineGroup], observed: Sequence[Machine]) -> None:
        """Settle the image of each group: that of its machines, else what the definition's words mean now."""

    def check_sizes(self, groups: Sequence[MachineGroup]) -> None:
        """Fail when a zone of a group does not offer its machine size, before anything is made."""

    def find(self, ids: Sequence[str]) -> list[Machine]:
        """Return machines by their ids, whoever owns them."""

    def tag_host_key(self, machine: Machine, key: str) -> None:
        """Remember a machine's host key in its tags."""


def pool_of(definition: dict[str, Any], pool: str) -> dict[str, Any]:
    """Return a pool's part of a definition, the control plane's among them."""
    named = {entry["name"]: entry for entry in definition["pools"]}
    return dict(named.get(pool) or definition["control_plane"])


def only_one_owner(cloud: Provider, found: Sequence[Machine]) -> list[Machine]:
    """Return the living ones of a cluster's machines, ordered by name; those of two identities are an error."""
    machines = sorted((machine for machine in found if machine.state not in DEAD_STATES), key=lambda machine: machine.name)
    identities = sorted({machine.uid for machine in machines})
    if len(identities) > 1:
        raise FlotillaError(
            "CLUSTER_FOREIGN_UID",
            f"Machines in {cloud.place} carry the name of cluster '{cloud.cluster}' and different identities: {', '.join(identities)}.",
            "Some of them are not this cluster's: remove them by hand if nobody needs them.",
        )
    return machines


def present(
    cloud: Provider,
    definition: dict[str, Any],
    *,
    wait_timeout: float,
    wait_for: str = "ssh",
    wish: Wish = NO_REMOVAL,
    roll_out: bool = False,
    check_mode: bool = False,
    report: Callable[[str], None] = lambda _line: None,
    scan: Callable[[dict[str, Any], Machine], str] | None = None,
) -> Result:
    """Bring the machines to what the definition asks for, or with ``check_mode`` say how.

    :param wait_timeout: seconds for a machine from its creation or start until it is ready.
    :param wait_for: ``ssh`` or ``running``.
    :param wish: what else the caller wants, and what it takes on itself.
    :param scan: returns the host key of a machine or nothing; stands in for `scan_host_key` in tests.
    """
    call = Caller(cloud.clock, patience=Patience(ready=wait_timeout))
    groups = [cloud.group(group) for group in planning.desired_groups(definition)]
    observed = call(cloud.observe) if check_mode else applying.look(cloud, groups, call)
    decision = decide(groups, observed, wish, roll_out=roll_out)
    own = decision.steps
    making = {step.pool for step in own if step.action in (CREATE, REPLACE)}
    if making:
        orders = [group for group in groups if group.pool in making]
        cloud.choose_images(orders, observed)
        if check_mode:
            cloud.check_sizes(orders)
    result = Result(decision.changes, _diff(observed), _predicted(cloud.cluster, own, observed))
    alive = sorted((machine for machine in observed if machine.state not in DEAD_STATES), key=lambda machine: machine.name)
    if check_mode:
        gone = {step.machine.id for step in own if step.action == DELETE and step.machine}
        kept = [machine for machine in alive if machine.id not in gone]
        result.value = machines_value(kept, _planned(cloud.cluster, own), decision.as_result())
        return result
    keys: dict[str, str] = {}
    look = scan or scan_host_key

    def reachable(machine: Machine) -> bool:
        if machine.host_key or machine.id in keys:
            return True
        key = look(definition, machine)
        if key:
            call(cloud.tag_host_key, machine, key, unknown_for=cloud.limits.consistency)
            keys[machine.id] = key
        return bool(key)

    # Those of a run that was killed before their first contact.
    unknown = [machine.id for machine in alive if machine.state == RUNNING and not machine.host_key] if wait_for == "ssh" else []
    outcome = applying.apply(
        own,
        groups,
        observed,
        cloud,
        call,
        uid=cloud.uid,
        report=report,
        reachable=reachable if wait_for == "ssh" else None,
        also_wait=unknown,
    )
    result.changed = result.changed or bool(keys)
    outcome.raise_failures(cloud.cluster)
    named = decision.as_result()
    if decision.leaving:
        # A machine that a killed run removed a moment ago may have looked alive, and then another one looks like the one too many.
        cloud.clock.sleep(cloud.limits.consistency)
        again = dataclasses.replace(wish, plan_id="", consent=tuple(decision.consented))
        still = {machine.id for machine in decide(groups, call(cloud.observe), again, roll_out=roll_out).leaving}
        named["leaving"] = [machine for machine in named["leaving"] if machine["id"] in still]
    machines = [dataclasses.replace(machine, host_key=machine.host_key or keys.get(machine.id, "")) for machine in outcome.machines]
    result.value = machines_value(machines, [], named)
    return result


def observed(cloud: Provider) -> Result:
    """Return the machines that there are, whatever the definition asks for."""
    found = sorted(Caller(cloud.clock)(cloud.observe), key=lambda machine: machine.name)
    return Result(value=machines_value([machine for machine in found if machine.state not in DEAD_STATES]))


def neighbours(cluster: str, machines: Sequence[Machine]) -> dict[str, list[str]]:
    """Return the machines of a foundation's other clusters: cluster -> names.

    :param machines: all machines of the foundation.
    """
    found: dict[str, list[str]] = {}
    for machine in machines:
        if machine.pool and machine.cluster != cluster and machine.state not in DEAD_STATES:
            found.setdefault(machine.cluster, []).append(machine.name)
    return {other: sorted(names) for other, names in sorted(found.items())}


def removed(cloud: Provider, ids: Sequence[str], *, check_mode: bool = False) -> Result:
    """Remove exactly these machines of the cluster, with their disks, and wait until they are gone. One that is gone is no error.

    :raises FlotillaError: ``MACHINES_FOREIGN`` for machines that are not the cluster's; then nothing was removed.
    """
    call = Caller(cloud.clock)
    wanted = set(ids)
    found = call(cloud.observe)
    if wanted - {machine.id for machine in found}:
        # One that was made a moment ago may not show yet.
        cloud.clock.sleep(cloud.limits.consistency)
        found = call(cloud.observe)
    unknown = sorted(wanted - {machine.id for machine in found})
    foreign = [machine.id for machine in call(cloud.find, unknown) if machine.state not in DEAD_STATES] if unknown else []
    if foreign:
        raise FlotillaError(
            "MACHINES_FOREIGN",
            f"Not of cluster '{cloud.cluster}', but there in {cloud.place}: {', '.join(foreign)}.",
            "Correct ids; nothing was removed.",
        )
    chosen = sorted((machine for machine in found if machine.id in wanted), key=lambda machine: machine.name)
    alive = [machine for machine in chosen if machine.state not in DEAD_STATES]
    left = sorted((m for m in found if m.state not in DEAD_STATES and m.id not in wanted), key=lambda machine: machine.name)
    steps = [Step(DELETE, m.pool, m.role, m.zone, m, "its removal was asked for") for m in alive]
    result = Result(bool(alive), _diff(found), _diff(left), machines_value(left, more={"steps": [step.as_dict() for step in steps]}))
    if not check_mode:
        if alive:
            _terminate(call, cloud, alive)
        _wait_until_gone(call, cloud, [machine.id for machine in chosen if machine.state != GONE])
    return result


def absent(cloud: Provider, *, check_mode: bool = False) -> Result:
    """Remove every machine of the cluster with its disks and wait until they are gone. Nothing there is nothing to do.

    Two looks, apart by the time that a read may lag, have to see nothing.
    """
    call = Caller(cloud.clock)
    steps: list[Step] = []
    result = Result(value=machines_value([]))
    clean = False
    for number in range(_ROUNDS):
        found = call(cloud.observe)
        alive = [machine for machine in found if machine.state not in DEAD_STATES]
        leaving = [machine for machine in found if machine.state == LEAVING]
        new = [machine for machine in alive if machine.id not in {step.machine.id for step in steps if step.machine}]
        steps += [Step(DELETE, m.pool, m.role, m.zone, m, "the cluster is to be absent") for m in sorted(new, key=lambda m: m.name)]
        if number == 0:
            result.before, result.after = _diff(found), _diff([])
            result.changed = bool(alive)
            if check_mode:
                break
        result.changed = result.changed or bool(alive)
        if clean and not alive and not leaving:
            break
        clean = not alive and not leaving
        _terminate(call, cloud, alive)
        _wait_until_gone(call, cloud, [machine.id for machine in (*alive, *leaving)])
        cloud.clock.sleep(cloud.limits.consistency)
    result.value["steps"] = [step.as_dict() for step in steps]
    return result


def _terminate(call: Caller, cloud: Provider, machines: Sequence[Machine]) -> None:
    for start in range(0, len(machines), cloud.limits.per_call):
        part = machines[start : start + cloud.limits.per_call]
        try:
            call(cloud.delete, part)
        except NotFound:
            # One unknown machine makes some clouds refuse a whole call.
            if len(part) > 1:
                for machine in part:
                    _terminate(call, cloud, [machine])


def _wait_until_gone(call: Caller, cloud: Provider, ids: list[str]) -> None:
    end = call.clock.monotonic() + call.patience.gone
    while ids and not all(machine.state == GONE for machine in call(cloud.describe, ids)):
        if call.clock.monotonic() >= end:
            raise FlotillaError(
                "MACHINE_NOT_GONE",
                f"Machines of cluster '{cloud.cluster}' are not gone after {call.patience.gone:g} s: {', '.join(ids)}.",
                f"See in the console of {cloud.title} what holds them, and run again.",
            )
        call.clock.sleep(_PAUSE)


def _entry(machine: Machine) -> dict[str, Any]:
    keep = ("pool", "zone", "state", "image", "spec_hash")
    return {**{key: getattr(machine, key) for key in keep}, "tags": machine.tags, "attributes": machine.attributes}


def _diff(machines: Sequence[Machine]) -> dict[str, Any]:
    """Return what a diff shows."""
    return {
        "machines": {
            machine.name: _entry(machine) for machine in sorted(machines, key=lambda m: m.name) if machine.state not in DEAD_STATES
        }
    }


def _predicted(cluster: str, steps: Sequence[Step], observed: Sequence[Machine]) -> dict[str, Any]:
    """Return what a diff shows after the steps; machines that are to be made have no name before they are."""
    after = dict(_diff(observed)["machines"])
    for step in steps:
        if step.machine is None:
            continue
        if step.action == DELETE:
            after.pop(step.machine.name, None)
        elif step.action == "start":
            after[step.machine.name] = {**after[step.machine.name], "state": RUNNING}
        elif step.changes:
            entry = after[step.machine.name]
            after[step.machine.name] = {
                **entry,
                "tags": {**entry["tags"], **step.changes.tags},
                "attributes": {**entry["attributes"], **step.changes.attributes},
            }
    for machine in _planned(cluster, steps):
        after[machine.name] = {"pool": machine.pool, "zone": machine.zone, "state": RUNNING}
    return {"machines": after}


def _planned(cluster: str, steps: Sequence[Step]) -> list[Machine]:
    """Return the machines that steps would make, under names and ids that only tell them apart."""
    made = [step for step in steps if step.action in (CREATE, REPLACE)]
    found = []
    for number, step in enumerate(made, start=1):
        name = f"{cluster}-{step.pool}-new-{number}"
        found.append(Machine(name, name, cluster, step.pool, step.role, step.zone, PLANNED, {"private": None, "public": None}))
    return found
