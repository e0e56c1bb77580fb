# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""metrics-server, for ``kubectl top`` and autoscalers (private to flotilla.kubernetes): https://github.com/kubernetes-sigs/metrics-server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..released import one
from .model import Addon

_LABELS = {"k8s-app": "metrics-server"}
_FILES = ("apiservice.yaml", "deployment.yaml", "rbac.yaml", "service.yaml")


def render(objects: list[dict[str, Any]], values: Mapping[str, Any]) -> None:
    """Give all objects the label by which its makers' kustomization joins them, and the Deployment its replicas.

    Several replicas are on several nodes, and a drain leaves one: as in its makers' overlay ``high-availability-1.21+``.
    """
    for item in objects:
        item["metadata"].setdefault("labels", {}).update(_LABELS)
    one(objects, "Service")["spec"]["selector"] = dict(_LABELS)
    deployment = one(objects, "Deployment")
    spec, template = deployment["spec"], deployment["spec"]["template"]
    spec["selector"] = {"matchLabels": dict(_LABELS)}
    template.setdefault("metadata", {})["labels"] = dict(_LABELS)
    spec["replicas"] = values["replicas"]
    if values["replicas"] > 1:
        spec["strategy"] = {"rollingUpdate": {"maxUnavailable": 1}}
        term = {"labelSelector": {"matchLabels": dict(_LABELS)}, "topologyKey": "kubernetes.io/hostname"}
        template["spec"]["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
        objects.append(
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": {"name": "metrics-server", "namespace": deployment["metadata"]["namespace"], "labels": dict(_LABELS)},
                "spec": {"minAvailable": 1, "selector": {"matchLabels": dict(_LABELS)}},
            }
        )


METRICS_SERVER = Addon(
    name="metrics-server",
    description="Processor and memory of nodes and pods, for `kubectl top` and autoscalers",
    manifests={name: f"manifests/base/{name}" for name in _FILES},
    render=render,
    values={
        "replicas": {
            "type": "integer",
            "minimum": 1,
            "maximum": 2,
            "description": "How many run; two are on two nodes, so that autoscalers have numbers while a node is upgraded.",
            "default": 1,
        }
    },
    images={"gcr.io/k8s-staging-metrics-server/metrics-server:master": "registry.k8s.io/metrics-server/metrics-server:v{version}"},
    # https://github.com/kubernetes-sigs/metrics-server#compatibility-matrix
    since="1.34",
)
