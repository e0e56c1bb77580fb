# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of a cluster in AWS: EC2 as the machine engine asks for it (private to flotilla.kubernetes)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable

from ..._errors import FlotillaError
from ..._machines import apply as applying
from ..._machines import plan as planning
from ..._machines.cloud import CloudError, Limits, NotFound, Refused
from ..._machines.decision import NO_REMOVAL, Wish, decide
from ..._machines.model import (
    CREATE,
    DEAD_STATES,
    DELETE,
    GONE,
    LEAVING,
    PENDING,
    PLANNED,
    REPLACE,
    RUNNING,
    STOPPED,
    WORKER,
    Changes,
    Machine,
    MachineGroup,
    Order,
    Step,
)
from ..._machines.retry import Caller, Patience
from ..._machines.user_data import user_data
from ..result import Result, machines_value
from . import image as images
from . import inventory
from . import layout as names
from .image import Image
from .layout import Place
from .session import CONSISTENCY, Session, session_for

GENERATION = "1"
DISK_GIB = 40
"""Size of a root disk that the definition does not say: that of most images has no room for container images."""
SECURITY_GROUPS, METADATA_TOKENS, PROTECTION = "security_groups", "metadata_tokens", "deletion_protection"
_ON, _OFF = "on", "off"
_LIFTS_AT_ONCE = 8
_PAGE = 1000
_FILTER_VALUES = 200
_ROUNDS = 6
_SCAN_SECONDS = 5
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

    limits = Limits(per_create=250, per_call=1000, concurrency=4, consistency=CONSISTENCY)

    def __init__(self, session: Session, where: Place, definition: dict[str, Any], base: inventory.Base) -> None:
        self.session = session
        self.where = where
        self.definition = definition
        self.base = base
        self.images: dict[str, Image] = {}
        self.roots: dict[str, str] = {}
        self.login = ""
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
        """Return at most 200 instances by their ids, whoever owns them."""
        wanted = [{"Name": "instance-id", "Values": list(ids)}]
        found = self.session.pages("ec2", "describe_instances", "Reservations", once=True, Filters=wanted, MaxResults=_PAGE)
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

    def _keys(self) -> list[str]:
        access = self.definition["access"]
        if not self.login and access.get("ssh_private_key_file"):
            self.login = public_key(str(access["ssh_private_key_file"]))
        return [key for key in (self.login, *(access.get("ssh_public_keys") or ())) if key]

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
        name=f"{cluster}-{pool}-{instance[-8:]}",
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


def pool_of(definition: dict[str, Any], pool: str) -> dict[str, Any]:
    """Return a pool's part of a definition, the control plane's among them."""
    named = {entry["name"]: entry for entry in definition["pools"]}
    return dict(named.get(pool) or definition["control_plane"])


def observe_machines(definition: dict[str, Any]) -> list[Machine]:
    """Return the machines of a cluster that exist in AWS: one paginated read, no side effects."""
    where = names.place(definition)
    cloud = Ec2(session_for(definition), where, definition, inventory.Base("", "", {}, {}))
    found = Caller()(cloud.observe)
    machines = sorted((machine for machine in found if machine.state not in DEAD_STATES), key=lambda machine: machine.name)
    identities = sorted({machine.uid for machine in machines})
    if len(identities) > 1:
        raise FlotillaError(
            "CLUSTER_FOREIGN_UID",
            f"Machines in {where.region} carry the name of cluster '{where.cluster}' and different identities: {', '.join(identities)}.",
            "Some of them are not this cluster's: remove them by hand if nobody needs them.",
        )
    return machines


def default_private_key(definition: dict[str, Any]) -> str:
    """Return the path of the private key of the definition; without one ssh finds a key by itself."""
    return str((definition.get("access") or {}).get("ssh_private_key_file") or "")


def public_key(private_key_file: str) -> str:
    """Return the public half of a private key: of the file next to it, or made from it."""
    path = Path(private_key_file).expanduser()
    try:
        beside = Path(f"{path}.pub")
        if beside.exists():
            return " ".join(beside.read_text(encoding="utf-8").split()[:2])
        done = subprocess.run(["ssh-keygen", "-y", "-P", "", "-f", str(path)], capture_output=True, text=True, check=False, timeout=30)
        if done.returncode == 0:
            return " ".join(done.stdout.split()[:2])
        reason = done.stderr.strip()
    except (OSError, UnicodeError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    raise FlotillaError(
        "SSH_KEY_UNREADABLE",
        f"The public half of access.ssh_private_key_file {path} is not to be had.",
        f"Put it in {path}.pub, or name keys in access.ssh_public_keys.",
        reason,
    )


def present(
    session: Session,
    definition: dict[str, Any],
    *,
    wait_timeout: float,
    wait_for: str = "ssh",
    wish: Wish = NO_REMOVAL,
    roll_out: bool = False,
    check_mode: bool = False,
    report: Callable[[str], None] = lambda _line: None,
    scan: Callable[[dict[str, Any], Machine], str] | None = None,
) -> Result:
    """Bring the machines to what the definition asks for, or with ``check_mode`` say how.

    :param wait_timeout: seconds for a machine from its creation or start until it is ready.
    :param wait_for: ``ssh`` or ``running``.
    :param wish: what else the caller wants, and what it takes on itself.
    :param scan: returns the host key of a machine or nothing; stands in for `scan_host_key` in tests.
    """
    where = names.place(definition)
    base = inventory.base(session, where) if check_mode else inventory.ready_base(session, where)
    cloud = Ec2(session, where, definition, base)
    call = Caller(session.clock, patience=Patience(ready=wait_timeout))
    groups = [cloud.group(group) for group in planning.desired_groups(definition)]
    observed = call(cloud.observe) if check_mode else applying.look(cloud, groups, call)
    decision = decide(groups, observed, wish, roll_out=roll_out)
    own = decision.steps
    making = {step.pool for step in own if step.action in (CREATE, REPLACE)}
    if making:
        orders = [group for group in groups if group.pool in making]
        cloud.choose_images(orders, observed)
        if check_mode:
            cloud.check_sizes(orders)
    result = Result(decision.changes, _diff(observed), _predicted(where.cluster, own, observed))
    alive = sorted((machine for machine in observed if machine.state not in DEAD_STATES), key=lambda machine: machine.name)
    if check_mode:
        gone = {step.machine.id for step in own if step.action == DELETE and step.machine}
        kept = [machine for machine in alive if machine.id not in gone]
        result.value = machines_value(kept, _planned(where.cluster, own), decision.as_result())
        return result
    keys: dict[str, str] = {}
    look = scan or scan_host_key

    def reachable(machine: Machine) -> bool:
        if machine.host_key or machine.id in keys:
            return True
        key = look(definition, machine)
        if key:
            call(_tag_host_key, session, machine, key, unknown_for=CONSISTENCY)
            keys[machine.id] = key
        return bool(key)

    # Those of a run that was killed before their first contact.
    unknown = [machine.id for machine in alive if machine.state == RUNNING and not machine.host_key] if wait_for == "ssh" else []
    outcome = applying.apply(
        own,
        groups,
        observed,
        cloud,
        call,
        uid=base.uid,
        report=report,
        reachable=reachable if wait_for == "ssh" else None,
        also_wait=unknown,
    )
    result.changed = result.changed or bool(keys)
    outcome.raise_failures(where.cluster)
    named = decision.as_result()
    if decision.leaving:
        # A machine that a killed run removed a moment ago may have looked alive, and then another one looks like the one too many.
        session.clock.sleep(CONSISTENCY)
        again = dataclasses.replace(wish, plan_id="", consent=tuple(decision.consented))
        still = {machine.id for machine in decide(groups, call(cloud.observe), again, roll_out=roll_out).leaving}
        named["leaving"] = [machine for machine in named["leaving"] if machine["id"] in still]
    machines = [dataclasses.replace(machine, host_key=machine.host_key or keys.get(machine.id, "")) for machine in outcome.machines]
    result.value = machines_value(machines, [], named)
    return result


def observed(session: Session, definition: dict[str, Any]) -> Result:
    """Return the machines that there are, whatever the definition asks for."""
    where = names.place(definition)
    cloud = Ec2(session, where, definition, inventory.Base("", "", {}, {}))
    found = sorted(Caller(session.clock)(cloud.observe), key=lambda machine: machine.name)
    return Result(value=machines_value([machine for machine in found if machine.state not in DEAD_STATES]))


def neighbours(session: Session, definition: dict[str, Any]) -> dict[str, list[str]]:
    """Return the machines of the foundation's other clusters in this region: cluster -> names. One paginated read."""
    where = names.place(definition)
    filters = [inventory.by_tag(names.TAG_FOUNDATION, where.foundation)]

    def read() -> list[dict[str, Any]]:
        return list(session.pages("ec2", "describe_instances", "Reservations", once=True, Filters=filters, MaxResults=_PAGE))

    pages = Caller(session.clock)(read)
    found: dict[str, list[str]] = {}
    for machine in (to_machine(entry) for reservation in pages for entry in reservation.get("Instances") or ()):
        if machine.pool and machine.cluster != where.cluster and machine.state not in DEAD_STATES:
            found.setdefault(machine.cluster, []).append(machine.name)
    return {cluster: sorted(machines) for cluster, machines in sorted(found.items())}


def removed(session: Session, definition: dict[str, Any], ids: Sequence[str], *, check_mode: bool = False) -> Result:
    """Remove exactly these machines of the cluster, with their disks, and wait until they are gone. One that is gone is no error.

    :raises FlotillaError: ``MACHINES_FOREIGN`` for machines that are not the cluster's; then nothing was removed.
    """
    where = names.place(definition)
    cloud = Ec2(session, where, definition, inventory.removal_base(session, where))
    call = Caller(session.clock)
    wanted = set(ids)
    found = call(cloud.observe)
    if wanted - {machine.id for machine in found}:
        # One that was made a moment ago may not show yet.
        session.clock.sleep(CONSISTENCY)
        found = call(cloud.observe)
    unknown = sorted(wanted - {machine.id for machine in found})
    parts = [unknown[start : start + _FILTER_VALUES] for start in range(0, len(unknown), _FILTER_VALUES)]
    foreign = [machine.id for part in parts for machine in call(cloud.find, part) if machine.state not in DEAD_STATES]
    if foreign:
        raise FlotillaError(
            "MACHINES_FOREIGN",
            f"Not of cluster '{where.cluster}', but there in {where.region}: {', '.join(foreign)}.",
            "Correct ids; nothing was removed.",
        )
    chosen = sorted((machine for machine in found if machine.id in wanted), key=lambda machine: machine.name)
    alive = [machine for machine in chosen if machine.state not in DEAD_STATES]
    left = sorted((m for m in found if m.state not in DEAD_STATES and m.id not in wanted), key=lambda machine: machine.name)
    steps = [Step(DELETE, m.pool, m.role, m.zone, m, "its removal was asked for") for m in alive]
    result = Result(bool(alive), _diff(found), _diff(left), machines_value(left, more={"steps": [step.as_dict() for step in steps]}))
    if not check_mode:
        if alive:
            _terminate(call, cloud, alive)
        _wait_until_gone(session, call, cloud, [machine.id for machine in chosen if machine.state != GONE])
    return result


def absent(session: Session, definition: dict[str, Any], *, check_mode: bool = False) -> Result:
    """Remove every machine of the cluster with its disks and wait until they are gone. Nothing there is nothing to do.

    Two looks, apart by the time that a read may lag, have to see nothing.
    """
    where = names.place(definition)
    cloud = Ec2(session, where, definition, inventory.removal_base(session, where))
    call = Caller(session.clock)
    steps: list[Step] = []
    result = Result(value=machines_value([]))
    clean = False
    for number in range(_ROUNDS):
        found = call(cloud.observe)
        alive = [machine for machine in found if machine.state not in DEAD_STATES]
        leaving = [machine for machine in found if machine.state == LEAVING]
        new = [machine for machine in alive if machine.id not in {step.machine.id for step in steps if step.machine}]
        steps += [Step(DELETE, m.pool, m.role, m.zone, m, "the cluster is to be absent") for m in sorted(new, key=lambda m: m.name)]
        if number == 0:
            result.before, result.after = _diff(found), _diff([])
            result.changed = bool(alive)
            if check_mode:
                break
        result.changed = result.changed or bool(alive)
        if clean and not alive and not leaving:
            break
        clean = not alive and not leaving
        _terminate(call, cloud, alive)
        _wait_until_gone(session, call, cloud, [machine.id for machine in (*alive, *leaving)])
        session.clock.sleep(CONSISTENCY)
    result.value["steps"] = [step.as_dict() for step in steps]
    return result


def _terminate(call: Caller, cloud: Ec2, machines: Sequence[Machine]) -> None:
    for start in range(0, len(machines), cloud.limits.per_call):
        part = machines[start : start + cloud.limits.per_call]
        try:
            call(cloud.delete, part)
        except NotFound:
            # One unknown machine makes EC2 refuse the whole call.
            if len(part) > 1:
                for machine in part:
                    _terminate(call, cloud, [machine])


def _wait_until_gone(session: Session, call: Caller, cloud: Ec2, ids: list[str]) -> None:
    def gone() -> bool:
        return not ids or all(machine.state == GONE for machine in call(cloud.describe, ids))

    if not session.wait(gone, call.patience.gone, pause=3):
        raise FlotillaError(
            "MACHINE_NOT_GONE",
            f"Machines of cluster '{cloud.where.cluster}' are not gone after {call.patience.gone:g} s: {', '.join(ids)}.",
            "See in the AWS console what holds them, and run again.",
        )


def _tag_host_key(session: Session, machine: Machine, key: str) -> None:
    session.call("ec2", "create_tags", Resources=[machine.id], Tags=names.from_tags({names.TAG_HOST_KEY: key}))


def scan_host_key(definition: dict[str, Any], machine: Machine) -> str:
    """Return the machine's public SSH host key, or nothing while it does not answer: this is the first contact.

    Where there is a bastion the bastion looks, because nothing else reaches the machine.
    """
    access = definition["access"]
    address = machine.addresses.get(access.get("address") or "private")
    if not address:
        return ""
    command = ["ssh-keyscan", "-T", str(_SCAN_SECONDS), "-t", "ed25519", "-p", str(machine.ssh_port), str(address)]
    bastion = access.get("bastion")
    if bastion:
        key = bastion.get("ssh_private_key_file") or access.get("ssh_private_key_file")
        identity = ["-i", str(Path(key).expanduser())] if key else []
        options = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=10"]
        login = f"{bastion.get('user') or access['ssh_user']}@{bastion['host']}"
        command = ["ssh", *options, *identity, "-p", str(bastion.get("port") or 22), login, " ".join(command)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=_SCAN_SECONDS + 20)
    except FileNotFoundError as error:
        raise FlotillaError(
            "SSH_CLIENT_MISSING", f"{command[0]} is not on the machine that runs this.", "Install the OpenSSH client there.", error
        ) from error
    except (OSError, subprocess.TimeoutExpired):
        return ""
    for line in done.stdout.splitlines():
        parts = line.split()
        if len(parts) >= 3 and not line.startswith("#"):
            return " ".join(parts[1:3])
    return ""


def _entry(machine: Machine) -> dict[str, Any]:
    keep = ("pool", "zone", "state", "image", "spec_hash")
    return {**{key: getattr(machine, key) for key in keep}, "tags": machine.tags, "attributes": machine.attributes}


def _diff(machines: Sequence[Machine]) -> dict[str, Any]:
    """Return what a diff shows."""
    return {
        "machines": {
            machine.name: _entry(machine) for machine in sorted(machines, key=lambda m: m.name) if machine.state not in DEAD_STATES
        }
    }


def _predicted(cluster: str, steps: Sequence[Step], observed: Sequence[Machine]) -> dict[str, Any]:
    """Return what a diff shows after the steps; machines that are to be made have no name before they are."""
    after = dict(_diff(observed)["machines"])
    for step in steps:
        if step.machine is None:
            continue
        if step.action == DELETE:
            after.pop(step.machine.name, None)
        elif step.action == "start":
            after[step.machine.name] = {**after[step.machine.name], "state": RUNNING}
        elif step.changes:
            entry = after[step.machine.name]
            after[step.machine.name] = {
                **entry,
                "tags": {**entry["tags"], **step.changes.tags},
                "attributes": {**entry["attributes"], **step.changes.attributes},
            }
    for machine in _planned(cluster, steps):
        after[machine.name] = {"pool": machine.pool, "zone": machine.zone, "state": RUNNING}
    return {"machines": after}


def _planned(cluster: str, steps: Sequence[Step]) -> list[Machine]:
    """Return the machines that steps would make, under names and ids that only tell them apart."""
    made = [step for step in steps if step.action in (CREATE, REPLACE)]
    found = []
    for number, step in enumerate(made, start=1):
        name = f"{cluster}-{step.pool}-new-{number}"
        found.append(Machine(name, name, cluster, step.pool, step.role, step.zone, PLANNED, {"private": None, "public": None}))
    return found
