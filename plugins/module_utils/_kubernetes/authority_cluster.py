# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the objects of a cluster say of its certificate authorities, and which pods read only the old one (private to flotilla.kubernetes).

Python 3.9, standard library and openssl only.
"""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .._errors import FlotillaError
from .._moments import parse
from . import authorities
from .authorities import CLUSTER_INFO, FRONT_PROXY, KUBERNETES, blocks, describe, ids_of
from .client import CA_FILE, Client, embedded_in_kubeconfig
from .configuration import CONFIG_MAPS, RESTARTED_AT, restart_pods

RECORD = f"{CONFIG_MAPS}/kubeadm-config"
# API servers gather here what extension API servers are to believe; they only ever add:
# https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/#kubernetes-apiserver-client-authentication
DELEGATED = f"{CONFIG_MAPS}/extension-apiserver-authentication"
DELEGATED_ENTRIES = {KUBERNETES: "client-ca-file", FRONT_PROXY: "requestheader-client-ca-file"}
ROOT_CA = "kube-root-ca.crt"
# Seconds after which the kubelet has brought a changed ConfigMap into the volume of a pod that runs: a sync of a minute, and its cache.
# https://kubernetes.io/docs/concepts/configuration/configmap/#mounted-configmaps-are-updated-automatically
PROJECTED_WITHIN = 180.0
RESTARTABLE = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}
MIRROR = "kubernetes.io/config.mirror"
# Lists with clients' configurations that hold a caBundle, and where in an object these are.
WEBHOOKS = {
    "ValidatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "MutatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "APIService": "/apis/apiregistration.k8s.io/v1/apiservices",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
}


def look(client: Client, new: str) -> dict[str, Any]:
    """Return what the cluster says; it is data for `authority_plan`.

    :param new: id of the new authority of Kubernetes; empty when there is none.
    :return: ``cluster_info`` (None where the cluster has none) and ``delegated`` (by name) ids, ``separate`` whether control planes that
        join sign with a file of their own, ``unpublished`` namespaces whose pods are not given the new authority, ``workloads`` with pods
        that read only the old one, ``webhooks`` that trust the old one only.
    """
    data = client.get(DELEGATED).get("data", {})
    published = dict(_published(client, new)) if new else {}
    info = authorities.published(client)
    return {
        "cluster_info": ids_of(embedded_in_kubeconfig(info, "certificate-authority-data")) if info else None,
        "delegated": {name: ids_of(data.get(entry, "")) for name, entry in DELEGATED_ENTRIES.items()},
        "separate": authorities.recorded(client.get(RECORD)["data"]["ClusterConfiguration"]),
        "unpublished": sorted(namespace for namespace, since in published.items() if since is None),
        "workloads": list(_workloads(client, published)) if new else [],
        "webhooks": list(_webhooks(client, new)) if new else [],
    }


def _published(client: Client, new: str) -> Iterator[tuple[str, float | None]]:
    """Yield each namespace that pods can be in, and since when its pods are given the new authority (seconds since the epoch)."""
    maps = {one["metadata"]["namespace"]: one for one in client.items(f"/api/v1/configmaps?fieldSelector=metadata.name%3D{ROOT_CA}")}
    for namespace in client.items("/api/v1/namespaces"):
        if namespace.get("status", {}).get("phase") == "Terminating":
            continue
        found = maps.get(namespace["metadata"]["name"], {})
        has = new in ids_of(found.get("data", {}).get("ca.crt", ""))
        yield namespace["metadata"]["name"], changed(found) if has else None


def changed(found: Mapping[str, Any]) -> float:
    """Return when an object last changed, in seconds since the epoch; who does not say it changed now.

    https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
    """
    entries = found["metadata"].get("managedFields") or []
    return max((parse(entry["time"]).timestamp() for entry in entries if entry.get("time")), default=time.time())


def reads_authority(pod: Mapping[str, Any]) -> bool:
    """Tell whether the authority of the cluster is in a volume of a pod."""
    for volume in pod["spec"].get("volumes") or []:
        sources = [volume, *((volume.get("projected") or {}).get("sources") or [])]
        if any((source.get("configMap") or {}).get("name") == ROOT_CA for source in sources):
            return True
    return False


def knows(pod: Mapping[str, Any], since: float) -> bool:
    """Tell whether what runs in a pod was given the new authority when it began.

    :param since: when pods of its namespace began to be given it.
    """
    status = pod.get("status", {})
    if "startTime" not in status or parse(status["startTime"]).timestamp() > since:
        return True
    began = [((one.get("state") or {}).get("running") or {}).get("startedAt", "") for one in status.get("containerStatuses") or []]
    return bool(began) and all(one and parse(one).timestamp() > since + PROJECTED_WITHIN for one in began)


def _workloads(client: Client, published: Mapping[str, float | None]) -> Iterator[dict[str, Any]]:
    sets = {(one["metadata"]["namespace"], one["metadata"]["name"]): _owner(one) for one in client.items("/apis/apps/v1/replicasets")}
    found: Counter[tuple[str, str, str]] = Counter()
    for pod in client.items("/api/v1/pods"):
        metadata = pod["metadata"]
        namespace = metadata["namespace"]
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed") or MIRROR in metadata.get("annotations", {}):
            continue
        since = published.get(namespace)
        if not reads_authority(pod) or (since is not None and knows(pod, since)):
            continue
        kind, name = _owner(pod) or ("Pod", metadata["name"])
        if kind == "ReplicaSet":
            kind, name = sets.get((namespace, name)) or (kind, name)
        found[namespace, kind, name] += 1
    for (namespace, kind, name), pods in sorted(found.items()):
        yield {
            "workload": f"{namespace}/{kind}/{name}",
            "pods": pods,
            "restartable": kind in RESTARTABLE,
            "since": published.get(namespace) or 0.0,
        }


def _owner(thing: Mapping[str, Any]) -> tuple[str, str] | None:
    owners = (one for one in thing["metadata"].get("ownerReferences") or [] if one.get("controller"))
    return next(((one["kind"], one["name"]) for one in owners), None)


def _webhooks(client: Client, new: str) -> Iterator[str]:
    own = {describe(pem)["id"] for pem in _trusted()}
    for kind, path in WEBHOOKS.items():
        for one in client.items(path):
            for bundle in _bundles(one):
                ids = set(_ids_or_none(bundle))
                if ids & (own - {new}) and new not in ids:
                    yield f"{kind}/{one['metadata']['name']}"
                    break


def _bundles(thing: Any) -> Iterator[str]:
    """Yield every caBundle in an object."""
    if isinstance(thing, dict):
        for key, value in thing.items():
            if key == "caBundle" and isinstance(value, str):
                yield value
            else:
                yield from _bundles(value)
    elif isinstance(thing, list):
        for value in thing:
            yield from _bundles(value)


def _ids_or_none(bundle: str) -> Iterable[str]:
    try:
        return ids_of(base64.b64decode(bundle))
    except (FlotillaError, ValueError):
        # What others wrote there is theirs.
        return []


def _trusted() -> list[str]:
    with open(CA_FILE, "rb") as file:
        return blocks(file.read())


def set_record(client: Client, separate: bool) -> bool:
    """Let controller-managers of control planes that join sign with a file of their own, or no longer; return whether it was otherwise."""
    found = client.get(RECORD)["data"]["ClusterConfiguration"]
    wanted = authorities.record(found, separate)
    if wanted == found:
        return False
    client.merge(RECORD, {"data": {"ClusterConfiguration": wanted}})
    return True


def publish(client: Client) -> bool:
    """Name the authorities that this control plane trusts to nodes that join; return whether others were named.

    https://kubernetes.io/docs/reference/setup-tools/kubeadm/implementation-details/#create-the-public-cluster-info-configmap
    """
    found = authorities.published(client)
    wanted = _trusted()
    if not found or ids_of(embedded_in_kubeconfig(found, "certificate-authority-data")) == ids_of("".join(wanted)):
        return False
    client.merge(CLUSTER_INFO, {"data": {"kubeconfig": authorities.with_authorities(found, wanted)}})
    return True


def withdraw(client: Client, successors: Mapping[str, str]) -> bool:
    """Take the old authorities from what extension API servers believe; return whether there were any.

    :param successors: name -> id of the one that stays.
    """
    data = client.get(DELEGATED).get("data", {})
    wanted = {}
    for name, entry in DELEGATED_ENTRIES.items():
        kept = [pem for pem in blocks(data.get(entry, "")) if describe(pem)["id"] == successors.get(name)]
        if kept and len(kept) < len(blocks(data[entry])):
            wanted[entry] = "".join(kept)
    if wanted:
        client.merge(DELEGATED, {"data": wanted})
    return bool(wanted)


def wait_until_published(client: Client, new: str, timeout: float) -> None:
    """Wait until every namespace's pods are given the new authority; the controller-manager that leads does it.

    :raises FlotillaError: ``CA_NOT_PUBLISHED``.
    """
    deadline = time.monotonic() + timeout
    while missing := sorted(namespace for namespace, since in _published(client, new) if since is None):
        if time.monotonic() > deadline:
            raise FlotillaError(
                "CA_NOT_PUBLISHED",
                f"The ConfigMaps {ROOT_CA} of {', '.join(missing[:5])} do not have the new authority after {timeout:g} s.",
                "Read the log of the kube-controller-manager that leads: its root-ca-certificate-publisher writes them.",
            )
        time.sleep(1)


def restart(client: Client, workload: str, since: float, timeout: float) -> bool:
    """Restart the pods of a workload as ``kubectl rollout restart`` does it, and wait for them; return whether it had to be told.

    One that was told after ``since`` is only waited for: a run that was killed does not restart its pods twice.

    :param workload: ``namespace/Kind/name``.
    :param since: seconds since the epoch; pods that began later know the new authority.
    :raises FlotillaError: ``WORKLOAD_NOT_RESTARTED``.
    """
    namespace, kind, name = workload.split("/")
    path = f"/apis/apps/v1/namespaces/{namespace}/{RESTARTABLE[kind]}/{name}"
    found = client.find(path)
    if found is None:
        return False
    told = ((found["spec"]["template"].get("metadata") or {}).get("annotations") or {}).get(RESTARTED_AT, "")
    again = not told or _moment(told) <= since
    if again:
        restart_pods(client, path)
    deadline = time.monotonic() + timeout
    while problem := unfinished(client.get(path)):
        if time.monotonic() > deadline:
            raise FlotillaError(
                "WORKLOAD_NOT_RESTARTED",
                f"{workload} did not get new pods within {timeout:g} s: {problem}.",
                f"Read 'kubectl describe -n {namespace} {kind.lower()}/{name}', mend it and run again: it goes on there.",
            )
        time.sleep(1)
    return again


def _moment(stamp: str) -> float:
    """Return a time that anybody may have written, or the beginning of all times."""
    try:
        return parse(stamp).timestamp()
    except ValueError:
        return 0.0


def unfinished(found: Mapping[str, Any]) -> str:
    """Return why the rollout of a workload is not over, or nothing. As ``kubectl rollout status`` judges it."""
    status = found.get("status", {})
    if status.get("observedGeneration", 0) < found["metadata"].get("generation", 0):
        return "its controller has not looked at it yet"
    if found["kind"] == "DaemonSet":
        wanted, new, ready = (status.get(key, 0) for key in ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable"))
        present = new
    else:
        wanted = found["spec"].get("replicas", 1)
        new, ready, present = (status.get(key, 0) for key in ("updatedReplicas", "availableReplicas", "replicas"))
    if new < wanted:
        return f"{new} of {wanted} pods are new"
    if present > wanted:
        return f"{present - wanted} old pods are still there"
    return "" if ready >= wanted else f"{ready} of {wanted} pods are available"
