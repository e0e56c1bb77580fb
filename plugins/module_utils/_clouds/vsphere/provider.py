# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of a cluster in vSphere, as the machine engine asks for them (private to flotilla.kubernetes).

Whose a virtual machine is, is in its extraConfig from the moment at which it is there: people rename and move machines, and tag them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..._errors import FlotillaError
from ..._machines.cloud import CloudError, Limits, NoCapacity, NotFound, Refused, Transient
from ..._machines.model import CONTROL_PLANE_POOL, DEAD_STATES, Changes, Machine, MachineGroup, Order
from ..._machines.plan import suffixes
from ..._machines.retry import Caller, Patience
from ..._machines.user_data import user_data
from .. import first_contact
from ..machines import pool_of
from . import cloning, leaving, privileges, seen, tasks
from . import image as images
from . import layout as names
from . import library as library_items
from .errors import AlreadyExists
from .image import Image
from .layout import HOST_KEY, Place, Segment
from .seen import marks, to_machine
from .session import TASK_TIMEOUT, Entry, Session, moid
from .stock import Site, Stock
from .tags import Tag, Tags, read_mark, written

GENERATION = "1"
_ENGINE_TAGS = (names.TAG_UID, names.TAG_FOUNDATION, names.TAG_CLUSTER, names.TAG_SPEC_HASH, names.TAG_GENERATION)
_SHOWN, _LOOK = 120.0, 2.0
"""Seconds within which a vCenter shows a segment that NSX has made, and between two looks."""


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
        self.tags_of: dict[str, frozenset[Tag]] = {}
        self.tags_at_first: dict[str, frozenset[Tag]] = {}
        self.tags_gone: set[str] = set()
        self.images_of: dict[str, str] = {}
        self.templates: dict[str, Entry] = {}
        self.labels = Tags(session, where)
        self._uid = ""
        self._asked: set[str] = set()
        self._begun: set[str] = set()
        self._stock: Stock | None = None
        self._sites: dict[tuple[str, str], Site] = {}
        self._keys: list[str] | None = None
        self._template_stores: dict[str, Entry | None] = {}
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
            specs.append(session.tasks(seen.CLONES))
        found = session.read(*specs)
        running = [entry for entry in found if isinstance(entry.ref, vim.Task) and seen.clones(entry)]
        machines = [entry for entry in found if isinstance(entry.ref, vim.VirtualMachine) and marks(entry)]
        if running:
            known = {marks(entry).get(names.TAG_NAME, "") for entry in machines} | self._begun
            seen.refuse_unfinished(session, running, self._names(), known)
        self.taken |= {address for entry in machines if (address := marks(entry).get(names.TAG_ADDRESS))}
        return machines

    def _names(self) -> re.Pattern[str]:
        """Return what the names of the cluster's machines match."""
        pools = "|".join([CONTROL_PLANE_POOL, *(re.escape(pool["name"]) for pool in self.definition.get("pools") or ())])
        return re.compile(rf"{re.escape(self.cluster)}-({pools})-[0-9a-f]{{8}}")

    def observe(self) -> list[Machine]:
        mine = [entry.ref for entry in self.everybody() if marks(entry).get(names.TAG_CLUSTER) == self.cluster]
        return self.read_machines(mine)

    def read_machines(self, refs: Sequence[Any], check: bool = True) -> list[Machine]:
        """Return machines by their objects, copies that somebody made of them left out."""
        if not refs:
            return []
        found = []
        for entry in self.session.read(self.session.objects(refs, seen.DETAILS)):
            if marks(entry).get(names.TAG_ITEM) and marks(entry).get(names.TAG_UID) == self.uid:
                self.templates[entry.id] = entry
                continue
            machine = to_machine(entry, self.where.avoid)
            if machine is None:
                continue
            if check:
                self._check(machine)
            self.refs[machine.id] = entry.ref
            self.images_of[machine.id] = machine.image
            self.tags_of[machine.name] = read_mark(marks(entry).get(names.TAG_TAGS, ""))
            self.tags_at_first.setdefault(machine.name, self.tags_of[machine.name])
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
            found = self.read_machines(known)
        except NotFound:
            # One that has gone makes the vCenter refuse a whole read.
            found = self.observe()
        return [machine for machine in found if machine.id in set(ids)]

    def find(self, ids: Sequence[str]) -> list[Machine]:
        return self.read_machines([entry.ref for entry in self.everybody() if marks(entry).get(names.TAG_ID) in set(ids)], check=False)

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
            image = pool.get("image") or self.definition.get("image") or {}
            wanted = str(image.get("id") or "")
            peers = [
                m for m in observed if m.pool == group.pool and m.spec_hash == group.spec_hash and m.state not in DEAD_STATES and m.image
            ]
            peers.sort(key=lambda machine: (machine.created, machine.id), reverse=True)
            if image.get("content_library"):
                found = self._from_library(str(image["content_library"]), wanted, peers[0].image if peers else "", group)
            else:
                found = self._template(peers[0].image if peers else wanted, wanted, group)
            images.check(found, self.where.linked, int((pool.get("machine") or {}).get("disk_gib") or 0), group.pool)
            self.images[group.pool] = found
            for zone in group.zones:
                self.site(zone, group.role)
        Caller(self.clock)(self.labels.prepare, self.planning)

    def _template(self, number: str, wanted: str, group: MachineGroup) -> Image:
        try:
            return images.resolve(self.stock, number)
        except FlotillaError as error:
            if number == wanted or error.code != "VSPHERE_UNKNOWN":
                raise
            raise _template_gone(group, wanted, error) from error

    def _from_library(self, library: str, wanted: str, settled: str, group: MachineGroup) -> Image:
        """Return the template that the cluster has of an item of a content library; it is made unless nothing is.

        :param settled: instance UUID of the template that the group's machines were made from; empty where there are none.
        """
        if settled:
            try:
                return images.resolve(self.stock, settled)
            except FlotillaError as error:
                if error.code != "VSPHERE_UNKNOWN":
                    raise
        call = Caller(self.clock, patience=Patience(call=TASK_TIMEOUT))
        item = call(library_items.find, self.session, library, wanted)
        if item.problems:
            raise FlotillaError(
                "VSPHERE_TEMPLATE",
                f"From the item {item.path} no machines can be made for pool {group.pool}: {'; '.join(item.problems)}.",
                "Name another item in image.id.",
            )
        number = names.machine_id(self.uid, item.template(self.where, self.uid))
        if settled and settled != number:
            raise _template_gone(group, wanted, None)
        if self.planning:
            there = [entry for entry in self.stock.of(self.session.vim.VirtualMachine) if entry.values.get("config.instanceUuid") == number]
            return images.describe(self.stock, there)[0] if there else Image(id=number, name=item.name, path=item.path, snapshot=True)
        site = self.site(group.zones[0], group.role)
        if number not in self._template_stores:
            self._template_stores[number] = self.stock.store(site, -(-item.bytes // 1024**3))
        store = self._template_stores[number]
        made = call(library_items.prepare, self.session, self.where, self.uid, item, site, store)
        return images.describe(self.stock, [made])[0]

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
        deploying = [group for group in groups if self._deploys(group)]
        for group in deploying:
            site = self.site(group.zones[0], group.role)
            found += [(site.folder, (*privileges.DEPLOY, *privileges.TEMPLATE)), (site.pool, ("VApp.Import",))]
            found += [(site.folder, privileges.SNAPSHOT)] if self.where.linked else []
        templates: list[tuple[Entry, str, Sequence[str]]] = [
            (image.entry, image.path, privileges.TEMPLATE) for image in self.images.values() if image.entry
        ]
        for group in groups:
            for zone in group.zones:
                site = self.site(zone, group.role)
                found += [(site.folder, privileges.FOLDER), (site.pool, privileges.POOL)]
                found += [(site.network, privileges.NETWORK)] if site.network else []
                found += [(store, privileges.DATASTORE) for store in site.stores]
                if site.hosts or self.where.anti_affinity != "none":
                    found.append((site.cluster, privileges.CLUSTER))
        if self.where.tags:
            found += [(self.site(zone, group.role).folder, privileges.TAGGED) for group in groups for zone in group.zones]
        root = Entry(self.session.content.rootFolder)
        everywhere = [privilege for kind in sorted(self.labels.missing) for privilege in privileges.TAGS[kind]]
        if any(spot.storage_policy for spot in self.where.spots.values()):
            everywhere += privileges.POLICY
        if everywhere:
            templates.append((root, "the vCenter", everywhere))
        return [*templates, *((entry, self.stock.path(entry), needed) for entry, needed in found)]

    def _deploys(self, group: MachineGroup) -> bool:
        """Tell whether a group's machines are made from an item of a content library."""
        pool = pool_of(self.definition, group.pool)
        return bool((pool.get("image") or self.definition.get("image") or {}).get("content_library"))

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
                *([site.policy] if site.policy else []),
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
        return self.read_machines(refs)

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
        specs = {name: self._spec(order, site, name, address) for name, address in zip(wanted, addresses)}
        source = template.entry.ref if template.entry else None

        self._begun |= set(wanted)

        def begin(name: str) -> Any:
            try:
                return self.session.call(source, "CloneVM_Task", folder=site.folder.ref, name=name, spec=specs[name])
            except CloudError as error:
                return self._about_template(error, template)

        outcomes = tasks.finish(self.session, tasks.together(begin, wanted))
        outcomes = {name: self._with_room(outcome) for name, outcome in outcomes.items()}
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

    def _with_room(self, outcome: Any) -> Any:
        """Return an outcome, which says how much is free where it is that a datastore has no room."""
        named = outcome.details.get("datastore") if isinstance(outcome, NoCapacity) else ""
        stores = [store for store in self.stock.of(self.session.vim.Datastore) if named and store.values.get("name") == named]
        if not stores:
            return outcome
        try:
            free = self.session.read(self.session.objects([stores[0].ref], ["summary.freeSpace"]))[0].values["summary.freeSpace"]
        except (CloudError, LookupError):
            return outcome
        told = f"{outcome.message.rstrip('.')}; {int(free) // 1024**3} GiB of it are free."
        return NoCapacity(outcome.code, told, outcome.remedy, outcome.cause, outcome.details)

    def _let_go(self, outcomes: Mapping[str, Any], addresses: Mapping[str, str]) -> None:
        """Have the addresses of machines that were not made be free again."""
        with self._lock:
            self.taken -= {addresses[name] for name, outcome in outcomes.items() if isinstance(outcome, CloudError) and not outcome.retry}

    def _spec(self, order: Order, site: Site, name: str, address: str) -> Any:
        group = order.group
        copy = cloning.Copy(
            name=name,
            id=names.machine_id(self.uid, name),
            pool=group.pool,
            role=group.role,
            tags={**self.tags(group), names.TAG_ZONE: order.zone},
            machine=pool_of(self.definition, group.pool).get("machine") or {},
            template=self.images[group.pool],
            site=site,
            store=self.stock.store(site, self._disk_gib(group)),
            address=address,
            user_data=self._user_data(),
            labels=written(self.labels.known),
        )
        return cloning.clone_spec(self.session, self.stock, self.where, copy)

    # ---- machines that there are

    def start(self, machines: Sequence[Machine]) -> None:
        outcomes = tasks.do(self.session, "PowerOnVM_Task", self._refs(machines))
        tasks.raise_first(outcomes, but=("InvalidPowerState",))

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
        tasks.raise_first(tasks.do(self.session, "ReconfigVM_Task", refs, spec=vim.vm.ConfigSpec(extraConfig=options)))

    def delete(self, machines: Sequence[Machine]) -> None:
        refs = self._refs(machines)
        try:
            found = leaving.read(self.session, refs)
        except NotFound:
            # One has gone: the others are read without it.
            self.refs.clear()
            refs = self._refs(machines)
            found = leaving.read(self.session, refs)
        if refs:
            self.tags_gone |= leaving.remove(self.session, refs, found)


def _template_gone(group: MachineGroup, wanted: str, error: FlotillaError | None) -> FlotillaError:
    return FlotillaError(
        "VSPHERE_TEMPLATE_GONE",
        f"The template that the machines of pool {group.pool} were made from is gone, and new ones are to be like them.",
        f"Put it back, or name its successor in image.id in place of {wanted} and replace the machines.",
        error,
    )
