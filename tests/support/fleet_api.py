# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API servers and etcds of many simulated clusters in one process: what is read of a healthy cluster, and nothing else.

    python fleet_api.py <folder of certificates> <clusters.json>

``clusters.json``: a list of clusters, each with ``name``, ``version``, ``control_planes`` and ``workers`` (node name -> address on
loopback), and ``listening``: the addresses of control planes at which an API server listens at port 6443, and an etcd member at 2379. One
more member is at 127.0.0.1:2379, as no simulated node has a loopback of its own. Says ``ready`` once all listen.
"""

from __future__ import annotations

import json
import selectors
import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

API, ETCD = 6443, 2379
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


def answers(cluster: dict[str, Any]) -> dict[str, Any]:
    """Return what is at each path of a cluster's API servers and etcds."""
    planes, nodes = cluster["control_planes"], {**cluster["control_planes"], **cluster["workers"]}
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    version = f"v{cluster['version']}"
    pods = [_static_pod(component, node, cluster["version"]) for node in planes for component in (*COMPONENTS, "etcd")]
    settings = f"kubernetesVersion: {version}\nnetworking:\n  podSubnet: 10.244.0.0/16\n"
    members = [
        {"ID": str(number), "name": node, "peerURLs": [f"https://{address}:2380"], "clientURLs": [f"https://{address}:{ETCD}"]}
        for number, (node, address) in enumerate(planes.items(), start=1)
    ]
    slices = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
    return {
        "/readyz": "ok",
        "/health": {"health": "true"},
        "/v3/cluster/member/list": {"members": members},
        "/v3/maintenance/status": {"header": {"member_id": "1"}, "leader": "1"},
        "/api/v1/nodes": {
            "items": [
                {
                    "metadata": {"name": node, "labels": {"node-role.kubernetes.io/control-plane": ""} if node in planes else {}},
                    "spec": {},
                    "status": {
                        **ready,
                        "nodeInfo": {"kubeletVersion": version, "containerRuntimeVersion": "containerd://2.2.9"},
                        "addresses": [{"type": "InternalIP", "address": address}],
                    },
                }
                for node, address in nodes.items()
            ]
        },
        "/api/v1/namespaces/kube-system/pods": {"items": [{**pod, "status": {**ready, "phase": "Running"}} for pod in pods]},
        # No add-ons.
        "/api/v1/namespaces/kube-system/configmaps": {"items": []},
        "/api/v1/namespaces/kube-system/configmaps/kubeadm-config": {"metadata": {}, "data": {"ClusterConfiguration": settings}},
        "/api/v1/namespaces/kube-system/configmaps/kubelet-config": {"data": {"kubelet": "rotateCertificates: true\n"}},
        "/apis/apps/v1/daemonsets": {"items": []},
        slices.format("default"): {"items": [{"endpoints": [{"addresses": list(planes.values())}]}]},
        slices.format("kube-system"): {"items": [{"endpoints": [{"addresses": ["10.244.0.2"]}]}]},
    }


def _static_pod(component: str, node: str, version: str) -> dict[str, Any]:
    image = "registry.k8s.io/etcd:3.6.8-0" if component == "etcd" else f"registry.k8s.io/{component}:v{version}"
    return {
        "metadata": {"name": f"{component}-{node}", "labels": {"component": component, "tier": "control-plane"}},
        "spec": {"nodeName": node, "containers": [{"name": component, "image": image}]},
    }


class Handler(BaseHTTPRequestHandler):
    """One connection; ``server`` is what the cluster at its address answers."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = self.server.get(urlsplit(self.path).path)
        body = (found if isinstance(found, str) else json.dumps(found)).encode()
        self.send_response(200 if found is not None else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


def serve(folder: Path, clusters: list[dict[str, Any]]) -> None:
    """Serve until the process is ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "servers.crt", folder / "servers.key")
    listeners = selectors.DefaultSelector()
    for cluster in clusters:
        said = answers(cluster)
        places = [(address, port) for address in cluster["listening"] for port in (API, ETCD)]
        for place in [*places, *([("127.0.0.1", ETCD)] if cluster is clusters[0] else [])]:
            listeners.register(socket.create_server(place, backlog=64), selectors.EVENT_READ, said)
    print("ready", flush=True)
    while True:
        for key, _events in listeners.select():
            connection, peer = key.fileobj.accept()
            threading.Thread(target=_talk, args=(context, connection, peer, key.data), daemon=True).start()


def _talk(context: ssl.SSLContext, connection: socket.socket, peer: Any, said: dict[str, Any]) -> None:
    try:
        connection.settimeout(60)
        # One write for head and body: two would wait for each other's acknowledgement.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(connection, server_side=True) as secure:
            Handler(secure, peer, said)
    except OSError:
        connection.close()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
