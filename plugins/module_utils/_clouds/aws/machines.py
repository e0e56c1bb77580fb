# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of a cluster in AWS: EC2 as the machine engine asks for it (private to flotilla.kubernetes)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
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
from ..._machines.retry import Caller
from ..._machines.user_data import user_data
from .. import first_contact
from .. import machines as fleet
from ..machines import pool_of
from ..patience import CONSISTENCY
from ..result import Result
from . import image as images
from . import inventory
from . import layout as names
from .image import Image
from .layout import Place
from .session import Session, session_for

GENERATION = "1"
DISK_GIB = 40
"""Size of a root disk that the definition does not say: that of most images has no room for container images."""
SECURITY_GROUPS, METADATA_TOKENS, PROTECTION = "security_groups", "metadata_tokens", "deletion_protection"
_ON, _OFF = "on", "off"
_LIFTS_AT_ONCE = 8
_PAGE = 1000
_FILTER_VALUES = 200
_STATES = {
    "pending": PENDING,
    "running": RUNNING,
    "stopping": STOPPED,
    "stopped": STOPPED,
    "shutting-down": LEAVING,
    "terminated": GONE,
}
_ENGINE_TAGS = (
    names.TAG_UID,
    names.TAG_FOUNDATION,
    names.TAG_CLUSTER,
    names.TAG_SPEC_HASH,
    names.TAG_GENERATION,
    names.TAG_PROTECTED,
)


class Ec2:
    """One cluster's machines, as `flotilla.kubernetes`' engine asks for them. Makes each call once."""

    title = "AWS"
    limits = Limits(per_create=250, per_call=1000, concurrency=4, consistency=CONSISTENCY)

    def __init__(self, session: Session, where: Place, definition: dict[str, Any], base: inventory.Base) -> None:
        self.session = session
        self.clock = session.clock
        self.where = where
        self.cluster, self.place, self.uid = where.cluster, where.region, base.uid
        self.definition = definition
        self.base = base
        self.images: dict[str, Image] = {}
        self.roots: dict[str, str] = {}
        self.keys: list[str] | None = None
        self.lifted: set[str] = set()

    def observe(self) -> list[Machine]:
        return self._read([inventory.by_tag(names.TAG_CLUSTER, self.where.cluster)])

    def describe(self, ids: Sequence[str]) -> list[Machine]:
        wanted = set(ids)
        filters = [inventory.by_tag(names.TAG_CLUSTER, self.where.cluster)]
        if len(wanted) <= _FILTER_VALUES:
            filters.append({"Name": "instance-id", "Values": sorted(wanted)})
        return [machine for machine in self._read(filters) if machine.id in wanted]

    def find(self, ids: Sequence[str]) -> list[Machine]:
        parts = [list(ids[start : start + _FILTER_VALUES]) for start in range(0, len(ids), _FILTER_VALUES)]
        found = [
            reservation
            for part in parts
            for reservation in self.session.pages(
                "ec2", "describe_instances", "Reservations", once=True, Filters=[{"Name": "instance-id", "Values": part}], MaxResults=_PAGE
            )
        ]
        return [to_machine(entry) for reservation in found for entry in reservation.get("Instances") or ()]

    def request_hash(self, group: MachineGroup, zone: str) -> str:
        return hashlib.sha256(json.dumps(self.request(group, zone), sort_keys=True).encode()).hexdigest()

    def request(self, group: MachineGroup, zone: str) -> dict[str, Any]:
        """Return the parameters of RunInstances but count and token."""
        aws = self.definition.get("aws") or {}
        pool = pool_of(self.definition, group.pool)
        machine, image = pool.get("machine") or {}, self.images[group.pool]
        size = int(machine.get("disk_gib") or DISK_GIB)
        disk: dict[str, Any] = {"VolumeType": "gp3", "VolumeSize": size, "Encrypted": True, "DeleteOnTermination": True}
        if aws.get("kms_key_id"):
            disk["KmsKeyId"] = aws["kms_key_id"]
        tags = names.from_tags(self.tags(group))
        subnet = self.base.subnets["public" if self.where.public_machines else "private"][zone]
        request: dict[str, Any] = {
            "ImageId": image.id,
            "InstanceType": machine["size"],
            "BlockDeviceMappings": [{"DeviceName": image.root_device or "/dev/xvda", "Ebs": disk}],
            # One hop: pods that are not on the host's network do not get the machine's credentials.
            "MetadataOptions": {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            # Said outright, because a subnet of the user's may give public addresses by itself.
            "NetworkInterfaces": [
                {
                    "DeviceIndex": 0,
                    "SubnetId": subnet,
                    "Groups": self.base.groups[group.role],
                    "AssociatePublicIpAddress": self.where.public_machines,
                    "DeleteOnTermination": True,
                }
            ],
            "UserData": user_data(self.definition["access"]["ssh_user"], self._keys()),
            "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "network-interface", "volume")],
        }
        if self.protection(group) == _ON:
            request["DisableApiTermination"] = True
        profile = (aws.get("instance_profiles") or {}).get(group.role)
        if profile:
            request["IamInstanceProfile"] = {"Name": profile}
        if machine.get("spot"):
            request["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}}
        return request

    def create(self, order: Order) -> list[Machine]:
        request = self.request(order.group, order.zone)
        answer = self.session.call("ec2", "run_instances", MinCount=1, MaxCount=order.count, ClientToken=order.token, **request)
        return [self._machine(entry) for entry in answer.get("Instances") or ()]

    def start(self, machines: Sequence[Machine]) -> None:
        self.session.call("ec2", "start_instances", InstanceIds=[machine.id for machine in machines])

    def update(self, machine: Machine, changes: Changes) -> None:
        if changes.tags:
            self.session.call("ec2", "create_tags", Resources=[machine.id], Tags=names.from_tags(changes.tags))
        if SECURITY_GROUPS in changes.attributes:
            groups = changes.attributes[SECURITY_GROUPS].split(",")
            self.session.call("ec2", "modify_instance_attribute", InstanceId=machine.id, Groups=groups)
        if METADATA_TOKENS in changes.attributes:
            tokens = changes.attributes[METADATA_TOKENS]
            self.session.call("ec2", "modify_instance_metadata_options", InstanceId=machine.id, HttpTokens=tokens, HttpEndpoint="enabled")
        if PROTECTION in changes.attributes:
            word = changes.attributes[PROTECTION]
            self._protect(machine.id, word == _ON)
            self.session.call("ec2", "create_tags", Resources=[machine.id], Tags=names.from_tags({names.TAG_PROTECTED: word}))

    def delete(self, machines: Sequence[Machine]) -> None:
        protected = [m.id for m in machines if m.attributes.get(PROTECTION) == _ON and m.id not in self.lifted]
        if protected:
            with ThreadPoolExecutor(min(_LIFTS_AT_ONCE, len(protected))) as executor:
                for future in [executor.submit(self._lift, instance) for instance in protected]:
                    future.result()
        self.session.call("ec2", "terminate_instances", InstanceIds=[machine.id for machine in machines])

    def _lift(self, instance: str) -> None:
        """Take the deletion protection from a machine that is about to go; EC2 has no call for many."""
        try:
            self._protect(instance, False)
        except CloudError as error:
            # It is on its way out already, which a read may show late; the call for all of them says what else is wrong.
            if not isinstance(error, NotFound) and error.details.get("aws_code") not in ("IncorrectInstanceState", "IncorrectState"):
                raise
        self.lifted.add(instance)

    def _protect(self, instance: str, on: bool) -> None:
        self.session.call("ec2", "modify_instance_attribute", InstanceId=instance, DisableApiTermination={"Value": on})

    def protection(self, group: MachineGroup) -> str:
        """Return whether machines of a group are protected: spot instances can not be.

        https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_ChangingDisableAPITermination.html
        """
        spot = (pool_of(self.definition, group.pool).get("machine") or {}).get("spot")
        return _ON if self.where.protected and not spot else _OFF

    def tags(self, group: MachineGroup) -> dict[str, str]:
        """Return all tags of a new machine of a group."""
        return {
            **self.where.own_tags(group.role, self.base.uid, f"{group.cluster}-{group.pool}"),
            names.TAG_POOL: group.pool,
            names.TAG_SPEC_HASH: group.spec_hash,
            names.TAG_GENERATION: group.generation or GENERATION,
            # A read of many does not tell of the protection itself.
            names.TAG_PROTECTED: self.protection(group),
        }

    def group(self, group: MachineGroup) -> MachineGroup:
        """Return a group with what its machines are to carry in AWS."""
        tags = {key: value for key, value in self.tags(group).items() if key not in _ENGINE_TAGS}
        attributes = {
            SECURITY_GROUPS: ",".join(sorted(self.base.groups[group.role])),
            METADATA_TOKENS: "required",
            PROTECTION: self.protection(group),
        }
        return dataclasses.replace(group, tags=tags, attributes=attributes)

    def choose_images(self, groups: Sequence[MachineGroup], observed: Sequence[Machine]) -> None:
        """Settle the image of each group: that of its machines, else what the definition's words mean now."""
        known: dict[str, Image] = {}
        for group in groups:
            pool = pool_of(self.definition, group.pool)
            wanted = pool.get("image") or self.definition.get("image") or {}
            peers = [m for m in observed if m.pool == group.pool and m.spec_hash == group.spec_hash and m.state not in DEAD_STATES]
            peers = sorted((m for m in peers if m.image in self.roots), key=lambda machine: (machine.created, machine.id))
            if peers:
                self.images[group.pool] = Image(peers[-1].image, root_device=self.roots[peers[-1].image])
                continue
            architecture = images.architecture_of(str((pool.get("machine") or {}).get("size") or ""))
            key = json.dumps([wanted, architecture], sort_keys=True)
            if key not in known:
                known[key] = images.resolve(self.session, wanted, architecture)
            self.images[group.pool] = known[key]

    def check_sizes(self, groups: Sequence[MachineGroup]) -> None:
        """Fail when a zone of a group does not offer its machine size, which RunInstances would say only after the network is made.

        :raises FlotillaError: ``AWS_SIZE_UNKNOWN``.
        """
        wanted = {
            (str((pool_of(self.definition, group.pool).get("machine") or {})["size"]), zone) for group in groups for zone in group.zones
        }
        filters = [{"Name": "instance-type", "Values": sorted({size for size, _zone in wanted})}]
        parameters = {"LocationType": "availability-zone", "Filters": filters}
        found = self.session.pages("ec2", "describe_instance_type_offerings", "InstanceTypeOfferings", **parameters)
        offered = {(str(entry["InstanceType"]), str(entry["Location"])) for entry in found}
        missing = sorted(wanted - offered)
        if missing:
            listed = ", ".join(f"{size} in {zone}" for size, zone in missing)
            elsewhere = sorted({zone for size, zone in offered if size in {size for size, _zone in missing}})
            remedy = (
                f"Use other zones ({', '.join(elsewhere)} have it), or another size."
                if elsewhere
                else "Correct machine.size, or aws.region."
            )
            raise FlotillaError("AWS_SIZE_UNKNOWN", f"EC2 does not offer {listed}.", remedy)

    def tag_host_key(self, machine: Machine, key: str) -> None:
        self.session.call("ec2", "create_tags", Resources=[machine.id], Tags=names.from_tags({names.TAG_HOST_KEY: key}))

    def _keys(self) -> list[str]:
        if self.keys is None:
            self.keys = first_contact.login_keys(self.definition)
        return self.keys

    def _read(self, filters: list[dict[str, Any]]) -> list[Machine]:
        found = self.session.pages("ec2", "describe_instances", "Reservations", once=True, Filters=filters, MaxResults=_PAGE)
        machines = [self._machine(entry) for reservation in found for entry in reservation.get("Instances") or ()]
        return [machine for machine in machines if machine.pool]

    def _machine(self, entry: dict[str, Any]) -> Machine:
        """Return a machine as the engine knows it, after a check of who owns it."""
        machine = to_machine(entry)
        if machine.state not in DEAD_STATES:
            try:
                names.check_owner(machine.tags, self.where, self.base.uid, f"The machine {machine.id}")
            except FlotillaError as error:
                raise Refused(error.code, error.message, error.remedy) from error
        if entry.get("RootDeviceName"):
            self.roots[machine.image] = str(entry["RootDeviceName"])
        return machine


def to_machine(entry: dict[str, Any]) -> Machine:
    """Return an instance as AWS describes it as a machine."""
    tags = names.to_tags(entry.get("Tags"))
    instance, pool, cluster = str(entry["InstanceId"]), tags.get(names.TAG_POOL, ""), tags.get(names.TAG_CLUSTER, "")
    word = str((entry.get("State") or {}).get("Name") or "")
    launched = entry.get("LaunchTime")
    interfaces = [item for item in entry.get("NetworkInterfaces") or () if (item.get("Attachment") or {}).get("DeviceIndex") == 0]
    groups = entry.get("SecurityGroups") or [group for item in interfaces for group in item.get("Groups") or ()]
    attributes = {SECURITY_GROUPS: ",".join(sorted(str(group["GroupId"]) for group in groups))}
    tokens = (entry.get("MetadataOptions") or {}).get("HttpTokens")
    return Machine(
        id=instance,
        name=tags.get(names.TAG_NODE) or f"{cluster}-{pool}-{instance[-8:]}",
        cluster=cluster,
        pool=pool,
        role=tags.get(names.TAG_ROLE, WORKER),
        zone=str((entry.get("Placement") or {}).get("AvailabilityZone") or ""),
        state=_STATES.get(word, word),
        addresses={"private": entry.get("PrivateIpAddress") or None, "public": entry.get("PublicIpAddress") or None},
        host_key=tags.get(names.TAG_HOST_KEY, ""),
        spec_hash=tags.get(names.TAG_SPEC_HASH, ""),
        uid=tags.get(names.TAG_UID, ""),
        generation=tags.get(names.TAG_GENERATION, ""),
        image=str(entry.get("ImageId") or ""),
        reason=str((entry.get("StateReason") or {}).get("Message") or ""),
        created=launched.timestamp() if hasattr(launched, "timestamp") else 0.0,
        tags=tags,
        attributes={**attributes, METADATA_TOKENS: str(tokens or ""), PROTECTION: tags.get(names.TAG_PROTECTED, _OFF)},
    )


default_private_key = first_contact.default_private_key


def observe_machines(definition: dict[str, Any]) -> list[Machine]:
    """Return the machines of a cluster that exist in AWS: one paginated read, no side effects."""
    cloud = _reader(session_for(definition), definition)
    return fleet.only_one_owner(cloud, Caller()(cloud.observe))


def present(session: Session, definition: dict[str, Any], *, check_mode: bool = False, **options: Any) -> Result:
    """Bring the machines to what the definition asks for, or with ``check_mode`` say how; ``options`` as `fleet.present` has them."""
    where = names.place(definition)
    base = inventory.base(session, where) if check_mode else inventory.ready_base(session, where)
    return fleet.present(Ec2(session, where, definition, base), definition, check_mode=check_mode, **options)


def observed(session: Session, definition: dict[str, Any]) -> Result:
    """Return the machines that there are, whatever the definition asks for."""
    return fleet.observed(_reader(session, definition))


def neighbours(session: Session, definition: dict[str, Any]) -> dict[str, list[str]]:
    """Return the machines of the foundation's other clusters in this region: cluster -> names. One paginated read."""
    where = names.place(definition)
    filters = [inventory.by_tag(names.TAG_FOUNDATION, where.foundation)]

    def read() -> list[dict[str, Any]]:
        return list(session.pages("ec2", "describe_instances", "Reservations", once=True, Filters=filters, MaxResults=_PAGE))

    pages = Caller(session.clock)(read)
    machines = [to_machine(entry) for reservation in pages for entry in reservation.get("Instances") or ()]
    return fleet.neighbours(where.cluster, machines)


def removed(session: Session, definition: dict[str, Any], ids: Sequence[str], *, check_mode: bool = False) -> Result:
    """Remove exactly these machines of the cluster, see `fleet.removed`."""
    return fleet.removed(_remover(session, definition), ids, check_mode=check_mode)


def absent(session: Session, definition: dict[str, Any], *, check_mode: bool = False) -> Result:
    """Remove every machine of the cluster, see `fleet.absent`."""
    return fleet.absent(_remover(session, definition), check_mode=check_mode)


def _reader(session: Session, definition: dict[str, Any]) -> Ec2:
    return Ec2(session, names.place(definition), definition, inventory.Base("", "", {}, {}))


def _remover(session: Session, definition: dict[str, Any]) -> Ec2:
    where = names.place(definition)
    return Ec2(session, where, definition, inventory.removal_base(session, where))
