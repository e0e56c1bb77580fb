# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine is cloned like (private to flotilla.kubernetes).

https://developer.broadcom.com/xapis/vsphere-web-services-api/latest/vim.vm.CloneSpec.html
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import layout as names
from .image import Image
from .layout import Place
from .session import Entry, Session
from .stock import Site, Stock


@dataclass(frozen=True)
class Copy:
    """One machine that is to be cloned.

    :param pool: its pool, for people.
    :param id: its instance UUID.
    :param tags: marks of its group and zone.
    :param machine: the pool's section ``machine``.
    :param store: datastore of its disks; None for that of the template.
    :param address: that it is told; empty where it asks a DHCP server.
    :param labels: mark of the vCenter's tags that it is to get.
    """

    name: str
    id: str
    pool: str
    role: str
    tags: Mapping[str, str]
    machine: Mapping[str, Any]
    template: Image
    site: Site
    store: Entry | None
    address: str
    user_data: str
    labels: str


def clone_spec(session: Session, stock: Stock, where: Place, copy: Copy) -> Any:
    """Return the ``CloneSpec`` of a machine, with all its marks: they are there from the moment at which it is."""
    vim, template, machine = session.vim, copy.template, copy.machine
    disks, changes = _disks(session, template, machine, copy.site.policy)
    tags = {
        **copy.tags,
        names.TAG_NAME: copy.name,
        names.TAG_ID: copy.id,
        names.TAG_IMAGE: template.id,
        names.TAG_DISKS: names.disks(disks),
        # A clone has the marks of what it is made from, and is no template of the cluster.
        names.TAG_ITEM: "",
        **({names.TAG_ADDRESS: copy.address} if copy.address else {}),
        **({names.TAG_TAGS: copy.labels} if copy.labels else {}),
    }
    options = {names.option(tag): value for tag, value in tags.items()}
    told = {
        "metadata": names.metadata(copy.name, copy.id, copy.address, where.addresses_of(copy.role)),
        "userdata": copy.user_data,
    }
    for key, text in told.items():
        options[f"guestinfo.{key}"] = base64.b64encode(text.encode()).decode()
        options[f"guestinfo.{key}.encoding"] = "base64"
    # Volumes of the CSI driver are known by the identity of their disks.
    options["disk.EnableUUID"] = "TRUE"
    config = vim.vm.ConfigSpec(
        instanceUuid=copy.id,
        annotation=f"Machine of the Kubernetes cluster {where.cluster}, pool {copy.pool}. Made by flotilla.kubernetes.",
        numCPUs=machine.get("cpus"),
        memoryMB=machine["memory_gib"] * 1024 if machine.get("memory_gib") else None,
        extraConfig=[vim.option.OptionValue(key=key, value=value) for key, value in sorted(options.items())],
        firmware=where.firmware or None,
    )
    if where.secure_boot is not None:
        config.bootOptions = vim.vm.BootOptions(efiSecureBootEnabled=where.secure_boot)
    location = vim.vm.RelocateSpec(pool=copy.site.pool.ref, deviceChange=[_card(session, stock, template, copy.site), *changes])
    location.datastore = copy.store.ref if copy.store else None
    location.diskMoveType = "createNewChildDiskBacking" if where.linked else "moveAllDiskBackingsAndDisallowSharing"
    if copy.site.policy and copy.store:
        # The policy of the location is that of the machine's own files; each disk has its own.
        location.profile = _profile(session, copy.site.policy)
        location.disk = [
            vim.vm.RelocateSpec.DiskLocator(
                diskId=disk.key, datastore=copy.store.ref, diskMoveType=location.diskMoveType, profile=location.profile
            )
            for disk in template.devices(session, "VirtualDisk")
        ]
    location.host = stock.host(copy.site, copy.name)
    spec = vim.vm.CloneSpec(location=location, config=config, powerOn=True, template=False)
    if where.linked and template.entry:
        spec.snapshot = template.entry.values["snapshot.currentSnapshot"]
    return spec


def _card(session: Session, stock: Stock, template: Image, site: Site) -> Any:
    """Return the change that connects the first network card to the zone's network, and makes one where there is none."""
    devices = session.vim.vm.device
    network = stock.backing(site.network) if site.network else None
    cards = template.devices(session, "VirtualEthernetCard")
    plug = devices.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True, connected=True)
    if not cards:
        card = devices.VirtualVmxnet3(key=-1, addressType="generated", backing=network, connectable=plug)
        return devices.VirtualDeviceSpec(operation="add", device=card)
    card = type(cards[0])(
        key=cards[0].key,
        controllerKey=cards[0].controllerKey,
        unitNumber=cards[0].unitNumber,
        addressType="generated",
        backing=network,
        connectable=plug,
    )
    return devices.VirtualDeviceSpec(operation="edit", device=card)


def _profile(session: Session, policy: str) -> list[Any]:
    return [session.vim.vm.DefinedProfileSpec(profileId=policy)] if policy else []


def _disks(session: Session, template: Image, machine: Mapping[str, Any], policy: str) -> tuple[list[tuple[int, int]], list[Any]]:
    """Return the disks that a machine is made with, by controller and unit, and the changes to those of the template."""
    devices = session.vim.vm.device
    disks = template.devices(session, "VirtualDisk")
    pairs = [(int(disk.controllerKey), int(disk.unitNumber)) for disk in disks]
    changes = []
    size = int(machine.get("disk_gib") or 0)
    if disks and size > template.disk_gib:
        grown = devices.VirtualDisk(
            key=disks[0].key,
            controllerKey=disks[0].controllerKey,
            unitNumber=disks[0].unitNumber,
            backing=disks[0].backing,
            capacityInKB=size * 1024**2,
            capacityInBytes=size * 1024**3,
        )
        changes.append(devices.VirtualDeviceSpec(operation="edit", device=grown))
    # Unit 7 of a SCSI controller is the controller itself.
    free = [unit for unit in range(1, 16) if unit != 7 and (pairs[0][0], unit) not in pairs] if pairs else []
    for number, gib in enumerate(machine.get("extra_disks_gib") or ()):
        backing = devices.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent", thinProvisioned=True)
        added = devices.VirtualDisk(
            key=-10 - number, controllerKey=pairs[0][0], unitNumber=free[number], backing=backing, capacityInKB=int(gib) * 1024**2
        )
        pairs.append((pairs[0][0], free[number]))
        changes.append(devices.VirtualDeviceSpec(operation="add", fileOperation="create", device=added, profile=_profile(session, policy)))
    return pairs, changes
