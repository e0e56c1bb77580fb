# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether pods find a place on other nodes, by the hard rules of the scheduler (private to flotilla.kubernetes).

A place that is found is a proof only for what is modelled here, and the scheduler may fill the nodes in another order: docs/draining.md.
The rules: https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/,
https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/ and
https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/. Pure; Python 3.9, standard library only.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .snapshot import Node, Pod, Snapshot, fingerprint, matches, satisfies

# What the node controller puts on a node that takes no new pods; for the rules on spreading it counts like any other taint.
_CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


@dataclass(frozen=True)
class Unplaced:
    """A pod for which there is no room, and why not, node by node."""

    pod: Pod
    reason: str


class Placement:
    """Where pods are; pods are moved about in it, and back."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._nodes = snapshot.nodes
        self._volume_terms = snapshot.volume_terms
        self._capacity = sum((Counter(node.allocatable) for node in snapshot.nodes.values()), Counter())
        self.open = {node.name for node in snapshot.nodes.values() if node.schedulable and node.ready}
        self.where: dict[str, str] = {}
        self._pods: dict[str, Pod] = {}
        self._on: dict[str, dict[str, Pod]] = {name: {} for name in snapshot.nodes}
        self._namespaces: defaultdict[str, set[str]] = defaultdict(set)
        self._apart: set[str] = set()  # pods that want others away from them
        self._used: dict[str, Counter[str]] = {name: Counter() for name in snapshot.nodes}
        self._ports: dict[str, Counter[tuple[str, int]]] = {name: Counter() for name in snapshot.nodes}
        self._free: dict[str, float] = {name: self._freedom(name) for name in snapshot.nodes}
        self._refusals: dict[tuple[str, str], str] = {}
        self._signatures: dict[str, str] = {}
        self._moving: list[Pod] = []
        self._from = ""
        waiting = []
        for pod in snapshot.pods:
            if pod.over:
                continue
            if pod.node in self._nodes:
                self.put(pod, pod.node)
            elif not pod.node and not pod.leaving:
                waiting.append(pod)
        # They are served first; whether they fit is not the question here.
        self.place(waiting)

    def place(self, pods: Iterable[Pod], preferred: Collection[str] = (), leaving: str = "") -> list[Unplaced]:
        """Find a place for each pod on an open node and put it there, the largest first.

        :param preferred: nodes that are taken before others where both would do.
        :param leaving: the node that the pods leave.
        :return: the pods for which there is none.
        """
        self._moving, self._from = (list(pods), leaving) if leaving else ([], "")
        order = sorted(self._moving or pods, key=lambda pod: (-self._share(pod), pod.title))
        unplaced = self._place(order, preferred, roomiest=True)
        if not unplaced or len(order) == 1:
            return unplaced
        # Spread out, as the scheduler does it, somebody was left out: once more, packed as tightly as it goes.
        for pod in order:
            if pod.uid in self.where:
                self.take(pod)
        return self._place(order, preferred, roomiest=False)

    def take(self, pod: Pod) -> None:
        """Take a pod off its node."""
        name = self.where.pop(pod.uid)
        self._used[name].subtract(pod.requests)
        self._ports[name].subtract(_host_ports(pod))
        self._free[name] = self._freedom(name)
        self._namespaces[pod.namespace].discard(pod.uid)
        self._apart.discard(pod.uid)
        del self._pods[pod.uid], self._on[name][pod.uid]

    def put(self, pod: Pod, name: str) -> None:
        """Put a pod on a node, whether it fits or not."""
        self.where[pod.uid] = name
        self._pods[pod.uid] = self._on[name][pod.uid] = pod
        self._used[name].update(pod.requests)
        self._ports[name].update(_host_ports(pod))
        self._free[name] = self._freedom(name)
        self._namespaces[pod.namespace].add(pod.uid)
        if _terms(pod, "podAntiAffinity"):
            self._apart.add(pod.uid)

    def on(self, name: str) -> list[Pod]:
        """Return the pods that are on a node now."""
        return list(self._on[name].values())

    def _place(self, order: Sequence[Pod], preferred: Collection[str], roomiest: bool) -> list[Unplaced]:
        unplaced = []
        for pod in order:
            name, reason = self._choose(pod, preferred, roomiest)
            if name:
                self.put(pod, name)
            else:
                unplaced.append(Unplaced(pod, reason))
        return unplaced

    def _freedom(self, name: str) -> float:
        """The part of a node that is free, of what is scarcer there."""
        total, used = self._nodes[name].allocatable, self._used[name]
        return min(((total[one] - used[one]) / total[one] for one in ("cpu", "memory", "pods") if total.get(one)), default=0.0)

    def _share(self, pod: Pod) -> float:
        """The part of the cluster that a pod needs, of what it needs most."""
        return max((amount / self._capacity[name] for name, amount in pod.requests.items() if self._capacity[name]), default=0.0)

    def _choose(self, pod: Pod, preferred: Collection[str], roomiest: bool) -> tuple[str, str]:
        """Return the node for a pod, or why there is none."""
        sign = -1 if roomiest else 1
        together = self._together(pod)
        reasons: Counter[str] = Counter()
        for name in sorted(self.open, key=lambda name: (name not in preferred, sign * self._free[name], name)):
            node = self._nodes[name]
            reason = self._refuses(pod, node) or self._lacks(pod, node) or together(node)
            if not reason:
                return name, ""
            reasons[reason] += 1
        if not self.open:
            return "", "no other node takes pods"
        return "", "; ".join(f"{number} of {len(self.open)} other nodes: {reason}" for reason, number in reasons.most_common())

    def _lacks(self, pod: Pod, node: Node) -> str:
        used = self._used[node.name]
        for name, amount in pod.requests.items():
            if used[name] + amount > node.allocatable.get(name, 0):
                return f"too little {name}" if name != "pods" else "as many pods as it may have"
        ports = self._ports[node.name]
        taken = [port for port in _host_ports(pod) if ports[port] > 0]
        return f"host port {taken[0][1]} is taken" if taken else ""

    def _refuses(self, pod: Pod, node: Node) -> str:
        """What of a pod and a node alone speaks against the pair."""
        signature = self._signatures.get(pod.uid)
        if signature is None:
            affinity = (pod.spec.get("affinity") or {}).get("nodeAffinity")
            parts = [
                pod.spec.get("nodeSelector"),
                affinity,
                pod.spec.get("tolerations"),
                [self._terms_of(pod, claim) for claim in pod.claims],
            ]
            signature = self._signatures[pod.uid] = fingerprint(parts)
        key = (signature, node.name)
        if key not in self._refusals:
            self._refusals[key] = self._compare(pod, node)
        return self._refusals[key]

    def _compare(self, pod: Pod, node: Node) -> str:
        if not _wanted(pod, node):
            return "node selector or affinity does not match"
        taint = next((taint for taint in node.taints if taint["effect"] != "PreferNoSchedule" and not _tolerated(pod, taint)), None)
        # This taint follows the cordon, and which nodes are open is decided by the caller.
        if taint and taint["key"] != _CORDON["key"]:
            return f"taint {taint['key']} is not tolerated"
        for claim in pod.claims:
            terms = self._terms_of(pod, claim)
            if terms and not any(_term_matches(term, node) for term in terms):
                return f"the volume of {claim} can not be used there"
        return ""

    def _terms_of(self, pod: Pod, claim: str) -> tuple[Mapping[str, Any], ...]:
        return self._volume_terms.get((pod.namespace, claim), ())

    def _together(self, pod: Pod) -> Callable[[Node], str]:
        """Return a function that says what of the pods that are placed speaks against a node."""
        wanted, unwanted = _terms(pod, "podAffinity"), _terms(pod, "podAntiAffinity")
        spread = [one for one in pod.spec.get("topologySpreadConstraints") or [] if one["whenUnsatisfiable"] == "DoNotSchedule"]
        forbidden: set[tuple[str, str]] = set()
        for uid in self._apart:
            other = self._pods[uid]
            for term in _terms(other, "podAntiAffinity"):
                if _selected(term, other, pod, wide=True):
                    forbidden.add(self._domain(term["topologyKey"], self.where[uid]))
        for term in unwanted:
            forbidden.update(self._domain(term["topologyKey"], self.where[one.uid]) for one in self._others(term, pod, wide=True))
        needed: list[tuple[str, set[tuple[str, str]]]] = []
        for term in wanted:
            found = {self._domain(term["topologyKey"], self.where[one.uid]) for one in self._others(term, pod, wide=False)}
            found |= {self._domain(term["topologyKey"], self._from) for one in self._ending(pod) if _selected(term, pod, one, wide=False)}
            # The first pod of a group that wants to be together may go anywhere.
            if found or not _selected(term, pod, pod, wide=False):
                needed.append((term["topologyKey"], found))
        counts = [(one, self._count(one, pod, spread)) for one in spread]
        if not (forbidden or needed or counts):
            return lambda node: ""

        def judge(node: Node) -> str:
            if any((key, value) in forbidden for key, value in node.labels.items()):
                return "pods there are to be kept apart from it"
            if any((key, node.labels.get(key)) not in found for key, found in needed):
                return "pods that it wants to be with are not there"
            for constraint, domains in counts:
                value = node.labels.get(constraint["topologyKey"])
                least = min(domains.values(), default=0)
                if len(domains) < constraint.get("minDomains", 1):
                    least = 0
                self_counts = int(_spread_matches(constraint, pod, pod))
                if value is None or domains.get(value, 0) + self_counts - least > constraint["maxSkew"]:
                    return f"spreading over {constraint['topologyKey']} forbids it"
            return ""

        return judge

    def _ending(self, pod: Pod) -> list[Pod]:
        """Return the pods that are still ending on the node that they leave when the successor of ``pod`` is placed.

        When they have ended, too, the scheduler does not look again for minutes. Only a StatefulSet makes a pod anew after its end.
        """
        return [one for one in self._moving if one is not pod or (pod.owner and pod.owner.kind != "StatefulSet")]

    def _domain(self, key: str, name: str) -> tuple[str, str]:
        # A node without the label is in no domain: no label is equal to this.
        return key, self._nodes[name].labels.get(key, "\0")

    def _others(self, term: Mapping[str, Any], pod: Pod, wide: bool) -> list[Pod]:
        """Return the placed pods that a term of ``pod`` selects."""
        names = _namespaces(term, pod, wide)
        uids = [uid for name in (self._namespaces if names is None else names) for uid in self._namespaces.get(name, ())]
        return [self._pods[uid] for uid in uids if uid != pod.uid and _selected(term, pod, self._pods[uid], wide)]

    def _count(self, constraint: Mapping[str, Any], pod: Pod, spread: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """Return domain -> number of its pods that a spread constraint counts."""
        keys = [one["topologyKey"] for one in spread]
        domains: dict[str, int] = {}
        counted = set()
        for node in self._nodes.values():
            if any(key not in node.labels for key in keys):
                continue
            if constraint.get("nodeAffinityPolicy", "Honor") == "Honor" and not _wanted(pod, node):
                continue
            if constraint.get("nodeTaintsPolicy", "Ignore") == "Honor":
                taints = [*node.taints, *([] if node.name in self.open else [_CORDON])]
                if any(taint["effect"] != "PreferNoSchedule" and not _tolerated(pod, taint) for taint in taints):
                    continue
            counted.add(node.name)
            domains.setdefault(node.labels[constraint["topologyKey"]], 0)
        for uid in self._namespaces.get(pod.namespace, ()):
            name = self.where[uid]
            other = self._pods[uid]
            if uid != pod.uid and name in counted and not other.leaving and _spread_matches(constraint, pod, other):
                domains[self._nodes[name].labels[constraint["topologyKey"]]] += 1
        return domains


def _host_ports(pod: Pod) -> list[tuple[str, int]]:
    """The ports of its node that a pod takes; addresses are left out, so two pods may be kept apart that would not have to be."""
    containers = [*pod.spec["containers"], *(one for one in pod.spec.get("initContainers") or [] if one.get("restartPolicy") == "Always")]
    ports = [port for container in containers for port in container.get("ports") or []]
    return [(port.get("protocol", "TCP"), port["hostPort"]) for port in ports if port.get("hostPort")]


def _wanted(pod: Pod, node: Node) -> bool:
    if any(node.labels.get(key) != value for key, value in (pod.spec.get("nodeSelector") or {}).items()):
        return False
    required = ((pod.spec.get("affinity") or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    return not required or any(_term_matches(term, node) for term in required["nodeSelectorTerms"])


def _term_matches(term: Mapping[str, Any], node: Node) -> bool:
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    # A term without anything selects nothing.
    return (
        bool(expressions or fields)
        and all(satisfies(one, node.labels) for one in expressions)
        and all(satisfies(one, {"metadata.name": node.name}) for one in fields)
    )


def _tolerated(pod: Pod, taint: Mapping[str, Any]) -> bool:
    for one in pod.spec.get("tolerations") or []:
        if one.get("effect") and one["effect"] != taint["effect"]:
            continue
        if one.get("operator", "Equal") == "Exists":
            if not one.get("key") or one["key"] == taint["key"]:
                return True
        elif one.get("operator", "Equal") == "Equal" and one.get("key") == taint["key"] and one.get("value", "") == taint.get("value", ""):
            return True
    return False


def _terms(pod: Pod, kind: str) -> list[Mapping[str, Any]]:
    return ((pod.spec.get("affinity") or {}).get(kind) or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or []


def _namespaces(term: Mapping[str, Any], holder: Pod, wide: bool) -> list[str] | None:
    """The namespaces that a term of ``holder`` means, None for all; ``wide`` says what a selector of namespaces stands for.

    The labels of namespaces are not read: such a selector means all of them where pods are kept apart, and none more where they are to
    be together, so that a place that is found holds either way.
    """
    selector = term.get("namespaceSelector")
    if selector is not None and (wide or not (selector.get("matchLabels") or selector.get("matchExpressions"))):
        return None
    return term.get("namespaces") or [holder.namespace]


def _selected(term: Mapping[str, Any], holder: Pod, other: Pod, wide: bool) -> bool:
    names = _namespaces(term, holder, wide)
    return (names is None or other.namespace in names) and matches(term.get("labelSelector"), other.labels)


def _spread_matches(constraint: Mapping[str, Any], holder: Pod, other: Pod) -> bool:
    same = [key for key in constraint.get("matchLabelKeys") or [] if key in holder.labels]
    return matches(constraint.get("labelSelector"), other.labels) and all(other.labels.get(key) == holder.labels[key] for key in same)
