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
INCOMPLETE = "incomplete"
"""Made by a run that was interrupted before the machine first started: it never served."""
PLANNED = "planned"
"""Not there yet: check mode says that it would be made."""


@dataclass(frozen=True)
class Machine:
    """One machine as its cloud reports it.

    :param id: the cloud's own identity of the machine.
    :param name: ``<cluster>-<pool>-<last 8 of the id>``, also the Kubernetes node's name.
    :param role: `CONTROL_PLANE` or `WORKER`; control planes are in the pool `CONTROL_PLANE_POOL`.
    :param state: `RUNNING`, `STOPPED`, `INCOMPLETE` or the cloud's own word for something that can not be used.
    :param addresses: ``private`` and ``public``, each an address or None.
    :param host_key: the public SSH host key as in known_hosts, or empty while unknown.
    :param spec_hash: see `flotilla.kubernetes`' plan.spec_hash.
    :param uid: the random identity of the cluster that owns the machine.
    :param ssh_address: where SSH reaches the machine; empty for the private address.
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

    def as_dict(self) -> dict[str, Any]:
        """Return the machine as modules return it."""
        return asdict(self)


@dataclass(frozen=True)
class MachineGroup:
    """The machines that a definition asks for in one pool.

    :param zones: zones to spread over, in the order of the definition.
    :param spec_hash: hash of the fields whose change needs a new machine.
    """

    cluster: str
    pool: str
    role: str
    count: int
    zones: tuple[str, ...]
    spec_hash: str


@dataclass(frozen=True)
class Step:
    """One step of a plan: ``action`` is create, start, delete or keep; ``machine`` is None for create."""

    action: str
    pool: str
    role: str
    zone: str
    machine: Machine | None
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return the step as modules return it, the machine by its name."""
        return {
            "action": self.action,
            "pool": self.pool,
            "role": self.role,
            "zone": self.zone,
            "machine": self.machine.name if self.machine else None,
            "reason": self.reason,
        }
