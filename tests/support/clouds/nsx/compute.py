# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NSX and its compute manager, a vCenter, tell each other: segments become port groups, and machines on them become ports."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

from pyVmomi import vim

from clouds.faults import Answer, Request
from clouds.nsx.manager import Manager
from clouds.vsphere.account import Client

_SWITCH = "DVS0"
_SEGMENT = re.compile(r"/infra/segments/[^/]+")
_SEGMENTS = re.compile(r"/infra/segments/[^/?]+")


class ComputeManager:
    """An NSX manager with a vCenter: answers for the manager.

    :param there: signs in to the vCenter; called when it is needed first.
    :ivar shows: whether the vCenter is told of new segments.
    """

    def __init__(self, manager: Manager, there: Callable[[], Client]) -> None:
        self.manager = manager
        self.shows = True
        self._there = there
        self._lock = threading.Lock()
        # Those of others are on hosts that this vCenter does not have.
        self._strange = self._segments()

    def __call__(self, request: Request) -> Answer:
        with self._lock:
            about = bool(_SEGMENTS.search(request.path))
            if about:
                self._tell_ports()
            answer = self.manager(request)
            if about and request.method != "GET":
                self._tell_segments()
            return answer

    def _segments(self) -> set[str]:
        return {path for path in self.manager.things if _SEGMENT.fullmatch(path)} - getattr(self, "_strange", set())

    def groups(self) -> dict[str, vim.dvs.DistributedVirtualPortgroup]:
        """Return the port groups that are segments, by the segment's path."""
        kind = vim.dvs.DistributedVirtualPortgroup
        found = self._there().read(kind, ["config.segmentId"])
        return {values["config.segmentId"]: ref for ref, values in found.items() if values.get("config.segmentId")}

    def machines(self) -> dict[str, list[str]]:
        """Return the names of the machines on each segment, by its path."""
        keys = {ref._GetMoId(): path for path, ref in self.groups().items()}
        found: dict[str, list[str]] = {}
        for values in self._there().read(vim.VirtualMachine, ["name", "config.hardware.device"]).values():
            for device in values.get("config.hardware.device") or ():
                key = getattr(getattr(getattr(device, "backing", None), "port", None), "portgroupKey", None)
                if key in keys:
                    found.setdefault(keys[key], []).append(values["name"])
        return found

    def _tell_ports(self) -> None:
        self.manager.attached.clear()
        self.manager.attached.update(self.machines())

    def _tell_segments(self) -> None:
        wanted, there, client = self._segments(), self.groups(), self._there()
        for path in sorted(wanted - there.keys()) if self.shows else ():
            spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
                name=path.rsplit("/", 1)[-1], type="earlyBinding", numPorts=8, segmentId=path, logicalSwitchUuid=path, backingType="nsx"
            )
            client.do(client.named(vim.DistributedVirtualSwitch, _SWITCH).AddDVPortgroup_Task([spec]))
        for path in sorted(there.keys() - wanted):
            client.do(there[path].Destroy_Task())
