# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module `vsphere_machines` and the inventory do (private to flotilla.kubernetes)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from ..._machines.model import Machine
from ..._machines.retry import Caller
from .. import first_contact
from .. import machines as fleet
from ..result import Result
from . import layout as names
from . import library, rules, tags
from .provider import Vsphere
from .seen import marks
from .session import Session, close_sessions, session_for

default_private_key = first_contact.default_private_key


def observe_machines(definition: dict[str, Any]) -> list[Machine]:
    """Return the machines of a cluster that exist in vSphere: two reads, no side effects."""
    try:
        cloud = _reader(session_for(definition), definition)
        return fleet.only_one_owner(cloud, Caller()(cloud.observe))
    finally:
        close_sessions()


def present(
    session: Session,
    definition: dict[str, Any],
    *,
    wait_timeout: float,
    network: dict[str, Any] | None = None,
    check_mode: bool = False,
    **options: Any,
) -> Result:
    """Bring the machines to what the definition asks for, or with ``check_mode`` say how; ``options`` as `fleet.present` has them.

    :param network: what ``nsx_network`` returned, where NSX has the network.
    """

    def do(cloud: Vsphere) -> Result:
        return fleet.present(cloud, definition, wait_timeout=wait_timeout, check_mode=check_mode, **options)

    return _followed(session, definition, check_mode, do, network)


def _followed(
    session: Session,
    definition: dict[str, Any],
    check_mode: bool,
    do: Callable[[Vsphere], Result],
    network: dict[str, Any] | None = None,
    ending: bool = False,
) -> Result:
    """Do something to the machines, and have rules and tags follow them.

    :param ending: whether all machines go.
    """
    cloud = Vsphere(session, names.place(definition, network), definition, planning=check_mode)
    known = rules.Rules(session, cloud.where)
    Caller(session.clock)(known.look)
    result = do(cloud)

    def members() -> list[rules.Member]:
        found = []
        for machine in result.value["machines"]:
            ref, cluster = cloud.refs.get(machine["id"]), known.owners.get(cloud.pools.get(machine["id"], ""))
            if ref is not None and cluster:
                found.append(rules.Member(machine["pool"], machine["zone"], cluster, ref))
        return found

    rules.follow(known, result, members, check_mode)

    def bearers(fresh: bool) -> list[tags.Bearer]:
        there = {machine.id for machine in cloud.observe()} if fresh else cloud.refs.keys()
        wanted = {machine["id"]: machine["name"] for machine in result.value["machines"] if machine["id"] in there}
        return [tags.Bearer(name, cloud.refs[number], cloud.tags_of[name]) for number, name in wanted.items()]

    before = {name: cloud.tags_at_first[name] for name in result.before.get("machines", ())}
    tags.follow(cloud.labels, result, bearers, before, check_mode)
    if ending:
        tags.leave(cloud.labels, result, cloud.tags_gone, check_mode)
    return _without_templates(cloud, result, check_mode, ending)


def _without_templates(cloud: Vsphere, result: Result, check_mode: bool, ending: bool) -> Result:
    """Remove the templates that were made from a content library for machines that have gone, or say that they would be."""
    call = Caller(cloud.clock)
    used = {cloud.images_of.get(machine["id"], "") for machine in result.value["machines"]}
    used |= set() if ending else {image.id for image in cloud.images.values()}
    unused = [entry for entry in cloud.templates.values() if entry.values.get("config.instanceUuid") not in used]
    if ending and library.wanted(cloud.definition):
        unused += call(library.left_over, cloud.session, cloud.where, cloud.uid)
    if unused and not check_mode:
        call(library.remove, cloud.session, unused)
    result.changed = result.changed or bool(unused)
    return result


def observed(session: Session, definition: dict[str, Any]) -> Result:
    """Return the machines that there are, whatever the definition asks for."""
    return fleet.observed(_reader(session, definition))


def neighbours(session: Session, definition: dict[str, Any]) -> dict[str, list[str]]:
    """Return the machines of the foundation's other clusters in this vCenter: cluster -> names. Two reads."""
    cloud = _reader(session, definition)

    def read() -> list[Machine]:
        theirs = [entry.ref for entry in cloud.everybody() if marks(entry).get(names.TAG_FOUNDATION) == cloud.where.foundation]
        return cloud.read_machines(theirs, check=False)

    return fleet.neighbours(cloud.cluster, Caller(session.clock)(read))


def removed(session: Session, definition: dict[str, Any], ids: Sequence[str], *, check_mode: bool = False) -> Result:
    """Remove exactly these machines of the cluster, see `fleet.removed`."""
    return _followed(session, definition, check_mode, lambda cloud: fleet.removed(cloud, ids, check_mode=check_mode))


def absent(session: Session, definition: dict[str, Any], *, check_mode: bool = False) -> Result:
    """Remove every machine of the cluster, see `fleet.absent`."""
    return _followed(session, definition, check_mode, lambda cloud: fleet.absent(cloud, check_mode=check_mode), ending=True)


def _reader(session: Session, definition: dict[str, Any]) -> Vsphere:
    return Vsphere(session, names.place(definition), definition, changing=False)
