# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's pods, their owners, budgets and nodes at one moment, as far as a drain has to know them (private to flotilla.kubernetes).

Pure: objects of the API in, plain data out; `read` is the only function that asks a server. Python 3.9, standard library only.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from math import ceil
from typing import Any, Protocol

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
ZONE_LABEL = "topology.kubernetes.io/zone"
# Each is read once, page by page.
PATHS = {
    "nodes": "/api/v1/nodes",
    "pods": "/api/v1/pods",
    "budgets": "/apis/policy/v1/poddisruptionbudgets",
    "replica_sets": "/apis/apps/v1/replicasets",
    "stateful_sets": "/apis/apps/v1/statefulsets",
    "replication_controllers": "/api/v1/replicationcontrollers",
    "claims": "/api/v1/persistentvolumeclaims",
    "volumes": "/api/v1/persistentvolumes",
}

_SUFFIXES = {"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1)}
_SUFFIXES.update({letter: Fraction(1000) ** power for power, letter in enumerate("kMGTPE", 1)})
_SUFFIXES.update({f"{letter}i": Fraction(1024) ** power for power, letter in enumerate("KMGTPE", 1)})
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+)|([KMGTPE]i|[numkMGTPE]))?")


class Lists(Protocol):
    """What `read` asks: `client.Client` has it."""

    def items(self, path: str) -> Iterator[dict[str, Any]]: ...


@dataclass(frozen=True)
class Owner:
    """What makes a pod anew: its controller, or the Deployment of its ReplicaSet."""

    kind: str
    namespace: str
    name: str
    uid: str

    @property
    def title(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, eq=False)
class Pod:
    """A pod; ``requests`` are thousandths, ``finalizers`` and ``deleted`` (when its grace is over, RFC 3339) matter while it is leaving."""

    namespace: str
    name: str
    uid: str
    node: str
    phase: str
    ready: bool
    deleted: str
    static: bool
    owner: Owner | None
    labels: Mapping[str, str]
    finalizers: tuple[str, ...]
    requests: Mapping[str, int]
    claims: tuple[str, ...]
    empty_dirs: tuple[str, ...]
    spec: Mapping[str, Any]

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def leaving(self) -> bool:
        return bool(self.deleted)

    @property
    def over(self) -> bool:
        """It has ended, and takes nothing of its node any more."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def stays(self) -> bool:
        """A drain leaves it: it belongs to its node."""
        return self.static or (self.owner is not None and self.owner.kind == "DaemonSet")


@dataclass(frozen=True, eq=False)
class Node:
    """A node; ``allocatable`` is in thousandths."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Mapping[str, Any], ...]
    schedulable: bool
    ready: bool
    allocatable: Mapping[str, int]

    @property
    def zone(self) -> str:
        return self.labels.get(ZONE_LABEL, "")


@dataclass(frozen=True, eq=False)
class Budget:
    """A PodDisruptionBudget with what the disruption controller made of it."""

    namespace: str
    name: str
    selector: Mapping[str, Any] | None
    allowed: int
    healthy: int
    desired: int
    expected: int
    # The controller has seen its present content.
    observed: bool
    # Why the controller could not compute it; empty when it could.
    failed: str
    always_evict_unhealthy: bool
    # As written: "maxUnavailable: 0".
    rule: str

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One look at a cluster."""

    nodes: Mapping[str, Node]
    pods: tuple[Pod, ...]
    budgets: tuple[Budget, ...] = ()
    # uid of an owner -> how many pods it is to have; only of those that say so.
    replicas: Mapping[str, int] = field(default_factory=dict)
    # (namespace, name of a claim) -> where its volume can be used: the terms of a node selector, any of them.
    volume_terms: Mapping[tuple[str, str], tuple[Mapping[str, Any], ...]] = field(default_factory=dict)


def read(client: Lists) -> Snapshot:
    """Look at the whole cluster: one read of each kind, in pages."""
    return snapshot(**{name: client.items(path) for name, path in PATHS.items()})


def snapshot(
    nodes: Iterable[dict[str, Any]],
    pods: Iterable[dict[str, Any]],
    budgets: Iterable[dict[str, Any]] = (),
    replica_sets: Iterable[dict[str, Any]] = (),
    stateful_sets: Iterable[dict[str, Any]] = (),
    replication_controllers: Iterable[dict[str, Any]] = (),
    claims: Iterable[dict[str, Any]] = (),
    volumes: Iterable[dict[str, Any]] = (),
) -> Snapshot:
    """Make a snapshot of objects as the API lists them."""
    deployments: dict[str, Owner] = {}
    replicas: Counter[str] = Counter()
    for data in replica_sets:
        owner = _controller(data["metadata"])
        if owner and owner.kind == "Deployment":
            deployments[data["metadata"]["uid"]] = owner
        # A Deployment that is just rolled out has its pods in two ReplicaSets.
        replicas[owner.uid if owner else data["metadata"]["uid"]] += data["spec"].get("replicas", 1)
    for collection in (stateful_sets, replication_controllers):
        for data in collection:
            replicas[data["metadata"]["uid"]] = data["spec"].get("replicas", 1)
    terms = {
        data["metadata"]["name"]: tuple(required.get("nodeSelectorTerms") or ())
        for data in volumes
        for required in [((data["spec"].get("nodeAffinity") or {}).get("required")) or {}]
    }
    volume_terms = {
        (data["metadata"]["namespace"], data["metadata"]["name"]): terms[data["spec"]["volumeName"]]
        for data in claims
        if terms.get(data["spec"].get("volumeName", ""))
    }
    return Snapshot(
        {data["metadata"]["name"]: _node(data) for data in nodes},
        tuple(pod_of(data, deployments) for data in pods),
        tuple(budget_of(data) for data in budgets),
        dict(replicas),
        volume_terms,
    )


def pod_of(data: Mapping[str, Any], deployments: Mapping[str, Owner] | None = None) -> Pod:
    """Return a pod of the API.

    :param deployments: uid of a ReplicaSet -> its Deployment.
    """
    metadata, spec, status = data["metadata"], data["spec"], data.get("status") or {}
    owner = _controller(metadata)
    if owner and deployments:
        owner = deployments.get(owner.uid, owner)
    volumes = spec.get("volumes") or []
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume]
    # The claim of a generic ephemeral volume: https://kubernetes.io/docs/concepts/storage/ephemeral-volumes/#persistentvolumeclaim-naming
    claims += [f"{metadata['name']}-{volume['name']}" for volume in volumes if "ephemeral" in volume]
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or [])
    return Pod(
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        spec.get("nodeName") or "",
        status.get("phase") or "",
        ready,
        metadata.get("deletionTimestamp") or "",
        MIRROR_ANNOTATION in (metadata.get("annotations") or {}),
        owner,
        metadata.get("labels") or {},
        tuple(metadata.get("finalizers") or ()),
        pod_requests(spec),
        tuple(claims),
        tuple(volume["name"] for volume in volumes if "emptyDir" in volume),
        spec,
    )


def _controller(metadata: Mapping[str, Any]) -> Owner | None:
    found = next((one for one in metadata.get("ownerReferences") or [] if one.get("controller")), None)
    return Owner(found["kind"], metadata["namespace"], found["name"], found["uid"]) if found else None


def _node(data: Mapping[str, Any]) -> Node:
    spec, status = data.get("spec") or {}, data.get("status") or {}
    return Node(
        data["metadata"]["name"],
        data["metadata"].get("labels") or {},
        tuple(spec.get("taints") or ()),
        not spec.get("unschedulable"),
        any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or []),
        {name: parse_quantity(amount) for name, amount in (status.get("allocatable") or {}).items()},
    )


def budget_of(data: Mapping[str, Any]) -> Budget:
    """Return a PodDisruptionBudget of the API."""
    metadata, spec, status = data["metadata"], data["spec"], data.get("status") or {}
    numbers = [status.get(name) or 0 for name in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")]
    failed = next((one for one in status.get("conditions") or [] if one.get("reason") == "SyncFailed"), None)
    rule = next((f"{name}: {spec[name]}" for name in ("minAvailable", "maxUnavailable") if spec.get(name) is not None), "no rule")
    return Budget(
        metadata["namespace"],
        metadata["name"],
        spec.get("selector"),
        *numbers,
        (status.get("observedGeneration") or 0) >= (metadata.get("generation") or 0),
        (failed.get("message") or "SyncFailed") if failed else "",
        spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow",
        rule,
    )


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector selects ``labels``; None selects nothing and an empty one everything.

    Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#resources-that-support-set-based-requirements
    """
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(satisfies(one, labels) for one in selector.get("matchExpressions") or [])


def satisfies(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether ``labels`` meet one requirement of a label or node selector."""
    key, operator, values = requirement["key"], requirement["operator"], requirement.get("values") or []
    value = labels.get(key)
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    try:
        return int(value or "") > int(values[0]) if operator == "Gt" else int(value or "") < int(values[0])
    except ValueError:
        return False


@cache
def parse_quantity(text: Any) -> int:
    """Return the thousandths of a quantity, rounded up.

    Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/

    :raises ValueError: it is no quantity; the API server lets none through.
    """
    found = _QUANTITY.fullmatch(str(text))
    if not found:
        raise ValueError(f"{text!r} is no quantity")
    number, exponent, suffix = found.groups()
    return ceil(Fraction(number) * (Fraction(10) ** int(exponent) if exponent else _SUFFIXES[suffix or ""]) * 1000)


def pod_requests(spec: Mapping[str, Any]) -> dict[str, int]:
    """Return what the scheduler reserves for a pod, in thousandths, with its own place among the node's pods.

    Sources: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers and
    https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#pod-level-resource-specification
    """
    # What init containers beside the others (restartPolicy: Always) need, and the most that is needed while the pod starts.
    beside: Counter[str] = Counter()
    peak: Counter[str] = Counter()
    for container in spec.get("initContainers") or []:
        if container.get("restartPolicy") == "Always":
            beside = beside + _requests(container)
            peak = peak | beside
        else:
            peak = peak | (beside + _requests(container))
    total = beside
    for container in spec["containers"]:
        total = total + _requests(container)
    amounts = {**(total | peak), **_requests(spec)}
    for name, amount in (spec.get("overhead") or {}).items():
        amounts[name] = amounts.get(name, 0) + parse_quantity(amount)
    return {**amounts, "pods": 1000}


def _requests(holder: Mapping[str, Any]) -> Counter[str]:
    # The API server fills in requests from limits, for containers and for pods alike.
    resources = holder.get("resources") or {}
    return Counter({name: parse_quantity(amount) for name, amount in (resources.get("requests") or {}).items()})


def fingerprint(value: Any) -> str:
    """Return the same text for the same content."""
    return json.dumps(value, sort_keys=True)
