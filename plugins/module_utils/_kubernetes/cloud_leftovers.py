# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster itself made in its cloud: load balancers of Services, and volumes (private to flotilla.kubernetes).

Only the cluster's own controllers know these, so they are given back while the cluster still works:
https://kubernetes.io/docs/concepts/services-networking/service/#loadbalancer and
https://kubernetes.io/docs/concepts/storage/persistent-volumes/#reclaiming. Python 3.9, standard library only.
"""

from __future__ import annotations

import json
import time
from typing import Any

from .._errors import FlotillaError
from .client import ApiError, Client
from .duration import format_duration

LOOK = 0.5  # seconds


class CloudLeftovers:
    """What one cluster has in its cloud, through one API server.

    :param delete_volumes: whether volumes and what is on them go, too; else they are listed.
    :param timeout: seconds for all of it.
    """

    def __init__(self, client: Client, delete_volumes: bool, timeout: int) -> None:
        self._client, self._delete_volumes, self._timeout = client, delete_volumes, timeout

    def look(self) -> dict[str, list[str]]:
        """Return what there is: ``services`` as namespace/name, ``volumes`` by name."""
        services = [_title(one) for one in self._client.items("/api/v1/services") if one["spec"].get("type") == "LoadBalancer"]
        volumes = [one["metadata"]["name"] for one in self._client.items("/api/v1/persistentvolumes") if not _is_local(one)]
        return {"services": sorted(services), "volumes": sorted(volumes)}

    def predict(self) -> dict[str, Any]:
        """Return the result that `advance` would have at its end."""
        return self._outcome(self.look())

    def advance(self, token: str | None, seconds: float) -> dict[str, Any]:
        """Do one slice, at most ``seconds``. All is asked for in the first one; the others wait.

        :raises FlotillaError: ``CLOUD_LEFTOVERS`` for what is still there at the deadline.
        """
        if token:
            seen = json.loads(token)
        else:
            seen = {"began": time.monotonic(), "before": self.look()}
            for title in seen["before"]["services"]:
                namespace, name = title.split("/")
                self._client.delete(f"/api/v1/namespaces/{namespace}/services/{name}")
            if self._delete_volumes and seen["before"]["volumes"]:
                self._release_volumes()
        until = time.monotonic() + seconds
        while True:
            left = self.look()
            waiting = left["services"] + (left["volumes"] if self._delete_volumes else [])
            if not waiting:
                return {"finished": True, **self._outcome(seen["before"])}
            spent = time.monotonic() - seen["began"]
            if spent >= self._timeout:
                raise FlotillaError(
                    "CLOUD_LEFTOVERS",
                    f"After {format_duration(self._timeout)} the cluster's own controllers have not given back: {', '.join(waiting)}.",
                    "Read the log of the cloud controller manager and of the CSI driver. Nothing else was deleted.",
                    details={"left": waiting},
                )
            if time.monotonic() >= until:
                line = f"{len(waiting)} load balancers and volumes to give back, such as {waiting[0]} ({spent:.0f} s)"
                return {"finished": False, "progress": [line], "progress_token": json.dumps(seen)}
            time.sleep(LOOK)

    def _outcome(self, before: dict[str, list[str]]) -> dict[str, Any]:
        kept = [] if self._delete_volumes else before["volumes"]
        after = {"services": [], "volumes": kept}
        return {"changed": before != after, "kept_volumes": kept, "diff": {"before": before, "after": after}}

    def _release_volumes(self) -> None:
        """Have every volume deleted by its driver: its claim goes, and the pods that hold the claim; no node takes them again."""
        for node in self._client.items("/api/v1/nodes"):
            self._patch(f"/api/v1/nodes/{node['metadata']['name']}", {"spec": {"unschedulable": True}})
        for volume in self._client.items("/api/v1/persistentvolumes"):
            if _is_local(volume):
                continue
            path = f"/api/v1/persistentvolumes/{volume['metadata']['name']}"
            self._patch(path, {"spec": {"persistentVolumeReclaimPolicy": "Delete"}})
            claim = volume["spec"].get("claimRef")
            if claim:
                self._client.delete(f"/api/v1/namespaces/{claim['namespace']}/persistentvolumeclaims/{claim['name']}")
            else:
                self._client.delete(path)
        for pod in self._client.items("/api/v1/pods"):
            if any("persistentVolumeClaim" in volume for volume in pod["spec"].get("volumes", [])):
                self._client.delete(f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}")

    def _patch(self, path: str, body: dict[str, Any]) -> None:
        try:
            self._client.merge(path, body)
        except ApiError as error:
            if error.status != 404:
                raise


def _title(one: dict[str, Any]) -> str:
    return f"{one['metadata']['namespace']}/{one['metadata']['name']}"


def _is_local(volume: dict[str, Any]) -> bool:
    """Tell whether a volume lives on a node or elsewhere outside of the cloud, and goes or stays without the cloud's doing."""
    return not {"csi", "awsElasticBlockStore", "gcePersistentDisk", "azureDisk", "vsphereVolume", "cinder"} & set(volume["spec"])
