# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine is, whatever cloud it runs on (private to flotilla.kubernetes)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

CONTROL_PLANE = "control_plane"
WORKER = "worker"
CONTROL_PLANE_POOL = "control-plane"

RUNNING = "running"
STOPPED = "stopped"
PENDING = "pending"
"""Being made or started by the cloud: it will run without another call."""
LEAVING = "leaving"
"""Its removal was accepted and is under way: it counts for nothing any more."""
GONE = "gone"
"""Removed, and still listed for a while: it counts for nothing."""
INCOMPLETE = "incomplete"
"""Made by a run that was interrupted before the machine first started: it never served."""
PLANNED = "planned"
"""Not there yet: check mode says that it would be made."""

DEAD_STATES = frozenset({LEAVING, GONE})


@dataclass(frozen=True)
class Machine:
    """One machine as its cloud reports it.

    :param id: the cloud's own identity of the machine.
    :param name: ``<cluster>-<pool>-<last 8 of the id>``, also the Kubernetes node's name.
    :param role: `CONTROL_PLANE` or `WORKER`; control planes are in the pool `CONTROL_PLANE_POOL`.
    :param state: `RUNNING`, `STOPPED`, `PENDING`, `LEAVING`, `GONE`, `INCOMPLETE` or the cloud's own word for one
        that can not be used.
    :param addresses: ``private`` and ``public``, each an address or None.
    :param host_key: the public SSH host key as in known_hosts, or empty while unknown.
    :param spec_hash: see `flotilla.kubernetes`' plan.spec_hash.
    :param uid: the random identity of the cluster that owns the machine.
    :param ssh_address: where SSH reaches the machine; empty for the private address.
    :param generation: raised by one each time that a pool's machines are to be made anew from a newer image.
    :param image: the cloud's id of the image that the machine was made from, or empty where the cloud does not tell.
    :param reason: the cloud's own words for why the machine is in its state, or empty.
    :param created: when the cloud accepted its creation, in seconds since the epoch by the cloud's clock; 0 while unknown.
    :param tags: all of its tags, the user's and other programs' among them.
    :param attributes: what the cloud can change on a living machine, by the same names and in the same form as the group's.
    :param no_capacity: whether it is `INCOMPLETE` because its zone had no room for it.
    """

    id: str
    name: str
    cluster: str
    pool: str
    role: str
    zone: str
    state: str
    addresses: dict[str, str | None] = field(default_factory=dict)
    host_key: str = ""
    spec_hash: str = ""
    uid: str = ""
    ssh_address: str = ""
    ssh_port: int = 22
    generation: str = ""
    image: str = ""
    reason: str = ""
    created: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    no_capacity: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the machine as modules return it."""
        fields = asdict(self)
        for internal in ("created", "tags", "attributes", "no_capacity"):
            del fields[internal]
        return fields


@dataclass(frozen=True)
class MachineGroup:
    """The machines that a definition asks for in one pool.

    :param zones: zones to spread over, in the order of the definition.
    :param spec_hash: hash of the fields whose change needs a new machine.
    :param generation: the generation that the pool is to have; empty takes any.
    :param image: the image's id that machines of this generation are made from; empty takes any.
    :param tags: tags that each machine is to carry besides those of ownership; what else it carries is left alone.
    :param attributes: what each machine is to be like and the cloud can change on a living one, each value as text.
    :param surge: how many machines are replaced at once; a control plane is always replaced one by one.
    """

    cluster: str
    pool: str
    role: str
    count: int
    zones: tuple[str, ...]
    spec_hash: str
    generation: str = ""
    image: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    surge: int = 1


@dataclass(frozen=True)
class Changes:
    """What differs on a living machine, each with the value that it is to get."""

    tags: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)


CREATE = "create"
START = "start"
UPDATE = "update"
REPLACE = "replace"
DELETE = "delete"
KEEP = "keep"


@dataclass(frozen=True)
class Step:
    """One step of a plan.

    :param action: `CREATE`, `START`, `UPDATE`, `REPLACE` (make a successor; the plan after that deletes the machine), `DELETE` or `KEEP`.
    :param machine: None for `CREATE`.
    :param changes: of `UPDATE`.
    :param later: what a later plan does with a machine that is kept now: `REPLACE`, `DELETE` or nothing.
    """

    action: str
    pool: str
    role: str
    zone: str
    machine: Machine | None
    reason: str
    changes: Changes | None = None
    later: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the step as modules return it, the machine by its name."""
        return {
            "action": self.action,
            "pool": self.pool,
            "role": self.role,
            "zone": self.zone,
            "machine": self.machine.name if self.machine else None,
            "reason": self.reason,
            **({"changes": asdict(self.changes)} if self.changes else {}),
            **({"later": self.later} if self.later else {}),
        }


@dataclass(frozen=True)
class Order:
    """Machines of one pool in one zone that one call of the cloud is to make.

    :param token: the same for the same view of the same cloud, see `flotilla.kubernetes`' plan.idempotency_token; 64 hexadecimal digits.
    """

    group: MachineGroup
    zone: str
    count: int
    token: str
