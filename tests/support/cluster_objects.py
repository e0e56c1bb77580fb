# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes, workloads and budgets as the API lists them, with what its controllers would have made of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.snapshot import Snapshot, matches, snapshot

NUMBERS = itertools.count(1)


def ready_condition(ready: bool) -> list[dict[str, str]]:
    return [{"type": "Ready", "status": "True" if ready else "False"}]


@dataclass
class Objects:
    """A cluster in the making; `snapshot` computes the status of the budgets as the disruption controller does."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    pods: list[dict[str, Any]] = field(default_factory=list)
    budgets: list[dict[str, Any]] = field(default_factory=list)
    replica_sets: list[dict[str, Any]] = field(default_factory=list)
    stateful_sets: list[dict[str, Any]] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)
    volumes: list[dict[str, Any]] = field(default_factory=list)

    def node(self, name: str, zone: str = "", cpu: str = "4", pods: str = "110", ready: bool = True, **spec: Any) -> str:
        labels = {"kubernetes.io/hostname": name, **({"topology.kubernetes.io/zone": zone} if zone else {}), **spec.pop("labels", {})}
        status = {"allocatable": {"cpu": cpu, "memory": "16Gi", "pods": pods}, "conditions": ready_condition(ready)}
        self.nodes.append({"metadata": {"name": name, "labels": labels}, "spec": spec, "status": status})
        return name

    def pod(self, name: str, node: str, owner: dict[str, Any] | None = None, cpu: str = "100m", ready: bool = True, **more: Any) -> dict:
        metadata = {"namespace": "shop", "name": name, "uid": f"pod-{next(NUMBERS)}", "labels": {"app": name.rsplit("-", 1)[0]}}
        metadata.update(more.pop("metadata", {}))
        if owner:
            metadata["ownerReferences"] = [{**owner, "controller": True}]
        status = {"phase": more.pop("phase", "Running"), "conditions": ready_condition(ready)}
        spec = {"nodeName": node, "containers": [{"name": "main", "resources": {"requests": {"cpu": cpu}}}], **more}
        data = {"metadata": metadata, "spec": spec, "status": status}
        self.pods.append(data)
        return data

    def workload(self, name: str, nodes: list[str], kind: str = "Deployment", replicas: int | None = None, **more: Any) -> list[dict]:
        """A Deployment, StatefulSet or DaemonSet ``name`` with one pod on each of ``nodes``; a node may be named more than once."""
        number = next(NUMBERS)
        owner = {"kind": kind, "name": name, "uid": f"{kind}-{number}"}
        replicas = len(nodes) if replicas is None else replicas
        if kind == "Deployment":
            of_set = {"kind": "ReplicaSet", "name": f"{name}-1", "uid": f"ReplicaSet-{number}"}
            metadata = {"namespace": "shop", **of_set, "ownerReferences": [{**owner, "controller": True}]}
            self.replica_sets.append({"metadata": metadata, "spec": {"replicas": replicas}})
            owner = of_set
        elif kind == "StatefulSet":
            self.stateful_sets.append({"metadata": {"namespace": "shop", **owner}, "spec": {"replicas": replicas}})
        return [self.pod(f"{name}-{index}", node, owner, **more) for index, node in enumerate(nodes)]

    def budget(self, app: str, name: str = "", **spec: Any) -> None:
        """A budget for the pods of workload ``app``; ``spec`` like ``maxUnavailable=1``."""
        metadata = {"namespace": "shop", "name": name or app, "generation": 1}
        self.budgets.append({"metadata": metadata, "spec": {"selector": {"matchLabels": {"app": app}}, **spec}})

    def snapshot(self) -> Snapshot:
        for data in self.budgets:
            data.setdefault("status", self._status(data))
        return snapshot(
            self.nodes, self.pods, self.budgets, self.replica_sets, self.stateful_sets, claims=self.claims, volumes=self.volumes
        )

    def _status(self, data: dict[str, Any]) -> dict[str, Any]:
        mine = [pod for pod in self.pods if matches(data["spec"]["selector"], pod["metadata"]["labels"])]
        names = {reference["uid"]: reference for pod in mine for reference in pod["metadata"].get("ownerReferences", [])}
        sizes = {one["metadata"]["uid"]: one["spec"]["replicas"] for one in [*self.replica_sets, *self.stateful_sets]}
        expected = sum(sizes.get(uid, 0) for uid in names)
        healthy = sum(pod["status"]["conditions"][0]["status"] == "True" and "deletionTimestamp" not in pod["metadata"] for pod in mine)
        if "maxUnavailable" in data["spec"]:
            desired = expected - part(data["spec"]["maxUnavailable"], expected)
        else:
            desired = part(data["spec"]["minAvailable"], expected)
            expected = len(mine) if isinstance(data["spec"]["minAvailable"], int) else expected
        numbers = {"currentHealthy": healthy, "desiredHealthy": max(0, desired), "expectedPods": expected}
        return {**numbers, "disruptionsAllowed": max(0, healthy - max(0, desired)), "observedGeneration": 1}


def part(value: int | str, total: int) -> int:
    """Return what a budget's number or percentage means: percentages are rounded up."""
    return value if isinstance(value, int) else -(-int(value.rstrip("%")) * total // 100)
