# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus, and what it reads of nodes (private to flotilla.kubernetes): https://prometheus.io/docs/."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ..released import one
from .model import Addon

_VOLUME = "prometheus"


def render(objects: list[dict[str, Any]], values: Mapping[str, Any]) -> None:
    """Set how long metrics are kept and where, and whether metrics may be sent to it."""
    deployment = one(objects, "Deployment")
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]
    container["args"].append(f"--storage.tsdb.retention.time={values['retention']}")
    if values["otlp"]:
        # https://prometheus.io/docs/guides/opentelemetry/
        container["args"].append("--web.enable-otlp-receiver")
    if "storage" in values:
        objects.append(_claim(deployment["metadata"]["namespace"], values))
        (data,) = (volume for volume in template["spec"]["volumes"] if volume["name"] == "data")
        del data["emptyDir"]
        data["persistentVolumeClaim"] = {"claimName": _VOLUME}
    # It reads its configuration when it starts.
    text = one(objects, "ConfigMap")["data"]["prometheus.yml"]
    digest = hashlib.sha256(text.encode()).hexdigest()
    template["metadata"].setdefault("annotations", {})["flotilla.kubernetes/configuration"] = digest


def _claim(namespace: str, values: Mapping[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": values["storage"]}}}
    if "storage_class" in values:
        spec["storageClassName"] = values["storage_class"]
    metadata = {"name": _VOLUME, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


PROMETHEUS = Addon(
    name="prometheus",
    description="Metrics of API servers, nodes, pods and whatever asks for it by annotations, in Prometheus",
    manifests={"prometheus.yaml": ""},
    render=render,
    values={
        "retention": {
            "type": "string",
            "pattern": r"^(?:[1-9][0-9]*[hdwy])(?!\n)$",
            "x-allowed": "a number and a unit (h, d, w, y) such as 15d",
            "description": "How long metrics are kept.",
            "default": "15d",
        },
        "storage": {
            "type": "string",
            "pattern": r"^(?:[1-9][0-9]*[MGT]i)(?!\n)$",
            "x-allowed": "a size such as 20Gi",
            "description": "Size of a volume for them. Left out: they are on the node that it runs on, and are lost with its pod.",
        },
        "storage_class": {
            "type": "string",
            "minLength": 1,
            "maxLength": 253,
            "description": "StorageClass of this volume; left out: the cluster's default one.",
        },
        "otlp": {
            "type": "boolean",
            "description": "Whether it takes metrics that are sent to it by OpenTelemetry's protocol, from whoever reaches its Service.",
            "default": False,
        },
    },
)

NODE_EXPORTER = Addon(
    name="node-exporter",
    description="Processor, memory, disks and network of nodes, as Prometheus reads them",
    manifests={"node-exporter.yaml": ""},
    render=lambda _objects, _values: None,
)
