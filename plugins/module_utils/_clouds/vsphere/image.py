# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates that machines are cloned from (private to flotilla.kubernetes)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..._errors import FlotillaError
from ..._machines.retry import Caller
from . import library
from .session import Entry, Session
from .stock import Stock

_DETAILS = (
    "name",
    "parent",
    "config.template",
    "config.instanceUuid",
    "config.guestFullName",
    "config.firmware",
    "config.version",
    'config.extraConfig["disk.EnableUUID"]',
    "config.vAppConfig.property",
    "config.hardware.device",
    "snapshot.currentSnapshot",
    "guest.toolsVersionStatus2",
    "runtime.powerState",
)


@dataclass(frozen=True)
class Image:
    """A template, or an item of a content library, as the vCenter describes it.

    :param id: its instance UUID, which stays when it is renamed or moved; of an item the library's id of it.
    :param kind: ``template``, or the type of an item, such as ``ovf``.
    :param library: the content library of an item; empty for a template.
    :param disk_uuid: whether its disks show their identity. Machines' always do.
    :param cloud_init: whether it asks for the settings of cloud-init, as cloud images do; None where the vCenter can not know.
    """

    id: str
    name: str = ""
    path: str = ""
    os: str = ""
    firmware: str = ""
    hardware: str = ""
    disk_gib: int = 0
    network_cards: int = 0
    template: bool = False
    snapshot: bool = False
    tools: str = ""
    disk_uuid: bool = False
    cloud_init: bool | None = None
    kind: str = "template"
    library: str = ""
    version: str = ""
    problems: tuple[str, ...] = ()
    entry: Entry | None = field(default=None, compare=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the template as modules return it."""
        names = (
            *("id", "name", "path", "kind", "version", "os", "firmware", "hardware", "disk_gib", "network_cards", "template"),
            *("snapshot", "tools", "disk_uuid", "cloud_init"),
        )
        shown = {name: getattr(self, name) for name in names}
        return {**shown, "content_library": self.library, "ready": not self.problems, "problems": list(self.problems)}

    def devices(self, session: Session, kind: str) -> list[Any]:
        """Return its devices of a type such as ``VirtualDisk``."""
        wanted = getattr(session.vim.vm.device, kind)
        values: Mapping[str, Any] = self.entry.values if self.entry else {}
        return [device for device in values.get("config.hardware.device") or () if isinstance(device, wanted)]


def resolve(stock: Stock, wanted: str, setting: str = "image.id") -> Image:
    """Return the template that a name, a path or an instance UUID means.

    :raises FlotillaError: ``VSPHERE_UNKNOWN``, ``VSPHERE_AMBIGUOUS``.
    """
    machines = stock.of(stock.session.vim.VirtualMachine)
    exact = [entry for entry in machines if entry.values.get("config.instanceUuid") == wanted]
    templates = [entry for entry in machines if entry.values.get("config.template")]
    found = exact[0] if exact else stock.one("template", wanted, templates, setting)
    return describe(stock, [found])[0]


def find(session: Session, wanted: str | None, content_library: str | None = None) -> list[Image]:
    """Return one image, or all that the account sees: templates, and items of content libraries, each ordered by path.

    :param wanted: a template, or with ``content_library`` an item of it; None for all.
    :param content_library: a library whose items are meant, and no templates.
    """
    call = Caller(session.clock)
    if content_library and wanted:
        return [_of_item(call(library.find, session, content_library, wanted, "id"))]
    if content_library:
        return [_of_item(item) for item in call(library.items, session, content_library)]
    stock = Stock(session)
    if wanted:
        return [resolve(stock, wanted)]
    templates = [entry for entry in stock.of(session.vim.VirtualMachine) if entry.values.get("config.template")]
    found = sorted(describe(stock, templates), key=lambda image: image.path)
    return [*found, *(_of_item(item) for item in call(library.items, session, None))]


def _of_item(item: library.Item) -> Image:
    """Return what is known of an item. What is in it, a vCenter tells only of what is deployed."""
    about = {"kind": item.kind, "library": item.library, "version": item.version}
    return Image(id=item.id, name=item.name, path=item.path, problems=item.problems, **about)


def describe(stock: Stock, entries: Sequence[Entry]) -> list[Image]:
    """Return what there is to know of templates, by one read."""
    session = stock.session
    if not entries:
        return []
    found = session.patient_read(session.objects([entry.ref for entry in entries], _DETAILS))
    return [_image(stock, entry) for entry in found]


def _image(stock: Stock, entry: Entry) -> Image:
    session, values = stock.session, entry.values
    devices = session.vim.vm.device
    hardware = values.get("config.hardware.device") or ()
    disks = [device for device in hardware if isinstance(device, devices.VirtualDisk)]
    cards = [device for device in hardware if isinstance(device, devices.VirtualEthernetCard)]
    tools = str(values.get("guest.toolsVersionStatus2") or "")
    option = values.get('config.extraConfig["disk.EnableUUID"]')
    asked = {str(one.id) for one in values.get("config.vAppConfig.property") or ()}
    problems = []
    if not values.get("config.template"):
        problems.append("it is a virtual machine, not a template")
    if not disks:
        problems.append("it has no disk")
    if tools == "guestToolsNotInstalled":
        problems.append("open-vm-tools is not installed in it, so nobody learns its address")
    return Image(
        id=str(values.get("config.instanceUuid") or ""),
        name=str(values.get("name") or ""),
        path=stock.path(entry),
        os=str(values.get("config.guestFullName") or ""),
        firmware=str(values.get("config.firmware") or ""),
        hardware=str(values.get("config.version") or ""),
        disk_gib=max((_gib(disk) for disk in disks[:1]), default=0),
        network_cards=len(cards),
        template=bool(values.get("config.template")),
        snapshot=values.get("snapshot.currentSnapshot") is not None,
        tools=tools,
        disk_uuid=option is not None and str(option.value).lower() == "true",
        # https://docs.cloud-init.io/en/latest/reference/datasources/ovf.html
        cloud_init=True if "user-data" in asked else None,
        problems=tuple(problems),
        entry=entry,
    )


def _gib(disk: Any) -> int:
    return int(-(-int(disk.capacityInKB) // 1024**2))


def check(image: Image, linked: bool, disk_gib: int, pool: str) -> None:
    """Fail when machines can not be made from a template as the definition wants them.

    :raises FlotillaError: ``VSPHERE_TEMPLATE``.
    """
    problems = list(image.problems)
    if linked and not image.snapshot:
        problems.append("vsphere.clone is linked, and it has no snapshot to be linked to")
    if disk_gib and disk_gib < image.disk_gib:
        problems.append(f"its disk has {image.disk_gib} GiB, and disk_gib of pool {pool} is {disk_gib}: disks only grow")
    if linked and image.disk_gib and disk_gib > image.disk_gib:
        problems.append(f"disks do not grow with vsphere.clone: linked, and disk_gib of pool {pool} is not its {image.disk_gib} GiB")
    if problems:
        raise FlotillaError(
            "VSPHERE_TEMPLATE",
            f"From the template {image.path} no machines can be made for pool {pool}: {'; '.join(problems)}.",
            "Mend the template, name another one in image.id, or change what the definition asks for.",
        )
