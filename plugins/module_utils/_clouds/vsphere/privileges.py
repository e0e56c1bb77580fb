# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the account has to be allowed where machines are made (private to flotilla.kubernetes).

A vCenter says what is missing one privilege at a time, in the middle of the work. Here all of it is asked for in one call, before.
https://developer.broadcom.com/xapis/vsphere-web-services-api/latest/vim.AuthorizationManager.html#hasPrivilegeOnEntities
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..._errors import FlotillaError
from .session import Entry, Session, moid

FOLDER = (
    *("VirtualMachine.Inventory.CreateFromExisting", "VirtualMachine.Inventory.Delete"),
    *("VirtualMachine.Config.AdvancedConfig", "VirtualMachine.Config.CPUCount", "VirtualMachine.Config.Memory"),
    *("VirtualMachine.Config.DiskExtend", "VirtualMachine.Config.AddNewDisk", "VirtualMachine.Config.RemoveDisk"),
    *("VirtualMachine.Config.EditDevice", "VirtualMachine.Config.Annotation"),
    *("VirtualMachine.Interact.PowerOn", "VirtualMachine.Interact.PowerOff"),
)
TEMPLATE = ("VirtualMachine.Provisioning.DeployTemplate", "VirtualMachine.Provisioning.Clone")
DEPLOY = ("VApp.Import", "VirtualMachine.Inventory.Create", "VirtualMachine.Provisioning.MarkAsTemplate")
SNAPSHOT = ("VirtualMachine.State.CreateSnapshot",)
"""On the folder, where templates are made from items of content libraries, and where linked clones build on these."""
POOL = ("Resource.AssignVMToPool",)
DATASTORE = ("Datastore.AllocateSpace",)
NETWORK = ("Network.Assign",)
CLUSTER = ("Host.Inventory.EditCluster",)
"""For rules that keep machines apart or on a group of hosts."""
TAGGED = ("InventoryService.Tagging.AttachTag", "InventoryService.Tagging.ObjectAttachable")
"""On the folder of machines that get tags."""
TAGS = {
    "category": ("InventoryService.Tagging.CreateCategory", "InventoryService.Tagging.DeleteCategory"),
    "tag": ("InventoryService.Tagging.CreateTag", "InventoryService.Tagging.DeleteTag"),
}
"""On the vCenter, where a category or a tag has to be made."""
POLICY = ("StorageProfile.View",)
"""On the vCenter, where disks have a storage policy."""


def check(session: Session, wanted: Iterable[tuple[Entry, str, Sequence[str]]]) -> None:
    """Fail unless the account has every privilege that making machines takes.

    :param wanted: object, its path, and the privileges that are needed on it.
    :raises FlotillaError: ``VSPHERE_NO_PERMISSION``, with all that is missing in ``details``.
    """
    needed: dict[str, tuple[str, set[str]]] = {}
    refs = {}
    for entry, path, privileges in wanted:
        refs[entry.id] = entry.ref
        needed.setdefault(entry.id, (path, set()))[1].update(privileges)
    everything = sorted({privilege for _path, privileges in needed.values() for privilege in privileges})
    answer = session.call(
        "authorizationManager", "HasPrivilegeOnEntities", entity=list(refs.values()), sessionId=session.key, privId=everything
    )
    granted = {
        moid(one.entity): {privilege.privId for privilege in one.privAvailability or () if privilege.isGranted} for one in answer or ()
    }
    missing = {path: sorted(privileges - granted.get(number, set())) for number, (path, privileges) in needed.items()}
    _refuse(session.user, {path: privileges for path, privileges in sorted(missing.items()) if privileges})


def _refuse(user: str, missing: Mapping[str, Sequence[str]]) -> None:
    if not missing:
        return
    listed = "; ".join(f"{', '.join(privileges)} on {path}" for path, privileges in missing.items())
    raise FlotillaError(
        "VSPHERE_NO_PERMISSION",
        f"{user} lacks privileges to make machines: {listed}.",
        "Give them to the account's role there, and see that it propagates to children; docs/vsphere.md lists them all.",
        details={"missing": {path: list(privileges) for path, privileges in missing.items()}},
    )
