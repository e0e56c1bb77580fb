# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module cloud_leftovers against a real kube-apiserver; the test plays the cloud's controllers, which hold things by finalizers."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.cloud_leftovers import CloudLeftovers
from nodes import Node

HELD = "example.org/held"
VOLUMES = "/api/v1/persistentvolumes"


@pytest.fixture
def cloud(node: Node) -> Node:
    """A namespace with a Service that has a load balancer, and a volume with a claim that a pod holds."""
    base = f"/api/v1/namespaces/{node.name}"
    ports = [{"port": 80}]
    held = {"finalizers": [HELD]}
    node.call("POST", f"{base}/services", {"metadata": {"name": "public", **held}, "spec": {"type": "LoadBalancer", "ports": ports}})
    node.call("POST", f"{base}/services", {"metadata": {"name": "inner"}, "spec": {"ports": ports}})
    for name, source in ((f"cloud-{node.name}", {"csi": {"driver": "example.org", "volumeHandle": "v"}}), (f"disk-{node.name}", _local())):
        claim = {"namespace": node.name, "name": name, "kind": "PersistentVolumeClaim", "apiVersion": "v1"}
        spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "claimRef": claim, **source}
        node.call("POST", VOLUMES, {"metadata": {"name": name, **held}, "spec": {**spec, "persistentVolumeReclaimPolicy": "Retain"}})
        wanted = {"accessModes": ["ReadWriteOnce"], "volumeName": name, "resources": {"requests": {"storage": "1Gi"}}}
        node.call("POST", f"{base}/persistentvolumeclaims", {"metadata": {"name": name}, "spec": wanted})
    node.pod("db-1", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": f"cloud-{node.name}"}}])
    node.pod("web-1")
    yield node
    for path in (f"{base}/services/public", f"{VOLUMES}/cloud-{node.name}", f"{VOLUMES}/disk-{node.name}"):
        release(node, path)
        node.server.call("DELETE", path)


def _local() -> dict[str, Any]:
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["x"]}]}]
    return {"local": {"path": "/data"}, "nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}


def release(node: Node, path: str) -> None:
    """What the cloud's controller does when it has given the thing back."""
    status, found = node.server.call("GET", path)
    if status < 300:
        found["metadata"]["finalizers"] = []
        node.call("PUT", path, found)


def there(node: Node, path: str) -> dict[str, Any] | None:
    status, found = node.server.call("GET", path)
    return found if status < 300 else None


def leftovers(node: Node, delete_volumes: bool = False, timeout: int = 60) -> CloudLeftovers:
    return CloudLeftovers(node.client(), delete_volumes, timeout)


def test_load_balancers_go_and_volumes_are_kept_and_listed(cloud: Node) -> None:
    public, volume = f"/api/v1/namespaces/{cloud.name}/services/public", f"cloud-{cloud.name}"
    predicted = leftovers(cloud).predict()
    assert predicted["changed"] and predicted["kept_volumes"] == [volume]
    assert there(cloud, public)
    first = leftovers(cloud).advance(None, 0)
    assert not first["finished"] and f"{cloud.name}/public" in first["progress"][0]
    assert there(cloud, public)["metadata"]["deletionTimestamp"]
    release(cloud, public)
    done = leftovers(cloud).advance(first["progress_token"], 3)
    assert done["finished"] and {key: done[key] for key in predicted} == predicted
    assert there(cloud, f"/api/v1/namespaces/{cloud.name}/services/inner") and there(cloud, f"{VOLUMES}/{volume}") and cloud.schedulable
    again = leftovers(cloud).advance(None, 3)
    assert again["finished"] and again["changed"] is False and again["kept_volumes"] == [volume]


def test_volumes_are_deleted_by_their_driver_when_that_is_asked_for(cloud: Node) -> None:
    volume = f"{VOLUMES}/cloud-{cloud.name}"
    release(cloud, f"/api/v1/namespaces/{cloud.name}/services/public")
    token = leftovers(cloud, delete_volumes=True).advance(None, 0)["progress_token"]
    assert there(cloud, volume)["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    claim = there(cloud, f"/api/v1/namespaces/{cloud.name}/persistentvolumeclaims/cloud-{cloud.name}")
    assert claim is None or claim["metadata"]["deletionTimestamp"]
    assert cloud.pods == ["web-1"] or there(cloud, f"/api/v1/namespaces/{cloud.name}/pods/db-1")["metadata"]["deletionTimestamp"]
    assert not cloud.schedulable
    assert there(cloud, f"{VOLUMES}/disk-{cloud.name}")["spec"]["persistentVolumeReclaimPolicy"] == "Retain", "no cloud knows it"
    release(cloud, volume)
    cloud.server.call("DELETE", volume)
    assert leftovers(cloud, delete_volumes=True).advance(token, 5)["finished"]


def test_what_is_not_given_back_is_named(cloud: Node) -> None:
    with pytest.raises(FlotillaError) as caught:
        leftovers(cloud, timeout=0).advance(None, 0)
    assert caught.value.code == "CLOUD_LEFTOVERS" and caught.value.details["left"] == [f"{cloud.name}/public"]
