# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a vCenter tells of machines, and of clones that are to become some (private to flotilla.kubernetes)."""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..._machines.cloud import Transient
from ..._machines.model import PENDING, RUNNING, STOPPED, WORKER, Machine
from . import layout as names
from .layout import HOST_KEY
from .session import Entry, Session

_STATES = {"poweredOn": RUNNING, "poweredOff": STOPPED}
DETAILS = (
    "name",
    "config.instanceUuid",
    "config.template",
    "config.createDate",
    "runtime.powerState",
    "runtime.connectionState",
    "guest.net",
    "guest.toolsRunningStatus",
    "resourcePool",
    *(names.path(tag) for tag in names.MARKS),
)
"""What is read of a machine."""
CLONES = ("info.state", "info.descriptionId", "info.queueTime")
"""What is read of a task to know whether it is a clone that is not done."""


def clones(task: Entry) -> bool:
    """Tell whether a task is a clone that is not done."""
    kind = str(task.values.get("info.descriptionId") or "").lower()
    return kind.startswith("virtualmachine.clone") and task.values.get("info.state") in ("queued", "running")


def refuse_unfinished(session: Session, running: Sequence[Entry], pattern: re.Pattern[str], known: Collection[str]) -> None:
    """Have the caller ask again while clones for a cluster are under way that a run before this one began.

    They do not show before they are done, and a plan that does not see them would make them twice.

    :param running: the clones that are not done, whoever's they are.
    :param pattern: what the names of the cluster's machines match.
    :param known: names of machines that are there, or that this run makes.
    :raises Transient: ``VSPHERE_CLONES_UNDER_WAY``.
    """
    event = session.vim.event
    begun = min(task.values["info.queueTime"] for task in running) - datetime.timedelta(minutes=1)
    wanted = event.EventFilterSpec(eventTypeId=["VmBeingClonedEvent", "VmClonedEvent", "VmCloneFailedEvent"])
    wanted.time = event.EventFilterSpec.ByTime(beginTime=begun)
    under_way: dict[str, int] = {}
    for one in sorted(session.call("eventManager", "QueryEvents", filter=wanted) or (), key=lambda one: one.key):
        if isinstance(one, event.VmBeingClonedEvent):
            under_way[str(one.destName)] = one.chainId
        else:
            # One that is done tells of the new machine, and all events of one clone are of one chain.
            ended = {str(one.vm.name)} if one.vm else set[str]()
            ended |= {name for name, chain in under_way.items() if chain == one.chainId}
            under_way = {name: chain for name, chain in under_way.items() if name not in ended}
    hidden = sorted(name for name in under_way.keys() - set(known) if pattern.fullmatch(name))
    if hidden:
        raise Transient(
            "VSPHERE_CLONES_UNDER_WAY",
            f"An earlier run has begun to clone {', '.join(hidden)}, and the vCenter is not done with that.",
            "Run again when the tasks are done, see Recent Tasks in the vSphere Client.",
        )


def marks(entry: Entry) -> dict[str, str]:
    """Return the marks of a virtual machine, as far as they were read."""
    found = {}
    for tag in names.MARKS:
        option = entry.values.get(names.path(tag))
        # A vCenter forgets a mark that is set to nothing.
        if option is not None and option.value:
            found[tag] = str(option.value)
    return found


def to_machine(entry: Entry, avoid: Sequence[str] = ()) -> Machine | None:
    """Return a virtual machine as a machine; None for a template and for a copy that somebody made of a machine.

    :param avoid: addresses that move from machine to machine.
    """
    tags, values = marks(entry), entry.values
    if values.get("config.template") or values.get("config.instanceUuid") != tags.get(names.TAG_ID):
        return None
    state = str(values.get("runtime.powerState") or "")
    state = _STATES.get(state, state.lower())
    connection = str(values.get("runtime.connectionState") or "connected")
    address, reason = _address(values, tags.get(names.TAG_ADDRESS, ""), avoid)
    if connection != "connected":
        state, reason = connection, f"its host does not answer: it is {connection}"
    elif state == RUNNING and not address:
        state = PENDING
    made = values.get("config.createDate")
    return Machine(
        id=tags[names.TAG_ID],
        name=tags.get(names.TAG_NAME, ""),
        cluster=tags.get(names.TAG_CLUSTER, ""),
        pool=tags.get(names.TAG_POOL, ""),
        role=tags.get(names.TAG_ROLE, WORKER),
        zone=tags.get(names.TAG_ZONE, ""),
        state=state,
        addresses={"private": address or tags.get(names.TAG_ADDRESS) or None, "public": None},
        host_key=tags.get(HOST_KEY, ""),
        spec_hash=tags.get(names.TAG_SPEC_HASH, ""),
        uid=tags.get(names.TAG_UID, ""),
        generation=tags.get(names.TAG_GENERATION, ""),
        image=tags.get(names.TAG_IMAGE, ""),
        reason=reason if state != RUNNING else "",
        created=made.timestamp() if made else 0.0,
        tags={tag: value for tag, value in tags.items() if tag not in (HOST_KEY, names.TAG_DISKS, names.TAG_TAGS, names.TAG_ITEM)},
    )


def _address(values: Mapping[str, Any], fixed: str, avoid: Sequence[str]) -> tuple[str, str]:
    """Return the address that the guest says it has on a network card, or nothing and why.

    Those of the container network are on no card, and that of the API moves.
    """
    found = []
    for card in values.get("guest.net") or ():
        if int(getattr(card, "deviceConfigId", -1)) < 0:
            continue
        found += [str(address) for address in card.ipAddress or () if ":" not in str(address) and not str(address).startswith("169.254.")]
    found = [address for address in found if address not in avoid]
    if fixed:
        return (fixed, "") if fixed in found else ("", f"its guest does not have the address {fixed}{f', but {found[0]}' if found else ''}")
    if found:
        return found[0], ""
    if str(values.get("guest.toolsRunningStatus") or "") != "guestToolsRunning":
        return "", "open-vm-tools does not run in its guest, so nobody learns its address: look at its console"
    return "", "its guest has no address: look at the DHCP server of its network"
