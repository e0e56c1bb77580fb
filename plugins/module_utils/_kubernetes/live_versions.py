# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version every part of a live cluster runs (private to flotilla.kubernetes). Python 3.9, standard library only."""

from __future__ import annotations

from typing import Any

from .._errors import FlotillaError
from .client import Client
from .configuration import CONFIG_MAPS
from .drain import DRAIN_ANNOTATION, NO_TRAFFIC_TAINT, has_taint, is_cordoned
from .etcd import Etcd, client_context
from .kubeadm import cluster_settings
from .versions import Version, of_image

API_SERVER = "kube-apiserver"
RECORD = f"{CONFIG_MAPS}/kubeadm-config"
# Tells the next run that ``kubeadm upgrade apply`` came to its end: what it records itself, it records before.
APPLIED_ANNOTATION = "flotilla.kubernetes/applied"
STATIC_PODS = "/api/v1/namespaces/kube-system/pods?labelSelector=tier%3Dcontrol-plane"


def read(client: Client) -> dict[str, Any]:
    """Return what the module `cluster_versions` documents.

    :raises FlotillaError: ``CONTROL_PLANE_UNKNOWN``: no API server shows up as a static pod of kubeadm.
    """
    control_planes: dict[str, dict[str, str]] = {}
    for pod in client.items(STATIC_PODS):
        component = pod["metadata"].get("labels", {}).get("component", "")
        node = pod["spec"].get("nodeName", "")
        images = {container["name"]: container["image"] for container in pod["spec"]["containers"]}
        if node and component in images:
            control_planes.setdefault(node, {})[component] = of_image(images[component])
    servers = [components[API_SERVER] for components in control_planes.values() if components.get(API_SERVER)]
    if not servers:
        raise FlotillaError(
            "CONTROL_PLANE_UNKNOWN",
            "No API server of this cluster is a static pod with kubeadm's labels, so its version is not known.",
            "Look at 'kubectl --namespace=kube-system get pods': kubelets of control planes have to report there.",
        )
    nodes = {node["metadata"]["name"]: node for node in client.items("/api/v1/nodes")}
    kubelets = {name: str(Version.parse(node["status"]["nodeInfo"]["kubeletVersion"])) for name, node in nodes.items()}
    drained = sorted(name for name, node in nodes.items() if DRAIN_ANNOTATION in node["metadata"].get("annotations", {}))
    # A kubelet is exchanged after the API server beside it.
    halfway = {node for node, pods in control_planes.items() if kubelets.get(node) != pods.get(API_SERVER)}
    return {
        "recorded": cluster_settings(client)["kubernetes_version"],
        "applied": client.get(RECORD)["metadata"].get("annotations", {}).get(APPLIED_ANNOTATION, ""),
        "control_planes": control_planes,
        "kubelets": kubelets,
        "drained": drained,
        "arriving": sorted(name for name, node in nodes.items() if arrives(node)),
        "interrupted": sorted(halfway.union(drained)),
        "etcd_leader": next((member.name for member in Etcd(["127.0.0.1"], client_context()).members() if member.leader), ""),
        "oldest": str(min(map(Version.parse, servers))),
    }


def arrives(node: dict[str, Any]) -> bool:
    """Tell whether a Node has joined and is not let in yet. Those that leave have the same taint, and are unschedulable besides."""
    return has_taint(node, NO_TRAFFIC_TAINT) and not is_cordoned(node)


def remember_applied(client: Client, version: str) -> None:
    """Record in the cluster that ``kubeadm upgrade apply`` ran to its end for ``version``."""
    client.merge(RECORD, {"metadata": {"annotations": {APPLIED_ANNOTATION: version}}})
