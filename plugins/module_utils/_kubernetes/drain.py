# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the pods off a node through the Eviction API, in slices that can be repeated (private to flotilla.kubernetes).

What is done is read from the cluster each time, so a run that was killed goes on where it was:
https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/. Python 3.9, standard library only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from .._errors import FlotillaError
from .client import ApiError, Client
from .duration import format_duration

# Tells the next run, and people, who made the node unschedulable.
LABEL_PREFIX = "flotilla.kubernetes/"
DRAIN_ANNOTATION = f"{LABEL_PREFIX}drain"
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
WORKERS = 8  # evictions at the same time
LOOK, BLOCKED_PAUSE = 0.5, 2.0  # seconds between looks, and before a pod that was held back is tried again


@dataclass(frozen=True)
class Options:
    """What may be lost, and how long it may take; times in seconds, ``grace_period`` None for each pod's own."""

    timeout: int
    grace_period: int | None = None
    delete_emptydir_data: bool = False
    delete_bare_pods: bool = False


@dataclass(frozen=True)
class Pod:
    """A pod of the node as far as a drain has to know it."""

    namespace: str
    name: str
    uid: str
    leaving: bool

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass
class Plan:
    """The pods of a node: those to evict, those that stay, and why some must not be evicted."""

    evict: list[Pod] = field(default_factory=list)
    stay: list[Pod] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def classify(pods: Iterable[dict[str, Any]], options: Options) -> Plan:
    """Sort the pods of a node, as ``kubectl drain`` does: https://kubernetes.io/docs/tasks/administer-cluster/safely-drain-node/. Pure."""
    plan = Plan()
    for data in pods:
        metadata, status = data["metadata"], data.get("status", {})
        pod = Pod(metadata["namespace"], metadata["name"], metadata["uid"], "deletionTimestamp" in metadata)
        owner = next((one for one in metadata.get("ownerReferences", []) if one.get("controller")), None)
        if MIRROR_ANNOTATION in metadata.get("annotations", {}) or (owner and owner["kind"] == "DaemonSet"):
            plan.stay.append(pod)
            continue
        plan.evict.append(pod)
        if status.get("phase") in ("Succeeded", "Failed") or pod.leaving:
            continue
        if owner is None and not options.delete_bare_pods:
            plan.refused.append(f"{pod.title} has no controller that would make it anew (delete_bare_pods)")
        volumes = [volume["name"] for volume in data["spec"].get("volumes", []) if "emptyDir" in volume]
        if volumes and not options.delete_emptydir_data:
            plan.refused.append(f"{pod.title} keeps data in emptyDir volumes ({', '.join(volumes)}; delete_emptydir_data)")
    return plan


class Drain:
    """The drain of one node through one API server."""

    def __init__(self, client: Client, node: str, options: Options) -> None:
        self._client, self._node, self._options = client, node, options

    def look(self) -> tuple[dict[str, Any], Plan]:
        """Return the Node and the plan for its pods.

        :raises FlotillaError: there is no such node.
        """
        try:
            node = self._client.get(f"/api/v1/nodes/{self._node}")
        except FlotillaError as error:
            if isinstance(error, ApiError) and error.status == 404:
                raise FlotillaError("NODE_UNKNOWN", f"The cluster has no node {self._node}.", "See 'kubectl get nodes'.", error) from error
            raise
        return node, self._plan()

    def refuse(self, plan: Plan) -> None:
        """:raises FlotillaError: a pod of the plan must not be evicted."""
        refuse(plan.refused, f"The node {self._node} was not drained")

    def advance(self, token: str | None, seconds: float) -> dict[str, Any]:
        """Do one slice of the drain, at most ``seconds``.

        :param token: ``progress_token`` of the slice before; None for the first one.
        :return: ``finished`` with `outcome`, or else ``progress`` and ``progress_token``.
        :raises FlotillaError: pods must not be evicted (nothing was changed), or are still there at the deadline (the node is schedulable
            again, unless somebody else had made it unschedulable).
        """
        node, plan = self.look()
        if token:
            seen = json.loads(token)
        else:
            self.refuse(plan)
            seen = {"began": time.monotonic(), "before": state(node, plan), "evicted": [], "held": {}}
        if not is_cordoned(node):
            self.cordon()
        began, until, held = seen["began"], time.monotonic() + seconds, seen["held"]
        not_before: dict[str, float] = {}
        while True:
            now = time.monotonic()
            due = [pod for pod in plan.evict if not pod.leaving and now >= not_before.get(pod.uid, 0)]
            for pod, error in zip(due, self._evict(due)):
                if error is None:
                    held.pop(pod.title, None)
                    seen["evicted"].append(pod.title)
                else:
                    held[pod.title] = "; ".join(error.reasons)
                    not_before[pod.uid] = time.monotonic() + max(error.retry_after, BLOCKED_PAUSE)
            plan = self._plan()
            left = {pod.title for pod in plan.evict}
            held = seen["held"] = {title: reason for title, reason in held.items() if title in left}
            if not plan.evict:
                return {"finished": True, **outcome(seen["before"]), "evicted": sorted(set(seen["evicted"]))}
            spent = time.monotonic() - began
            if spent >= self._options.timeout:
                raise self._give_up(plan.evict, held)
            if time.monotonic() >= until:
                return {"finished": False, "progress": [self._progress(left, held, spent)], "progress_token": json.dumps(seen)}
            time.sleep(LOOK)

    def cordon(self) -> None:
        """Let no new pods come to the node."""
        self._cordon(True)

    def uncordon(self) -> None:
        """Let pods come to the node again."""
        self._cordon(False)

    def _plan(self) -> Plan:
        return classify(self._client.items(f"/api/v1/pods?fieldSelector={quote(f'spec.nodeName={self._node}')}"), self._options)

    def _cordon(self, wanted: bool) -> None:
        mark = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) if wanted else None
        body = {"metadata": {"annotations": {DRAIN_ANNOTATION: mark}}, "spec": {"unschedulable": wanted or None}}
        self._client.merge(f"/api/v1/nodes/{self._node}", body)

    def _evict(self, pods: Sequence[Pod]) -> list[ApiError | None]:
        """Evict pods in parallel; return for each nothing, or why it has to wait.

        :raises ApiError: an eviction was refused for good.
        """
        if not pods:
            return []
        clients = [self._client.another() for _pod in pods[:WORKERS]]
        with ThreadPoolExecutor(len(clients)) as pool:
            shares = [pods[number :: len(clients)] for number in range(len(clients))]
            answers = list(pool.map(lambda client, share: [self._evict_one(client, pod) for pod in share], clients, shares))
        found = {pod.uid: answer for share, given in zip(shares, answers) for pod, answer in zip(share, given)}
        return [found[pod.uid] for pod in pods]

    def _evict_one(self, client: Client, pod: Pod) -> ApiError | None:
        options: dict[str, Any] = {"preconditions": {"uid": pod.uid}}
        if self._options.grace_period is not None:
            options["gracePeriodSeconds"] = self._options.grace_period
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": options,
        }
        try:
            client.request("POST", f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction", body)
        except ApiError as error:
            # 404: gone already. 409: another pod has its name by now; the next look shows.
            if error.status in (404, 409):
                return None
            # 429: a PodDisruptionBudget or a busy server. 500: two budgets for one pod. 403: its namespace is just deleted.
            if error.status in (403, 429) or error.status >= 500:
                return error
            raise
        return None

    def _give_up(self, pods: Sequence[Pod], held: dict[str, str]) -> FlotillaError:
        node = self._client.get(f"/api/v1/nodes/{self._node}")
        ours = DRAIN_ANNOTATION in node["metadata"].get("annotations", {})
        if ours:
            self.uncordon()
        lines = [f"{pod.title}: {held.get(pod.title) or 'evicted, but it does not end'}" for pod in pods]
        return FlotillaError(
            "DRAIN_TIMEOUT",
            f"The node {self._node} was not drained within {format_duration(self._options.timeout)}. Still there: {'; '.join(lines)}.",
            "Give the budgets room (more replicas, or pods that get ready), or end these pods yourself, and run again."
            + (" The node takes pods again." if ours else " The node stays unschedulable, as it was before."),
            details={"blocked": [{"pod": pod.title, "reason": held.get(pod.title, "")} for pod in pods]},
        )

    def _progress(self, left: set[str], held: dict[str, str], spent: float) -> str:
        line = f"node {self._node}: {len(left)} pod{'' if len(left) == 1 else 's'} to go ({spent:.0f} s)"
        if not held:
            return line
        title, reason = sorted(held.items())[0]
        return f"{line}, {len(held)} held back, such as {title}: {reason}"


def refuse(refused: Sequence[str], what: str) -> None:
    """:raises FlotillaError: ``DRAIN_REFUSED`` with ``what`` was not done, because of pods that must not be evicted."""
    if refused:
        raise FlotillaError(
            "DRAIN_REFUSED",
            f"{what}: {'; '.join(refused)}.",
            "Remove these pods yourself, or set the options named if what they hold may be lost.",
        )


def mark_outdated(client: Client, key: str | None, outdated: Iterable[str], pool: Iterable[str], check_mode: bool) -> dict[str, Any]:
    """Let pods avoid the nodes that are drained later: ``outdated`` get a soft taint, the others of ``pool`` lose it.

    :param key: of the taint; None for none, and nothing is changed.
    :return: ``changed`` and ``diff``.
    :raises FlotillaError: the key is none of ours.
    """
    if key is None:
        return {"changed": False}
    if not key.startswith(LABEL_PREFIX):
        raise FlotillaError(
            "TAINT_INVALID", f"The taint {key!r} of outdated nodes is none of flotilla's.", f"Begin it with {LABEL_PREFIX}."
        )
    wanted = set(outdated)
    nodes = {node["metadata"]["name"]: node for node in client.items("/api/v1/nodes")}
    wrong = [name for name in sorted(wanted | set(pool)) if name in nodes and has_taint(nodes[name], key) != (name in wanted)]
    for name in [] if check_mode else wrong:
        set_taint(client, name, key, name in wanted)
    before = {name: has_taint(nodes[name], key) for name in wrong}
    return {"changed": bool(wrong), "diff": {"before": before, "after": {name: name in wanted for name in wrong}}}


def has_taint(node: dict[str, Any], key: str) -> bool:
    """Tell whether a Node has a taint."""
    return any(taint["key"] == key for taint in node["spec"].get("taints") or [])


def set_taint(client: Client, name: str, key: str, wanted: bool) -> None:
    """Give a node a taint that pods avoid where they can, or take it away."""
    while True:
        node = client.get(f"/api/v1/nodes/{name}")
        taints = [taint for taint in node["spec"].get("taints") or [] if taint["key"] != key]
        taints += [{"key": key, "effect": "PreferNoSchedule"}] if wanted else []
        # The list of taints is written as a whole, and controllers write it, too.
        metadata = {"resourceVersion": node["metadata"]["resourceVersion"]}
        try:
            return client.merge(f"/api/v1/nodes/{name}", {"metadata": metadata, "spec": {"taints": taints or None}})
        except ApiError as error:
            if error.status != 409:
                raise


def is_cordoned(node: dict[str, Any]) -> bool:
    """Tell whether a Node takes no new pods."""
    return bool(node.get("spec", {}).get("unschedulable"))


def state(node: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Return what a drain changes, for a diff."""
    return {"schedulable": not is_cordoned(node), "pods": sorted(pod.title for pod in plan.evict)}


def outcome(before: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a drain that began with ``before``, as far as it is known beforehand."""
    after = {"schedulable": False, "pods": []}
    return {"changed": before != after, "evicted": before["pods"], "diff": {"before": before, "after": after}}
