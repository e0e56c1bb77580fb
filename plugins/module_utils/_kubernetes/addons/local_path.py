# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes in folders of nodes (private to flotilla.kubernetes): https://github.com/rancher/local-path-provisioner."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..released import one
from .model import Addon

_ENFORCE = "pod-security.kubernetes.io/enforce"
# https://kubernetes.io/docs/concepts/storage/storage-classes/#default-storageclass
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def render(objects: list[dict[str, Any]], values: Mapping[str, Any]) -> None:
    """Set the folder on the nodes, and whether volumes without a class are made there.

    Folders are made and removed by pods with a ``hostPath``, which the levels ``baseline`` and ``restricted`` of pod security refuse.
    """
    one(objects, "Namespace")["metadata"].setdefault("labels", {})[_ENFORCE] = "privileged"
    data = one(objects, "ConfigMap", "local-path-config")["data"]
    configuration = json.loads(data["config.json"])
    configuration["nodePathMap"] = [{**entry, "paths": [values["path"]]} for entry in configuration["nodePathMap"]]
    data["config.json"] = json.dumps(configuration, indent=2) + "\n"
    storage_class = one(objects, "StorageClass")
    storage_class["metadata"].setdefault("annotations", {})[_DEFAULT_CLASS] = str(values["default_class"]).lower()
    storage_class["reclaimPolicy"] = values["reclaim_policy"]


LOCAL_PATH = Addon(
    name="local-path",
    description="Volumes in a folder of the node that the pod is on: the StorageClass `local-path`",
    manifests={"local-path-storage.yaml": "deploy/local-path-storage.yaml"},
    render=render,
    values={
        "path": {
            "type": "string",
            "pattern": r"^(?:/[A-Za-z0-9._-]+)+(?!\n)$",
            "x-allowed": "an absolute path such as /srv/volumes",
            "description": "Folder on the nodes. Volumes that exist stay where they are.",
            "default": "/opt/local-path-provisioner",
        },
        "default_class": {
            "type": "boolean",
            "description": "Whether volumes that name no StorageClass are made with this one.",
            "default": True,
        },
        "reclaim_policy": {
            "type": "string",
            "enum": ["Delete", "Retain"],
            "description": "What becomes of a volume whose claim is deleted.",
            "default": "Delete",
        },
    },
    # The folder of a volume is made and removed by a pod that needs a shell.
    images={
        "rancher/local-path-provisioner:v0.0.30": "docker.io/rancher/local-path-provisioner:v{version}",
        "busybox": "docker.io/library/busybox:1.37.0",
    },
)
