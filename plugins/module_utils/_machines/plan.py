# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a definition asks for and what a cloud has to the steps between the two (private to flotilla.kubernetes).

Pure: no input or output, no clock, no randomness; the same input in any order gives the same steps.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

from .._errors import FlotillaError
from .model import CONTROL_PLANE, CONTROL_PLANE_POOL, INCOMPLETE, RUNNING, STOPPED, WORKER, Machine, MachineGroup, Step

SPEC_VERSION = "v1"


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


def unique_suffix(uid: str, pool: str, zone: str, live_ids: list[str], spec: str, attempt: int) -> str:
    """Return the 8 hexadecimal digits that end a new machine's name, where the cloud takes names and keeps them unique.

    The same view of the cloud gives the same name, so a create that is repeated collides instead of making a second machine.

    :param live_ids: the ids seen of the pool, those made earlier in the same run included.
    :param attempt: raised by one for each name that was taken.
    """
    token = json.dumps([uid, pool, zone, sorted(live_ids), spec, attempt])
    return hashlib.sha256(token.encode()).hexdigest()[:8]


def plan(groups: list[MachineGroup], observed: list[Machine]) -> list[Step]:
    """Return the steps from ``observed`` to ``groups``: leftovers first, then start, create, keep and at last delete.

    Machines of other clusters are not looked at. A control plane shrinks by one machine per plan, because each removal has to leave an
    etcd with quorum; the next plan goes on. A machine whose specification changed is kept: replacing is a rollout, not a count.
    """
    steps: list[Step] = []
    clusters = {group.cluster for group in groups}
    wanted = {group.pool: group for group in groups}
    mine = sorted((machine for machine in observed if machine.cluster in clusters), key=lambda machine: (machine.pool, machine.id))
    for machine in mine:
        if machine.state == INCOMPLETE:
            steps.append(_step("delete", machine, "it was never started: the run that made it was interrupted"))
    for group in sorted(groups, key=lambda group: (group.role != CONTROL_PLANE, group.pool)):
        members = [machine for machine in mine if machine.pool == group.pool and machine.state != INCOMPLETE]
        excess = len(members) - group.count
        if excess > 0 and group.role == CONTROL_PLANE:
            excess = 1
        leaving = _choose(members, group, max(0, excess))
        for machine in members:
            if machine in leaving:
                continue
            if machine.state == STOPPED:
                steps.append(_step("start", machine, "it is stopped"))
            elif machine.state != RUNNING:
                steps.append(_step("keep", machine, f"it is {machine.state}"))
            elif machine.spec_hash != group.spec_hash:
                steps.append(_step("keep", machine, "its specification has changed since it was made; replacing it is a step of its own"))
            else:
                steps.append(_step("keep", machine, "it is as wanted"))
        population = Counter(machine.zone for machine in members)
        for number in range(len(members) + 1, group.count + 1):
            zone = min(group.zones, key=lambda zone: (population[zone], group.zones.index(zone)))
            population[zone] += 1
            steps.append(Step("create", group.pool, group.role, zone, None, f"{number} of {group.count} in pool {group.pool}"))
        for machine in leaving:
            steps.append(_step("delete", machine, f"pool {group.pool} has {len(members)} machines and wants {group.count}"))
    for machine in mine:
        if machine.pool not in wanted and machine.state != INCOMPLETE:
            steps.append(_step("delete", machine, f"the definition has no pool {machine.pool}"))
    order = {"start": 1, "create": 2, "keep": 3, "delete": 4}
    return sorted(steps, key=lambda step: 0 if step.machine and step.machine.state == INCOMPLETE else order[step.action])


def check_brake(steps: list[Step], observed: list[Machine]) -> None:
    """Raise ``MACHINES_BRAKE`` when a plan removes a machine that serves, without consent.

    Nothing drains a node or removes an etcd member in this release, so no removal is an ordinary one. Machines that never served do
    not count.
    """
    serving = [machine for machine in observed if machine.state != INCOMPLETE]
    sizes = Counter(machine.pool for machine in serving)
    leaving = [step.machine for step in steps if step.action == "delete" and step.machine and step.machine.state != INCOMPLETE]
    counts = Counter(machine.pool for machine in leaving)
    refused = [f"{count} of {sizes[pool]} in pool {pool}" for pool, count in sorted(counts.items())]
    if refused:
        raise FlotillaError(
            "MACHINES_BRAKE",
            f"Cluster '{leaving[0].cluster}' would lose {', '.join(refused)}, and this release drains no node before.",
            "Correct the counts in the definition; or drain the nodes, delete them with kubectl and run with allow_removal set to true.",
            details={"machines": sorted(machine.name for machine in leaving)},
        )


def _step(action: str, machine: Machine, reason: str) -> Step:
    return Step(action, machine.pool, machine.role, machine.zone, machine, reason)


def _choose(members: list[Machine], group: MachineGroup, count: int) -> list[Machine]:
    """Return which ``count`` members go: dead ones first, then outdated ones, then from the fullest zone."""
    rest, chosen = list(members), []
    for _number in range(count):
        population = Counter(machine.zone for machine in rest)
        victim = min(
            rest,
            key=lambda machine: (
                machine.state == RUNNING,
                machine.spec_hash == group.spec_hash,
                -population[machine.zone],
                machine.id,
            ),
        )
        rest.remove(victim)
        chosen.append(victim)
    return chosen
