# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of a cluster in vSphere, as the machine engine asks for them (private to flotilla.kubernetes).

Whose a virtual machine is, is in its extraConfig from the moment at which it is there: people rename and move machines, and tag them.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import json
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

from ..._errors import FlotillaError
from ..._machines.cloud import CloudError, Limits, NotFound, Refused, Transient
from ..._machines.model import CONTROL_PLANE_POOL, DEAD_STATES, PENDING, RUNNING, STOPPED, WORKER, Changes, Machine, MachineGroup, Order
from ..._machines.plan import suffixes
from ..._machines.retry import Caller
from ..._machines.user_data import user_data
from .. import first_contact
from .. import machines as fleet
from ..machines import pool_of
from ..result import Result
from . import image as images
from . import layout as names
from . import privileges, rules
from .errors import AlreadyExists
from .image import Image
from .layout import HOST_KEY, Place, Segment
from .session import Entry, Session, close_sessions, moid, session_for
from .stock import Site, Stock

GENERATION = "1"
_STATES = {"poweredOn": RUNNING, "poweredOff": STOPPED}
_ENGINE_TAGS = (names.TAG_UID, names.TAG_FOUNDATION, names.TAG_CLUSTER, names.TAG_SPEC_HASH, names.TAG_GENERATION)
_AT_ONCE = 8
_SHOWN, _LOOK = 120.0, 2.0
"""Seconds within which a vCenter shows a segment that NSX has made, and between two looks."""
_DETAILS = (
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


class Vsphere:
    """One cluster's machines, as `flotilla.kubernetes`' engine asks for them. Waits for its tasks, and for nothing else.

    :param changing: whether clones that are under way have to end before anybody plans.
    :param planning: whether nothing is made, so that machines may be meant for a segment of NSX that is not there yet.
    """

    title = "vSphere"
    # A vCenter shows what it has done. One create waits for the clones of a pool in a zone, which are under way together.
    limits = Limits(per_create=64, per_call=64, concurrency=8, consistency=0.0)

    def __init__(
        self, session: Session, where: Place, definition: Mapping[str, Any], changing: bool = True, planning: bool = False
    ) -> None:
        self.session = session
        self.clock = session.clock
        self.where = where
        self.definition = definition
        self.cluster = where.cluster
        self.changing = changing
        self.planning = planning
        self.images: dict[str, Image] = {}
        self.refs: dict[str, Any] = {}
        self.pools: dict[str, str] = {}
        self.taken: set[str] = set()
        self._uid = ""
        self._asked: set[str] = set()
        self._begun: set[str] = set()
        self._stock: Stock | None = None
        self._sites: dict[tuple[str, str], Site] = {}
        self._keys: list[str] | None = None
        self._lock = threading.Lock()

    @property
    def place(self) -> str:
        return f"{self.session.server}/{self.where.datacenter}"

    @property
    def uid(self) -> str:
        if not self._uid:
            self._uid = self.where.uid(str(self.session.content.about.instanceUuid))
        return self._uid

    # ---- reading

    def everybody(self) -> list[Entry]:
        """Return all virtual machines of the vCenter that carry marks of ours, whoever's they are, with those marks only."""
        session, vim = self.session, self.session.vim
        specs = [session.all({vim.VirtualMachine: [names.path(tag) for tag in names.OWNER]})]
        if self.changing:
            specs.append(session.tasks(["info.state", "info.descriptionId", "info.queueTime"]))
        found = session.read(*specs)
        running = [entry for entry in found if isinstance(entry.ref, vim.Task) and _clones(entry)]
        machines = [entry for entry in found if isinstance(entry.ref, vim.VirtualMachine) and marks(entry)]
        if running:
            self._refuse_unfinished(running, machines)
        self.taken |= {address for entry in machines if (address := marks(entry).get(names.TAG_ADDRESS))}
        return machines

    def _refuse_unfinished(self, running: Sequence[Entry], machines: Sequence[Entry]) -> None:
        """Have the caller ask again while clones for this cluster are under way that a run before this one began.

        They do not show before they are done, and a plan that does not see them would make them twice.
        """
        event = self.session.vim.event
        begun = min(task.values["info.queueTime"] for task in running) - datetime.timedelta(minutes=1)
        wanted = event.EventFilterSpec(eventTypeId=["VmBeingClonedEvent", "VmClonedEvent", "VmCloneFailedEvent"])
        wanted.time = event.EventFilterSpec.ByTime(beginTime=begun)
        under_way: dict[str, int] = {}
        for one in sorted(self.session.call("eventManager", "QueryEvents", filter=wanted) or (), key=lambda one: one.key):
            if isinstance(one, event.VmBeingClonedEvent):
                under_way[str(one.destName)] = one.chainId
            else:
                # One that is done tells of the new machine, and all events of one clone are of one chain.
                ended = {str(one.vm.name)} if one.vm else set[str]()
                ended |= {name for name, chain in under_way.items() if chain == one.chainId}
                under_way = {name: chain for name, chain in under_way.items() if name not in ended}
        pools = "|".join([CONTROL_PLANE_POOL, *(re.escape(pool["name"]) for pool in self.definition.get("pools") or ())])
        pattern = re.compile(rf"{re.escape(self.cluster)}-({pools})-[0-9a-f]{{8}}")
        there = {marks(entry).get(names.TAG_NAME) for entry in machines}
        hidden = sorted(name for name in under_way.keys() - there - self._begun if pattern.fullmatch(name))
        if hidden:
            raise Transient(
                "VSPHERE_CLONES_UNDER_WAY",
                f"An earlier run has begun to clone {', '.join(hidden)}, and the vCenter is not done with that.",
                "Run again when the tasks are done, see Recent Tasks in the vSphere Client.",
            )

    def observe(self) -> list[Machine]:
        mine = [entry.ref for entry in self.everybody() if marks(entry).get(names.TAG_CLUSTER) == self.cluster]
        return self._machines(mine)

    def _machines(self, refs: Sequence[Any], check: bool = True) -> list[Machine]:
        """Return machines by their objects, copies that somebody made of them left out."""
        if not refs:
            return []
        found = []
        for entry in self.session.read(self.session.objects(refs, _DETAILS)):
            machine = to_machine(entry, self.where.avoid)
            if machine is None:
                continue
            if check:
                self._check(machine)
            self.refs[machine.id] = entry.ref
            if entry.values.get("resourcePool") is not None:
                self.pools[machine.id] = moid(entry.values["resourcePool"])
            found.append(machine)
        return found

    def _check(self, machine: Machine) -> None:
        try:
            names.check_owner(machine.tags, self.where, self.uid, f"The virtual machine {machine.name}")
        except FlotillaError as error:
            raise Refused(error.code, error.message, error.remedy) from error

    def describe(self, ids: Sequence[str]) -> list[Machine]:
        known = [self.refs[number] for number in ids if number in self.refs]
        try:
            found = self._machines(known)
        except NotFound:
            # One that has gone makes the vCenter refuse a whole read.
            found = self.observe()
        return [machine for machine in found if machine.id in set(ids)]

    def find(self, ids: Sequence[str]) -> list[Machine]:
        return self._machines([entry.ref for entry in self.everybody() if marks(entry).get(names.TAG_ID) in set(ids)], check=False)

    # ---- what is to be made

    def tags(self, group: MachineGroup) -> dict[str, str]:
        """Return the marks of a new machine of a group."""
        return {
            names.TAG_CLUSTER: self.cluster,
            names.TAG_FOUNDATION: self.where.foundation,
            names.TAG_ROLE: group.role,
            names.TAG_UID: self.uid,
            names.TAG_POOL: group.pool,
            names.TAG_SPEC_HASH: group.spec_hash,
            names.TAG_GENERATION: group.generation or GENERATION,
        }

    def group(self, group: MachineGroup) -> MachineGroup:
        return dataclasses.replace(group, tags={key: value for key, value in self.tags(group).items() if key not in _ENGINE_TAGS})

    @property
    def stock(self) -> Stock:
        """The vCenter's things by name, read when the first one is asked for."""
        with self._lock:
            if self._stock is None:
                self._stock = Stock(self.session)
            return self._stock

    def site(self, zone: str, role: str) -> Site:
        """Return where machines of a role are made in a zone."""
        stock, segment = self.stock, self.where.segments.get(role)
        with self._lock:
            if (zone, role) not in self._sites:
                found = stock.site(self.where, self.where.spot(zone), segment)
                if found.network is None and segment and not self.planning:
                    found = self._shown(zone, segment)
                self._sites[zone, role] = found
            return self._sites[zone, role]

    def _shown(self, zone: str, segment: Segment) -> Site:
        """Return where machines of a zone are made once the vCenter shows their segment, which NSX tells it a moment later.

        :raises FlotillaError: ``VSPHERE_SEGMENT``: it does not.
        """
        end = self.clock.monotonic() + _SHOWN
        while self.clock.monotonic() < end:
            self.clock.sleep(_LOOK)
            self._stock = Stock(self.session)
            found = self._stock.site(self.where, self.where.spot(zone), segment)
            if found.network is not None:
                return found
        raise FlotillaError(
            "VSPHERE_SEGMENT",
            f"The vCenter does not show the segment {segment.path} after {_SHOWN:g} s.",
            f"Look in NSX whether the hosts of {self.where.spot(zone).cluster} are in the segment's transport zone, whether this vCenter "
            "is NSX's compute manager, and in the vCenter whether the account sees networks; then run again.",
        )

    def choose_images(self, groups: Sequence[MachineGroup], observed: Sequence[Machine]) -> None:
        for group in groups:
            if group.pool in self.images:
                continue
            pool = pool_of(self.definition, group.pool)
            wanted = str((pool.get("image") or self.definition.get("image") or {}).get("id") or "")
            peers = [
                m for m in observed if m.pool == group.pool and m.spec_hash == group.spec_hash and m.state not in DEAD_STATES and m.image
            ]
            peers.sort(key=lambda machine: (machine.created, machine.id), reverse=True)
            found = self._template(peers[0].image if peers else wanted, wanted, group)
            images.check(found, self.where.linked, int((pool.get("machine") or {}).get("disk_gib") or 0), group.pool)
            self.images[group.pool] = found
            for zone in group.zones:
                self.site(zone, group.role)

    def _template(self, number: str, wanted: str, group: MachineGroup) -> Image:
        try:
            return images.resolve(self.stock, number)
        except FlotillaError as error:
            if number == wanted or error.code != "VSPHERE_UNKNOWN":
                raise
            raise FlotillaError(
                "VSPHERE_TEMPLATE_GONE",
                f"The template that the machines of pool {group.pool} were made from is gone, and new ones are to be like them.",
                f"Put it back, or name its successor in image.id in place of {wanted} and replace the machines.",
                error,
            ) from error

    def check_sizes(self, groups: Sequence[MachineGroup]) -> None:
        """Fail when the account may not make machines, or a datastore has no room for one: clones say so only when others are made.

        :raises FlotillaError: ``VSPHERE_NO_PERMISSION``, ``VSPHERE_DATASTORE_FULL``.
        """
        Caller(self.clock)(lambda: privileges.check(self.session, self._needed(groups)))
        for group in groups:
            gib = self._disk_gib(group)
            for zone in group.zones:
                site = self.site(zone, group.role)
                rooms = {self.stock.path(store): self.stock.room(store) // 1024**3 for store in site.stores}
                if rooms and max(rooms.values()) < gib and not self.where.linked:
                    free = ", ".join(f"{room} GiB on {name}" for name, room in sorted(rooms.items()))
                    raise FlotillaError(
                        "VSPHERE_DATASTORE_FULL",
                        f"A machine of pool {group.pool} takes {gib} GiB, and free are {free}.",
                        "Free space there, or name another datastore in the section vsphere.",
                    )

    def _needed(self, groups: Sequence[MachineGroup]) -> list[tuple[Entry, str, Sequence[str]]]:
        """Return what has to be allowed on which things."""
        found: list[tuple[Entry, Sequence[str]]] = []
        templates = [(image.entry, image.path, privileges.TEMPLATE) for image in self.images.values() if image.entry]
        for group in groups:
            for zone in group.zones:
                site = self.site(zone, group.role)
                found += [(site.folder, privileges.FOLDER), (site.pool, privileges.POOL)]
                found += [(site.network, privileges.NETWORK)] if site.network else []
                found += [(store, privileges.DATASTORE) for store in site.stores]
                if site.hosts or self.where.anti_affinity != "none":
                    found.append((site.cluster, privileges.CLUSTER))
        return [*templates, *((entry, self.stock.path(entry), needed) for entry, needed in found)]

    def _disk_gib(self, group: MachineGroup) -> int:
        machine = pool_of(self.definition, group.pool).get("machine") or {}
        return int(machine.get("disk_gib") or self.images[group.pool].disk_gib) + sum(machine.get("extra_disks_gib") or ())

    def request(self, group: MachineGroup, zone: str) -> dict[str, Any]:
        """Return all that machines of a group are made like in a zone, but for their names and addresses."""
        pool = pool_of(self.definition, group.pool)
        site = self.site(zone, group.role)
        return {
            "machine": pool.get("machine") or {},
            "template": self.images[group.pool].id,
            "user_data": self._user_data(),
            "tags": {**self.tags(group), names.TAG_ZONE: zone},
            "site": [
                *(site.cluster.id, site.pool.id, site.folder.id),
                *(site.network.id if site.network else "", sorted(store.id for store in site.stores)),
            ],
            "how": [self.where.linked, self.where.firmware, self.where.secure_boot, self.where.addresses_of(group.role) is not None],
        }

    def request_hash(self, group: MachineGroup, zone: str) -> str:
        return hashlib.sha256(json.dumps(self.request(group, zone), sort_keys=True).encode()).hexdigest()

    def _user_data(self) -> str:
        if self._keys is None:
            self._keys = first_contact.login_keys(dict(self.definition))
        return user_data(str(self.definition["access"]["ssh_user"]), self._keys)

    def create(self, order: Order) -> list[Machine]:
        wanted = {f"{self.cluster}-{order.group.pool}-{suffix}": None for suffix in suffixes(order.token, order.count)}
        numbers = {names.machine_id(self.uid, name): name for name in wanted}
        made: dict[str, Any] = {}
        if order.token in self._asked:
            there = {machine.name: machine for machine in self.observe() if machine.id in numbers}
            made = {name: self.refs[machine.id] for name, machine in there.items()}
        self._asked.add(order.token)
        missing = [name for name in wanted if name not in made]
        outcomes = self._clone(order, missing) if missing else {}
        failed: list[CloudError] = []
        for name, outcome in outcomes.items():
            if isinstance(outcome, AlreadyExists):
                outcome = self._known(name, outcome)
            if isinstance(outcome, CloudError):
                failed.append(outcome)
            elif outcome is not None:
                made[name] = outcome
        refs = list(made.values())
        # What asks for patience first: then all are asked for again, and those that are there are found.
        if any(error.retry for error in failed) or (failed and not refs):
            raise max(failed, key=lambda error: error.retry)
        return self._machines(refs)

    def _known(self, name: str, error: AlreadyExists) -> Any:
        """Return the machine that has a name already if it is this cluster's, or why there is none."""
        if error.thing is None:
            return error
        try:
            entry = self.session.read(self.session.objects([error.thing], [names.path(names.TAG_ID), "config.instanceUuid"]))[0]
        except (NotFound, IndexError):
            return Transient(error.code, error.message, error.remedy, error.cause)
        if not entry.values.get("config.instanceUuid"):
            # It is still being made.
            return Transient(error.code, error.message, error.remedy, error.cause)
        if marks(entry).get(names.TAG_ID) == names.machine_id(self.uid, name):
            return entry.ref
        # Somebody else's: the next name is free.
        return None

    def _clone(self, order: Order, wanted: Sequence[str]) -> dict[str, Any]:
        """Clone machines, several at once; return for each name its object, or why there is none."""
        addresses: list[str] = [""] * len(wanted)
        given = self.where.addresses_of(order.group.role)
        if given:
            with self._lock:
                addresses = given.choose(self.taken, len(wanted))
                self.taken |= set(addresses)
        template = self.images[order.group.pool]
        site = self.site(order.zone, order.group.role)
        specs = {name: self._spec(order, name, address) for name, address in zip(wanted, addresses)}
        source = template.entry.ref if template.entry else None

        self._begun |= set(wanted)

        def begin(name: str) -> Any:
            try:
                return self.session.call(source, "CloneVM_Task", folder=site.folder.ref, name=name, spec=specs[name])
            except CloudError as error:
                return self._about_template(error, template)

        begun = self._together(begin, wanted)
        outcomes: dict[str, Any] = {name: task for name, task in begun.items() if isinstance(task, CloudError)}
        tasks = {name: task for name, task in begun.items() if name not in outcomes}
        if tasks:
            outcomes.update(self.session.finish(tasks))
        self._let_go(outcomes, dict(zip(wanted, addresses)))
        return outcomes

    def _about_template(self, error: CloudError, template: Image) -> CloudError:
        """Return what it means that a clone was refused; the template may have been removed since it was chosen."""
        if not isinstance(error, NotFound):
            return error
        return Refused(
            "VSPHERE_TEMPLATE_GONE",
            f"The template {template.path}, or the place of its clones, was removed while machines were made from it.",
            "Put it back, or correct image.id, and run again.",
            error,
        )

    def _let_go(self, outcomes: Mapping[str, Any], addresses: Mapping[str, str]) -> None:
        """Have the addresses of machines that were not made be free again."""
        with self._lock:
            self.taken -= {addresses[name] for name, outcome in outcomes.items() if isinstance(outcome, CloudError) and not outcome.retry}

    def _spec(self, order: Order, name: str, address: str) -> Any:
        """Return what a machine is cloned like: https://developer.broadcom.com/xapis/vsphere-web-services-api/latest/."""
        vim, template = self.session.vim, self.images[order.group.pool]
        machine = pool_of(self.definition, order.group.pool).get("machine") or {}
        site = self.site(order.zone, order.group.role)
        number = names.machine_id(self.uid, name)
        disks, changes = self._disks(template, machine)
        tags = {
            **self.tags(order.group),
            names.TAG_ZONE: order.zone,
            names.TAG_NAME: name,
            names.TAG_ID: number,
            names.TAG_IMAGE: template.id,
            names.TAG_DISKS: names.disks(disks),
            **({names.TAG_ADDRESS: address} if address else {}),
        }
        options = {names.option(tag): value for tag, value in tags.items()}
        told = {"metadata": names.metadata(name, number, address, self.where.addresses_of(order.group.role)), "userdata": self._user_data()}
        for key, text in told.items():
            options[f"guestinfo.{key}"] = base64.b64encode(text.encode()).decode()
            options[f"guestinfo.{key}.encoding"] = "base64"
        # Volumes of the CSI driver are known by the identity of their disks.
        options["disk.EnableUUID"] = "TRUE"
        config = vim.vm.ConfigSpec(
            instanceUuid=number,
            annotation=f"Machine of the Kubernetes cluster {self.cluster}, pool {order.group.pool}. Made by flotilla.kubernetes.",
            numCPUs=machine.get("cpus"),
            memoryMB=machine["memory_gib"] * 1024 if machine.get("memory_gib") else None,
            extraConfig=[vim.option.OptionValue(key=key, value=value) for key, value in sorted(options.items())],
            firmware=self.where.firmware or None,
        )
        if self.where.secure_boot is not None:
            config.bootOptions = vim.vm.BootOptions(efiSecureBootEnabled=self.where.secure_boot)
        store = self.stock.store(site, self._disk_gib(order.group))
        location = vim.vm.RelocateSpec(pool=site.pool.ref, deviceChange=[self._card(template, site), *changes])
        location.datastore = store.ref if store else None
        location.diskMoveType = "createNewChildDiskBacking" if self.where.linked else "moveAllDiskBackingsAndDisallowSharing"
        location.host = self.stock.host(site, name)
        spec = vim.vm.CloneSpec(location=location, config=config, powerOn=True, template=False)
        if self.where.linked and template.entry:
            spec.snapshot = template.entry.values["snapshot.currentSnapshot"]
        return spec

    def _card(self, template: Image, site: Site) -> Any:
        """Return the change that connects the first network card to the zone's network, and makes one where there is none."""
        devices = self.session.vim.vm.device
        network = self.stock.backing(site.network) if site.network else None
        cards = template.devices(self.session, "VirtualEthernetCard")
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

    def _disks(self, template: Image, machine: Mapping[str, Any]) -> tuple[list[tuple[int, int]], list[Any]]:
        """Return the disks that a machine is made with, by controller and unit, and the changes to those of the template."""
        devices = self.session.vim.vm.device
        disks = template.devices(self.session, "VirtualDisk")
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
            changes.append(devices.VirtualDeviceSpec(operation="add", fileOperation="create", device=added))
        return pairs, changes

    # ---- machines that there are

    def _together(self, work: Callable[[str], Any], items: Sequence[str]) -> dict[str, Any]:
        if not items:
            return {}
        with ThreadPoolExecutor(min(_AT_ONCE, len(items))) as executor:
            return dict(zip(items, executor.map(work, items)))

    def _do(self, method: str, machines: Mapping[str, Any], **parameters: Any) -> dict[str, Any]:
        """Call a method of machines that begins a task, and wait for all; return for each id the result or the error."""

        def begin(number: str) -> Any:
            try:
                return self.session.call(machines[number], method, **parameters)
            except CloudError as error:
                return error

        begun = self._together(begin, list(machines))
        outcomes: dict[str, Any] = {number: task for number, task in begun.items() if isinstance(task, CloudError)}
        outcomes.update(self.session.finish({number: task for number, task in begun.items() if number not in outcomes}))
        return outcomes

    def start(self, machines: Sequence[Machine]) -> None:
        outcomes = self._do("PowerOnVM_Task", self._refs(machines))
        _raise_first(outcomes, but=("InvalidPowerState",))

    def _refs(self, machines: Iterable[Machine]) -> dict[str, Any]:
        """Return the objects of machines; those that have gone are left out."""
        wanted = {machine.id for machine in machines}
        if wanted - self.refs.keys():
            self.observe()
        return {number: self.refs[number] for number in wanted if number in self.refs}

    def update(self, machine: Machine, changes: Changes) -> None:
        self._mark(machine, changes.tags)

    def tag_host_key(self, machine: Machine, key: str) -> None:
        self._mark(machine, {HOST_KEY: key})

    def _mark(self, machine: Machine, tags: Mapping[str, str]) -> None:
        vim = self.session.vim
        options = [vim.option.OptionValue(key=names.option(tag), value=value) for tag, value in sorted(tags.items())]
        refs = self._refs([machine])
        if not refs:
            raise NotFound("VSPHERE_GONE", f"The machine {machine.name} is not in the vCenter any more.", "Run again.")
        _raise_first(self._do("ReconfigVM_Task", refs, spec=vim.vm.ConfigSpec(extraConfig=options)))

    def delete(self, machines: Sequence[Machine]) -> None:
        refs = self._refs(machines)
        if not refs:
            return
        try:
            found = self.session.read(self.session.objects(list(refs.values()), _LEAVING))
        except NotFound:
            # One has gone: the others are read without it.
            self.refs.clear()
            refs = self._refs(machines)
            found = self.session.read(self.session.objects(list(refs.values()), _LEAVING)) if refs else []
        self._give_back(found)
        running = {entry.id for entry in found if entry.values.get("runtime.powerState") != "poweredOff"}
        on = {number: ref for number, ref in refs.items() if moid(ref) in running}
        _raise_first(self._do("PowerOffVM_Task", on), but=("InvalidPowerState", "ManagedObjectNotFound"))
        _raise_first(self._do("Destroy_Task", refs), but=("ManagedObjectNotFound",))

    def _give_back(self, entries: Sequence[Entry]) -> None:
        """Detach every disk that the machines were not made with. It is somebody's, and a machine takes its disks with it.

        :raises Refused: ``VSPHERE_DISK``: one can not be kept; then none of the machines goes.
        """
        vim, devices = self.session.vim, self.session.vim.vm.device
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
            _raise_first(self._do("ReconfigVM_Task", {moid(ref): ref}, spec=vim.vm.ConfigSpec(deviceChange=gone)))


_LEAVING = ("name", "runtime.powerState", "config.files.vmPathName", "config.hardware.device", names.path(names.TAG_DISKS))


def _raise_first(outcomes: Mapping[str, Any], but: Sequence[str] = ()) -> None:
    """Raise one of the errors, what asks for patience last: then all are asked again, which those that are done do not mind."""
    failed = [outcome for outcome in outcomes.values() if isinstance(outcome, CloudError)]
    failed = [error for error in failed if error.details.get("fault") not in but]
    if failed:
        raise min(failed, key=lambda error: error.retry)


def _clones(task: Entry) -> bool:
    """Tell whether a task is a clone that is not done."""
    kind = str(task.values.get("info.descriptionId") or "").lower()
    return kind.startswith("virtualmachine.clone") and task.values.get("info.state") in ("queued", "running")


def marks(entry: Entry) -> dict[str, str]:
    """Return the marks of a virtual machine, as far as they were read."""
    found = {}
    for tag in names.MARKS:
        option = entry.values.get(names.path(tag))
        if option is not None:
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
        tags={tag: value for tag, value in tags.items() if tag not in (HOST_KEY, names.TAG_DISKS)},
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

    return _with_rules(session, definition, check_mode, do, network)


def _with_rules(
    session: Session, definition: dict[str, Any], check_mode: bool, do: Callable[[Vsphere], Result], network: dict[str, Any] | None = None
) -> Result:
    """Do something to the machines, and have the rules follow them."""
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

    return rules.follow(known, result, members, check_mode)


def observed(session: Session, definition: dict[str, Any]) -> Result:
    """Return the machines that there are, whatever the definition asks for."""
    return fleet.observed(_reader(session, definition))


def neighbours(session: Session, definition: dict[str, Any]) -> dict[str, list[str]]:
    """Return the machines of the foundation's other clusters in this vCenter: cluster -> names. Two reads."""
    cloud = _reader(session, definition)

    def read() -> list[Machine]:
        theirs = [entry.ref for entry in cloud.everybody() if marks(entry).get(names.TAG_FOUNDATION) == cloud.where.foundation]
        return cloud._machines(theirs, check=False)

    return fleet.neighbours(cloud.cluster, Caller(session.clock)(read))


def removed(session: Session, definition: dict[str, Any], ids: Sequence[str], *, check_mode: bool = False) -> Result:
    """Remove exactly these machines of the cluster, see `fleet.removed`."""
    return _with_rules(session, definition, check_mode, lambda cloud: fleet.removed(cloud, ids, check_mode=check_mode))


def absent(session: Session, definition: dict[str, Any], *, check_mode: bool = False) -> Result:
    """Remove every machine of the cluster, see `fleet.absent`."""
    return _with_rules(session, definition, check_mode, lambda cloud: fleet.absent(cloud, check_mode=check_mode))


def _reader(session: Session, definition: dict[str, Any]) -> Vsphere:
    return Vsphere(session, names.place(definition), definition, changing=False)
