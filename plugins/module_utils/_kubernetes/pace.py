# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the pods of one workload may leave a node when no budget says it (private to flotilla.kubernetes).

Python 3.9, standard library only.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from .client import ApiError, Client
from .disruption import WITHOUT_REPLICAS, unprotected_room
from .snapshot import PATHS, Budget, Owner, Pod, budget_of, matches, pod_of

LOOK = 2.0  # seconds between two looks at a workload
HOMELESS = 15.0  # seconds after which a new pod that fits nowhere is not waited for
# Where the workloads are that tell how many pods they are to have.
_WORKLOADS = {"ReplicaSet": "apis/apps/v1", "StatefulSet": "apis/apps/v1", "ReplicationController": "api/v1"}


class Budgets:
    """The budgets of a cluster, read when they are asked for first."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._all: list[Budget] | None = None

    def of(self, pod: Pod) -> list[Budget]:
        """Return the budgets that select a pod."""
        if self._all is None:
            self._all = [budget_of(data) for data in self._client.items(PATHS["budgets"])]
        return [budget for budget in self._all if budget.namespace == pod.namespace and matches(budget.selector, pod.labels)]


class Pace:
    """Holds back pods of workloads that would lose too many at once, because no budget does.

    A StatefulSet loses one pod at a time; a workload without a budget keeps three quarters of those that were ready (`unprotected_room`).
    Who has only one pod on the node is never held back.
    """

    def __init__(self, client: Client, budgets: Budgets, seen: dict[str, Any]) -> None:
        """:param seen: per uid of a workload how many of its pods were ``ready`` at first, kept from slice to slice."""
        self._client, self._budgets, self._seen = client, budgets, seen
        self._next_look: dict[str, float] = {}
        self._rooms: dict[str, int] = {}

    def hold_back(self, due: Sequence[Pod]) -> dict[Pod, str]:
        """Return those of ``due`` that have to wait for others to be ready, and why."""
        groups: defaultdict[Owner, list[Pod]] = defaultdict(list)
        for pod in due:
            # One that is not ready, or over, is missed by nobody.
            if pod.owner and pod.ready and not pod.over and pod.owner.kind not in WITHOUT_REPLICAS:
                groups[pod.owner].append(pod)
        waiting: dict[Pod, str] = {}
        for owner, pods in groups.items():
            if len(pods) < 2 and owner.uid not in self._seen:
                continue
            pods = [pod for pod in pods if owner.kind == "StatefulSet" or not self._budgets.of(pod)]
            if not pods or (len(pods) < 2 and owner.uid not in self._seen):
                continue
            room = self._room(owner)
            reason = f"{owner.title} gets its other pods ready first"
            waiting.update(dict.fromkeys(sorted(pods, key=lambda pod: pod.name, reverse=True)[room:], reason))
            self._rooms[owner.uid] = max(0, room - len(pods))
        return waiting

    def _room(self, owner: Owner) -> int:
        """Return how many more pods may go now."""
        now = time.monotonic()
        if now < self._next_look.get(owner.uid, 0):
            return self._rooms[owner.uid]
        self._next_look[owner.uid] = now + LOOK
        found = self._client.items(f"/api/v1/namespaces/{owner.namespace}/pods")
        pods = [pod for pod in map(pod_of, found) if pod.owner == owner and not pod.over]
        ready = sum(pod.ready and not pod.leaving for pod in pods)
        wanted = self._wanted(owner, len(pods))
        if not wanted:  # it is gone, or was told to end them
            return len(pods)
        entry = self._seen.setdefault(owner.uid, {"ready": ready, "homeless": None})
        # Those that fit nowhere are not waited for: they may need this very node.
        if any(not pod.node for pod in pods):
            entry["homeless"] = entry["homeless"] or now
            if now - entry["homeless"] >= HOMELESS:
                return len(pods)
        else:
            entry["homeless"] = None
        allowed = 1 if owner.kind == "StatefulSet" else unprotected_room(wanted)
        return max(0, allowed - max(0, min(entry["ready"], wanted) - ready))

    def _wanted(self, owner: Owner, there: int) -> int:
        """Return how many pods a workload is to have, or what it has where it does not say."""
        if owner.kind not in _WORKLOADS:
            return there
        try:
            path = f"/{_WORKLOADS[owner.kind]}/namespaces/{owner.namespace}/{owner.kind.lower()}s/{owner.name}"
            return self._client.get(path)["spec"].get("replicas", 1)
        except ApiError as error:
            if error.status != 404:
                raise
            return 0
