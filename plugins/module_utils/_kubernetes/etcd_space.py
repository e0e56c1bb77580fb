# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The space that etcd takes and how it is given back (private to flotilla.kubernetes).

Compaction frees pages inside of a member's database file, defragmentation gives them back to the file system, and an alarm that was raised
for want of space stays until somebody clears it: https://etcd.io/docs/v3.6/op-guide/maintenance/. Python 3.9, standard library only.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from .._errors import FlotillaError
from .client import ApiError, Client

MIB = 1024 * 1024
NO_SPACE = "NOSPACE"
# How many entries of the log a member may be behind; on a busy cluster it is never none.
BEHIND = 100


@dataclass(frozen=True)
class Space:
    """What one member says of its database, in bytes; ``quota`` is 0 where it does not say, before etcd 3.6."""

    size: int
    in_use: int
    quota: int
    revision: int
    applied: int
    committed: int
    led: bool

    @property
    def free(self) -> int:
        return self.size - self.in_use

    def as_dict(self) -> dict[str, int]:
        return {"size_mib": self.size // MIB, "in_use_mib": self.in_use // MIB, "quota_mib": self.quota // MIB}


def read(member: Client) -> Space:
    """Return what a member takes.

    :raises OSError: it does not answer.
    """
    status = _call(member, "/v3/maintenance/status", {})
    numbers = [int(status.get(name) or 0) for name in ("dbSize", "dbSizeInUse", "dbSizeQuota")]
    revision = int(status.get("header", {}).get("revision") or 0)
    indexes = [int(status.get(name) or 0) for name in ("raftAppliedIndex", "raftIndex")]
    return Space(*numbers, revision, *indexes, str(status.get("leader", "0")) != "0")


def alarms(member: Client) -> list[dict[str, str]]:
    """Return the alarms of all members, as ``memberID`` and ``alarm``."""
    return list(_call(member, "/v3/maintenance/alarm", {"action": "GET"}).get("alarms", []))


def refuse_corruption(raised: list[dict[str, str]]) -> None:
    """:raises FlotillaError: ``ETCD_CORRUPT``: members disagree, which no defragmentation mends."""
    others = [one for one in raised if one.get("alarm") not in (None, "NONE", NO_SPACE)]
    if others:
        named = ", ".join(f"{one['alarm']} of {int(one.get('memberID', 0)):x}" for one in others)
        raise FlotillaError(
            "ETCD_CORRUPT",
            f"etcd has raised the alarm {named}.",
            "Replace that member (machine_replace), or restore a snapshot; then clear it with 'etcdctl alarm disarm'.",
        )


def compact(member: Client, space: Space) -> None:
    """Forget what was before the present revision. Watches that are behind it begin anew, which clients do by themselves."""
    try:
        # With `physical` the answer comes when the pages are free.
        _call(member, "/v3/kv/compaction", {"revision": str(space.revision), "physical": True})
    except ApiError as error:
        if "compacted" not in str(error):
            raise


def defragment(member: Client) -> None:
    """Give free pages back. The member answers nobody meanwhile, some seconds per GiB."""
    _call(member, "/v3/maintenance/defragment", {})


def wait_until_caught_up(member: Client, timeout: float) -> Space:
    """Wait until a member follows a leader and has applied what was decided, and return what it takes then.

    :raises FlotillaError: ``ETCD_MEMBER_BEHIND``.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            space = read(member)
            problem = (
                "" if space.led and space.committed - space.applied <= BEHIND else f"it has applied {space.applied} of {space.committed}"
            )
            if not problem:
                return space
        except (OSError, ApiError) as error:
            problem = str(error)
        if time.monotonic() > deadline:
            raise FlotillaError(
                "ETCD_MEMBER_BEHIND",
                f"The etcd member at {member.address} is not back {timeout:g} s after its defragmentation: {problem}",
                "Read the log of etcd there. No other member was defragmented after this one.",
            )
        time.sleep(0.5)


def disarm(member: Client, raised: list[dict[str, str]]) -> None:
    """Clear the alarms for want of space, once there is some."""
    for one in raised:
        if one.get("alarm") == NO_SPACE:
            _call(member, "/v3/maintenance/alarm", {"action": "DEACTIVATE", "memberID": one["memberID"], "alarm": NO_SPACE})


def refuse_full(space: Space) -> None:
    """:raises FlotillaError: ``ETCD_FULL``: what is in use takes nearly all of the quota, so the alarm would come again."""
    if space.quota and space.size > 0.9 * space.quota:
        raise FlotillaError(
            "ETCD_FULL",
            f"etcd still takes {space.size // MIB} of {space.quota // MIB} MiB after compaction and defragmentation.",
            "The objects themselves take it. Delete some ('kubectl delete events --all --all-namespaces' is a beginning; deleting works "
            "under the alarm), or raise quota-backend-bytes in kubernetes_control_plane_extra_args.etcd; then run again.",
        )


def _call(member: Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return json.loads(member.request("POST", path, body))
