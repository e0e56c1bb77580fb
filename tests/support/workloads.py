# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applications with a budget for tests on real clusters, as objects of the API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import outside


def waiting(bundle: str) -> dict[str, Any]:
    """Return a container that only waits, of the one image that every node has: the pause image of a bundle."""
    manifest = json.loads((outside.cache() / "bundles" / bundle / "manifest.json").read_text(encoding="utf-8"))
    return {"name": "main", "image": manifest["pause_image"], "imagePullPolicy": "Never"}


def protected(
    name: str, replicas: int, container: Mapping[str, Any], budget: Mapping[str, int], apart: bool = False, **pod: Any
) -> list[dict[str, Any]]:
    """Return a Deployment whose pods (``app: name``) are spread over the nodes, and its PodDisruptionBudget.

    :param budget: ``minAvailable`` or ``maxUnavailable``.
    :param apart: whether two on one node are out of the question.
    :param pod: more of the pods' spec.
    """
    labels = {"app": name}
    selector = {"matchLabels": labels}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule" if apart else "ScheduleAnyway",
        "labelSelector": selector,
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [dict(container)], "topologySpreadConstraints": [spread], **pod}}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": selector, "template": template},
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": name},
            "spec": {**budget, "selector": selector},
        },
    ]
