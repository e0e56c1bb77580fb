# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The conditions that a healthy cluster meets (private to flotilla.kubernetes).

Each gate reads the live cluster and returns findings; no finding means that it holds. Python 3.9, standard library only.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from .._errors import Finding, FlotillaError
from .._moments import parse
from .client import API_PORT, CA_FILE, ApiError, Client
from .etcd import CLIENT_PORT, Member, client_context, members_of
from .network_plugins.table import NAMESPACES

KUBELET_PORT = 10250
# Label that kubeadm gives to the static pods of a control plane.
TIER_CONTROL_PLANE = "control-plane"
CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"
CONTROL_PLANE_COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


# Time does not mend this one, so nobody waits for it.
WITHOUT_MACHINE = "NODE_WITHOUT_MACHINE"
# Where the pods and DaemonSets of the cluster itself are; the others are their owners' business.
SYSTEM_NAMESPACES = tuple(dict.fromkeys(("kube-system", *NAMESPACES)))


@dataclass(frozen=True)
class Expectation:
    """What the run knows about the cluster; a gate never infers it from the cluster itself.

    :param nodes: names of the nodes that must be Ready.
    :param control_planes: node name -> address of its own API server and etcd member.
    :param kubelet_versions: node name -> version that its kubelet must report, for nodes that are just upgraded.
    :param reported_after: node name -> seconds since the epoch by its own clock after which its kubelet must have reported, for nodes whose
        kubelet was just restarted: what it said before stays for most of a minute.
    :param workloads: as `read_workloads` returned them before something was done to the cluster.
    :param absent: names of nodes that are known to be out of reach, of which nothing is expected.
    """

    nodes: frozenset[str]
    control_planes: dict[str, str]
    port: int = API_PORT
    kubelet_versions: dict[str, str] = field(default_factory=dict)
    reported_after: dict[str, float] = field(default_factory=dict)
    workloads: dict[str, int] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()


def nodes_ready(client: Client, expected: Expectation) -> list[Finding]:
    """Every expected node is registered and Ready, and no other node is there."""
    found = {node["metadata"]["name"]: node for node in client.items("/api/v1/nodes")}
    findings = [
        Finding("NODE_MISSING", f"node/{name}", f"The node {name} has not joined the cluster.", f"Read 'journalctl -u kubelet' on {name}.")
        for name in sorted(expected.nodes - set(found))
    ]
    for name, node in sorted(found.items()):
        ready = _condition(node, "Ready")
        if name in expected.absent:
            continue
        if name not in expected.nodes:
            remedy = f"When it is really gone, 'kubectl delete node {name}' removes what is left of it."
            findings.append(Finding(WITHOUT_MACHINE, f"node/{name}", f"The node {name} has no machine in this cluster.", remedy))
        elif ready.get("status") != "True":
            why = ready.get("message") or "its kubelet has reported nothing yet"
            findings.append(
                Finding(
                    "NODE_NOT_READY", f"node/{name}", f"The node {name} is not Ready: {why}", f"Read 'journalctl -u kubelet' on {name}."
                )
            )
        elif _reported(ready) <= expected.reported_after.get(name, -1.0):
            remedy = f"Read 'journalctl -u kubelet' on {name}."
            findings.append(Finding("NODE_NOT_READY", f"node/{name}", f"The kubelet of {name} has not reported since its restart.", remedy))
        elif name in expected.kubelet_versions and _kubelet_version(node) != expected.kubelet_versions[name]:
            findings.append(
                Finding(
                    "KUBELET_VERSION",
                    f"node/{name}",
                    f"The kubelet of {name} reports the version {_kubelet_version(node)}, not {expected.kubelet_versions[name]}.",
                    f"Read 'journalctl -u kubelet' on {name}.",
                )
            )
    return findings


def _reported(condition: dict[str, Any]) -> float:
    """Return when a kubelet last reported a condition, in seconds since the epoch."""
    try:
        return parse(condition["lastHeartbeatTime"]).timestamp()
    except (KeyError, ValueError, AttributeError):
        return 0.0


def _kubelet_version(node: dict[str, Any]) -> str:
    return str(node["status"]["nodeInfo"]["kubeletVersion"].lstrip("v"))


def api_servers_ready(client: Client, expected: Expectation) -> list[Finding]:
    """Each control plane's own `/readyz` answers with 200, asked at its own address."""
    findings = []
    for name, address in sorted(expected.control_planes.items()):
        problem = api_server_problem(address, expected.port)
        if problem:
            findings.append(
                Finding(
                    "API_SERVER_NOT_READY",
                    f"node/{name}",
                    f"The API server of {name} ({address}) is not ready: {problem}",
                    f"Read the log of kube-apiserver on {name}.",
                )
            )
    return findings


def api_server_problem(address: str, port: int = API_PORT) -> str:
    """Return why the API server at ``address`` is not ready, or nothing when its `/readyz` answers with 200."""
    try:
        context = ssl.create_default_context(cafile=CA_FILE)
    except OSError as error:
        return str(error)
    return _not_ready(address, port, context)


def _not_ready(address: str, port: int, context: ssl.SSLContext) -> str:
    try:
        connection = http.client.HTTPSConnection(address, port, context=context, timeout=5)
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read().decode("utf-8", "replace")
        connection.close()
    except (OSError, http.client.HTTPException) as error:
        return str(error)
    return "" if answer.status == 200 else f"it answers {answer.status}: {body[:200]}"


def wait_for_endpoint(endpoint: str, timeout: float) -> None:
    """Wait until ``endpoint`` (``host:port``) leads to a ready API server, from the machine that this runs on.

    Who answers is not checked here: kubeadm does that with the hash of the cluster's CA.

    :raises FlotillaError: it does not within ``timeout`` seconds.
    """
    host, _colon, port = endpoint.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    deadline = time.monotonic() + timeout
    while True:
        problem = _not_ready(host, int(port), context)
        if not problem:
            return
        if time.monotonic() > deadline:
            raise FlotillaError(
                "API_ENDPOINT_UNREACHABLE",
                f"{socket.gethostname()} does not reach the API endpoint {endpoint}: {problem}",
                "Look whether a control plane or the load balancer has this address, sends this port to the API servers, and no firewall "
                "is between; then run again.",
            )
        time.sleep(0.5)


def etcd_healthy(client: Client, expected: Expectation) -> list[Finding]:
    """Each control plane has one etcd member, each of them is healthy, none is a learner.

    `/health` of a member is true only when it reaches a quorum: https://etcd.io/docs/v3.6/op-guide/monitoring/#health-check
    """
    findings = []
    context = client_context()
    members: list[Member] = []
    for name, address in sorted(expected.control_planes.items()):
        try:
            etcd = Client(address, CLIENT_PORT, context, timeout=5)
            health = etcd.get("/health")
            problem = "" if str(health.get("health")).lower() == "true" else f"it answers {health}"
            members = members_of(etcd)
        except (OSError, ApiError, ValueError) as error:
            problem = str(error)
        if problem:
            findings.append(
                Finding(
                    "ETCD_MEMBER_UNHEALTHY",
                    f"etcd/{name}",
                    f"The etcd member of {name} ({address}) is not healthy: {problem}",
                    f"Read the log of etcd on {name}.",
                )
            )
    known = {member.name or member.peer_urls[0]: member for member in members}
    for name in sorted(set(known) - set(expected.control_planes)) if members else []:
        findings.append(
            Finding(
                "ETCD_MEMBER_UNKNOWN",
                f"etcd/{name}",
                f"etcd has the member {name}, which is no control plane of this cluster.",
                "Once it is really gone, the module etcd_member removes it; cluster_apply does so before another control plane joins.",
            )
        )
    for name in sorted(set(expected.control_planes) - set(known)) if members else []:
        findings.append(
            Finding("ETCD_MEMBER_MISSING", f"etcd/{name}", f"The control plane {name} is no member of etcd.", "Run cluster_apply again.")
        )
    for name, member in sorted(known.items()):
        if member.learner:
            findings.append(
                Finding(
                    "ETCD_MEMBER_LEARNER", f"etcd/{name}", f"The etcd member {name} is still a learner.", "Wait until it has caught up."
                )
            )
    return findings


def system_pods_ready(client: Client, expected: Expectation) -> list[Finding]:
    """Every pod of kube-system runs and is Ready, and each control plane runs its four static pods."""
    findings = []
    pods = list(client.items("/api/v1/namespaces/kube-system/pods"))
    for pod in pods:
        name = pod["metadata"]["name"]
        phase, ready = pod.get("status", {}).get("phase"), is_ready(pod)
        # A pod that ended, well or evicted, stays as a record; whoever owns it has made another by now.
        if ready or phase == "Succeeded" or (phase == "Failed" and pod["metadata"].get("ownerReferences")):
            continue
        if pod.get("spec", {}).get("nodeName") in expected.absent:
            continue
        findings.append(
            Finding(
                "SYSTEM_POD_NOT_READY",
                f"pod/kube-system/{name}",
                f"The pod kube-system/{name} is not Ready: {_pod_reason(pod)}",
                f"Read 'kubectl -n kube-system describe pod {name}'.",
            )
        )
    present = {pod["metadata"]["name"] for pod in pods}
    for node in sorted(expected.control_planes):
        for component in CONTROL_PLANE_COMPONENTS:
            if f"{component}-{node}" not in present:
                findings.append(
                    Finding(
                        "SYSTEM_POD_MISSING",
                        f"pod/kube-system/{component}-{node}",
                        f"The static pod {component} of {node} is not there.",
                        f"Read 'journalctl -u kubelet' on {node}.",
                    )
                )
    return findings


def daemon_sets_complete(client: Client, expected: Expectation) -> list[Finding]:
    """Each DaemonSet of the cluster itself runs everywhere it should: kube-proxy and the network plugin."""
    findings = []
    for item in client.items("/apis/apps/v1/daemonsets"):
        if item["metadata"]["namespace"] not in SYSTEM_NAMESPACES:
            continue
        status = item.get("status", {})
        wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
        name = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
        stale = status.get("observedGeneration", 0) < item["metadata"].get("generation", 0)
        if stale or ready < wanted - len(expected.absent):
            findings.append(
                Finding(
                    "DAEMON_SET_INCOMPLETE",
                    f"daemonset/{name}",
                    f"The DaemonSet {name} is ready on {ready} of {wanted} nodes.",
                    f"Read 'kubectl describe daemonset -n {name.replace('/', ' ')}'.",
                )
            )
    return findings


def read_workloads(client: Client) -> dict[str, int]:
    """Return how many pods of each Deployment and StatefulSet are ready, by ``deployment/<namespace>/<name>``."""
    return {name: ready for name, ready, _wanted in _workloads(client)}


def workloads_ready(client: Client, expected: Expectation) -> list[Finding]:
    """Each workload has as many ready pods as before, or as many as it asks for since its owner changed that; one that is gone is fine."""
    if not expected.workloads:
        return []
    return [
        Finding(
            "WORKLOAD_LESS_READY",
            name,
            f"The {' '.join(name.split('/', 1))} has {ready} ready pods, {expected.workloads[name]} before.",
            f"Read 'kubectl describe -n {name.split('/')[1]} {name.split('/')[0]}/{name.split('/')[2]}'.",
        )
        for name, ready, wanted in _workloads(client)
        if ready < min(expected.workloads.get(name, 0), wanted)
    ]


def _workloads(client: Client) -> Iterator[tuple[str, int, int]]:
    for kind in ("deployment", "statefulset"):
        for item in client.items(f"/apis/apps/v1/{kind}s"):
            name = f"{kind}/{item['metadata']['namespace']}/{item['metadata']['name']}"
            yield name, item.get("status", {}).get("readyReplicas", 0), item["spec"].get("replicas", 1)


def services_have_endpoints(client: Client, expected: Expectation) -> list[Finding]:
    """The Services `default/kubernetes` and `kube-system/kube-dns` have ready endpoints, the first one per control plane.

    A controller-manager whose watches did not recover shows here and not in Ready nodes.
    """
    findings = []
    for namespace, service, least in (("default", "kubernetes", len(expected.control_planes)), ("kube-system", "kube-dns", 1)):
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io/service-name%3D{service}"
        ready = {
            address
            for piece in client.items(path)
            for endpoint in piece.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready", True)
            for address in endpoint.get("addresses", [])
        }
        if len(ready) < least:
            findings.append(
                Finding(
                    "SERVICE_WITHOUT_ENDPOINTS",
                    f"service/{namespace}/{service}",
                    f"The Service {namespace}/{service} has {len(ready)} ready endpoints, {least} expected.",
                    "Look at the pods behind it and at the log of kube-controller-manager.",
                )
            )
    return findings


def kubelets_have_certificates(client: Client, expected: Expectation) -> list[Finding]:
    """Each kubelet shows a certificate of the cluster's CA for its address, where the cluster wants that.

    Right after a node has joined, its request waits for the approver; until then nobody reads its pods' logs.
    """
    recorded = client.get("/api/v1/namespaces/kube-system/configmaps/kubelet-config")["data"]["kubelet"]
    if not re.search(r"^serverTLSBootstrap: true$", recorded, re.MULTILINE):
        return []
    addresses = {
        node["metadata"]["name"]: entry["address"]
        for node in client.items("/api/v1/nodes")
        for entry in node.get("status", {}).get("addresses", [])
        if entry["type"] == "InternalIP" and node["metadata"]["name"] in expected.nodes
    }
    with ThreadPoolExecutor(max_workers=16) as pool:
        problems = dict(zip(addresses, pool.map(kubelet_certificate_problem, addresses.values())))
    return [
        Finding(
            "KUBELET_CERTIFICATE",
            f"node/{name}",
            f"The kubelet of {name} ({addresses[name]}) shows no certificate of the cluster: {problem}",
            "'kubectl get csr' shows its request, 'kubectl get events' and 'journalctl -u flotilla-kubelet-approver' on a control plane "
            "why it waits.",
        )
        for name, problem in sorted(problems.items())
        if problem
    ]


def kubelet_certificate_problem(address: str, port: int = KUBELET_PORT) -> str:
    """Return why the certificate of the kubelet at ``address`` is not good, or nothing."""
    context = ssl.create_default_context(cafile=CA_FILE)
    try:
        with socket.create_connection((address, port), timeout=5) as connection:
            context.wrap_socket(connection, server_hostname=address).close()
    except OSError as error:
        return str(error)
    return ""


GATES: dict[str, Callable[[Client, Expectation], list[Finding]]] = {
    "api_servers": api_servers_ready,
    "etcd": etcd_healthy,
    "nodes": nodes_ready,
    "system_pods": system_pods_ready,
    "daemon_sets": daemon_sets_complete,
    "services": services_have_endpoints,
    "kubelet_certificates": kubelets_have_certificates,
    "workloads": workloads_ready,
}


def examine(client: Client, expected: Expectation, gates: Iterable[str]) -> list[Finding]:
    """Return the findings of ``gates`` (keys of `GATES`); an API server that does not answer is a finding, too."""
    findings = []
    for gate in gates:
        try:
            findings.extend(GATES[gate](client, expected))
        except (OSError, FlotillaError) as error:
            findings.append(
                Finding(
                    "API_UNREACHABLE",
                    f"api/{client.address}",
                    f"The API server {client.address} could not be asked ({gate}): {error}",
                    "Read the log of its kube-apiserver.",
                )
            )
    return findings


def is_ready(thing: dict[str, Any]) -> bool:
    """Tell whether a Node or Pod has the condition Ready."""
    return _condition(thing, "Ready").get("status") == "True"


def _condition(thing: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((item for item in thing.get("status", {}).get("conditions", []) if item.get("type") == kind), {})


def _pod_reason(pod: dict[str, Any]) -> str:
    status = pod.get("status", {})
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        waiting = container.get("state", {}).get("waiting")
        if waiting:
            return f"{container['name']}: {waiting.get('reason')} {waiting.get('message', '')}".strip()
    return _condition(pod, "PodScheduled").get("message") or status.get("phase", "unknown")


def describe_nodes(client: Client) -> list[dict[str, Any]]:
    """Return name, roles, version, address and readiness of every node, as people read them in a table.

    ``not_ready_since`` is a time as Kubernetes writes it, empty for a Node that is ready or has never reported.
    """
    prefix = "node-role.kubernetes.io/"
    return [
        {
            "name": node["metadata"]["name"],
            "roles": sorted(label[len(prefix) :] for label in node["metadata"].get("labels", {}) if label.startswith(prefix)),
            "ready": is_ready(node),
            "not_ready_since": "" if is_ready(node) else _condition(node, "Ready").get("lastTransitionTime", ""),
            "schedulable": not node.get("spec", {}).get("unschedulable", False),
            "version": node["status"]["nodeInfo"]["kubeletVersion"].lstrip("v"),
            "address": next((entry["address"] for entry in node["status"].get("addresses", []) if entry["type"] == "InternalIP"), ""),
            "runtime": node["status"]["nodeInfo"].get("containerRuntimeVersion", ""),
        }
        for node in client.items("/api/v1/nodes")
    ]
