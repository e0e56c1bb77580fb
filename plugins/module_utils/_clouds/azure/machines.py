# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of a cluster in Azure, as the machine engine asks for them (private to flotilla.kubernetes).

A machine is one document: its interface, its disk and its public address are made with it and go with it, so that no run that is killed
leaves half of one. What became of many machines is one read of all of them.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

from ..._errors import FlotillaError
from ..._machines import plan as planning
from ..._machines.cloud import CloudError, Limits, NoCapacity, NotFound, Refused, Transient
from ..._machines.model import (
    DEAD_STATES,
    INCOMPLETE,
    LEAVING,
    PENDING,
    RUNNING,
    STOPPED,
    WORKER,
    Changes,
    Machine,
    MachineGroup,
    Order,
)
from ..._machines.retry import Caller
from ..._machines.user_data import user_data
from .. import machines as fleet
from ..first_contact import default_private_key, login_keys
from ..machines import pool_of
from ..patience import CONSISTENCY
from ..result import Result
from . import errors, inventory
from . import image as images
from . import layout as names
from .image import Image
from .layout import ADDRESS, NIC, Place
from .session import Session, session_for

GENERATION = "1"
DISK_GIB = 40
"""Size of a root disk that the definition does not say: that of most images has no room for container images."""
_AT_ONCE = 8
# The first version in which a machine's document holds its interface.
_NETWORK_API = "2020-11-01"
# What Azure takes for a login; other kinds of keys come with the user data alone.
_KEYS = ("ssh-rsa ", "ssh-ed25519 ")
_POWER = {"running": RUNNING, "starting": PENDING, "stopping": STOPPED, "stopped": STOPPED, "deallocating": STOPPED, "deallocated": STOPPED}
_ENGINE_TAGS = (names.TAG_UID, names.TAG_FOUNDATION, names.TAG_CLUSTER, names.TAG_SPEC_HASH, names.TAG_GENERATION)
_PATIENT = ("Creating", "Updating", "Migrating", "")


class VirtualMachines:
    """One cluster's machines, as `flotilla.kubernetes`' engine asks for them. Makes each call once."""

    title = "Azure"
    limits = Limits(per_create=250, per_call=1000, concurrency=4, consistency=CONSISTENCY)

    def __init__(self, session: Session, where: Place, definition: dict[str, Any], base: inventory.Base) -> None:
        self.session = session
        self.clock = session.clock
        self.where = where
        self.definition = definition
        self.base = base
        self.cluster, self.place, self.uid = where.cluster, where.location, base.uid
        self.images: dict[str, Image] = {}
        self.plans: dict[str, dict[str, str]] = {}
        self.keys: list[str] | None = None
        # (size, zone) of which Azure has none to give now.
        self.spent: set[tuple[str, str]] = set()
        self._accepted: dict[str, dict[str, Machine]] = {}

    def observe(self) -> list[Machine]:
        return [machine for machine in self._read() if machine.cluster == self.where.cluster]

    def describe(self, ids: Sequence[str]) -> list[Machine]:
        wanted = set(ids)
        return [machine for machine in self.observe() if machine.id in wanted]

    def find(self, ids: Sequence[str]) -> list[Machine]:
        wanted = set(ids)
        found = self.session.pages("compute", "virtual_machines.list_all", once=True)
        return [machine for machine in (to_machine(entry, self.where) for entry in found) if machine.id in wanted]

    def request_hash(self, group: MachineGroup, zone: str) -> str:
        return hashlib.sha256(json.dumps(self.request(group, zone), sort_keys=True).encode()).hexdigest()

    def sizes(self, group: MachineGroup) -> list[str]:
        """Return the machine size of a group, and those that the user falls back on."""
        size = str((pool_of(self.definition, group.pool).get("machine") or {})["size"])
        others = ((self.definition.get("azure") or {}).get("other_sizes") or {}).get(size) or ()
        return [size, *(str(other) for other in others if other != size)]

    def request(self, group: MachineGroup, zone: str, name: str = "", size: str = "") -> dict[str, Any]:
        """Return the document of a machine; without a name what all machines of the group have in common."""
        where, azure = self.where, self.definition.get("azure") or {}
        machine = pool_of(self.definition, group.pool).get("machine") or {}
        image, login = self.images[group.pool], self.definition["access"]["ssh_user"]
        keys, tags = self._keys(), self.tags(group)
        managed: dict[str, Any] = {"storageAccountType": azure.get("disk_type") or "Premium_LRS"}
        if azure.get("disk_encryption_set_id"):
            managed["diskEncryptionSet"] = {"id": azure["disk_encryption_set_id"]}
        gone = {"deleteOption": "Delete"}
        disk = {
            "name": name,
            "createOption": "FromImage",
            "diskSizeGB": int(machine.get("disk_gib") or DISK_GIB),
            "managedDisk": managed,
            **gone,
        }
        linux: dict[str, Any] = {"disablePasswordAuthentication": True, "ssh": {"publicKeys": []}, "provisionVMAgent": True}
        path = f"/home/{login}/.ssh/authorized_keys"
        linux["ssh"]["publicKeys"] = [{"path": path, "keyData": key} for key in keys if key.startswith(_KEYS)]
        properties: dict[str, Any] = {
            "hardwareProfile": {"vmSize": size or self.sizes(group)[0]},
            "storageProfile": {"imageReference": images.reference(image.id), "osDisk": disk},
            "osProfile": {
                "computerName": name,
                "adminUsername": login,
                "customData": base64.b64encode(user_data(login, keys).encode()).decode(),
                "linuxConfiguration": linux,
            },
            "networkProfile": {"networkApiVersion": _NETWORK_API, "networkInterfaceConfigurations": [self._interface(group, name, tags)]},
        }
        security: dict[str, Any] = {}
        if azure.get("trusted_launch", True) and image.generation != "V1":
            security = {"securityType": "TrustedLaunch", "uefiSettings": {"secureBootEnabled": True, "vTpmEnabled": True}}
        if azure.get("encryption_at_host"):
            security["encryptionAtHost"] = True
        if security:
            properties["securityProfile"] = security
        if machine.get("spot"):
            properties.update(priority="Spot", evictionPolicy="Delete", billingProfile={"maxPrice": -1})
        document: dict[str, Any] = {"location": where.location, "tags": tags, "properties": properties}
        if where.zone_number(zone):
            document["zones"] = [where.zone_number(zone)]
        identity = (azure.get("identities") or {}).get(group.role)
        if identity:
            document["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}
        if image.plan:
            document["plan"] = dict(image.plan)
        return document

    def _interface(self, group: MachineGroup, name: str, tags: dict[str, str]) -> dict[str, Any]:
        """Return the document of a machine's network interface."""
        where, gone = self.where, {"deleteOption": "Delete"}
        address: dict[str, Any] = {"primary": True, "subnet": {"id": where.subnet}}
        if where.application_group(group.role):
            address["applicationSecurityGroups"] = [{"id": where.application_group(group.role)}]
        if where.public_machines:
            public = {"name": name, "sku": {"name": "Standard"}, "tags": tags, "properties": {**gone, "publicIPAllocationMethod": "Static"}}
            address["publicIPAddressConfiguration"] = public
        return {
            "name": name,
            "tags": tags,
            "properties": {
                "primary": True,
                "networkSecurityGroup": {"id": where.security_group(group.role)},
                "ipConfigurations": [{"name": "primary", "properties": address}],
                **gone,
            },
        }

    def create(self, order: Order) -> list[Machine]:
        """Make each machine of the order by a call of its own: a name that is taken is a machine that was made before."""
        chosen = [f"{order.group.cluster}-{order.group.pool}-{suffix}" for suffix in planning.suffixes(order.token, order.count)]
        accepted = self._accepted.setdefault(order.token, {})

        def make(name: str) -> None:
            accepted[name] = self._make(order.group, order.zone, name)

        refused = self._each(make, [name for name in chosen if name not in accepted])
        again = [error for error in refused if error.retry]
        if again:
            # The order is repeated as it was; what is accepted is remembered.
            raise max(again, key=lambda error: error.retry_after)
        if refused and not accepted:
            raise refused[0]
        return list(self._accepted.pop(order.token).values())

    def _make(self, group: MachineGroup, zone: str, name: str) -> Machine:
        sizes = self.sizes(group)
        size = next((size for size in sizes if (size, zone) not in self.spent), sizes[-1])
        request, where = self.request(group, zone, name, size), self.where
        try:
            made = self.session.call(
                "compute", "virtual_machines.begin_create_or_update", where.group, name, body=request, headers={"If-None-Match": "*"}
            )
        except NoCapacity as error:
            self.spent.add((size, zone))
            if size != sizes[-1]:
                raise Transient(error.code, error.message, error.remedy, error.cause, error.details) from error
            raise
        except CloudError as error:
            if error.details.get("azure_code") != errors.TAKEN:
                raise
            try:
                made = self.session.call("compute", "virtual_machines.get", where.group, name, expand="instanceView")
            except NotFound as late:
                raise Transient(late.code, late.message, late.remedy, late.cause, late.details) from late
        return self._machine(made)

    def start(self, machines: Sequence[Machine]) -> None:
        self._raise(self._each(lambda machine: self._do("begin_start", machine), machines))

    def update(self, machine: Machine, changes: Changes) -> None:
        if changes.tags:
            self._tag(machine, changes.tags)

    def delete(self, machines: Sequence[Machine]) -> None:
        def remove(machine: Machine) -> None:
            try:
                self._do("begin_delete", machine)
            except NotFound:
                return

        self._raise(self._each(remove, machines))

    def tag_host_key(self, machine: Machine, key: str) -> None:
        self._tag(machine, {names.TAG_HOST_KEY: key})

    def _do(self, operation: str, machine: Machine) -> None:
        self.session.call("compute", f"virtual_machines.{operation}", self.where.group, machine.name)

    def _tag(self, machine: Machine, tags: dict[str, str]) -> None:
        """Add tags, and leave others as they are: those that a read showed may be old."""
        body = {"operation": "Merge", "properties": {"tags": tags}}
        scope = self.where.id(names.MACHINE, machine.name).removeprefix("/")
        self.session.call("resources", "tags.begin_update_at_scope", scope, body=body)

    def _each(self, work: Callable[[Any], None], items: Sequence[Any]) -> list[CloudError]:
        """Do something for each item, several at once; return what the cloud refused."""

        def one(item: Any) -> CloudError | None:
            try:
                work(item)
            except CloudError as error:
                return error
            return None

        if len(items) <= 1:
            return [error for error in map(one, items) if error]
        with ThreadPoolExecutor(min(_AT_ONCE, len(items))) as executor:
            found = [future.result() for future in [executor.submit(one, item) for item in items]]
        return [error for error in found if error]

    def _raise(self, refused: list[CloudError]) -> None:
        """Raise what makes the engine give up first, if anything; what was done for others does no harm when it is repeated."""
        if refused:
            raise min(refused, key=lambda error: error.retry)

    def tags(self, group: MachineGroup) -> dict[str, str]:
        """Return all tags of a new machine of a group."""
        return {
            **self.where.own_tags(group.role, self.base.uid),
            names.TAG_POOL: group.pool,
            names.TAG_SPEC_HASH: group.spec_hash,
            names.TAG_GENERATION: group.generation or GENERATION,
        }

    def group(self, group: MachineGroup) -> MachineGroup:
        """Return a group with what its machines are to carry in Azure."""
        tags = {key: value for key, value in self.tags(group).items() if key not in _ENGINE_TAGS}
        return dataclasses.replace(group, tags=tags)

    def choose_images(self, groups: Sequence[MachineGroup], observed: Sequence[Machine]) -> None:
        """Settle the image of each group: that of its machines, else what the definition's words mean now."""
        known: dict[str, Image] = {}
        for group in groups:
            pool = pool_of(self.definition, group.pool)
            wanted = pool.get("image") or self.definition.get("image") or {}
            peers = [m for m in observed if m.pool == group.pool and m.spec_hash == group.spec_hash and m.state not in DEAD_STATES]
            peers = sorted((m for m in peers if m.image in self.plans), key=lambda machine: (machine.created, machine.id))
            if peers:
                self.images[group.pool] = Image(peers[-1].image, plan=self.plans[peers[-1].image])
                continue
            architecture = images.architecture_of(self.sizes(group)[0])
            key = json.dumps([wanted, architecture], sort_keys=True)
            if key not in known:
                known[key] = images.resolve(self.session, self.where.location, wanted, architecture)
            self.images[group.pool] = known[key]

    def check_sizes(self, groups: Sequence[MachineGroup]) -> None:
        """Fail when a zone of a group does not offer its machine size, which a create would say only after the network is made.

        :raises FlotillaError: ``AZURE_SIZE_UNKNOWN``.
        """
        found = self.session.pages("compute", "resource_skus.list", filter=f"location eq '{self.where.location}'")
        offered: dict[str, set[str]] = {}
        for entry in found:
            if entry.get("resourceType") == "virtualMachines":
                zones = {str(zone) for info in entry.get("locationInfo") or () for zone in info.get("zones") or ()}
                closed: set[str] = set()
                for limit in entry.get("restrictions") or ():
                    inner = limit.get("restrictionInfo") or {}
                    closed |= {"", *zones} if limit.get("type") == "Location" else {str(zone) for zone in inner.get("zones") or ()}
                offered[str(entry["name"])] = {"", *zones} - closed
        missing = []
        for group in groups:
            for zone in group.zones:
                number = self.where.zone_number(zone)
                if not any(number in offered.get(size, set()) for size in self.sizes(group)):
                    missing.append((self.sizes(group)[0], number, zone))
        if missing:
            listed = ", ".join(f"{size} in {zone}" for size, _number, zone in sorted(set(missing)))
            elsewhere = sorted({number for size, _number, _zone in missing for number in offered.get(size, set()) if number})
            remedy = (
                f"Use other zones ({', '.join(f'{self.where.location}-{number}' for number in elsewhere)} have it), or another size."
                if elsewhere
                else "Correct machine.size or azure.location; 'az vm list-skus --location' lists what the subscription may use."
            )
            raise FlotillaError("AZURE_SIZE_UNKNOWN", f"Azure does not offer this subscription {listed}.", remedy)

    def _keys(self) -> list[str]:
        if self.keys is None:
            self.keys = login_keys(self.definition)
        return self.keys

    def _read(self) -> list[Machine]:
        """Return the machines of the resource group: they, their interfaces and, where they have any, their public addresses."""
        group, found = self.where.group, []
        try:
            machines = self.session.pages("compute", "virtual_machines.list", group, once=True, expand="instanceView")
        except NotFound:
            return []
        interfaces, addresses = {}, {}
        if machines:
            entries = self.session.pages("network", f"{inventory.OPERATIONS[NIC]}.list", group, once=True)
            interfaces = {str(entry["id"]).lower(): entry for entry in entries}
        if machines and self.where.public_machines:
            entries = self.session.pages("network", f"{inventory.OPERATIONS[ADDRESS]}.list", group, once=True)
            addresses = {str(entry["id"]).lower(): str((entry.get("properties") or {}).get("ipAddress") or "") for entry in entries}
        for entry in machines:
            machine = self._machine(entry, interfaces, addresses)
            if machine.pool:
                found.append(machine)
        return found

    def _machine(
        self, entry: dict[str, Any], interfaces: dict[str, dict[str, Any]] | None = None, addresses: dict[str, str] | None = None
    ) -> Machine:
        """Return a machine as the engine knows it, after a check of who owns it."""
        machine = to_machine(entry, self.where, interfaces, addresses)
        if machine.cluster == self.where.cluster and machine.state not in DEAD_STATES:
            try:
                names.check_owner(machine.tags, self.where, self.base.uid, f"The machine {machine.name}")
            except FlotillaError as error:
                raise Refused(error.code, error.message, error.remedy) from error
        if machine.image:
            plan = entry.get("plan") or {}
            self.plans[machine.image] = {key: str(plan[key]) for key in ("name", "product", "publisher") if plan.get(key)}
        if machine.no_capacity:
            self.spent.add((str(entry["properties"]["hardwareProfile"]["vmSize"]), machine.zone))
        return machine


def to_machine(
    entry: dict[str, Any],
    where: Place,
    interfaces: dict[str, dict[str, Any]] | None = None,
    addresses: dict[str, str] | None = None,
) -> Machine:
    """Return a virtual machine as Azure describes it as a machine.

    :param interfaces: id in lower case -> network interface.
    :param addresses: id in lower case -> public address.
    """
    tags, inner = dict(entry.get("tags") or {}), entry.get("properties") or {}
    statuses = (inner.get("instanceView") or {}).get("statuses") or ()
    state, reason, code = _state(str(inner.get("provisioningState") or ""), list(statuses))
    private, public = _addresses(inner, interfaces or {}, addresses or {})
    return Machine(
        id=str(inner.get("vmId") or ""),
        name=str(entry["name"]),
        cluster=tags.get(names.TAG_CLUSTER, ""),
        pool=tags.get(names.TAG_POOL, ""),
        role=tags.get(names.TAG_ROLE, WORKER),
        zone=where.zone_name(str(zone) for zone in entry.get("zones") or ()),
        state=state,
        addresses={"private": private, "public": public},
        host_key=tags.get(names.TAG_HOST_KEY, ""),
        spec_hash=tags.get(names.TAG_SPEC_HASH, ""),
        uid=tags.get(names.TAG_UID, ""),
        generation=tags.get(names.TAG_GENERATION, ""),
        image=images.id_of((inner.get("storageProfile") or {}).get("imageReference") or {}),
        reason=reason,
        created=_moment(str(inner.get("timeCreated") or "")),
        tags=tags,
        no_capacity=errors.is_capacity(code),
    )


def _state(provisioning: str, statuses: list[dict[str, Any]]) -> tuple[str, str, str]:
    """Return state, reason and error code of a machine. Azure tells of its provisioning and of its power apart."""
    codes = [str(status.get("code") or "") for status in statuses]
    power = next((code.partition("/")[2] for code in codes if code.startswith("PowerState/")), "")
    if provisioning == "Deleting":
        return LEAVING, "", ""
    if provisioning in ("Failed", "Canceled") and power not in _POWER:
        for status, code in zip(statuses, codes):
            if code.lower().startswith("provisioningstate/failed"):
                short = code.split("/")[2] if code.count("/") > 1 else ""
                return INCOMPLETE, f"{short}: {status.get('message') or ''}".strip(": "), short
        return INCOMPLETE, provisioning, ""
    if power in _POWER:
        return _POWER[power], "", ""
    return (PENDING if provisioning in (*_PATIENT, "Succeeded") else provisioning.lower()), "", ""


def _addresses(inner: dict[str, Any], interfaces: dict[str, dict[str, Any]], addresses: dict[str, str]) -> tuple[str | None, str | None]:
    attached = [str(one["id"]).lower() for one in (inner.get("networkProfile") or {}).get("networkInterfaces") or ()]
    for number in attached[:1]:
        for part in (interfaces.get(number, {}).get("properties") or {}).get("ipConfigurations") or ():
            found = part.get("properties") or {}
            public = str((found.get("publicIPAddress") or {}).get("id") or "").lower()
            return found.get("privateIPAddress") or None, addresses.get(public) or None
    return None, None


def _moment(text: str) -> float:
    # Azure writes seven digits of a second, and Python reads six.
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", text)
    if not found:
        return 0.0
    zone = "+00:00" if found[3] == "Z" else found[3]
    return datetime.datetime.fromisoformat(f"{found[1]}{zone}").timestamp() + float(f"0{found[2] or '.0'}")


def observe_machines(definition: dict[str, Any]) -> list[Machine]:
    """Return the machines of a cluster that exist in Azure: two paginated reads, no side effects."""
    cloud = _reader(session_for(definition), definition)
    return fleet.only_one_owner(cloud, Caller()(cloud.observe))


def present(session: Session, definition: dict[str, Any], *, check_mode: bool = False, **options: Any) -> Result:
    """Bring the machines to what the definition asks for, or with ``check_mode`` say how; ``options`` as `fleet.present` has them."""
    where = names.place(definition, session.subscription)
    base = inventory.base(session, where) if check_mode else inventory.ready_base(session, where)
    return fleet.present(VirtualMachines(session, where, definition, base), definition, check_mode=check_mode, **options)


def observed(session: Session, definition: dict[str, Any]) -> Result:
    """Return the machines that there are, whatever the definition asks for."""
    return fleet.observed(_reader(session, definition))


def neighbours(session: Session, definition: dict[str, Any]) -> dict[str, list[str]]:
    """Return the machines of the foundation's other clusters in this subscription: cluster -> names. One paginated read."""
    where = names.place(definition, session.subscription)

    def read() -> list[dict[str, Any]]:
        return session.pages("compute", "virtual_machines.list_all", once=True)

    found = [entry for entry in Caller(session.clock)(read) if (entry.get("tags") or {}).get(names.TAG_FOUNDATION) == where.foundation]
    return fleet.neighbours(where.cluster, [to_machine(entry, where) for entry in found])


def removed(session: Session, definition: dict[str, Any], ids: Sequence[str], *, check_mode: bool = False) -> Result:
    """Remove exactly these machines of the cluster, see `fleet.removed`."""
    return fleet.removed(_remover(session, definition), ids, check_mode=check_mode)


def absent(session: Session, definition: dict[str, Any], *, check_mode: bool = False) -> Result:
    """Remove every machine of the cluster, see `fleet.absent`."""
    return fleet.absent(_remover(session, definition), check_mode=check_mode)


def _reader(session: Session, definition: dict[str, Any]) -> VirtualMachines:
    return VirtualMachines(session, names.place(definition, session.subscription), definition, inventory.Base("", False))


def _remover(session: Session, definition: dict[str, Any]) -> VirtualMachines:
    where = names.place(definition, session.subscription)
    return VirtualMachines(session, where, definition, inventory.removal_base(session, where))


__all__ = ["absent", "default_private_key", "neighbours", "observe_machines", "observed", "present", "removed", "to_machine"]
