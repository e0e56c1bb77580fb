# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines that go, and disks of other people on them, which do not (private to flotilla.kubernetes)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..._machines.cloud import Refused
from . import layout as names
from . import tags, tasks
from .seen import marks
from .session import Entry, Session, moid

_LEAVING = (
    *("name", "runtime.powerState", "config.files.vmPathName", "config.hardware.device"),
    *(names.path(tag) for tag in (names.TAG_DISKS, names.TAG_TAGS)),
)


def read(session: Session, refs: Mapping[str, Any]) -> list[Entry]:
    """Return what `remove` has to know of machines.

    :raises NotFound: one of them has gone.
    """
    return session.patient_read(session.objects(list(refs.values()), _LEAVING)) if refs else []


def remove(session: Session, refs: Mapping[str, Any], found: Sequence[Entry]) -> set[str]:
    """Power machines off and destroy them, after the disks of other people and the tags that were given here were taken from them.

    :param refs: any names -> objects.
    :param found: what `read` told of them.
    :returns: ids of the tags that they had been given.
    :raises CloudError: why one of them did not go.
    """
    _give_back(session, found)
    given: set[str] = set()
    for entry in found:
        # A vCenter forgets the tags of what is gone some time later; one that is asked for them meanwhile should not count it.
        had = {tag.id for tag in tags.read_mark(marks(entry).get(names.TAG_TAGS, ""))}
        tags.detach(session, entry.ref, had)
        given |= had
    running = {entry.id for entry in found if entry.values.get("runtime.powerState") != "poweredOff"}
    on = {number: ref for number, ref in refs.items() if moid(ref) in running}
    tasks.raise_first(tasks.do(session, "PowerOffVM_Task", on), but=("InvalidPowerState", "ManagedObjectNotFound"))
    tasks.raise_first(tasks.do(session, "Destroy_Task", refs), but=("ManagedObjectNotFound",))
    return given


def _give_back(session: Session, entries: Sequence[Entry]) -> None:
    """Detach every disk that the machines were not made with. It is somebody's, and a machine takes its disks with it.

    :raises Refused: ``VSPHERE_DISK``: one can not be kept; then none of the machines goes.
    """
    vim, devices = session.vim, session.vim.vm.device
    leaving: dict[str, list[Any]] = {}
    for entry in entries:
        own = marks(entry).get(names.TAG_DISKS, "").split(",")
        attached = [device for device in entry.values.get("config.hardware.device") or () if isinstance(device, devices.VirtualDisk)]
        foreign = [disk for disk in attached if f"{disk.controllerKey}:{disk.unitNumber}" not in own]
        home = str(entry.values.get("config.files.vmPathName") or "").rpartition("/")[0]
        for disk in foreign:
            file = str(getattr(disk.backing, "fileName", ""))
            if home and file.startswith(f"{home}/"):
                raise Refused(
                    "VSPHERE_DISK",
                    f"Somebody added the disk {file} to {entry.values['name']}, and it lies in the machine's own folder.",
                    "Detach it and move it elsewhere, or remove it, then run again.",
                )
        if foreign:
            leaving[entry.id] = [entry.ref, *foreign]
    for ref, *foreign in leaving.values():
        gone = [devices.VirtualDeviceSpec(operation="remove", device=disk) for disk in foreign]
        tasks.raise_first(tasks.do(session, "ReconfigVM_Task", {moid(ref): ref}, spec=vim.vm.ConfigSpec(deviceChange=gone)))
