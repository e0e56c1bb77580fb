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
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from .._errors import FlotillaError
from .._moments import stamp
from .client import ApiError, Client
from .disruption import Consent, budget_problem, describe_stuck, is_stuck, overlap, unprotected_reason
from .duration import format_duration
from .pace import Budgets, Pace
from .snapshot import Pod, pod_of

LABEL_PREFIX = "flotilla.kubernetes/"
# Tells the next run, and people, who made the node unschedulable.
DRAIN_ANNOTATION = f"{LABEL_PREFIX}drain"
WORKERS = 8  # evictions at the same time
LOOK, BLOCKED_PAUSE = 0.5, 2.0  # seconds between looks, and before a pod that was held back is tried again
NAMED = 3  # pods that a line of progress names
_REMEDY = "Give the budgets room (more replicas, or pods that get ready), or end these pods yourself."
TAKES_PODS = "The node takes pods again."
REFUSE, WAIT, SKIP, FORCE = "refuse", "wait", "skip", "force"


@dataclass(frozen=True)
class Options:
    """What may be lost, and how long it may take; times in seconds, ``grace_period`` None for each pod's own.

    :param unprotected: what to do about pods whose loss nobody consented to: ``refuse``, ``wait`` until somebody took them away,
        or ``skip`` the node.
    :param stuck: what to do about pods that do not go: ``wait`` and fail at the deadline, ``skip`` the node then, or ``force``.
    :param force_pods: patterns of ``namespace/name`` for which somebody consented to ``force``.
    :param force_after: how long a pod is waited for before.
    """

    timeout: int
    grace_period: int | None = None
    delete_emptydir_data: bool = False
    delete_bare_pods: bool = False
    unprotected: str = REFUSE
    stuck: str = WAIT
    force_pods: tuple[str, ...] = ()
    force_after: int = 300

    @property
    def consent(self) -> Consent:
        return Consent(self.delete_emptydir_data, self.delete_bare_pods)

    def may_force(self, pod: Pod) -> bool:
        return self.stuck == FORCE and any(fnmatchcase(pod.title, pattern) for pattern in self.force_pods)


@dataclass
class Plan:
    """The pods of a node: those to evict, those that stay, and by title why some of the first must not be evicted."""

    evict: list[Pod] = field(default_factory=list)
    stay: list[Pod] = field(default_factory=list)
    unprotected: dict[str, str] = field(default_factory=dict)

    @property
    def refused(self) -> list[str]:
        return list(self.unprotected.values())


@dataclass(frozen=True)
class Held:
    """Why a pod was not evicted now, and in how many seconds to try again."""

    reason: str
    pause: float


def classify(pods: Iterable[dict[str, Any]], consent: Consent) -> Plan:
    """Sort the pods of a node, as ``kubectl drain`` does: https://kubernetes.io/docs/tasks/administer-cluster/safely-drain-node/. Pure."""
    plan = Plan()
    for pod in map(pod_of, pods):
        if pod.stays:
            plan.stay.append(pod)
            continue
        plan.evict.append(pod)
        unprotected = None if pod.over or pod.leaving else unprotected_reason(pod, consent)
        if unprotected:
            plan.unprotected[pod.title] = unprotected[1]
    return plan


class Drain:
    """The drain of one node through one API server."""

    def __init__(self, client: Client, node: str, options: Options) -> None:
        self._client, self._node, self._options = client, node, options
        self._evictors: list[Client] = []

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

    def predict(self) -> dict[str, Any]:
        """Return the result that a drain would have.

        :raises FlotillaError: pods must not be evicted.
        """
        node, plan = self.look()
        return self._skipped(node, plan) or outcome(state(node, plan))

    def advance(self, token: str | None, seconds: float) -> dict[str, Any]:
        """Do one slice of the drain, at most ``seconds``.

        :param token: ``progress_token`` of the slice before; None for the first one.
        :return: ``finished`` with `outcome`, or else ``progress`` and ``progress_token``.
        :raises FlotillaError: pods must not be evicted (nothing was changed), or are still there at the deadline. Whatever went wrong after
            that, the node takes pods again, unless somebody else had made it unschedulable.
        """
        seen = json.loads(token) if token else None
        try:
            node, plan = self.look()
        except (ApiError, OSError) as error:
            if not seen or not may_pass(error) or time.monotonic() - seen["began"] >= self._options.timeout:
                raise
            time.sleep(min(seconds, BLOCKED_PAUSE))
            line = f"node {self._node}: the API server does not answer: {error}"
            return {"finished": False, "progress": [line], "progress_token": token}
        if not seen:
            skipped = self._skipped(node, plan)
            if skipped:
                return {"finished": True, **skipped}
            seen = {
                "began": time.monotonic(),
                "before": state(node, plan),
                "evicted": [],
                "forced": [],
                "held": {},
                "again": {},
                "paced": {},
            }
        try:
            if not is_cordoned(node):
                self.cordon()
            return self._advance(plan, seen, time.monotonic() + seconds)
        except FlotillaError as error:
            error.remedy = f"{error.remedy} {self._give_back()}".strip()
            raise

    def cordon(self) -> None:
        """Let no new pods come to the node."""
        self._cordon(True)

    def uncordon(self) -> None:
        """Let pods come to the node again."""
        self._cordon(False)

    def open(self, taint: str | None, respect_cordon: bool, check_mode: bool) -> dict[str, Any]:
        """Let pods come to the node again, and no longer avoid it; return the module's result.

        :param taint: that of outdated nodes, to take away.
        :param respect_cordon: whether a node that somebody else made unschedulable stays so.
        """
        node, _plan = self.look()
        foreign = DRAIN_ANNOTATION not in node["metadata"].get("annotations", {})
        opens = is_cordoned(node) and not (respect_cordon and foreign)
        marked = taint is not None and has_taint(node, taint)
        if opens and not check_mode:
            self.uncordon()
        if marked and not check_mode:
            set_taint(self._client, self._node, taint, False)
        before = {"schedulable": not is_cordoned(node), **({"outdated": True} if marked else {})}
        after = {"schedulable": opens or not is_cordoned(node), **({"outdated": False} if marked else {})}
        return {"changed": before != after, "evicted": [], "diff": {"before": before, "after": after}}

    def _advance(self, plan: Plan, seen: dict[str, Any], until: float) -> dict[str, Any]:
        budgets = Budgets(self._client)
        pace = Pace(self._client, budgets, seen["paced"])
        while True:
            try:
                self._push(plan, seen, pace, budgets)
                plan = self._plan()
            except (ApiError, OSError) as error:
                # While a control plane restarts; the pods that are left are those that were.
                if not may_pass(error):
                    raise
                seen["held"].update(dict.fromkeys((pod.title for pod in plan.evict), f"the API server does not answer: {error}"))
                self._client.disconnect()
            self._forget(plan, seen)
            if not plan.evict:
                return {"finished": True, **outcome(seen["before"]), **_gone(seen)}
            spent = time.monotonic() - seen["began"]
            if spent < self._options.timeout and time.monotonic() < until:
                time.sleep(LOOK)
                continue
            remedies = self._explain(plan, seen["held"], budgets)
            if spent >= self._options.timeout:
                return self._give_up(plan, seen, remedies)
            return {"finished": False, "progress": [self._progress(plan, seen["held"], spent)], "progress_token": json.dumps(seen)}

    def _push(self, plan: Plan, seen: dict[str, Any], pace: Pace, budgets: Budgets) -> None:
        """Evict, and force, what may go now; ``seen`` holds what went, and why others did not."""
        now = time.monotonic()
        held, again = seen["held"], seen["again"]
        held.update(plan.unprotected)
        due = [pod for pod in plan.evict if not pod.leaving and pod.title not in plan.unprotected and now >= again.get(pod.uid, 0)]
        waiting = pace.hold_back(due)
        held.update({pod.title: reason for pod, reason in waiting.items()})
        due = [pod for pod in due if pod not in waiting]
        for pod, answer in zip(due, self._evict(due)):
            if answer is None:
                held.pop(pod.title, None)
                seen["evicted"].append(pod.title)
            else:
                held[pod.title] = answer.reason
                again[pod.uid] = time.monotonic() + max(answer.pause, BLOCKED_PAUSE)
        if self._options.stuck == FORCE and now - seen["began"] >= self._options.force_after:
            # Only budgets are passed: not the pace, and not what nobody consented to lose.
            seen["forced"] += self._force([pod for pod in due if pod.title in held and budgets.of(pod)], plan.evict)

    def _forget(self, plan: Plan, seen: dict[str, Any]) -> None:
        """Keep why pods are held only of those that are, and add those that do not end."""
        there = {pod.title: pod for pod in plan.evict}
        uids = {pod.uid for pod in plan.evict}
        held = {title: reason for title, reason in seen["held"].items() if title in there and not there[title].leaving}
        held.update({pod.title: describe_stuck(pod)[0] for pod in plan.evict if is_stuck(pod, datetime.now(timezone.utc))})
        seen["held"] = held
        seen["again"] = {uid: moment for uid, moment in seen["again"].items() if uid in uids}

    def _give_up(self, plan: Plan, seen: dict[str, Any], remedies: list[str]) -> dict[str, Any]:
        """Return the result of a node that is left out.

        :raises FlotillaError: none is to be left out.
        """
        error = self._over(plan.evict, seen["held"], remedies)
        if self._options.stuck != SKIP:
            raise error
        after = {"schedulable": self._give_back() == TAKES_PODS, "pods": sorted(pod.title for pod in plan.evict)}
        answer = {"changed": seen["before"] != after, "drained": False, "diff": {"before": seen["before"], "after": after}}
        return {"finished": True, **answer, "reason": error.message, **_gone(seen), **error.details}

    def _skipped(self, node: dict[str, Any], plan: Plan) -> dict[str, Any] | None:
        """Return the result for a node that is left as it is, None for one that is drained.

        :raises FlotillaError: pods must not be evicted, and that is no reason to leave the node out.
        """
        if not plan.unprotected or self._options.unprotected == WAIT:
            return None
        if self._options.unprotected == REFUSE:
            refuse(plan.refused, f"The node {self._node} was not drained")
        before = state(node, plan)
        return {
            "changed": False,
            "drained": False,
            "evicted": [],
            "forced": [],
            "blocked": [{"pod": title, "reason": reason} for title, reason in plan.unprotected.items()],
            "reason": f"The node {self._node} was not drained: {'; '.join(plan.refused)}.",
            "diff": {"before": before, "after": before},
        }

    def _plan(self) -> Plan:
        # Not in pages: of one node they are few, and only whole lists come from the API server's own index of pods by node.
        found = self._client.get(f"/api/v1/pods?fieldSelector={quote(f'spec.nodeName={self._node}')}")
        return classify(found["items"], self._options.consent)

    def _cordon(self, wanted: bool) -> None:
        mark = stamp() if wanted else None
        body = {"metadata": {"annotations": {DRAIN_ANNOTATION: mark}}, "spec": {"unschedulable": wanted or None}}
        self._client.merge(f"/api/v1/nodes/{self._node}", body)

    def _evict(self, pods: Sequence[Pod]) -> list[Held | None]:
        """Evict pods in parallel; return for each nothing, or why it has to wait.

        :raises ApiError: an eviction was refused for good.
        """
        if not pods:
            return []
        self._evictors += [self._client.another() for _pod in pods[len(self._evictors) : WORKERS]]
        clients = self._evictors[: len(pods)]
        with ThreadPoolExecutor(len(clients)) as pool:
            shares = [pods[number :: len(clients)] for number in range(len(clients))]
            answers = list(pool.map(lambda client, share: [self._evict_one(client, pod) for pod in share], clients, shares))
        found = {pod.uid: answer for share, given in zip(shares, answers) for pod, answer in zip(share, given)}
        return [found[pod.uid] for pod in pods]

    def _evict_one(self, client: Client, pod: Pod) -> Held | None:
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": self._delete_options(pod, self._options.grace_period),
        }
        return _ask(client, "POST", f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction", body)

    def _delete_options(self, pod: Pod, grace: int | None) -> dict[str, Any]:
        return {"preconditions": {"uid": pod.uid}, **({} if grace is None else {"gracePeriodSeconds": grace})}

    def _force(self, held: Iterable[Pod], pods: Iterable[Pod]) -> list[str]:
        """Delete pods whose loss was consented to: those that budgets hold back, and those of the node that do not end.

        A pod that its node does not end is taken out of the API only:
        https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination-forced

        :return: their titles.
        """
        stuck = [pod for pod in pods if is_stuck(pod, datetime.now(timezone.utc))]
        done = []
        for pod, grace in [*((pod, self._options.grace_period) for pod in held), *((pod, 0) for pod in stuck)]:
            if self._options.may_force(pod):
                options = {"apiVersion": "v1", "kind": "DeleteOptions", **self._delete_options(pod, grace)}
                if _ask(self._client, "DELETE", f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}", options) is None:
                    done.append(pod.title)
        return done

    def _explain(self, plan: Plan, held: dict[str, str], budgets: Budgets) -> list[str]:
        """Add to why pods are held that it is for good, where it is; return the remedies."""
        remedies = set()
        try:
            for pod in plan.evict:
                found = budgets.of(pod) if pod.title in held and not pod.leaving and pod.title not in plan.unprotected else []
                problem = overlap(found) if len(found) > 1 else budget_problem(found[0]) if found else None
                if problem and problem[-1]:
                    if problem[1] not in held[pod.title]:
                        held[pod.title] += f" ({problem[1]})"
                    remedies.add(problem[2])
        except (FlotillaError, OSError):
            pass  # it is only the explanation that can not be had now
        return sorted(remedies)

    def _give_back(self) -> str:
        """Let pods come to the node again if it was us who made it unschedulable; return what it is like now."""
        try:
            node = self._client.get(f"/api/v1/nodes/{self._node}")
            if DRAIN_ANNOTATION not in node["metadata"].get("annotations", {}):
                return "The node stays unschedulable, as it was before." if is_cordoned(node) else ""
            self.uncordon()
        except (FlotillaError, OSError):
            return "The node may still be unschedulable."
        return TAKES_PODS

    def _over(self, pods: list[Pod], held: dict[str, str], remedies: list[str]) -> FlotillaError:
        lines = [f"{pod.title}: {held.get(pod.title) or 'evicted, but it does not end'}" for pod in pods]
        return FlotillaError(
            "DRAIN_TIMEOUT",
            f"The node {self._node} was not drained within {format_duration(self._options.timeout)}. Still there: {'; '.join(lines)}.",
            " ".join([*remedies, "Or end these pods yourself." if remedies else _REMEDY, "Then run again."]),
            details={"blocked": [{"pod": pod.title, "reason": held.get(pod.title, "")} for pod in pods]},
        )

    def _progress(self, plan: Plan, held: dict[str, str], spent: float) -> str:
        line = f"node {self._node}: {len(plan.evict)} pod{'' if len(plan.evict) == 1 else 's'} to go ({spent:.0f} s)"
        if not held:
            return line
        named = [f"{title}: {reason}" for title, reason in sorted(held.items())[:NAMED]]
        return f"{line}, {len(held)} held back, such as {'; '.join(named)}"


def _ask(client: Client, method: str, path: str, body: dict[str, Any]) -> Held | None:
    """Ask for a pod to go; return nothing, or why it stays for now.

    :raises ApiError: it was refused for good.
    """
    try:
        client.request(method, path, body)
    except ApiError as error:
        # 404: gone already. 409: another pod has its name by now; the next look shows.
        if error.status in (404, 409):
            return None
        # 403: its namespace is just deleted.
        if error.status == 403 or may_pass(error):
            return Held("; ".join(error.reasons), error.retry_after)
        raise
    except OSError as error:
        return Held(f"the API server does not answer: {error}", 0)
    return None


def _gone(seen: dict[str, Any]) -> dict[str, list[str]]:
    return {"evicted": sorted(set(seen["evicted"])), "forced": sorted(set(seen["forced"]))}


def may_pass(error: Exception) -> bool:
    """Tell whether a call that failed is worth another try: a busy server, one that restarts, or a budget."""
    # 429: a PodDisruptionBudget or a busy server. 500: two budgets for one pod, or a server that stops.
    return not isinstance(error, ApiError) or error.status == 429 or error.status >= 500


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


# With it on its node kube-proxy answers the health checks of load balancers with 503, and serves on; cloud controllers take the node out of
# theirs. Kubernetes Enhancement Proposal 3836: https://github.com/kubernetes/enhancements/issues/3836
NO_TRAFFIC_TAINT = "ToBeDeletedByClusterAutoscaler"


def has_taint(node: dict[str, Any], key: str) -> bool:
    """Tell whether a Node has a taint."""
    return any(taint["key"] == key for taint in node["spec"].get("taints") or [])


def set_taint(client: Client, name: str, key: str, wanted: bool, effect: str = "PreferNoSchedule") -> None:
    """Give a node a taint, by default one that pods avoid where they can, or take it away."""
    while True:
        node = client.get(f"/api/v1/nodes/{name}")
        taints = [taint for taint in node["spec"].get("taints") or [] if taint["key"] != key]
        taints += [{"key": key, "effect": effect}] if wanted else []
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
    diff = {"before": before, "after": after}
    return {"changed": before != after, "drained": True, "evicted": before["pods"], "forced": [], "diff": diff}
