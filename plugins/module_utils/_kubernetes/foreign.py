# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kubeadm cluster that somebody else made, as it shows on one of its control planes (private to flotilla.kubernetes).

Only reads. What kubeadm recorded is returned as the YAML that it is: nodes have no YAML reader. Python 3.9, standard library only.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .._errors import FlotillaError
from .client import API_PORT, Client
from .configuration import COMPONENTS, MANIFESTS, RECORDS, arguments
from .gates import is_ready
from .live_versions import API_SERVER, STATIC_PODS
from .versions import of_image

# What nodes' network plugins run on each node: part of the name of the DaemonSet -> the plugin.
NETWORK_PLUGINS = {
    "canal": "canal",
    "calico-node": "calico",
    "flannel": "flannel",
    "cilium": "cilium",
    "antrea-agent": "antrea",
    "weave-net": "weave",
    "kube-router": "kube-router",
    "nsx-node-agent": "ncp",
    "kube-ovn-cni": "kube-ovn",
    "kindnet": "kindnet",
    "ovnkube-node": "ovn-kubernetes",
    "aws-node": "aws-vpc-cni",
}
CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"


def flags(component: str, manifests: Path = MANIFESTS) -> dict[str, list[str]]:
    """Return the flags of a static pod of this control plane, each with its values; nothing where there is no such pod."""
    try:
        text = (manifests / f"{component}.yaml").read_text(encoding="utf-8")
    except OSError:
        return {}
    found: dict[str, list[str]] = {}
    for argument in sorted(arguments(text)):
        name, _equals, value = argument.lstrip("-").partition("=")
        found.setdefault(name, []).append(value)
    return found


def api_server(manifests: Path = MANIFESTS) -> tuple[str, int]:
    """Return address and port of this control plane's own API server.

    :raises FlotillaError: ``CONTROL_PLANE_UNKNOWN``: there is no static pod of kubeadm's with an address.
    """
    found = flags(API_SERVER, manifests)
    address = "".join(found.get("advertise-address", ()))
    if not address:
        raise FlotillaError(
            "CONTROL_PLANE_UNKNOWN",
            f"{manifests / API_SERVER}.yaml is not there or says no --advertise-address, so this machine is no control plane of kubeadm's.",
            "Give the group of the cluster's control planes as flotilla_control_plane_group.",
        )
    return address, int("".join(found.get("secure-port", ())) or API_PORT)


def describe(client: Client, manifests: Path = MANIFESTS) -> dict[str, Any]:
    """Return what the module `kubeadm_cluster_info` documents, apart from the address.

    :raises FlotillaError: ``CLUSTER_NOT_OF_KUBEADM``: what kubeadm records is not there.
    """
    documents = {}
    for kind, (name, entry) in RECORDS.items():
        recorded = next(iter(client.items(f"/api/v1/namespaces/kube-system/configmaps?fieldSelector=metadata.name%3D{name}")), {})
        documents[kind] = recorded.get("data", {}).get(entry, "")
    if not documents["ClusterConfiguration"]:
        raise FlotillaError(
            "CLUSTER_NOT_OF_KUBEADM",
            "The cluster has no ConfigMap kube-system/kubeadm-config with a ClusterConfiguration, so kubeadm did not make it.",
            "Only clusters of kubeadm can be adopted.",
        )
    versions = {}
    for pod in client.items(STATIC_PODS):
        images = {container["name"]: container["image"] for container in pod["spec"]["containers"]}
        if API_SERVER in images:
            versions[pod["spec"].get("nodeName", "")] = of_image(images[API_SERVER])
    return {
        "documents": documents,
        "flags": {component: flags(component, manifests) for component in COMPONENTS},
        "nodes": [_node(node) for node in client.items("/api/v1/nodes")],
        "api_server_versions": versions,
        "network_plugins": sorted(network_plugins(client)),
    }


def _node(node: dict[str, Any]) -> dict[str, Any]:
    info, spec, metadata = node["status"]["nodeInfo"], node.get("spec", {}), node["metadata"]
    return {
        "name": metadata["name"],
        "control_plane": CONTROL_PLANE_LABEL in metadata.get("labels", {}),
        "ready": is_ready(node),
        "schedulable": not spec.get("unschedulable", False),
        "addresses": [entry["address"] for entry in node["status"].get("addresses", []) if entry["type"] == "InternalIP"],
        "kubelet_version": info["kubeletVersion"].lstrip("v"),
        "architecture": info["architecture"],
        "os": info["operatingSystem"],
        "runtime": info.get("containerRuntimeVersion", ""),
        "labels": metadata.get("labels", {}),
        "taints": [{key: taint.get(key) or "" for key in ("key", "value", "effect")} for taint in spec.get("taints", [])],
        "pod_cidrs": spec.get("podCIDRs", []),
    }


def network_plugins(client: Client) -> set[str]:
    """Return the names of the network plugins whose DaemonSets there are."""
    found = set()
    for daemon_set in client.items("/apis/apps/v1/daemonsets"):
        name = daemon_set["metadata"]["name"]
        found.update(plugin for part, plugin in NETWORK_PLUGINS.items() if re.search(rf"(^|-){re.escape(part)}($|-)", name))
    return found
