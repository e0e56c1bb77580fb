# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API server and the etcd of a simulated cluster, as far as the collection asks them: the same objects, paths and refusals.

A path that is not known is refused loudly, so that what the collection begins to ask is seen. Standard library only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from .cluster import Broken, Cluster, is_ready

ETCD_PORT = 2379
ETCD_VERSIONS = {"1.34": "3.6.5", "1.35": "3.6.6", "1.36": "3.6.8"}
DRAIN = "flotilla.kubernetes/drain"
# What this cluster has none of.
EMPTY = (
    "/api/v1/replicationcontrollers",
    "/api/v1/persistentvolumeclaims",
    "/api/v1/persistentvolumes",
    "/api/v1/secrets",
    "/api/v1/configmaps",
    "/api/v1/namespaces/kube-system/configmaps",
    "/api/v1/namespaces/kube-system/secrets",
    "/apis/apps/v1/statefulsets",
    "/apis/networking.k8s.io/v1/networkpolicies",
    "/apis/apiregistration.k8s.io/v1/apiservices",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
)
KUBELET = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ncgroupDriver: systemd\nserverTLSBootstrap: true\n"
PROXY = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: nftables\n"


class Refused(Exception):
    """An answer with a status of 400 or above."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """One API server, or the member of etcd beside it.

    :param address: on which it is asked.
    """

    def __init__(self, cluster: Cluster, address: str, port: int) -> None:
        self._cluster, self._address, self._port = cluster, address, port

    def answer(self, method: str, path: str, body: Any) -> str:
        """Return the body of the answer.

        :raises Refused: the answer is an error.
        :raises OSError: nobody answers there.
        """
        state = self._cluster.read()
        self._node = next((name for name, one in state["nodes"].items() if one["address"] == self._address), "")
        node = state["nodes"].get(self._node, {"role": ""})
        if node["role"] != "control_plane" or not node["serving"]:
            raise ConnectionRefusedError(111, f"Connection refused: {self._address}:{self._port}")
        try:
            if self._port == ETCD_PORT:
                return json.dumps(self._etcd(state, path, body))
            path, _mark, query = path.partition("?")
            if method == "GET":
                return self._get(state, path, dict(parse_qsl(query)))
            with self._cluster.change() as changed:
                return json.dumps(self._change(changed, method, path, body))
        except Broken as broken:
            raise Refused(500, str(broken)) from broken

    # Reading

    def _get(self, state: dict[str, Any], path: str, query: dict[str, str]) -> str:
        if path in ("/readyz", "/metrics"):
            return "ok" if path == "/readyz" else ""
        if path == "/version":
            return json.dumps({"gitVersion": f"v{state['nodes'][self._node]['static']['kube-apiserver']}"})
        found = self._list(state, path, query)
        return json.dumps(self._one(state, path) if found is None else {"items": list(found), "metadata": {}})

    def _list(self, state: dict[str, Any], path: str, query: dict[str, str]) -> Any:
        if path in EMPTY:
            return []
        if path == "/api/v1/nodes":
            return (_node(state, name) for name in state["nodes"])
        if path == "/api/v1/pods":
            wanted = query.get("fieldSelector", "").partition("spec.nodeName=")[2]
            return _pods(state, wanted)
        parts = path.strip("/").split("/")
        if parts[:3] == ["api", "v1", "namespaces"] and parts[4:] == ["pods"]:
            static = query.get("labelSelector") == "tier=control-plane"
            return [
                pod
                for pod in _pods(state)
                if pod["metadata"]["namespace"] == parts[3] and (not static or pod["metadata"]["labels"].get("tier") == "control-plane")
            ]
        if path == "/apis/policy/v1/poddisruptionbudgets":
            return [_budget(title, one) for title, one in state["workloads"].items() if one["budget"] is not None]
        if path == "/apis/apps/v1/deployments":
            return [_deployment(title, one) for title, one in state["workloads"].items()]
        if path == "/apis/apps/v1/replicasets":
            return [_replica_set(title, one) for title, one in state["workloads"].items()]
        if path == "/apis/apps/v1/daemonsets":
            return [
                _daemon_set("kube-system", "kube-proxy", f"registry.k8s.io/kube-proxy:v{state['proxy']}", len(state["nodes"])),
                _daemon_set("kube-flannel", "kube-flannel-ds", f"ghcr.io/flannel-io/flannel:v{state['flannel']}", len(state["nodes"])),
            ]
        if parts[:3] == ["apis", "discovery.k8s.io", "v1"]:
            return [_endpoints(state, query["labelSelector"].partition("=")[2])]
        return None

    def _one(self, state: dict[str, Any], path: str) -> dict[str, Any]:
        parts = path.strip("/").split("/")
        if parts[:3] == ["api", "v1", "nodes"] and parts[3] in state["nodes"]:
            return _node(state, parts[3])
        if parts[:5] == ["api", "v1", "namespaces", "kube-system", "configmaps"]:
            data = {
                "kubeadm-config": {"ClusterConfiguration": _cluster_configuration(state)},
                "kubelet-config": {"kubelet": KUBELET},
                "kube-proxy": {"config.conf": PROXY},
            }
            if parts[5] in data:
                return {"metadata": {"name": parts[5], "annotations": state["annotations"]}, "data": data[parts[5]]}
        if parts == ["api", "v1", "namespaces", "kube-public", "configmaps", "cluster-info"]:
            return {"metadata": {"name": parts[5]}, "data": {"kubeconfig": ""}}
        if parts[:4] == ["apis", "apps", "v1", "namespaces"] and parts[5] == "deployments":
            title = f"{parts[4]}/{parts[6]}"
            if title in state["workloads"]:
                return _deployment(title, state["workloads"][title])
        raise Refused(404, f"{path} is not there, or not simulated")

    # Changing

    def _change(self, state: dict[str, Any], method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        parts = path.strip("/").split("/")
        if method == "PATCH" and parts[:3] == ["api", "v1", "nodes"] and parts[3] in state["nodes"]:
            return self._patch_node(state, parts[3], body)
        if method == "PATCH" and parts[-2:] == ["configmaps", "kubeadm-config"]:
            with self._cluster.act(self._node, "annotate kubeadm-config"):
                state["annotations"].update(body["metadata"]["annotations"])
            return {}
        if method == "POST" and parts[-1] == "eviction":
            return self._evict(state, f"{parts[3]}", parts[5])
        raise Refused(404, f"{method} {path} is not simulated")

    def _patch_node(self, state: dict[str, Any], name: str, body: dict[str, Any]) -> dict[str, Any]:
        node = state["nodes"][name]
        metadata, spec = body.get("metadata", {}), body.get("spec", {})
        if metadata.get("resourceVersion", str(node["version"])) != str(node["version"]):
            raise Refused(409, f"node {name} was changed")
        words = ["cordon" if spec["unschedulable"] else "uncordon"] if "unschedulable" in spec else []
        with self._cluster.act(name, " ".join([*words, *(["taint"] if "taints" in spec else [])]) or "annotate"):
            for key, value in metadata.get("annotations", {}).items():
                node["annotations"].pop(key, None)
                if value is not None:
                    node["annotations"][key] = value
            if "unschedulable" in spec:
                node["unschedulable"] = bool(spec["unschedulable"])
            if "taints" in spec:
                node["taints"] = spec["taints"] or []
            node["version"] += 1
        return {}

    def _evict(self, state: dict[str, Any], namespace: str, name: str) -> dict[str, Any]:
        for title, workload in state["workloads"].items():
            if title.startswith(f"{namespace}/") and name in workload["pods"]:
                if workload["budget"] is not None and _allowed(workload) < 1:
                    raise Refused(429, "Cannot evict pod as it would violate the pod's disruption budget.")
                with self._cluster.act(workload["pods"][name]["node"], "evict", f"{namespace}/{name}"):
                    del workload["pods"][name]
                return {}
        raise Refused(404, f"pod {namespace}/{name} is not there")

    # etcd

    def _etcd(self, state: dict[str, Any], path: str, body: dict[str, Any]) -> dict[str, Any]:
        members = {name: str(1000 + number) for number, name in enumerate(sorted(_control_planes(state)))}
        if path == "/health":
            return {"health": "true"}
        if path == "/v3/cluster/member/list":
            return {"members": [_member(number, name, state["nodes"][name]["address"]) for name, number in members.items()]}
        if path == "/v3/maintenance/status":
            version = state["nodes"][self._node]["static"]["etcd"]
            sizes = {"dbSize": "20480000", "dbSizeInUse": "20000000", "dbSizeQuota": "2147483648"}
            return {"header": {"member_id": members[self._node]}, "leader": members[state["leader"]], "version": version, **sizes}
        if path == "/v3/maintenance/alarm":
            return {}
        if path == "/v3/kv/range":
            return {"kvs": []}
        if path == "/v3/maintenance/transfer-leadership":
            with self._cluster.change() as changed, self._cluster.act(self._node, "move etcd leader"):
                changed["leader"] = next(name for name, number in members.items() if number == body["targetID"])
            return {}
        raise Refused(404, f"etcd: {path} is not simulated")


def _control_planes(state: dict[str, Any]) -> list[str]:
    return [name for name, node in state["nodes"].items() if node["role"] == "control_plane"]


def _member(number: str, name: str, address: str) -> dict[str, Any]:
    return {"ID": number, "name": name, "peerURLs": [f"https://{address}:2380"], "clientURLs": [f"https://{address}:{ETCD_PORT}"]}


def _cluster_configuration(state: dict[str, Any]) -> str:
    return (
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n"
        f"kubernetesVersion: v{state['recorded']}\ncontrolPlaneEndpoint: {state['endpoint']}:6443\n"
        "networking:\n  podSubnet: 10.128.0.0/10\n  serviceSubnet: 10.96.0.0/16\n"
    )


def _node(state: dict[str, Any], name: str) -> dict[str, Any]:
    node = state["nodes"][name]
    ready = is_ready(state, name)
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": node["zone"]}
    if node["role"] == "control_plane":
        labels["node-role.kubernetes.io/control-plane"] = ""
    heartbeat = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastHeartbeatTime": heartbeat}
    return {
        "metadata": {"name": name, "labels": labels, "annotations": node["annotations"], "resourceVersion": str(node["version"])},
        "spec": {**({"unschedulable": True} if node["unschedulable"] else {}), "taints": node["taints"]},
        "status": {
            "conditions": [condition if ready else {**condition, "message": "its kubelet is newer than an API server"}],
            "addresses": [{"type": "InternalIP", "address": node["address"]}],
            "allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110"},
            "nodeInfo": {"kubeletVersion": f"v{node['kubelet']}", "containerRuntimeVersion": f"containerd://{node['runtime']}"},
        },
    }


def _pods(state: dict[str, Any], only_on: str = "") -> Iterator[dict[str, Any]]:
    for name, node in state["nodes"].items():
        if only_on not in ("", name):
            continue
        for component, version in node.get("static", {}).items():
            tag = f"{version}-0" if component == "etcd" else f"v{version}"
            labels = {"tier": "control-plane", "component": component}
            made = _pod("kube-system", f"{component}-{name}", name, f"registry.k8s.io/{component}:{tag}", labels, ("Node", name), component)
            made["metadata"]["annotations"] = {"kubernetes.io/config.mirror": component}
            yield made
        proxy = {"k8s-app": "kube-proxy"}
        image = f"registry.k8s.io/kube-proxy:v{state['proxy']}"
        yield _pod("kube-system", f"kube-proxy-{name}", name, image, proxy, ("DaemonSet", "kube-proxy"))
        flannel, owner = {"app": "flannel"}, ("DaemonSet", "kube-flannel-ds")
        yield _pod("kube-flannel", f"kube-flannel-{name}", name, f"ghcr.io/flannel-io/flannel:v{state['flannel']}", flannel, owner)
    for title, workload in state["workloads"].items():
        namespace, name = title.split("/")
        for pod, one in workload["pods"].items():
            if only_on in ("", one["node"]):
                owner = ("ReplicaSet", f"{name}-1")
                yield _pod(namespace, pod, one["node"], f"example.com/{name}:1", {"app": name}, owner, name, _runs(one))


def _pod(
    namespace: str,
    name: str,
    node: str,
    image: str,
    labels: dict[str, str],
    owner: tuple[str, str],
    container: str = "main",
    ready: bool = True,
) -> dict[str, Any]:
    kind, owned_by = owner
    reference = {"kind": kind, "name": owned_by, "uid": f"{kind}-{namespace}-{owned_by}", "controller": True}
    return {
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": f"pod-{namespace}-{name}",
            "labels": labels,
            "annotations": {},
            "ownerReferences": [reference],
        },
        "spec": {
            "nodeName": node,
            "containers": [{"name": container, "image": image, "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}],
        },
        "status": {"phase": "Running" if ready else "Pending", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def _runs(pod: dict[str, Any]) -> bool:
    return bool(pod["node"]) and pod["ready_at"] <= time.time()


def _ready(workload: dict[str, Any]) -> int:
    return sum(map(_runs, workload["pods"].values()))


def _allowed(workload: dict[str, Any]) -> int:
    return max(0, _ready(workload) - (workload["replicas"] - workload["budget"]))


def _budget(title: str, workload: dict[str, Any]) -> dict[str, Any]:
    namespace, name = title.split("/")
    numbers = {"disruptionsAllowed": _allowed(workload), "currentHealthy": _ready(workload), "expectedPods": workload["replicas"]}
    return {
        "metadata": {"namespace": namespace, "name": name, "generation": 1},
        "spec": {"maxUnavailable": workload["budget"], "selector": {"matchLabels": {"app": name}}},
        "status": {**numbers, "desiredHealthy": workload["replicas"] - workload["budget"], "observedGeneration": 1},
    }


def _deployment(title: str, workload: dict[str, Any]) -> dict[str, Any]:
    namespace, name = title.split("/")
    return {
        "metadata": {"namespace": namespace, "name": name, "uid": f"Deployment-{namespace}-{name}"},
        "spec": {"replicas": workload["replicas"]},
        "status": {"readyReplicas": _ready(workload)},
    }


def _replica_set(title: str, workload: dict[str, Any]) -> dict[str, Any]:
    namespace, name = title.split("/")
    owner = {"kind": "Deployment", "name": name, "uid": f"Deployment-{namespace}-{name}", "controller": True}
    uid = f"ReplicaSet-{namespace}-{name}-1"
    return {
        "metadata": {"namespace": namespace, "name": f"{name}-1", "uid": uid, "ownerReferences": [owner]},
        "spec": {"replicas": workload["replicas"]},
    }


def _daemon_set(namespace: str, name: str, image: str, nodes: int) -> dict[str, Any]:
    return {
        "metadata": {"namespace": namespace, "name": name, "generation": 1},
        "spec": {"template": {"spec": {"containers": [{"name": name, "image": image}]}}},
        "status": {"desiredNumberScheduled": nodes, "numberReady": nodes, "observedGeneration": 1},
    }


def _endpoints(state: dict[str, Any], service: str) -> dict[str, Any]:
    if service == "kubernetes":
        addresses = [state["nodes"][name]["address"] for name in _control_planes(state) if state["nodes"][name]["serving"]]
    else:
        addresses = [name for name, pod in state["workloads"]["kube-system/coredns"]["pods"].items() if _runs(pod)]
    return {"endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]}
