# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people use of a cluster with add-ons: addresses for Services, volumes, `kubectl top`, metrics."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection
from typing import Any

from conftest import wait_for

_ECHO = {"app": "echo"}
_QUERY = "/api/v1/namespaces/prometheus/services/prometheus:http/proxy/api/v1/query?query="


def addons(network: str) -> dict[str, Any]:
    """Return the section of a definition with all of them.

    :param network: the first three numbers of the addresses of machines; those of Services end in 200 to 203.
    """
    return {
        "metrics-server": {"values": {"replicas": 2}},
        "local-path": {"values": {"path": "/srv/volumes"}},
        "metallb": {"values": {"addresses": [f"{network}.200-{network}.203"]}},
        "node-exporter": {},
        "prometheus": {"values": {"storage": "1Gi", "otlp": True}},
    }


def see_top(kubectl: Any, names: Collection[str]) -> None:
    """See that `kubectl top` tells of each node."""
    shown = wait_for("metrics of all nodes", lambda: _lines(kubectl("top", "nodes", "--no-headers", check=False), len(names)))
    assert {line.split()[0] for line in shown} == set(names)


def see_service(kubectl: Any, image: str, network: str) -> str:
    """See that a Service answers from outside of the cluster, and an address that no Service has does not; return its address."""
    container = {"name": "echo", "image": image, "args": ["netexec"], "readinessProbe": {"httpGet": {"path": "/hostname", "port": 8080}}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "echo"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": _ECHO},
            "template": {"metadata": {"labels": _ECHO}, "spec": {"containers": [container]}},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "echo"},
        "spec": {"type": "LoadBalancer", "selector": _ECHO, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    for item in (deployment, service):
        kubectl("apply", "--filename=-", stdin=json.dumps(item))
    kubectl("rollout", "status", "deployment/echo", "--timeout=180s")
    path = "jsonpath={.status.loadBalancer.ingress[0].ip}"
    address = wait_for("an address", lambda: kubectl("get", "service", "echo", f"--output={path}"))
    assert address.startswith(f"{network}.20")
    assert wait_for("an answer from outside", lambda: answer(address)).startswith("echo-")
    assert not answer(f"{network}.203"), "an address that no Service has is nobody's"
    return address


def see_volume(kubectl: Any, image: str, write: str = "kept") -> None:
    """See that what a pod writes to a volume is there for the next one; nothing to write is to read what is there."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}},
    }
    kubectl("apply", "--filename=-", stdin=json.dumps(claim))
    for number, script in enumerate([f"echo {write} > /data/file", "true"] if write else ["true"]):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"writer-{number}"},
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "image": image,
                        "command": ["/usr/bin/sh", "-c", f"{script}; exec /agnhost pause"],
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    }
                ],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
            },
        }
        kubectl("apply", "--filename=-", stdin=json.dumps(pod))
        kubectl("wait", f"pod/writer-{number}", "--for=condition=Ready", "--timeout=180s")
        assert kubectl("exec", f"writer-{number}", "--", "/usr/bin/cat", "/data/file").strip() == "kept"
        kubectl("delete", "pod", f"writer-{number}", "--wait=true", "--timeout=120s")


def see_metrics(kubectl: Any, names: Collection[str]) -> None:
    """See that Prometheus reads what there is to read, of every node."""
    for job, label in (("kubernetes-nodes", "instance"), ("kubernetes-cadvisor", "instance"), ("kubernetes-pods", "node")):
        wait_for(f"{job} of all nodes", lambda job=job, label=label: set(names) <= _up(kubectl, job, label))
    for metric in ("apiserver_request_total", "coredns_dns_requests_total", "node_memory_MemAvailable_bytes"):
        wait_for(metric, lambda metric=metric: asked(kubectl, f"count({metric})"))


def _up(kubectl: Any, job: str, label: str) -> set[str]:
    """Return the values of a label among the targets of a job that answer."""
    return {one["metric"].get(label, "") for one in asked(kubectl, f'up{{job="{job}"}} == 1')}


def asked(kubectl: Any, query: str) -> list[dict[str, Any]]:
    """Return what Prometheus says to a query, nothing while it says nothing."""
    text = kubectl("get", "--raw", _QUERY + urllib.parse.quote(query), check=False)
    return json.loads(text)["data"]["result"] if text else []


def answer(address: str) -> str:
    """Return what a Service answers, nothing where nobody does."""
    try:
        with urllib.request.urlopen(f"http://{address}/hostname", timeout=3) as found:
            return found.read().decode()
    except (urllib.error.URLError, OSError):
        return ""


def _lines(text: str, number: int) -> list[str]:
    """Return the lines of a text, nothing while there are fewer than that."""
    lines = text.splitlines()
    return lines if len(lines) >= number and "<unknown>" not in text else []
