# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a live cluster is, as far as an upgrade has to know it: read once, changed nowhere (private to flotilla.kubernetes).

What is wrong with it is for ``judge`` to say, on the controller, where the tables of the minors are. Python 3.9, standard library only.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from ..authorities import half_done
from ..client import API_PORT, ApiError, Client
from ..configuration import CONFIG_MAPS, RECORDS
from ..disruption import Consent, budget_problems, single_replicas, unprotected_reason
from ..drain import DRAIN_ANNOTATION
from ..etcd import CLIENT_PORT, client_context, members_of
from ..gates import CONTROL_PLANE_LABEL, SYSTEM_NAMESPACES, TIER_CONTROL_PLANE, is_ready
from ..snapshot import PATHS, snapshot
from ..versions import of_image
from . import apis, webhooks

# In which a network plugin that is not ours may be.
PLUGIN_NAMESPACES = ("calico-system", "cilium", "kube-ovn", "weave", "antrea-system")
# https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/images/types.go
IMAGE_REASONS = frozenset({"ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff"})
PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure")
WORKERS = 8
DEFAULT_QUOTA = (
    2 * 1024**3
)  # bytes; of an etcd before 3.6, which does not tell: https://etcd.io/docs/v3.6/op-guide/maintenance/#space-quota


@dataclass(frozen=True)
class Place:
    """Where the parts of one control plane listen."""

    address: str
    api_port: int = API_PORT
    etcd_port: int = CLIENT_PORT


@dataclass(frozen=True)
class Surroundings:
    """What the run knows about the cluster beforehand.

    :param control_planes: node name -> where its API server and etcd member are.
    :param going: APIs (``group/version/resource``) that the target does not serve.
    :param consent: what drains may lose.
    :param etcd_context: of a client of etcd; kubeadm's own certificates by default.
    """

    control_planes: Mapping[str, Place]
    going: Collection[str] = ()
    consent: Consent = Consent()
    etcd_context: ssl.SSLContext | None = None


def observe(client: Client, around: Surroundings) -> dict[str, Any]:
    """Return what there is, as plain data; where the API does not answer, ``silent`` says why and most is missing."""
    servers, metrics = _api_servers(client, around)
    observed: dict[str, Any] = {"api_servers": servers, "etcd": _etcd(around)}
    try:
        observed.update(_through_api(client, around))
    except (OSError, ApiError) as error:
        return {**observed, "silent": f"{client.address}: {error}"}
    return {**observed, "requested": sorted({name for text in metrics for name in apis.requested(text)}), "stored": _stored(around)}


def _through_api(client: Client, around: Surroundings) -> dict[str, Any]:
    system: dict[str, list[dict[str, Any]]] = {"static_pods": [], "kube_proxies": [], "system_pods": []}

    def pods() -> Iterator[dict[str, Any]]:
        for pod in client.items(PATHS["pods"]):
            _sort_in(pod, system)
            yield pod

    nodes = list(client.items(PATHS["nodes"]))
    lists = {name: client.items(PATHS[name]) for name in ("budgets", "replica_sets", "stateful_sets", "replication_controllers")}
    seen = snapshot(nodes=nodes, pods=pods(), **lists)
    return {
        **system,
        "nodes": [_node(node) for node in nodes],
        "daemon_sets": _daemon_sets(client),
        "rotating": half_done(client),
        "records": {kind: _record(client, *place) for kind, place in RECORDS.items()},
        "written": apis.written(client, around.going),
        "helm": apis.helm_releases(client),
        "api_services": _api_services(client),
        "webhooks": webhooks.admission_webhooks(client),
        "conversions": webhooks.conversion_webhooks(client),
        "budgets": [asdict(problem) for problem in budget_problems(seen)],
        "unprotected": [
            {"pod": pod.title, "code": reason[0], "reason": reason[1], "remedy": reason[2]}
            for pod in seen.pods
            for reason in [None if pod.stays or pod.over or pod.leaving else unprotected_reason(pod, around.consent)]
            if reason
        ],
        "single": [f"{one.owner.kind.lower()}/{one.owner.namespace}/{one.owner.name}" for one in single_replicas(seen)],
    }


def _sort_in(pod: Mapping[str, Any], system: Mapping[str, list[dict[str, Any]]]) -> None:
    """Add what a pod of the cluster itself says to ``system``."""
    namespace, labels = pod["metadata"]["namespace"], pod["metadata"].get("labels", {})
    if namespace == "kube-system" and labels.get("tier") == TIER_CONTROL_PLANE and labels.get("component"):
        system["static_pods"].append(_static_pod(pod))
    if namespace == "kube-system" and labels.get("k8s-app") == "kube-proxy":
        system["kube_proxies"].append({"node": pod["spec"].get("nodeName", ""), "version": _version(pod)})
    if namespace in (*SYSTEM_NAMESPACES, *PLUGIN_NAMESPACES) and _is_late(pod):
        system["system_pods"].append(_system_pod(pod))


def _title(thing: Mapping[str, Any]) -> str:
    return f"{thing['metadata']['namespace']}/{thing['metadata']['name']}"


def _version(pod: Mapping[str, Any]) -> str:
    return of_image(pod["spec"]["containers"][0].get("image", ""))


def _static_pod(pod: Mapping[str, Any]) -> dict[str, Any]:
    container = pod["spec"]["containers"][0]
    words = [word for word in [*container.get("command", []), *container.get("args", [])] if word.startswith("--")]
    return {
        "component": pod["metadata"]["labels"]["component"],
        "node": pod["spec"].get("nodeName", ""),
        "version": _version(pod),
        "image": container.get("image", ""),
        # A flag without a value is a switch.
        "arguments": {word[2:].partition("=")[0]: word.partition("=")[2] or "true" for word in words},
    }


def _is_late(pod: Mapping[str, Any]) -> bool:
    """Tell whether a pod is not Ready that should be; one that ended stays as a record, and its owner has made another by now."""
    phase = pod.get("status", {}).get("phase")
    ended = phase == "Succeeded" or (phase == "Failed" and pod["metadata"].get("ownerReferences"))
    return not (ended or is_ready(dict(pod)) or "deletionTimestamp" in pod["metadata"])


def _system_pod(pod: Mapping[str, Any]) -> dict[str, Any]:
    owners = [one["name"] for one in pod["metadata"].get("ownerReferences", []) if one["kind"] == "DaemonSet"]
    status = pod.get("status", {})
    containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    reasons = {one.get("state", {}).get("waiting", {}).get("reason") for one in containers}
    return {
        "title": _title(pod),
        "node": pod["spec"].get("nodeName", ""),
        "daemon_set": f"{pod['metadata']['namespace']}/{owners[0]}" if owners else "",
        "lacks_image": bool(reasons & IMAGE_REASONS),
    }


def _node(node: Mapping[str, Any]) -> dict[str, Any]:
    metadata, status = node["metadata"], node.get("status", {})
    conditions = {one["type"]: one for one in status.get("conditions", [])}
    ready = conditions.get("Ready", {})
    return {
        "name": metadata["name"],
        "control_plane": CONTROL_PLANE_LABEL in metadata.get("labels", {}),
        "kubelet": status.get("nodeInfo", {}).get("kubeletVersion", "").lstrip("v"),
        "runtime": status.get("nodeInfo", {}).get("containerRuntimeVersion", ""),
        "ready": ready.get("status") == "True",
        "why": "" if ready.get("status") == "True" else ready.get("message") or "its kubelet has reported nothing yet",
        # One that a drain of ours made unschedulable belongs to a run that was stopped, and the next one goes on with it.
        "cordoned": bool(node.get("spec", {}).get("unschedulable")) and DRAIN_ANNOTATION not in metadata.get("annotations", {}),
        "pressure": [name for name in PRESSURES if conditions.get(name, {}).get("status") == "True"],
    }


def _daemon_sets(client: Client) -> list[dict[str, Any]]:
    found = []
    for item in client.items("/apis/apps/v1/daemonsets"):
        if item["metadata"]["namespace"] not in (*SYSTEM_NAMESPACES, *PLUGIN_NAMESPACES):
            continue
        status = item.get("status", {})
        stale = status.get("observedGeneration", 0) < item["metadata"].get("generation", 0)
        found.append(
            {
                "title": _title(item),
                "images": [container.get("image", "") for container in item["spec"]["template"]["spec"]["containers"]],
                "wanted": status.get("desiredNumberScheduled", 0),
                "ready": 0 if stale else status.get("numberReady", 0),
                "stale": stale,
            }
        )
    return found


def _record(client: Client, name: str, entry: str) -> str | None:
    """Return a document that kubeadm recorded, as the YAML that it wrote, or None."""
    text = (client.find(f"{CONFIG_MAPS}/{name}") or {}).get("data", {}).get(entry)
    return str(text) if text else None


def _api_servers(client: Client, around: Surroundings) -> tuple[list[dict[str, Any]], list[str]]:
    """Return version and state of each API server, and what each says of itself in its metrics."""

    def ask(name: str, place: Place) -> tuple[dict[str, Any], str]:
        one, version = client.at(place.address, place.api_port), ""
        try:
            version = str(one.get("/version")["gitVersion"]).lstrip("v")
            one.request("GET", "/readyz")
            metrics, problem = one.request("GET", "/metrics"), ""
        except (OSError, ApiError, ValueError) as error:
            metrics, problem = "", str(error)
        return {"node": name, "address": place.address, "version": version, "problem": problem}, metrics

    with ThreadPoolExecutor(WORKERS) as pool:
        answers = list(pool.map(ask, around.control_planes, around.control_planes.values()))
    return [server for server, _metrics in answers], [metrics for _server, metrics in answers]


def _api_services(client: Client) -> list[dict[str, str]]:
    """Return the aggregated APIs that do not answer."""
    found = []
    for item in client.items("/apis/apiregistration.k8s.io/v1/apiservices"):
        conditions = {one["type"]: one for one in item.get("status", {}).get("conditions", [])}
        available = conditions.get("Available", {})
        if item["spec"].get("service") and available.get("status") == "False":
            found.append({"name": item["metadata"]["name"], "why": available.get("message", "")})
    return found


def _etcd(around: Surroundings) -> dict[str, Any]:
    """Return the members of etcd with what each says of itself, and its alarms.

    Each member answers at the address of its machine; without a quorum it still does.
    """
    try:
        context = around.etcd_context or client_context()
    except OSError as error:
        return {"members": [], "problem": f"this control plane has no certificate for etcd: {error}"}
    listed: dict[str, Any] = {}
    states: dict[str, dict[str, Any]] = {}
    alarms: list[dict[str, Any]] = []
    problems, asked = [], False
    for client in _etcd_clients(around, context):
        try:
            state = json.loads(client.request("POST", "/v3/maintenance/status", {}))
            states[str(state["header"]["member_id"])] = state
            if not listed:
                listed = {member.id: member for member in members_of(client)}
            if not asked and _follows(state):
                # Without a quorum nobody knows, and the question would hang.
                alarms = json.loads(client.request("POST", "/v3/maintenance/alarm", {"action": "GET"})).get("alarms", [])
                asked = True
        except (OSError, ApiError, ValueError, KeyError) as error:
            problems.append(f"{client.address}: {error}")
    for member in [member for member in listed.values() if member.id not in states]:
        for url in member.client_urls[:1]:
            parts = urlsplit(url)
            try:
                one = Client(str(parts.hostname), parts.port or CLIENT_PORT, context, timeout=5)
                states[member.id] = json.loads(one.request("POST", "/v3/maintenance/status", {}))
            except (OSError, ApiError, ValueError):
                pass
    members = [
        {**_member(states.get(member.id, {})), "name": member.title, "learner": member.learner, "peer_urls": list(member.peer_urls)}
        for member in listed.values()
    ]
    named = {member.id: member.title for member in listed.values()}
    return {
        "members": members,
        "alarms": [{"member": named.get(str(one.get("memberID")), ""), "alarm": one.get("alarm", "")} for one in alarms],
        "problem": "" if listed else "; ".join(problems),
    }


def _member(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a member's answer says; one that knows no leader has no quorum around it."""
    return {
        "healthy": _follows(state),
        "version": state.get("version", ""),
        "size": int(state.get("dbSize", 0)),
        "in_use": int(state.get("dbSizeInUse", 0)),
        "quota": int(state.get("dbSizeQuota", 0)) or DEFAULT_QUOTA,
    }


def _follows(state: Mapping[str, Any]) -> bool:
    """Tell whether a member knows a leader."""
    return str(state.get("leader", "0")) != "0"


def _etcd_clients(around: Surroundings, context: ssl.SSLContext) -> Sequence[Client]:
    return [Client(place.address, place.etcd_port, context, timeout=5) for place in around.control_planes.values()]


def _stored(around: Surroundings) -> list[dict[str, Any]]:
    if not around.going:
        return []
    try:
        clients = _etcd_clients(around, around.etcd_context or client_context())
    except OSError:
        return []  # that etcd can not be asked is said elsewhere
    for client in clients:
        try:
            return apis.stored(client, around.going)
        except (OSError, ApiError):
            continue
    return []
