# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances that somebody else made become a cluster's by their tags (private to flotilla.kubernetes)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..._errors import Finding, FlotillaError
from ..._machines.model import DEAD_STATES, RUNNING
from ..._machines.plan import desired_groups
from ..._machines.retry import Caller
from ..claim import Claim, Wanted, misfits
from ..machines import pool_of
from . import inventory
from . import layout as names
from .machines import Ec2, to_machine
from .session import Session, session_for

__all__ = ["apply", "plan", "session_for"]

_FILTER_VALUES = 200


def plan(session: Session, definition: dict[str, Any], wanted: Sequence[Wanted]) -> tuple[list[Claim], list[Finding]]:
    """Return the claims, and what is in their way. Only reads.

    :param wanted: the machines, by their private addresses in the definition's own VPC.
    :raises FlotillaError: ``CLAIM_NEEDS_VPC``.
    """
    where = names.place(definition)
    if not where.vpc:
        raise FlotillaError(
            "CLAIM_NEEDS_VPC",
            f"The definition of cluster '{where.cluster}' names no VPC, so it would get one of its own.",
            "Write the machines' own: aws.vpc and aws.subnets.machines.",
        )
    base = inventory.base(session, where)
    cloud = Ec2(session, where, definition, base)
    groups = {group.pool: group for group in desired_groups(definition)}
    found = _by_address(session, base.vpc_id, [machine.address for machine in wanted])
    findings = misfits(definition, wanted)
    claims = []
    for machine in wanted:
        entry = found.get(machine.address)
        if entry is None:
            findings.append(
                Finding(
                    "CLAIM_MACHINE_UNKNOWN",
                    machine.node,
                    f"No instance in {base.vpc_id} ({where.region}) has the address {machine.address}.",
                    "Correct aws.region and aws.vpc, or the account that you are logged in to.",
                )
            )
        elif machine.pool in groups:
            findings += _in_the_way(entry, machine, where, base.uid, pool_of(definition, machine.pool))
            # Whether it is protected is for a run to bring about; a tag that says so would not be true.
            tags = {key: value for key, value in cloud.tags(groups[machine.pool]).items() if key != names.TAG_PROTECTED}
            tags[names.TAG_NODE] = machine.node
            present = names.to_tags(entry.get("Tags"))
            missing = {key: value for key, value in tags.items() if present.get(key) != value}
            claims.append(Claim(str(entry["InstanceId"]), machine.node, machine.pool, tags, missing))
    claimed = {claim.machine_id for claim in claims}
    strangers = sorted(machine.id for machine in Caller(session.clock)(cloud.observe) if machine.state not in DEAD_STATES)
    findings += [
        Finding(
            "CLAIM_CLUSTER_THERE",
            instance,
            f"The instance is of a cluster '{where.cluster}' already, and none of these machines.",
            "Give the cluster another name in its definition.",
        )
        for instance in strangers
        if instance not in claimed
    ]
    return claims, findings


def apply(session: Session, claims: Sequence[Claim]) -> None:
    """Tag the machines, each by one call: EC2 sets all tags of an instance or none."""
    for claim in claims:
        if claim.missing:
            session.repeat("ec2", "create_tags", Resources=[claim.machine_id], Tags=names.from_tags(claim.missing))


def _by_address(session: Session, vpc: str, addresses: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the living instances of a VPC by their own address."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(addresses), _FILTER_VALUES):
        part = list(addresses[start : start + _FILTER_VALUES])
        filters = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "private-ip-address", "Values": part}]
        for reservation in session.pages("ec2", "describe_instances", "Reservations", Filters=filters):
            for entry in reservation.get("Instances") or ():
                if to_machine(entry).state not in DEAD_STATES:
                    found[str(entry.get("PrivateIpAddress"))] = entry
    return found


def _in_the_way(entry: dict[str, Any], wanted: Wanted, where: names.Place, uid: str, pool: dict[str, Any]) -> list[Finding]:
    """Return why an instance can not be one of a pool's machines."""
    machine, findings = to_machine(entry), []
    what = f"{machine.id} ({wanted.node})"
    owner = [machine.tags.get(key, "") for key in (names.TAG_CLUSTER, names.TAG_FOUNDATION, names.TAG_UID)]
    if any(owner) and owner != [where.cluster, where.foundation, uid]:
        findings.append(
            Finding(
                "CLAIM_FOREIGN",
                what,
                f"It is of cluster '{owner[0]}' of foundation '{owner[1]}' already.",
                "Take it out of that cluster first; nobody takes machines from another cluster.",
            )
        )
    controller = [key for key in machine.tags if key.startswith("kubernetes.io/cluster/") and key != where.owned_tag]
    if controller:
        findings.append(
            Finding(
                "CLAIM_OTHER_TAG",
                what,
                f"It carries {', '.join(sorted(controller))}, by which a cloud controller knows a cluster of another name.",
                "Give the cluster that name in its definition, or remove the tag.",
            )
        )
    size = (pool.get("machine") or {}).get("size")
    if entry.get("InstanceType") != size:
        findings.append(
            Finding(
                "CLAIM_SIZE_DIFFERS",
                what,
                f"It is a {entry.get('InstanceType')}, its pool has {size}.",
                "Correct machine.size of its pool.",
            )
        )
    if machine.zone not in (pool.get("zones") or ()):
        findings.append(
            Finding(
                "CLAIM_ZONE_DIFFERS", what, f"It is in {machine.zone}, where its pool has nothing.", "Add the zone to those of its pool."
            )
        )
    if machine.state != RUNNING:
        findings.append(Finding("CLAIM_NOT_RUNNING", what, f"It is {machine.state}.", "Start it, and see that its node is Ready."))
    return findings
