# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of a cluster in Google Cloud: Compute Engine as the machine engine asks for it (private to flotilla.kubernetes)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..._errors import FlotillaError
from ..._machines.cloud import CloudError, Limits, NotFound, Refused
from ..._machines.model import (
    DEAD_STATES,
    GONE,
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
from ..._machines.plan import suffixes
from ..._machines.retry import Caller
from ..._machines.user_data import user_data
from ..._moments import parse
from .. import first_contact
from .. import machines as fleet
from ..machines import pool_of
from ..patience import CONSISTENCY
from ..result import Result
from . import image as images
from . import layout as names
from . import network
from .errors import AlreadyExists
from .image import Image
from .layout import Place
from .session import Entry, Session, failure, session_for
from .things import plain

GENERATION = "1"
DISK_GIB = 40
"""Size of a root disk that the definition does not say: that of most images has no room for container images."""
NETWORK_TAGS, SSH_KEYS_OF_PROJECT = "network_tags", "project_ssh_keys"
_BLOCK = "block-project-ssh-keys"
_STATES = {
    "PROVISIONING": PENDING,
    "STAGING": PENDING,
    "PENDING": PENDING,
    "REPAIRING": PENDING,
    "RUNNING": RUNNING,
    # On its way to be stopped or to be gone, see `Gce.observe`.
    "STOPPING": PENDING,
    "PENDING_STOP": PENDING,
    "DEPROVISIONING": LEAVING,
    "TERMINATED": STOPPED,
}
_ENGINE_TAGS = (names.TAG_UID, names.TAG_FOUNDATION, names.TAG_CLUSTER, names.TAG_SPEC_HASH, names.TAG_GENERATION)
_AT_ONCE = 16


class Gce:
    """One cluster's machines, as `flotilla.kubernetes`' engine asks for them. Makes each call once.

    A machine's id is its name: that is what Google knows it by, and what its calls take.
    """

    title = "Google Cloud"
    # A create waits for its operation, so that the creates of all zones are under way together.
    limits = Limits(per_create=500, per_call=500, concurrency=16, consistency=CONSISTENCY)

    def __init__(self, session: Session, where: Place, definition: dict[str, Any], base: network.Base) -> None:
        self.session = session
        self.clock = session.clock
        self.where = where
        self.cluster, self.place, self.uid = where.cluster, f"{where.project}/{where.region}", base.uid
        self.definition = definition
        self.base = base
        self.images: dict[str, Image] = {}
        self.keys: list[str] | None = None
        self.deleting: set[str] = set()

    def observe(self) -> list[Machine]:
        entries = self._read(names.TAG_CLUSTER, self.where.cluster)
        stopping = [entry for entry in entries if entry.get("status") == "STOPPING"]
        if stopping:
            # Google says of one that is stopped and of one that is deleted the same.
            under_way = 'operationType = "delete" AND status != "DONE"'
            found = self.session.pages("global_operations", "aggregated_list", once=True, filter=under_way)
            targets = {plain(operation.get("targetLink")) for operation in found}
            self.deleting |= {str(entry["name"]) for entry in stopping if plain(entry["selfLink"]) in targets}
        return [self._machine(entry) for entry in entries]

    def describe(self, ids: Sequence[str]) -> list[Machine]:
        wanted = set(ids)
        return [self._machine(entry) for entry in self._read(names.TAG_CLUSTER, self.where.cluster) if entry["name"] in wanted]

    def find(self, ids: Sequence[str]) -> list[Machine]:
        found = []
        for start in range(0, len(ids), 20):
            wanted = " OR ".join(f'(name = "{name}")' for name in ids[start : start + 20])
            found += [to_machine(entry) for entry in self.session.pages("instances", "aggregated_list", once=True, filter=wanted)]
        return found

    def request_hash(self, group: MachineGroup, zone: str) -> str:
        return hashlib.sha256(json.dumps(self.request(group), sort_keys=True).encode()).hexdigest()

    def request(self, group: MachineGroup) -> Entry:
        """Return what machines of a group are made like, the same in each zone."""
        gcp = self.definition.get("gcp") or {}
        pool = pool_of(self.definition, group.pool)
        machine = pool.get("machine") or {}
        labels = self.where.labels_of(self.tags(group))
        root: Entry = {
            "sourceImage": self.images[group.pool].id,
            "diskSizeGb": str(int(machine.get("disk_gib") or DISK_GIB)),
            "diskType": str(gcp.get("disk_type") or "pd-balanced"),
            "labels": labels,
        }
        disk: Entry = {"boot": True, "autoDelete": True, "initializeParams": root}
        if gcp.get("kms_key"):
            disk["diskEncryptionKey"] = {"kmsKeyName": str(gcp["kms_key"])}
        more = []
        for size in machine.get("extra_disks_gib") or ():
            values = {"diskSizeGb": str(int(size)), "diskType": root["diskType"], "labels": labels}
            more.append({**disk, "boot": False, "initializeParams": values})
        interface: Entry = {"subnetwork": self.base.subnetwork}
        if self.where.public_machines:
            interface["accessConfigs"] = [{"type": "ONE_TO_ONE_NAT", "name": "external-nat"}]
        secure = bool(gcp.get("secure_boot", True))
        request: Entry = {
            "machineType": machine["size"],
            "disks": [disk, *more],
            "networkInterfaces": [interface],
            "labels": labels,
            "tags": {"items": [self.where.network_tag(group.role)]},
            "metadata": {"items": [{"key": key, "value": value} for key, value in sorted(self._metadata().items())]},
            "shieldedInstanceConfig": {"enableSecureBoot": secure, "enableVtpm": True, "enableIntegrityMonitoring": True},
            "scheduling": {"provisioningModel": "STANDARD", "automaticRestart": True, "onHostMaintenance": "MIGRATE"},
        }
        account = (gcp.get("service_accounts") or {}).get(group.role)
        if account:
            request["serviceAccounts"] = [{"email": account, "scopes": list(gcp.get("scopes") or [])}]
        if machine.get("spot"):
            request["scheduling"] = {
                "provisioningModel": "SPOT",
                "automaticRestart": False,
                "onHostMaintenance": "TERMINATE",
                "instanceTerminationAction": "DELETE",
            }
        return request

    def create(self, order: Order) -> list[Machine]:
        group, zone = order.group, order.zone
        made = [f"{group.cluster}-{group.pool}-{suffix}" for suffix in suffixes(order.token, order.count)]
        body = {
            "count": str(order.count),
            "minCount": "1",
            "perInstanceProperties": {name: {} for name in made},
            "instanceProperties": self.request(group),
        }
        # A token stands for one request for as long as Google remembers it; after that the names are taken.
        token = str(uuid.UUID(order.token[:32], version=4))
        operation = self.session.call("instances", "bulk_insert", body, zone=zone, request_id=token)
        known = operation.get("status") == "DONE"
        operation = self.session.outcome(operation)
        try:
            failure(operation)
            created = sum(
                int(part.get("createdVmCount") or 0)
                for part in ((operation.get("instancesBulkInsertOperationMetadata") or {}).get("perLocationStatus") or {}).values()
            )
            if not known and created == order.count:
                return [self._pending(group, zone, name) for name in made]
        except AlreadyExists:
            known = True
        except CloudError:
            # A request that failed before goes on failing under its id: what it asked for is asked for under another one.
            if not known:
                raise
        return self._answer(group, zone, made, operation, known)

    def _answer(self, group: MachineGroup, zone: str, made: list[str], operation: Entry, known: bool) -> list[Machine]:
        """Return what of these names there is. What was made a moment ago may not show yet."""
        age = self.clock.time() - _seconds(operation.get("endTime"))
        if age < CONSISTENCY:
            self.clock.sleep(CONSISTENCY - max(0.0, age))
        found = {machine.id: machine for machine in self.describe(made)}
        if not known:
            return list(found.values())
        # Those of a request that was made before, which are gone by now.
        return [found.get(name) or dataclasses.replace(self._pending(group, zone, name), state=GONE) for name in made]

    def _pending(self, group: MachineGroup, zone: str, name: str) -> Machine:
        """Return a machine that was accepted, as far as it is known without a read."""
        tags = {key: names.label(value) for key, value in self.tags(group).items()}
        return Machine(
            id=name,
            name=name,
            cluster=group.cluster,
            pool=group.pool,
            role=group.role,
            zone=zone,
            state=PENDING,
            addresses={"private": None, "public": None},
            spec_hash=group.spec_hash,
            uid=self.uid,
            generation=tags[names.TAG_GENERATION],
            image=self.images[group.pool].id,
            created=self.clock.time(),
            tags={**self.where.labels, **tags},
            attributes=dict(group.attributes),
        )

    def start(self, machines: Sequence[Machine]) -> None:
        self._each("start", machines)

    def delete(self, machines: Sequence[Machine]) -> None:
        self._each("delete", machines)
        self.deleting |= {machine.id for machine in machines}

    def _each(self, method: str, machines: Sequence[Machine]) -> None:
        """Make a call for each machine, several at once; Google has none for many. One that is gone is no error."""

        def one(machine: Machine) -> CloudError | None:
            try:
                self.session.call("instances", method, zone=machine.zone, instance=machine.name, request_id=str(uuid.uuid4()))
            except NotFound:
                return None
            except CloudError as error:
                return error
            return None

        if not machines:
            return
        with ThreadPoolExecutor(min(_AT_ONCE, len(machines))) as executor:
            failed = [error for error in executor.map(one, machines) if error]
        if failed:
            # What asks for patience last: then all of them are asked again, which those that have gone do not mind.
            raise min(failed, key=lambda error: error.retry)

    def update(self, machine: Machine, changes: Changes) -> None:
        place = {"zone": machine.zone, "instance": machine.name}
        entry = self.session.call("instances", "get", **place)
        operations = []
        if changes.tags:
            body = {"labels": {**(entry.get("labels") or {}), **changes.tags}, "labelFingerprint": entry["labelFingerprint"]}
            operations.append(self.session.call("instances", "set_labels", body, request_id=str(uuid.uuid4()), **place))
        if NETWORK_TAGS in changes.attributes:
            have = entry.get("tags") or {}
            ours = {self.where.network_tag(role) for role in ("control_plane", "worker")}
            kept = [tag for tag in have.get("items") or () if tag not in ours]
            body = {"items": sorted({*kept, *changes.attributes[NETWORK_TAGS].split(",")}), "fingerprint": have.get("fingerprint")}
            operations.append(self.session.call("instances", "set_tags", body, request_id=str(uuid.uuid4()), **place))
        if SSH_KEYS_OF_PROJECT in changes.attributes:
            operations.append(self._set_metadata(entry, _BLOCK, "TRUE"))
        self.session.finish(operations, once=True)

    def tag_host_key(self, machine: Machine, key: str) -> None:
        entry = self.session.call("instances", "get", zone=machine.zone, instance=machine.name)
        self.session.finish([self._set_metadata(entry, names.HOST_KEY, key)], once=True)

    def _set_metadata(self, entry: Entry, key: str, value: str) -> Entry:
        have = entry.get("metadata") or {}
        items = [item for item in have.get("items") or () if item["key"] != key]
        body = {"items": [*items, {"key": key, "value": value}], "fingerprint": have.get("fingerprint")}
        place = {"zone": str(entry["zone"]).rsplit("/", 1)[-1], "instance": str(entry["name"])}
        return self.session.call("instances", "set_metadata", body, request_id=str(uuid.uuid4()), **place)

    def tags(self, group: MachineGroup) -> dict[str, str]:
        """Return the marks of a new machine of a group."""
        return {
            **self.where.own_tags(group.role, self.base.uid),
            names.TAG_POOL: group.pool,
            names.TAG_SPEC_HASH: group.spec_hash,
            names.TAG_GENERATION: group.generation or GENERATION,
        }

    def group(self, group: MachineGroup) -> MachineGroup:
        tags = {key: value for key, value in self.where.labels_of(self.tags(group)).items() if key not in _ENGINE_TAGS}
        attributes = {NETWORK_TAGS: self.where.network_tag(group.role), SSH_KEYS_OF_PROJECT: "blocked"}
        return dataclasses.replace(group, tags=tags, attributes=attributes)

    def choose_images(self, groups: Sequence[MachineGroup], observed: Sequence[Machine]) -> None:
        missing = [group for group in groups if group.pool not in self.images]
        known: dict[str, Image] = {}
        sources: dict[str, str] = {}
        for group in missing:
            pool = pool_of(self.definition, group.pool)
            wanted = pool.get("image") or self.definition.get("image") or {}
            peers = [m for m in observed if m.pool == group.pool and m.spec_hash == group.spec_hash and m.state not in DEAD_STATES]
            peers.sort(key=lambda machine: (machine.created, machine.id), reverse=True)
            if peers:
                # A machine does not tell its image; its disk does.
                link = sources.setdefault(peers[0].id, self._image_of(peers[0]))
                if link:
                    self.images[group.pool] = Image(link)
                    continue
            architecture = images.architecture_of(str((pool.get("machine") or {}).get("size") or ""))
            key = json.dumps([wanted, architecture], sort_keys=True)
            if key not in known:
                known[key] = images.resolve(self.session, wanted, architecture)
            self.images[group.pool] = known[key]

    def _image_of(self, machine: Machine) -> str:
        disk = self.session.get("disks", zone=machine.zone, disk=machine.name)
        return str(plain((disk or {}).get("sourceImage") or ""))

    def check_sizes(self, groups: Sequence[MachineGroup]) -> None:
        """Fail when a zone of a group does not offer its machine type, which a create would say only after the network is made.

        :raises FlotillaError: ``GCP_SIZE_UNKNOWN``.
        """
        wanted = {
            (str((pool_of(self.definition, group.pool).get("machine") or {})["size"]), zone) for group in groups for zone in group.zones
        }
        by_name = " OR ".join(f'(name = "{size}")' for size in sorted({size for size, _zone in wanted}))
        found = self.session.pages("machine_types", "aggregated_list", filter=by_name)
        offered = {(str(entry["name"]), str(entry["zone"]).rsplit("/", 1)[-1]) for entry in found}
        missing = sorted(wanted - offered)
        if missing:
            listed = ", ".join(f"{size} in {zone}" for size, zone in missing)
            sizes = {size for size, _zone in missing}
            elsewhere = sorted({zone for size, zone in offered if size in sizes and zone.startswith(f"{self.where.region}-")})
            raise FlotillaError(
                "GCP_SIZE_UNKNOWN",
                f"Compute Engine does not offer {listed}.",
                f"Use other zones ({', '.join(elsewhere)} have it), or another size."
                if elsewhere
                else "Correct machine.size, or gcp.region.",
            )

    def _metadata(self) -> dict[str, str]:
        """Return what a new machine is told: its login, once for Google's guest agent and once for images that have cloud-init.

        https://cloud.google.com/compute/docs/connect/add-ssh-keys#add_ssh_keys_to_instance_metadata
        """
        user, keys = str(self.definition["access"]["ssh_user"]), self._keys()
        return {
            "ssh-keys": "\n".join(f"{user}:{key}" for key in sorted(set(keys))),
            "user-data": user_data(user, keys),
            # Keys of the whole project let nobody in, and accounts of Google do not take the place of the login.
            _BLOCK: "TRUE",
            "enable-oslogin": "FALSE",
            "serial-port-enable": "FALSE",
        }

    def _keys(self) -> list[str]:
        if self.keys is None:
            self.keys = first_contact.login_keys(self.definition)
        return self.keys

    def _read(self, key: str, value: str) -> list[Entry]:
        wanted = f'labels.{key} = "{value}"'
        entries = list(self.session.pages("instances", "aggregated_list", once=True, filter=wanted))
        return [entry for entry in entries if (entry.get("labels") or {}).get(names.TAG_POOL)]

    def _machine(self, entry: Entry) -> Machine:
        """Return a machine as the engine knows it, after a check of who owns it."""
        machine = to_machine(entry)
        if machine.id in self.deleting:
            machine = dataclasses.replace(machine, state=LEAVING)
        if machine.state not in DEAD_STATES:
            try:
                names.check_owner(machine.tags, self.where, self.base.uid, f"The machine {machine.id}", labelled=True)
            except FlotillaError as error:
                raise Refused(error.code, error.message, error.remedy) from error
        return machine


def _seconds(stamp: Any) -> float:
    """Return a time as Google writes it in seconds since the epoch."""
    try:
        return parse(str(stamp)).timestamp()
    except ValueError:
        return 0.0


def to_machine(entry: Entry) -> Machine:
    """Return an instance as Google describes it as a machine."""
    tags = {str(key): str(value) for key, value in (entry.get("labels") or {}).items()}
    metadata = {str(item["key"]): str(item.get("value") or "") for item in (entry.get("metadata") or {}).get("items") or ()}
    word = str(entry.get("status") or "")
    interface: Entry = next(iter(entry.get("networkInterfaces") or ()), {})
    public = next((access.get("natIP") for access in interface.get("accessConfigs") or () if access.get("natIP")), None)
    cluster = tags.get(names.TAG_CLUSTER, "")
    ours = [tag for tag in (entry.get("tags") or {}).get("items") or () if tag in (f"{cluster}-control-plane", f"{cluster}-worker")]
    return Machine(
        id=str(entry["name"]),
        name=str(entry["name"]),
        cluster=cluster,
        pool=tags.get(names.TAG_POOL, ""),
        role=tags.get(names.TAG_ROLE, WORKER),
        zone=str(entry.get("zone") or "").rsplit("/", 1)[-1],
        state=_STATES.get(word, word.lower()),
        addresses={"private": interface.get("networkIP") or None, "public": public},
        host_key=metadata.get(names.HOST_KEY, ""),
        spec_hash=tags.get(names.TAG_SPEC_HASH, ""),
        uid=tags.get(names.TAG_UID, ""),
        generation=tags.get(names.TAG_GENERATION, ""),
        reason=str(entry.get("statusMessage") or ""),
        created=_seconds(entry.get("creationTimestamp")),
        tags=tags,
        attributes={
            NETWORK_TAGS: ",".join(sorted(ours)),
            SSH_KEYS_OF_PROJECT: "blocked" if metadata.get(_BLOCK, "").upper() == "TRUE" else "taken",
        },
    )


default_private_key = first_contact.default_private_key


def observe_machines(definition: dict[str, Any]) -> list[Machine]:
    """Return the machines of a cluster that exist in Google Cloud: one paginated read, no side effects."""
    cloud = _reader(session_for(definition), definition)
    return fleet.only_one_owner(cloud, Caller()(cloud.observe))


def present(session: Session, definition: dict[str, Any], *, check_mode: bool = False, **options: Any) -> Result:
    """Bring the machines to what the definition asks for, or with ``check_mode`` say how; ``options`` as `fleet.present` has them."""
    where = names.place(definition)
    base = network.base(session, where) if check_mode else network.ready_base(session, where)
    return fleet.present(Gce(session, where, definition, base), definition, check_mode=check_mode, **options)


def observed(session: Session, definition: dict[str, Any]) -> Result:
    """Return the machines that there are, whatever the definition asks for."""
    return fleet.observed(_reader(session, definition))


def neighbours(session: Session, definition: dict[str, Any]) -> dict[str, list[str]]:
    """Return the machines of the foundation's other clusters in this project: cluster -> names. One paginated read."""
    where = names.place(definition)
    wanted = f'labels.{names.TAG_FOUNDATION} = "{names.label(where.foundation)}"'

    def read() -> list[Entry]:
        return list(session.pages("instances", "aggregated_list", once=True, filter=wanted))

    return fleet.neighbours(where.cluster, [to_machine(entry) for entry in Caller(session.clock)(read)])


def removed(session: Session, definition: dict[str, Any], ids: Sequence[str], *, check_mode: bool = False) -> Result:
    """Remove exactly these machines of the cluster, see `fleet.removed`."""
    return fleet.removed(_remover(session, definition), ids, check_mode=check_mode)


def absent(session: Session, definition: dict[str, Any], *, check_mode: bool = False) -> Result:
    """Remove every machine of the cluster, see `fleet.absent`."""
    return fleet.absent(_remover(session, definition), check_mode=check_mode)


def _reader(session: Session, definition: dict[str, Any]) -> Gce:
    return Gce(session, names.place(definition), definition, network.Base("", ""))


def _remover(session: Session, definition: dict[str, Any]) -> Gce:
    where = names.place(definition)
    return Gce(session, where, definition, network.removal_base(session, where))
