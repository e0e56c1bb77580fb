# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drain would disturb, and what would hold it back (private to flotilla.kubernetes).

The rules are those of the Eviction API: https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/ and
https://kubernetes.io/docs/tasks/run-application/configure-pdb/. Pure; Python 3.9, standard library only.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from .._moments import parse
from .snapshot import Budget, Owner, Pod, Snapshot, matches

# How long after its grace a pod may still be there before something else must be the matter with it.
STUCK_AFTER = timedelta(seconds=60)
# Those that nobody protected are treated as if a quarter of them, and one in any case, might be away at the same time: what a Deployment
# without settings does to itself (https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment).
UNPROTECTED_PART = 4
# They are to end one day; nobody counts on all of them being there.
WITHOUT_REPLICAS = ("Job",)


@dataclass(frozen=True)
class Blocker:
    """Why the drain of a node can not finish.

    :param pod: ``namespace/name``; empty when it is the node itself.
    :param pdb: ``namespace/name`` of the PodDisruptionBudget, empty without one.
    :param permanent: waiting does not help; somebody has to do something.
    """

    node: str
    pod: str
    pdb: str
    code: str
    reason: str
    remedy: str
    permanent: bool = True

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class BudgetProblem:
    """Why a budget lets none of its pods go; ``pods`` are those that it holds, ``namespace/name``."""

    budget: str
    pods: tuple[str, ...]
    code: str
    reason: str
    remedy: str
    permanent: bool


@dataclass(frozen=True)
class SingleReplica:
    """A workload that has one pod, so that every drain of its node interrupts it for as long as a new one takes to be ready."""

    owner: Owner
    pod: Pod


@dataclass(frozen=True)
class Consent:
    """What may be lost."""

    emptydir_data: bool = False
    bare_pods: bool = False


@dataclass(frozen=True)
class Limit:
    """How many pods of a group may be away at the same time."""

    key: str
    title: str
    room: int


class Disruptions:
    """A snapshot looked at from the side of the drains."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._budgets: defaultdict[str, list[Budget]] = defaultdict(list)
        for budget in snapshot.budgets:
            self._budgets[budget.namespace].append(budget)
        self._pods: defaultdict[str, list[Pod]] = defaultdict(list)
        self._members: defaultdict[str, list[Pod]] = defaultdict(list)
        for pod in snapshot.pods:
            self._pods[pod.node].append(pod)
            if pod.owner and not pod.over and not pod.leaving:
                self._members[pod.owner.uid].append(pod)
        self._found: dict[str, list[Budget]] = {}
        self._limits: dict[str, list[Limit]] = {}

    def evictable(self, node: str) -> list[Pod]:
        """Return the pods that a drain of ``node`` would take off it."""
        return [pod for pod in self._pods.get(node, []) if not pod.stays]

    def budgets(self, pod: Pod) -> list[Budget]:
        """Return the budgets that the Eviction API asks about a pod: none for one that does not run."""
        if pod.over or pod.leaving or pod.phase == "Pending":
            return []
        if pod.uid not in self._found:
            self._found[pod.uid] = [budget for budget in self._budgets.get(pod.namespace, []) if matches(budget.selector, pod.labels)]
        return self._found[pod.uid]

    def blockers(self, node: str, consent: Consent, now: datetime) -> list[Blocker]:
        """Return what would keep a drain of ``node`` from finishing, as far as the node alone tells.

        :param now: with a time zone; tells a pod that ends from one that does not.
        """
        if node not in self.snapshot.nodes:
            return [Blocker(node, "", "", "NODE_UNKNOWN", f"The cluster has no node {node}.", "See 'kubectl get nodes'.")]
        if not self.snapshot.nodes[node].ready:
            reason = f"The node {node} is not Ready, so no pod on it can end."
            return [Blocker(node, "", "", "NODE_NOT_READY", reason, "Mend the node, or replace its machine.", permanent=False)]
        return [blocker for pod in self.evictable(node) for blocker in self._of_pod(node, pod, consent, now)]

    def _of_pod(self, node: str, pod: Pod, consent: Consent, now: datetime) -> Iterable[Blocker]:
        if pod.leaving:
            if is_stuck(pod, now):
                yield Blocker(node, pod.title, "", "POD_DOES_NOT_END", *describe_stuck(pod), permanent=False)
            return
        if pod.over:
            return
        unprotected = unprotected_reason(pod, consent)
        if unprotected:
            yield Blocker(node, pod.title, "", *unprotected)
        problem = self._refusal(pod)
        if problem:
            budgets = ", ".join(budget.title for budget in self.budgets(pod))
            yield Blocker(node, pod.title, budgets, problem[0], *problem[1:])

    def _refusal(self, pod: Pod) -> tuple[str, str, str, bool] | None:
        """Return code, reason, remedy and whether it is for good, when the Eviction API would refuse a pod now."""
        budgets = self.budgets(pod)
        if not budgets:
            return None
        if len(budgets) == 1:
            return None if self.is_free(pod) else budget_problem(budgets[0], pod.owner)
        return overlap(budgets)

    def is_free(self, pod: Pod) -> bool:
        """Tell whether a pod may be evicted without its one budget being asked: it is not ready, so nobody loses it."""
        budgets = self.budgets(pod)
        if len(budgets) != 1 or pod.ready:
            return not budgets
        budget = budgets[0]
        return budget.always_evict_unhealthy or 0 < budget.desired <= budget.healthy

    def limits(self, pod: Pod) -> list[Limit]:
        """Return the groups that a pod belongs to, of which only so many pods may be away at the same time."""
        if pod.uid not in self._limits:
            self._limits[pod.uid] = list(self._make_limits(pod))
        return self._limits[pod.uid]

    def _make_limits(self, pod: Pod) -> Iterable[Limit]:
        if pod.over or pod.leaving or pod.stays:
            return
        budgets = self.budgets(pod)
        if not self.is_free(pod):
            for budget in budgets:
                yield Limit(f"budget {budget.title}", f"the budget {budget.title}", budget.allowed)
        if pod.owner is None or pod.owner.kind in WITHOUT_REPLICAS:
            return
        if pod.owner.kind == "StatefulSet":
            yield Limit(pod.owner.uid, pod.owner.title, 1)
        elif not budgets:
            members = self._members[pod.owner.uid]
            wanted = self.snapshot.replicas.get(pod.owner.uid, len(members))
            missing = max(0, wanted - sum(one.ready for one in members))
            yield Limit(pod.owner.uid, f"{pod.owner.title}, which has no budget", max(0, unprotected_room(wanted) - missing))

    def demand(self, pods: Iterable[Pod]) -> Counter[Limit]:
        """Return how many pods of each group would be away if ``pods`` were."""
        return Counter(limit for pod in pods for limit in self.limits(pod))

    def needs_room(self, node: str, homeless: Iterable[Pod]) -> list[Blocker]:
        """Return the budgets that a drain of ``node`` would use up with pods that can not start elsewhere.

        :param homeless: pods of the node for which there is no place. Each that went would be missing until the node takes pods again,
            so no more of its budget's pods can follow once the budget is used up.
        """
        counts: Counter[Budget] = Counter()
        lost: Counter[Budget] = Counter()
        gone = {pod.uid for pod in homeless}
        example: dict[Budget, Pod] = {}
        for pod in self.evictable(node):
            budgets = self.budgets(pod)
            if len(budgets) == 1 and not self.is_free(pod):
                counts[budgets[0]] += 1
                if pod.uid in gone:
                    lost[budgets[0]] += 1
                    example.setdefault(budgets[0], pod)
        return [
            Blocker(
                node,
                example[budget].title,
                budget.title,
                "PDB_NEEDS_ROOM",
                f"{counts[budget]} pods of the budget {budget.title} are on {node}, {budget.allowed} may be away at a time, and "
                f"{number} can not start on another node.",
                "Add a node, or make room on those that its pods may use.",
            )
            for budget, number in lost.items()
            if 0 < budget.allowed < counts[budget] and number >= budget.allowed
        ]


def unprotected_reason(pod: Pod, consent: Consent) -> tuple[str, str, str] | None:
    """Return code, reason and remedy when an eviction loses something for good that nobody consented to lose."""
    if pod.owner is None and not consent.bare_pods:
        reason = f"{pod.title} has no controller that would make it anew (delete_bare_pods)"
        return "POD_WITHOUT_CONTROLLER", reason, "Delete it yourself, or set delete_bare_pods if it may be lost."
    if pod.empty_dirs and not consent.emptydir_data:
        reason = f"{pod.title} keeps data in emptyDir volumes ({', '.join(pod.empty_dirs)}; delete_emptydir_data)"
        return "POD_KEEPS_DATA", reason, "Save the data and delete it yourself, or set delete_emptydir_data if they may be lost."
    return None


def is_stuck(pod: Pod, now: datetime) -> bool:
    """Tell whether a pod was deleted, and its grace is over for longer than it may take to end it."""
    return pod.leaving and now - parse(pod.deleted) > STUCK_AFTER


def describe_stuck(pod: Pod) -> tuple[str, str]:
    """Return reason and remedy for a pod that was deleted and is still there after its grace."""
    if pod.finalizers:
        names = ", ".join(pod.finalizers)
        return f"it was deleted, and its finalizers keep it ({names})", "Look at the controller that is to remove these finalizers."
    return "it was deleted, and its node has not ended it", "Read the kubelet's log on its node: a volume or a process may hang."


def overlap(budgets: Iterable[Budget]) -> tuple[str, str, str, bool]:
    """Return code, reason, remedy and that it is for good, when several budgets select the same pods."""
    names = ", ".join(budget.title for budget in budgets)
    reason = f"several budgets select the same pods ({names}), and then the Eviction API refuses every eviction"
    return "PDB_OVERLAP", reason, "Change their selectors, so that one of them selects each pod.", True


def budget_problem(budget: Budget, owner: Owner | None = None) -> tuple[str, str, str, bool] | None:
    """Return code, reason, remedy and whether it is for good, when a budget lets no healthy pod go now.

    :param owner: of one of its pods, for the remedy.
    """
    title, rule = budget.title, budget.rule
    if not budget.observed:
        reason = f"the budget {title} was not looked at since it was changed"
        return "PDB_NOT_OBSERVED", reason, "Look whether kube-controller-manager runs.", False
    if budget.allowed > 0:
        return None
    if budget.failed:
        reason = f"the disruption controller can not compute the budget {title}: {budget.failed}"
        return "PDB_NOT_COMPUTED", reason, "Use minAvailable with a number, or pods of a controller that has replicas.", True
    if budget.expected <= budget.desired:
        reason = f"the budget {title} ({rule}) needs {budget.desired} healthy pods, and there are to be {budget.expected}: none may ever go"
        who = owner.title if owner else "its workload"
        return "PDB_NEVER_ALLOWS", reason, f"Give {who} more replicas, or the budget {title} 'maxUnavailable: 1'.", True
    reason = f"the budget {title} ({rule}) needs {budget.desired} healthy pods and has {budget.healthy} of {budget.expected} now"
    hint = "" if budget.always_evict_unhealthy else " ('unhealthyPodEvictionPolicy: AlwaysAllow' lets those go that are not ready)"
    return "PDB_NOT_HEALTHY", reason, f"Wait until its pods are ready, or mend them{hint}.", False


def budget_problems(snapshot: Snapshot) -> list[BudgetProblem]:
    """Return every budget of the cluster that would hold a drain back now, with the pods that it holds.

    A budget that selects only pods that stay on their nodes holds nothing back.
    """
    disruptions = Disruptions(snapshot)
    held: defaultdict[Budget, list[Pod]] = defaultdict(list)
    overlaps: defaultdict[tuple[Budget, ...], list[Pod]] = defaultdict(list)
    for pod in snapshot.pods:
        if pod.stays or not pod.node:
            continue
        budgets = disruptions.budgets(pod)
        if len(budgets) > 1:
            overlaps[tuple(budgets)].append(pod)
        elif budgets and not disruptions.is_free(pod):
            held[budgets[0]].append(pod)
    problems = []
    for budget, pods in held.items():
        problem = budget_problem(budget, pods[0].owner)
        if problem:
            problems.append(BudgetProblem(budget.title, tuple(sorted(pod.title for pod in pods)), *problem))
    for several, pods in overlaps.items():
        names = ", ".join(budget.title for budget in several)
        problems.append(BudgetProblem(names, tuple(sorted(pod.title for pod in pods)), *overlap(several)))
    return sorted(problems, key=lambda problem: (problem.budget, problem.code))


def single_replicas(snapshot: Snapshot) -> list[SingleReplica]:
    """Return the workloads that are to have exactly one pod, which a drain interrupts; Jobs and pods that stay are not among them."""
    found = {
        pod.owner.uid: SingleReplica(pod.owner, pod)
        for pod in snapshot.pods
        if pod.owner and pod.node and not (pod.stays or pod.over or pod.leaving) and snapshot.replicas.get(pod.owner.uid) == 1
    }
    return sorted(found.values(), key=lambda single: single.owner.title)


def unprotected_room(replicas: int) -> int:
    """Return how many pods of a workload without a budget may be away at the same time."""
    return max(1, replicas // UNPROTECTED_PART)
