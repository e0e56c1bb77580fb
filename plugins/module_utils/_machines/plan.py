# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a definition asks for and what a cloud has to the steps between the two (private to flotilla.kubernetes).

Pure: no input or output, no clock, no randomness; the same input in any order gives the same steps.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from .._errors import FlotillaError
from .model import (
    CONTROL_PLANE,
    CONTROL_PLANE_POOL,
    CREATE,
    DEAD_STATES,
    DELETE,
    INCOMPLETE,
    KEEP,
    LEAVING,
    PENDING,
    REPLACE,
    RUNNING,
    START,
    STOPPED,
    UPDATE,
    WORKER,
    Changes,
    Machine,
    MachineGroup,
    Step,
)

SPEC_VERSION = "v1"
AS_WANTED, ON_ITS_WAY = "it is as wanted", "it is on its way"
"""Reasons of machines that are kept and that nobody has to care for."""


def spec_hash(definition: dict[str, Any], pool: dict[str, Any]) -> str:
    """Return the hash of what the user wrote that can not change on a living machine, led by the version of its own rule.

    A pool's image, where set, stands before the cluster's.
    """
    wanted = {"image": pool.get("image") or definition["image"], "machine": pool.get("machine") or {}}
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    return f"{SPEC_VERSION}-{digest[:12]}"


def desired_groups(definition: dict[str, Any]) -> list[MachineGroup]:
    """Return the groups of machines that a merged definition asks for, the control plane first."""

    def group(pool: dict[str, Any], name: str, role: str) -> MachineGroup:
        zones = tuple(pool.get("zones") or ["default"])
        return MachineGroup(definition["name"], name, role, int(pool["count"]), zones, spec_hash(definition, pool))

    return [
        group(definition["control_plane"], CONTROL_PLANE_POOL, CONTROL_PLANE),
        *(group(pool, pool["name"], WORKER) for pool in definition["pools"]),
    ]


def unique_suffix(uid: str, pool: str, zone: str, live_ids: Iterable[str], spec: str, attempt: int) -> str:
    """Return the 8 hexadecimal digits that end a new machine's name, where the cloud takes names and keeps them unique.

    The same view of the cloud gives the same name, so a create that is repeated collides instead of making a second machine.

    :param live_ids: the ids seen of the pool, those made earlier in the same run included.
    :param attempt: raised by one for each name that was taken.
    """
    token = json.dumps([uid, pool, zone, sorted(live_ids), spec, attempt])
    return hashlib.sha256(token.encode()).hexdigest()[:8]


def idempotency_token(
    uid: str, group: MachineGroup, zone: str, count: int, live_ids: Iterable[str], request_hash: str, part: int, attempt: int
) -> str:
    """Return the token of one create call: 64 hexadecimal digits, the same for the same view of the cloud.

    So a call whose answer was lost, in this run or in one that was killed, gives the machines that it made and no others.

    :param uid: the random identity of the cluster; the name alone would find the machines of a cluster that was deleted.
    :param count: how many machines the whole order is for, in all its parts.
    :param live_ids: the ids that were seen alive in this pool and zone before the order.
    :param request_hash: of all parameters of the request: a cloud refuses a token that comes back with other ones.
    :param part: number of the call where one order takes several.
    :param attempt: raised by one when only machines that do not live answer to a token.
    """
    view = [uid, group.cluster, group.pool, zone, count, sorted(live_ids), request_hash, part, attempt]
    return hashlib.sha256(json.dumps(view).encode()).hexdigest()


def suffixes(token: str, count: int) -> list[str]:
    """Return what the names of an order's machines end with, where a cloud keeps names unique instead of tokens."""
    return [hashlib.sha256(f"{token} {number}".encode()).hexdigest()[:8] for number in range(count)]


def quorum(members: int) -> int:
    """Return how many of an etcd's members have to serve: https://etcd.io/docs/v3.6/faq/#what-is-failure-tolerance."""
    return members // 2 + 1


def plan(
    groups: Sequence[MachineGroup],
    observed: Iterable[Machine],
    *,
    roll_out: bool = False,
    replace: Collection[str] = (),
    etcd: Mapping[str, bool] | None = None,
) -> list[Step]:
    """Return the steps from ``observed`` to ``groups``: leftovers first, then start, update, create, replace, keep and at last delete.

    Machines of other clusters are not looked at. A control plane loses or replaces one machine per plan, because etcd has to keep its
    quorum; the next plan goes on. A successor is made before the machine that it replaces goes; only a control plane that does not
    serve goes first, because etcd must not grow while a member is dead. A replaced machine is not deleted by the same plan: once its
    successor is there the pool has one too many, and the next plan deletes it.

    :param roll_out: whether machines that are not what the definition asks for any more are replaced; else they are kept and named.
    :param replace: ids of machines to replace whatever they are like, workers all at once.
    :param etcd: the id of each control plane that is a member of etcd, and whether that serves. None takes each machine for a member,
        and the running ones for serving.
    """
    clusters = {group.cluster for group in groups}
    wanted = {group.pool for group in groups}
    ours = sorted((machine for machine in observed if machine.cluster in clusters), key=lambda machine: (machine.pool, machine.id))
    leftovers = [machine for machine in ours if machine.state == INCOMPLETE]
    alive = [machine for machine in ours if machine.state not in (INCOMPLETE, *DEAD_STATES)]
    steps = [_step(DELETE, machine, "it was never started: the run that made it was interrupted") for machine in leftovers]
    for group in sorted(groups, key=lambda group: (group.role != CONTROL_PLANE, group.pool)):
        members = [machine for machine in alive if machine.pool == group.pool]
        parting = [machine.name for machine in ours if machine.pool == group.pool and machine.state == LEAVING]
        steps.extend(_plan_group(group, members, parting, roll_out, frozenset(replace), etcd))
    steps.extend(_step(DELETE, machine, f"the definition has no pool {machine.pool}") for machine in alive if machine.pool not in wanted)
    order = [START, UPDATE, CREATE, REPLACE, KEEP, DELETE]
    return sorted(steps, key=lambda step: -1 if step.machine and step.machine.state == INCOMPLETE else order.index(step.action))


def _plan_group(
    group: MachineGroup,
    members: list[Machine],
    parting: list[str],
    roll_out: bool,
    named: frozenset[str],
    etcd: Mapping[str, bool] | None,
) -> list[Step]:
    drifts = {machine.id: "its replacement was asked for" if machine.id in named else _drift(group, machine) for machine in members}
    leaving = _choose(members, group, drifts, etcd, len(members) - group.count)
    outdated = []
    if len(members) <= group.count:  # else the surplus goes first, and what is to be replaced is the first of it
        outdated = [machine for machine in members if machine.id in named or (roll_out and (drifts[machine.id] or is_dead(machine)))]
        outdated.sort(key=lambda machine: (not is_dead(machine), machine.id not in named, machine.id))
    batch = 0
    if len(members) == group.count:  # else what is missing is made first: a rollout never makes a pool smaller
        batch = 1 if group.role == CONTROL_PLANE else max(1, group.surge, sum(machine.id in named for machine in members))

    steps = []
    for number, machine in enumerate(leaving):
        reason = f"pool {group.pool} has {len(members)} machines and wants {group.count}"
        refusal = "one control plane is removed at a time" if number else _refuse_removal(machine, members, parting, etcd)
        if group.role == CONTROL_PLANE and refusal:
            steps.append(_living(group, machine, f"{reason}, but {refusal}", later=DELETE))
        else:
            steps.append(_step(DELETE, machine, reason))
    for number, machine in enumerate(outdated):
        reason = drifts[machine.id] or f"it is {machine.state}"
        if number >= batch:
            steps.append(_living(group, machine, f"{reason}; it is replaced when its turn comes", later=REPLACE))
        elif group.role != CONTROL_PLANE or _serves(machine, etcd):
            steps.append(_step(REPLACE, machine, reason))
        elif refusal := _refuse_removal(machine, members, parting, etcd):
            steps.append(_living(group, machine, f"{reason}, but {refusal}", later=REPLACE))
        else:
            steps.append(_step(DELETE, machine, f"{reason}; its successor is made when it has left etcd"))
    settled = {step.machine.id for step in steps if step.machine}
    for machine in members:
        if machine.id not in settled:
            drift = drifts[machine.id]
            steps.append(_living(group, machine, f"{drift}; replacing it is a step of its own" if drift else ""))
    population = Counter(machine.zone for machine in members)
    for number in range(len(members) + 1, group.count + 1):
        zone = emptiest(group.zones, population)
        population[zone] += 1
        steps.append(Step(CREATE, group.pool, group.role, zone, None, f"{number} of {group.count} in pool {group.pool}"))
    return steps


def emptiest(zones: Sequence[str], population: Counter[str]) -> str:
    """Return the zone with the fewest machines, of equal ones the first."""
    return min(zones, key=lambda zone: (population[zone], zones.index(zone)))


def _living(group: MachineGroup, machine: Machine, reason: str, later: str = "") -> Step:
    """Return the step of a machine that stays for now: whatever else is to become of it, it runs and carries its tags."""
    if machine.state == STOPPED:
        return _step(START, machine, f"it is stopped; {reason}" if later else "it is stopped", later=later)
    if machine.state == PENDING:
        return _step(KEEP, machine, reason or ON_ITS_WAY, later=later)
    if is_dead(machine):
        return _step(KEEP, machine, reason or f"it is {machine.state}", later=later)
    changes = drift_in_place(group, machine)
    if changes:
        what = ", ".join([*(f"tag {key}" for key in sorted(changes.tags)), *sorted(changes.attributes)])
        differs = f"{what} {'differ' if len(changes.tags) + len(changes.attributes) > 1 else 'differs'} from the definition"
        return Step(UPDATE, machine.pool, machine.role, machine.zone, machine, differs, changes, later)
    return _step(KEEP, machine, reason or AS_WANTED, later=later)


def drift_in_place(group: MachineGroup, machine: Machine) -> Changes | None:
    """Return what differs on a machine and can be changed while it lives, or None. Tags that nobody asked for are no difference."""
    tags = {key: value for key, value in group.tags.items() if machine.tags.get(key) != value}
    attributes = {key: value for key, value in group.attributes.items() if machine.attributes.get(key) != value}
    return Changes(tags, attributes) if tags or attributes else None


def _drift(group: MachineGroup, machine: Machine) -> str:
    """Return why a machine is not what the group asks for and can not become it, or an empty string."""
    if machine.spec_hash != group.spec_hash:
        return "its specification has changed since it was made"
    if group.generation and machine.generation != group.generation:
        return f"it is of generation {machine.generation or 'unknown'}, and the pool is to be of {group.generation}"
    if group.image and machine.image and machine.image != group.image:
        return f"it was made from image {machine.image}, and the pool's is {group.image}"
    return ""


def is_dead(machine: Machine) -> bool:
    """Tell whether the cloud has the machine and it neither runs nor can be started."""
    return machine.state not in (RUNNING, STOPPED, PENDING)


def _serves(machine: Machine, etcd: Mapping[str, bool] | None) -> bool:
    return machine.state == RUNNING if etcd is None else etcd.get(machine.id, False)


def _refuse_removal(machine: Machine, members: list[Machine], parting: list[str], etcd: Mapping[str, bool] | None) -> str:
    """Return why a control plane can not leave now, with the numbers, or an empty string.

    Its removal from etcd is itself a decision of the present quorum; afterwards the members that are left need theirs.
    """
    if parting:
        return f"{parting[0]} is still on its way out"
    members = [member for member in members if etcd is None or member.id in etcd]
    if machine not in members and members:
        return ""
    healthy = [member for member in members if _serves(member, etcd)]
    left = len(healthy) - (machine in healthy)
    if len(healthy) < quorum(len(members)):
        return f"{len(healthy)} of {len(members)} control planes serve, and removing one takes {quorum(len(members))}"
    if left < quorum(len(members) - 1):
        return f"{left} of {len(members) - 1} control planes would serve without it, and etcd needs {quorum(len(members) - 1)}"
    return ""


def removals(steps: Iterable[Step]) -> list[Machine]:
    """Return the machines that serve and that this plan or those after it take away, ordered by id; leftovers are none."""
    leaving = {
        step.machine.id: step.machine
        for step in steps
        if step.machine and step.machine.state != INCOMPLETE and {step.action, step.later} & {DELETE, REPLACE}
    }
    return [leaving[machine_id] for machine_id in sorted(leaving)]


def plan_id(steps: Iterable[Step]) -> str:
    """Return what a plan is called: the same steps on the same machines, whatever the words of their reasons."""
    view = sorted([step.action, step.later, step.pool, step.zone, step.machine.id if step.machine else ""] for step in steps)
    return hashlib.sha256(json.dumps(view).encode()).hexdigest()[:12]


def check_brake(steps: Sequence[Step], observed: Iterable[Machine], *, percent: int = 0, consent: str | Collection[str] = ()) -> None:
    """Raise ``MACHINES_BRAKE`` when a plan takes away more machines that serve than it may without consent.

    Counted is everything that leaves, now and by the plans that follow. Without consent that is at most max(1, ``percent`` %) of a
    pool, never a pool as a whole and never a control plane. Machines that never served do not count.

    :param percent: 0 refuses every removal.
    :param consent: the id of this very plan (`plan_id`), or the ids of the machines that may go.
    """
    leaving = removals(steps)
    if isinstance(consent, str):
        if consent and consent == plan_id(steps):
            return
        if consent:
            raise FlotillaError(
                "MACHINES_PLAN_OUTDATED",
                f"The plan is '{plan_id(steps)}' now, not '{consent}': machines or definition have changed since it was made.",
                "Look at a new cluster_plan and give its id.",
            )
        consent = ()
    sizes = Counter(machine.pool for machine in observed if machine.state not in (INCOMPLETE, *DEAD_STATES))
    asked = [machine for machine in leaving if machine.id not in consent]
    going = Counter(machine.pool for machine in leaving)
    successors = {step.pool for step in steps if REPLACE in (step.action, step.later) or step.action == CREATE}
    refused = []
    for pool, count in sorted(Counter(machine.pool for machine in asked).items()):
        whole = going[pool] == sizes[pool] and pool not in successors
        control_plane = any(machine.role == CONTROL_PLANE for machine in asked if machine.pool == pool)
        if not percent or whole or control_plane or count > max(1, math.floor(sizes[pool] * percent / 100)):
            refused.append(f"{count} of {sizes[pool]} in pool {pool}")
    if not refused:
        return
    names = sorted(machine.name for machine in asked)
    if percent:
        raise FlotillaError(
            "MACHINES_BRAKE",
            f"Cluster '{leaving[0].cluster}' would lose {', '.join(refused)}, and a run may take away at most {percent} % of a pool "
            "(at least one machine), no whole pool and no control plane.",
            f"Correct the definition; or look at cluster_plan and, if that is meant, give its id, which now is '{plan_id(steps)}'.",
            details={"machines": names, "plan_id": plan_id(steps)},
        )
    raise FlotillaError(
        "MACHINES_BRAKE",
        f"Cluster '{leaving[0].cluster}' would lose {', '.join(refused)}, and this call was not to take away any machine.",
        "Correct the counts in the definition; or take them away with cluster_apply, which drains their nodes (removal: defer).",
        details={"machines": names},
    )


def _step(action: str, machine: Machine, reason: str, later: str = "") -> Step:
    return Step(action, machine.pool, machine.role, machine.zone, machine, reason, later=later)


def _choose(
    members: list[Machine], group: MachineGroup, drifts: dict[str, str], etcd: Mapping[str, bool] | None, count: int
) -> list[Machine]:
    """Return which ``count`` machines go: dead ones first, then outdated ones, then of zones that are not wanted, then of the fullest."""
    rest, chosen = list(members), []
    for _number in range(count):
        population = Counter(machine.zone for machine in rest)
        victim = min(
            rest,
            key=lambda machine: (
                machine.state in (RUNNING, PENDING) and (group.role != CONTROL_PLANE or etcd is None or etcd.get(machine.id, False)),
                not drifts[machine.id],
                machine.state == RUNNING,  # one on its way may be the successor of one that is outdated
                machine.zone in group.zones,
                -population[machine.zone],
                machine.id,
            ),
        )
        rest.remove(victim)
        chosen.append(victim)
    return chosen
