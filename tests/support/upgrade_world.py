# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sound cluster of three control planes and two workers as a real kube-apiserver and etcd know it, to break one thing at a time.

etcd, the API servers, kubeadm's records, kube-proxy, CoreDNS and flannel are real or made by the real tools. Nodes and pods have no
machines behind them: their status is what kubelets would report.
"""

from __future__ import annotations

import base64
import copy
import ipaddress
import itertools
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import control_plane
import yaml
from ansible_collections.flotilla.kubernetes.plugins.action import upgrade_preflight as action
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.client import Client
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.configuration import RECORDS
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.etcd import client_context
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.preflight import cluster, judge

LIVE, TARGET = "1.34.4", "1.36.3"
CONTROL_PLANES = ("cp-1", "cp-2", "cp-3")
WORKERS = ("worker-1", "worker-2")
NUMBERS = itertools.count(1)
# So that versions that go can be used while they are still there.
FLAGS = (
    "--allow-privileged=true",
    "--runtime-config=storage.k8s.io/v1alpha1=true,storagemigration.k8s.io/v1alpha1=true",
    "--feature-gates=StorageVersionMigrator=true",
)
PARAMETERS = {
    "scope": "cluster",
    "kubernetes_version": TARGET,
    "nodes": [*CONTROL_PLANES, *WORKERS],
    "available_versions": None,
    "acknowledge": [],
    "interrupted": [],
    "backup_store": True,
    "unready_workers": 0,
    "certificate_days": 30,
    "etcd_size_percent": 80,
    "disk_free_mib": 2048,
    "fail": True,
}


@dataclass
class World:
    """The cluster, and ways to change it that are taken back."""

    folder: Path
    server: control_plane.ApiServer
    etcd: control_plane.EtcdMembers
    undo: list[Callable[[], Any]] = field(default_factory=list)
    servers: dict[str, int] = field(default_factory=dict)
    authorities: dict[str, control_plane.Authority] = field(default_factory=dict)

    @property
    def client(self) -> Client:
        admin = self.server.authority.folder / "admin"
        context = ssl.create_default_context(cafile=str(self.server.authority.file))
        context.load_cert_chain(f"{admin}.crt", f"{admin}.key")
        return Client("127.0.0.1", self.server.port, context)

    def places(self, etcd: control_plane.EtcdMembers | None = None, **servers: int) -> dict[str, cluster.Place]:
        """Return where the control planes are; ``servers`` are other ports of API servers by node (``cp_2=6443``)."""
        members = (etcd or self.etcd).ports
        return {
            name: cluster.Place("127.0.0.1", servers.get(name.replace("-", "_"), self.server.port), members[name][0])
            for name in CONTROL_PLANES
            if name in members
        }

    def etcd_context(self, etcd: control_plane.EtcdMembers | None = None) -> ssl.SSLContext:
        authority = (etcd or self.etcd).authority
        return client_context(str(authority.file), str(authority.folder / "healthcheck-client"))

    def look(self, **given: Any) -> dict[str, Any]:
        """Return what the preflight says; ``given`` are its parameters, ``places`` and ``etcd``."""
        parameters = {**PARAMETERS, **{name: value for name, value in given.items() if name in PARAMETERS}}
        etcd = given.get("etcd")
        around = cluster.Surroundings(
            given.get("places") or self.places(etcd),
            judge.going(parameters["kubernetes_version"]),
            etcd_context=self.etcd_context(etcd),
        )
        observed = json.loads(json.dumps(cluster.observe(self.client, around)))
        return action.judged(observed, parameters, time.time())

    def another_server(self, name: str, version: str) -> int:
        """Return the port of a further API server; one of the same name is started once. Another version has its own etcd."""
        if name not in self.servers:
            etcd, programs, flags = self.etcd, self.folder.parent / f"programs-{version}", FLAGS
            if version != LIVE:
                etcd, flags = control_plane.EtcdMembers(self.etcd.processes, self.etcd.program, self.etcd.authority), FLAGS[:1]
                etcd.reserve(f"etcd-of-{name}")
                etcd.start(f"etcd-of-{name}", (f"etcd-of-{name}",))
            programs.mkdir(exist_ok=True)
            authority = self.server.authority
            made = control_plane.start_api_server(self.folder, programs, authority, etcd, *flags, version=version, name=name)
            self.servers[name] = made.port
        return self.servers[name]

    def at(self, port: int) -> control_plane.ApiServer:
        """Return another API server of the same authority."""
        return control_plane.ApiServer(port, self.server.authority, self.server.processes)

    def authority(self, name: str) -> control_plane.Authority:
        """Return a certificate authority of its own."""
        if name not in self.authorities:
            self.authorities[name] = control_plane.Authority(self.folder / name, name)
        return self.authorities[name]

    def bundle_of(self, name: str) -> str:
        """Return the certificate of an authority as configurations of webhooks have it."""
        return base64.b64encode(self.authority(name).file.read_bytes()).decode()

    # Changes

    @contextmanager
    def scene(self) -> Iterator[World]:
        """Take back what was changed in it."""
        try:
            yield self
        finally:
            while self.undo:
                self.undo.pop()()

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        status, answer = self.server.call(method, path, body)
        assert status < 300, (method, path, answer)
        return answer

    def create(self, path: str, body: dict[str, Any], status: dict[str, Any] | None = None) -> None:
        """Create an object in the list ``path``, with a status."""
        made = self.call("POST", path, body)
        place = f"{path}/{made['metadata']['name']}"
        self.undo.append(lambda: self.delete(place))
        if status:
            generation = {"observedGeneration": made["metadata"]["generation"]} if "generation" in made["metadata"] else {}
            self.call("PUT", f"{place}/status", {**made, "status": {**generation, **status}})

    def delete(self, path: str) -> None:
        """Delete an object, finalizers or not."""
        if self.client.get(path)["metadata"].get("finalizers"):
            self.client.merge(path, {"metadata": {"finalizers": None}})
        self.call("DELETE", f"{path}?gracePeriodSeconds=0")
        control_plane.wait_for(f"{path} is gone", lambda: self.server.call("GET", path)[0] == 404)

    def change(self, path: str, patch: dict[str, Any]) -> None:
        """Merge ``patch`` into an object; ``path`` may end in ``/status``."""
        before = self.client.get(path)
        self.client.merge(path, patch)

        def put_back() -> None:
            before["metadata"]["resourceVersion"] = self.client.get(path)["metadata"]["resourceVersion"]
            self.call("PUT", path, before)

        self.undo.append(put_back)

    def node_status(self, name: str, condition: dict[str, str] | None = None, **info: str) -> None:
        """Change what a kubelet reports."""
        path = f"/api/v1/nodes/{name}/status"
        status = copy.deepcopy(self.client.get(path)["status"])
        if condition:
            status["conditions"] = [one for one in status["conditions"] if one["type"] != condition["type"]] + [condition]
        status["nodeInfo"].update(info)
        self.change(path, {"status": {"conditions": status["conditions"], "nodeInfo": status["nodeInfo"]}})

    def daemon_set_status(self, path: str, ready: int) -> None:
        """Report of a DaemonSet, as it is now specified, that it is ready on some of five nodes."""
        numbers = {"desiredNumberScheduled": 5, "currentNumberScheduled": 5, "numberReady": ready, "numberMisscheduled": 0}
        generation = self.client.get(path)["metadata"]["generation"]
        self.client.merge(f"{path}/status", {"status": {**numbers, "observedGeneration": generation}})

    def pod(self, namespace: str, name: str, node: str, owner: str | None = "ReplicaSet", ready: bool = True, **spec: Any) -> None:
        """Create a pod as its kubelet reports it; ``waiting`` is the reason for which its container does not start."""
        waiting = spec.pop("waiting", None)
        references = [{"apiVersion": "apps/v1", "kind": owner, "name": "o", "uid": "u", "controller": True}] if owner else []
        metadata = {"name": name, "ownerReferences": references, **spec.pop("metadata", {})}
        container = {"name": "main", "image": spec.pop("image", "registry.k8s.io/pause:3.10"), "command": spec.pop("command", None)}
        body = {"metadata": metadata, "spec": {"nodeName": node, "containers": [container], **spec}}
        status: dict[str, Any] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
        if waiting:
            states = {"name": "main", "ready": False, "restartCount": 0, "image": container["image"], "imageID": ""}
            status["containerStatuses"] = [{**states, "state": {"waiting": {"reason": waiting}}}]
        self.create(f"/api/v1/namespaces/{namespace}/pods", body, status)

    def static_pod(self, component: str, node: str, image: str, **flags: str) -> None:
        """Create the mirror of a static pod, as kubeadm labels it."""
        command = [component, *(f"--{name.replace('_', '-')}={value}" for name, value in flags.items())]
        labels = {"tier": "control-plane", "component": component}
        metadata = {"name": f"{component}-{node}", "labels": labels, "annotations": {"kubernetes.io/config.mirror": "m"}}
        metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Node", "name": node, "uid": "u", "controller": True}]
        self.pod("kube-system", metadata["name"], node, metadata=metadata, image=image, command=command, hostNetwork=True)

    def image(self, pod: str, image: str) -> None:
        """Change the image of a pod of kube-system."""
        path = f"/api/v1/namespaces/kube-system/pods/{pod}"
        containers = self.client.get(path)["spec"]["containers"]
        self.change(path, {"spec": {"containers": [{**containers[0], "image": image}]}})

    def arguments(self, pod: str, **flags: str) -> None:
        """Give further flags to a static pod: its mirror is made anew."""
        path = "/api/v1/namespaces/kube-system/pods"
        before = self.client.get(f"{path}/{pod}")
        before["metadata"] = {key: before["metadata"][key] for key in ("name", "labels", "annotations", "ownerReferences")}
        after = copy.deepcopy(before)
        after["spec"]["containers"][0]["command"] += [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]

        def put(body: dict[str, Any]) -> None:
            self.call("DELETE", f"{path}/{pod}?gracePeriodSeconds=0")
            made = self.call("POST", path, body)
            self.call("PUT", f"{path}/{pod}/status", {**made, "status": body["status"]})

        put(after)
        self.undo.append(lambda: put(before))

    def recorded(self, kind: str, before: str, after: str) -> None:
        """Replace text in what kubeadm recorded."""
        name, entry = RECORDS[kind]
        path = f"/api/v1/namespaces/kube-system/configmaps/{name}"
        text = self.client.get(path)["data"][entry]
        assert before in text
        self.change(path, {"data": {entry: text.replace(before, after)}})

    def budget(self, name: str, app: str, spec: dict[str, Any], **numbers: Any) -> None:
        """Create a PodDisruptionBudget with the numbers that the disruption controller would write."""
        body = {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": app}}, **spec}}
        self.create("/apis/policy/v1/namespaces/shop/poddisruptionbudgets", body, {"disruptionsAllowed": 0, **numbers})

    def observed_budget(self, name: str) -> None:
        """Let a PodDisruptionBudget be as if the disruption controller had seen its present content."""
        path = f"/apis/policy/v1/namespaces/shop/poddisruptionbudgets/{name}"
        generation = self.client.get(path)["metadata"]["generation"]
        self.client.merge(f"{path}/status", {"status": {"observedGeneration": generation}})

    def workload(self, name: str, replicas: int, kind: str = "replicasets") -> None:
        """Create a workload of the namespace shop with its pods, each on another worker."""
        labels, path = {"app": name}, f"/apis/apps/v1/namespaces/shop/{kind}"
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "registry.k8s.io/pause:3.10"}]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        self.create(path, {"metadata": {"name": name}, "spec": spec})
        uid = self.client.get(f"{path}/{name}")["metadata"]["uid"]
        owner = {"replicasets": "ReplicaSet", "statefulsets": "StatefulSet"}[kind]
        reference = {"apiVersion": "apps/v1", "kind": owner, "name": name, "uid": uid, "controller": True}
        for number in range(replicas):
            metadata = {"labels": labels, "ownerReferences": [reference]}
            self.pod("shop", f"{name}-{number}", WORKERS[number % 2], metadata=metadata)

    def reachable_address(self) -> str:
        """Return an address of this machine that the API takes as an endpoint: none of loopback."""
        listed = json.loads(subprocess.run(["ip", "-json", "-4", "address"], capture_output=True, text=True, check=True).stdout)
        found = [entry["local"] for link in listed for entry in link["addr_info"]]
        return next(address for address in found if not ipaddress.ip_address(address).is_loopback)


@contextmanager
def started(folder: Path, programs: Path) -> Iterator[World]:
    """Give the sound cluster, with etcd and an API server of `LIVE` that end with it."""
    processes = control_plane.Processes(folder)
    try:
        yield _start(folder, programs, processes)
    finally:
        processes.end()


def _start(folder: Path, programs: Path, processes: control_plane.Processes) -> World:
    bundle = control_plane.bundle(folder, LIVE)
    program = control_plane.program(bundle, "etcd", programs)
    etcd = control_plane.EtcdMembers(processes, program, control_plane.Authority(folder / "etcd-pki"))
    etcd.reserve(*CONTROL_PLANES)
    for name in CONTROL_PLANES:
        etcd.start(name, CONTROL_PLANES)
    server = control_plane.start_api_server(folder, programs, control_plane.Authority(folder / "pki"), etcd, *FLAGS, version=LIVE)
    world = World(folder, server, etcd)
    for name in (*CONTROL_PLANES, *WORKERS):
        labels = {"node-role.kubernetes.io/control-plane": ""} if name in CONTROL_PLANES else {}
        info = dict.fromkeys(("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "operatingSystem", "architecture"), "x")
        info.update(kubeletVersion=f"v{LIVE}", containerRuntimeVersion="containerd://2.2.9", kubeProxyVersion="")
        world.create(
            "/api/v1/nodes",
            {"metadata": {"name": name, "labels": labels}},
            {"nodeInfo": info, "conditions": [{"type": "Ready", "status": "True", "message": "kubelet is posting ready status"}]},
        )
        world.pod("kube-system", f"kube-proxy-{name}", name, "DaemonSet", image=f"registry.k8s.io/kube-proxy:v{LIVE}", metadata={
            "labels": {"k8s-app": "kube-proxy"}})  # fmt: skip
    _kubeadm(world, bundle)
    for name in CONTROL_PLANES:
        for component in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
            world.static_pod(component, name, f"registry.k8s.io/{component}:v{LIVE}", profiling="false")
        world.static_pod("etcd", name, "registry.k8s.io/etcd:3.6.5-0", name=name)
    flannel = list(yaml.safe_load_all((bundle / "manifests/kube-flannel.yml").read_text(encoding="utf-8")))
    for kind, path in (("Namespace", "/api/v1/namespaces"), ("DaemonSet", "/apis/apps/v1/namespaces/kube-flannel/daemonsets")):
        world.create(path, next(one for one in flannel if one["kind"] == kind))
    for title in ("kube-system/daemonsets/kube-proxy", "kube-flannel/daemonsets/kube-flannel-ds"):
        world.daemon_set_status(f"/apis/apps/v1/namespaces/{title}", ready=5)
    world.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
    world.workload("web", 2)
    world.budget("web", "web", {"minAvailable": 1}, disruptionsAllowed=1, currentHealthy=2, desiredHealthy=1, expectedPods=2)
    world.undo.clear()
    return world


def _kubeadm(world: World, bundle: Path) -> None:
    """Let kubeadm record its settings and bring its add-ons."""
    folder, kubeconfig, config = world.server.authority.folder, world.folder / "admin.conf", world.folder / "kubeadm.json"
    server = {"server": f"https://127.0.0.1:{world.server.port}", "certificate-authority": str(world.server.authority.file)}
    entries = {
        "clusters": [{"name": "c", "cluster": server}],
        "users": [{"name": "u", "user": {"client-certificate": f"{folder}/admin.crt", "client-key": f"{folder}/admin.key"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }  # fmt: skip
    kubeconfig.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "c", **entries}))
    api = {"apiVersion": "kubeadm.k8s.io/v1beta4"}
    documents = [
        {**api, "kind": "InitConfiguration", "nodeRegistration": {"name": "cp-1", "criSocket": "unix:///run/containerd/containerd.sock"},
         "localAPIEndpoint": {"advertiseAddress": "10.0.0.11"}},
        {**api, "kind": "ClusterConfiguration", "kubernetesVersion": f"v{LIVE}", "controlPlaneEndpoint": "10.0.0.3:6443",
         "networking": {"serviceSubnet": "10.0.0.0/24"}, "apiServer": {"extraArgs": [{"name": "profiling", "value": "false"}]}},
        {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "serverTLSBootstrap": True},
    ]  # fmt: skip
    config.write_text("\n---\n".join(json.dumps(document) for document in documents))
    for phase in (["upload-config", "kubeadm"], ["upload-config", "kubelet"], ["addon", "all"]):
        command = [bundle / "bin/amd64/kubeadm", "init", "phase", *phase, f"--config={config}", f"--kubeconfig={kubeconfig}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@dataclass
class OtherEtcd(control_plane.EtcdMembers):
    """A further etcd, for what should not happen to the one of the API servers."""

    def start_all(self, **flags: list[str]) -> None:
        """Start every member, with ``flags`` by name (``cp_1=[...]``), and wait until each knows a leader."""
        for name in self.ports:
            self.start(name, tuple(self.ports), "new", *flags.get(name.replace("-", "_"), []))
        for name in self.ports:
            control_plane.wait_for(f"{name} knows a leader", lambda name=name: self.follows(name))

    def client(self, name: str) -> Client:
        pair = self.authority.folder / "healthcheck-client"
        return Client("127.0.0.1", self.ports[name][0], client_context(str(self.authority.file), str(pair)), timeout=5)

    def follows(self, name: str) -> bool:
        """Tell whether a member knows a leader that works."""
        try:
            return self.client(name).get("/health").get("health") == "true"
        except (OSError, FlotillaError):
            return False

    def add_learner(self, name: str) -> bool:
        """Announce a learner; etcd takes one only when it has been quiet for some seconds."""
        try:
            self.client(next(iter(self.ports))).post("/v3/cluster/member/add", {"peerURLs": [self.peer_url(name)], "isLearner": True})
        except (OSError, FlotillaError):
            return False
        return True

    def alarms(self) -> list[dict[str, Any]]:
        """Return the alarms that are raised."""
        return self.client("cp-1").post("/v3/maintenance/alarm", {"action": "GET"}).get("alarms", [])

    def fill(self, name: str, pieces: int) -> None:
        """Write pieces of 180 kB through one member, as long as it takes them."""
        client = self.client(name)
        for number in range(pieces):
            key = base64.b64encode(f"/registry/filling/{number}".encode()).decode()
            try:
                client.post("/v3/kv/put", {"key": key, "value": base64.b64encode(os.urandom(180_000)).decode()})
            except FlotillaError:
                return


def other_etcd(world: World, names: Sequence[str] = CONTROL_PLANES) -> OtherEtcd:
    """Return a further etcd that ends with the scene, without a member that is started."""
    folder = world.folder / f"etcd-{next(NUMBERS)}"
    folder.mkdir()
    etcd = OtherEtcd(control_plane.Processes(folder), world.etcd.program, world.etcd.authority)
    world.undo.append(etcd.processes.end)
    etcd.reserve(*names)
    return etcd


def https_server(world: World, pair: Path, address: str) -> int:
    """Accept TLS connections with the certificate ``pair`` until the scene ends; return the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{pair}.crt", f"{pair}.key")
    listener = socket.create_server((address, 0))

    def serve() -> None:
        while True:
            try:
                connection, _peer = listener.accept()
            except OSError:
                return
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

    threading.Thread(target=serve, daemon=True).start()
    # Whoever waits in accept is woken up by shutdown, not by close.
    world.undo += [listener.close, lambda: listener.shutdown(socket.SHUT_RDWR)]
    return listener.getsockname()[1]
