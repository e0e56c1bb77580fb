# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes and pods in a real kube-apiserver, without machines behind them."""

from __future__ import annotations

import itertools
import ssl
from dataclasses import dataclass, field
from typing import Any

import control_plane
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.client import Client

NUMBERS = itertools.count(1)


@dataclass
class Node:
    """A node of its own for each test. No kubelet ends its pods, so an eviction without grace is what takes one away."""

    server: control_plane.ApiServer
    name: str = field(default_factory=lambda: f"node-{next(NUMBERS)}")

    def __post_init__(self) -> None:
        self.call("POST", "/api/v1/nodes", {"metadata": {"name": self.name}})
        self.call("POST", "/api/v1/namespaces", {"metadata": {"name": self.name}})

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        status, answer = self.server.call(method, path, body)
        assert status < 300, (method, path, answer)
        return answer

    def pod(self, name: str, owner: str | None = "ReplicaSet", ready: bool = True, **spec: Any) -> None:
        references = [{"apiVersion": "apps/v1", "kind": owner, "name": "web", "uid": "u", "controller": True}] if owner else []
        metadata = {"name": name, "labels": {"app": name.split("-")[0]}, "ownerReferences": references, **spec.pop("metadata", {})}
        container = {"name": "main", "image": "registry.k8s.io/pause:3.10"}
        body = {"metadata": metadata, "spec": {"nodeName": self.name, "containers": [container], **spec}}
        self.call("POST", f"/api/v1/namespaces/{self.name}/pods", body)
        made = self.call("GET", f"/api/v1/namespaces/{self.name}/pods/{name}")
        made["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
        self.call("PUT", f"/api/v1/namespaces/{self.name}/pods/{name}/status", made)

    def budget(self, app: str, allowed: int) -> None:
        """A budget as the disruption controller would leave it."""
        path = f"/apis/policy/v1/namespaces/{self.name}/poddisruptionbudgets"
        self.call("POST", path, {"metadata": {"name": app}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": app}}}})
        self.allow(app, allowed)

    def allow(self, app: str, allowed: int) -> None:
        path = f"/apis/policy/v1/namespaces/{self.name}/poddisruptionbudgets/{app}"
        made = self.call("GET", path)
        numbers = {"disruptionsAllowed": allowed, "currentHealthy": 1 + allowed, "desiredHealthy": 1, "expectedPods": 1 + allowed}
        made["status"] = {**made.get("status", {}), **numbers, "observedGeneration": made["metadata"]["generation"]}
        self.call("PUT", f"{path}/status", made)

    @property
    def pods(self) -> list[str]:
        return sorted(pod["metadata"]["name"] for pod in self.call("GET", f"/api/v1/namespaces/{self.name}/pods")["items"])

    @property
    def schedulable(self) -> bool:
        return not self.call("GET", f"/api/v1/nodes/{self.name}")["spec"].get("unschedulable", False)

    def client(self) -> Client:
        """A client of the API server with every right."""
        admin = self.server.authority.folder / "admin"
        context = ssl.create_default_context(cafile=str(self.server.authority.file))
        context.load_cert_chain(f"{admin}.crt", f"{admin}.key")
        return Client("127.0.0.1", self.server.port, context)
