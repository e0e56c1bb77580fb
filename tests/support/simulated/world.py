# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated clusters in a folder, and real playbooks over them.

What is simulated: the commands of machines, where their files lie, API servers and etcd. Everything else is real: definitions, inventory
plugin, playbooks, roles, action plugins, filters, the modules with their argument specs, fences and drains. Nothing here says anything of
how long work on real machines takes.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import outside
import yaml

from . import collection

# pytest has it there already.
if str(collection.REPOSITORY / "collection") not in sys.path:
    sys.path.insert(0, str(collection.REPOSITORY / "collection"))

from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import catalogue, contents, manifest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.build import Request
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.progress import Report

from .api import ETCD_VERSIONS, KUBELET
from .cluster import COMPONENTS, DONE, HOST, LOOK, RUN, WORLD, Cluster, Machine, settle
from .node_command import write_manifests

OLDEST, OLD, NEW = "1.34.4", "1.35.4", "1.36.3"
VERSIONS = (OLDEST, OLD, NEW)
COMMAND = Path(__file__).resolve().parent / "node_command.py"
# Addresses of a cluster: so many that 300 machines fit.
SPAN = 512
FLANNEL = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-flannel-cfg, namespace: kube-flannel}
data:
  net-conf.json: '{"Network": "10.244.0.0/16"}'
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-flannel-ds, namespace: kube-flannel}
spec:
  template:
    spec:
      containers:
        - {name: kube-flannel, image: "ghcr.io/flannel-io/flannel:v%s"}
"""


@dataclass
class World:
    """A folder with simulated clusters.

    :param folder: empty or not there yet.
    """

    folder: Path
    clusters: dict[str, Cluster] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        for name in ("hosts", "clusters", "lab/clusters"):
            (self.folder / name).mkdir(parents=True)
        collection.build(self.folder / "collections")
        self._bundles = {version: self._bundle(version) for version in VERSIONS}

    # Clusters

    def cluster(self, name: str, version: str = OLD, control_planes: int = 1, workers: int = 2, **definition: Any) -> Cluster:
        """Make a cluster that runs ``version`` and serves, and its definition; ``definition`` is what it says besides."""
        cluster = Cluster(self.folder / "clusters" / name)
        first = int(ipaddress.IPv4Address("10.0.0.0")) + SPAN * (len(self.clusters) + 1)
        addresses = [str(ipaddress.IPv4Address(first + number)) for number in range(control_planes + workers + 1)]
        endpoint, *addresses = addresses
        etcd = ETCD_VERSIONS[version.rpartition(".")[0]]
        components = catalogue.release(version).components
        nodes = {}
        machines = []
        for number, address in enumerate(addresses):
            is_control_plane = number < control_planes
            node = f"{name}-cp-{number + 1}" if is_control_plane else f"{name}-w-{number + 1 - control_planes}"
            role, zone = "control_plane" if is_control_plane else "worker", f"zone-{number % 3}"
            nodes[node] = {
                "role": role,
                "address": address,
                "zone": zone,
                "kubelet": version,
                "runtime": components["containerd"],
                "unschedulable": False,
                "annotations": {},
                "taints": [],
                "version": 1,
                "serving": is_control_plane,
                **({"static": {**dict.fromkeys(COMPONENTS, version), "etcd": etcd}} if is_control_plane else {}),
            }
            placed = {"role": role} if is_control_plane else {"pool": "workers"}
            machines.append({"address": address, "node_name": node, "zone": zone, **placed})
            self._machine(cluster, node, nodes[node], version)
        state: dict[str, Any] = {
            "nodes": nodes,
            "recorded": version,
            "annotations": {"flotilla.kubernetes/applied": version},
            "proxy": version,
            "flannel": components["flannel"],
            "applied": "",
            "endpoint": endpoint,
            "leader": next(iter(nodes)),
            "serial": 0,
            "pod_start": 0.2,
            "workloads": {
                "kube-system/coredns": {"replicas": 2, "budget": None, "pods": {}},
                "shop/web": {"replicas": min(6, workers + 1), "budget": 1, "pods": {}},
            },
        }
        settle(state)
        for workload in state["workloads"].values():
            for pod in workload["pods"].values():
                pod["ready_at"] = 0.0  # It has run for long.
        cluster.write(state)
        self.clusters[name] = cluster
        existing = {"host_keys": "accept_new", "machines": machines}
        self.define(
            name,
            **{
                "kubernetes_version": NEW,
                "api_endpoint": {"provider": "external", "address": endpoint},
                "network": {"pod_cidrs": ["10.128.0.0/10"], "service_cidrs": ["10.96.0.0/16"]},
                "existing": existing,
                **definition,
            },
        )
        return cluster

    def define(self, name: str, **changes: Any) -> Path:
        """Write or change the definition of a cluster and return its file."""
        base = {
            "plugin": "flotilla.kubernetes.cluster",
            "schema": 1,
            "name": name,
            "cloud": "existing",
            "pools": [{"name": "workers"}],
            "access": {"ssh_user": "ops"},
        }
        path = self.folder / f"lab/clusters/{name}.yml"
        before = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else base
        path.write_text(yaml.safe_dump({**before, **changes}, sort_keys=False), encoding="utf-8")
        return path

    def _machine(self, cluster: Cluster, name: str, node: dict[str, Any], version: str) -> None:
        root = cluster.node(name)
        known = {"name": name, "address": node["address"], "role": node["role"]}
        files = {
            "node.json": json.dumps(known),
            "etc/kubernetes/kubelet.conf": "",
            "var/lib/kubelet/config.yaml": KUBELET,
            "sys/fs/cgroup/cgroup.controllers": "cpu memory",
            "run/machine-id": "",
        }
        installed = {}
        found, images = self._bundles[version]["files"], self._bundles[version]["images"]
        for entry in found:
            if entry["kind"] in ("bin", "cni"):
                target = root / ("usr/local/bin" if entry["kind"] == "bin" else "opt/cni/bin") / entry["name"]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((self.bundle(version) / entry["path"]).read_bytes())
                target.chmod(0o755)
                shown = target.stat()
                installed[str(target)] = {"sha256": entry["sha256"], "print": [shown.st_ino, shown.st_size, shown.st_mtime_ns]}
        brought = {image["name"]: image["sha256"] for image in images if node["role"] in image["roles"]}
        files["var/lib/flotilla/files.json"] = json.dumps(installed)
        files["var/lib/flotilla/images.json"] = json.dumps(brought)
        files["var/lib/containerd/images.json"] = json.dumps(sorted(brought))
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        (self.folder / "hosts" / node["address"]).symlink_to(root)
        if "static" in node:
            write_manifests(Machine(root), node["static"])

    # Bundles

    def bundle(self, version: str) -> Path:
        """Return the folder of the bundle of a version: the names and places of the real one, with a line of text in each file."""
        return self.folder / "cache/bundles" / version

    def _bundle(self, version: str) -> dict[str, Any]:
        release, folder = catalogue.release(version), self.bundle(version)
        versions = {**release.components, "kubernetes": version}
        names = [f"registry.k8s.io/{one}:v{version}" for one in (*COMPONENTS, "kube-proxy")]
        names += [f"registry.k8s.io/coredns/coredns:v{versions['coredns']}", "registry.k8s.io/pause:3.10.2"]
        names.append(f"registry.k8s.io/etcd:{versions['etcd']}-0")
        flannel = FLANNEL % versions["flannel"]
        listed = {
            "files": [
                self._entry(folder, one.path, self._content(one, versions[one.component], flannel), one.mode)
                | {"kind": one.kind, "name": one.name, "architecture": one.architecture}
                for one in contents.files(["amd64"])
            ],
            "images": [
                self._entry(folder, one.path, f"image {one.name}\n", 0o644)
                | {"name": one.name, "roles": one.roles, "architecture": one.architecture, "config_digest": ""}
                for one in contents.images(release, ["amd64"], names, [flannel])
            ],
        }
        modules = str(collection.REPOSITORY / "roles/bundle/files/modules")
        request = Request.of(version, "modules", str(folder), modules)
        key = request.open(folder / "log", Report(lambda event: None, "")).key()
        made = {"schema": manifest.SCHEMA, "kubernetes_version": version, "architectures": ["amd64"], "source": "modules", "key": key}
        made |= {**listed, "components": release.components, "pause_image": "registry.k8s.io/pause:3.10.2", "notes": {}}
        manifest.write(folder, made)
        return made

    @staticmethod
    def _content(spec: contents.FileSpec, version: str, flannel: str) -> str:
        if spec.kind == "manifest":
            return flannel
        if spec.name == "kubeadm":
            return f'#!/bin/sh\n# kubeadm {version}\nexec {sys.executable} -S -E {COMMAND} "$0" {version} "$@"\n'
        return f"#!/bin/sh\n# {spec.name} {version}\n"

    @staticmethod
    def _entry(folder: Path, path: str, text: str, mode: int) -> dict[str, Any]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
        digest = hashlib.sha256(text.encode()).hexdigest()
        return {"path": path, "sha256": digest, "size": len(text.encode()), "mode": f"{mode:04o}"}

    # Playbooks

    def spent(self) -> float:
        """Return the seconds of the CPU that went into what real machines would have done themselves, as far as Ansible waited for it."""
        path = self.folder / "spent"
        return sum(map(float, path.read_text(encoding="utf-8").split())) if path.exists() else 0.0

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of a playbook over these clusters."""
        return {
            **outside.playbook_environment(),
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"),
            "ANSIBLE_PIPELINING": "1",
            "FLOTILLA_CACHE": str(self.folder / "cache"),
            WORLD: str(self.folder),
        }

    def argv(self, playbook: str, *options: str, inventory: Iterable[Path] = ()) -> list[str]:
        """Return the command that runs a playbook of the collection, over all clusters or another inventory."""
        extra = {
            "ansible_connection": "flotilla.kubernetes.simulated",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
        }
        sources = [argument for source in inventory or [self.folder / "lab"] for argument in ("-i", str(source))]
        name = playbook if "." in playbook else f"flotilla.kubernetes.{playbook}"
        return [str(outside.BIN / "ansible-playbook"), *sources, name, "-e", json.dumps(extra), *options]

    def play(self, playbook: str, *options: str, timeout: float = 3600, environment: dict[str, str] | None = None) -> outside.Run:
        """Run a playbook and return how it ended."""
        began = time.monotonic()
        done = subprocess.run(
            self.argv(playbook, *options),
            cwd=outside.ROOT,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        return outside.Run(done.returncode, done.stdout, time.monotonic() - began)

    def module(self, cluster: Cluster, node: str, module: str, /, **arguments: Any) -> dict[str, Any]:
        """Run a module on a machine, without Ansible around it, and return its result."""
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"ANSIBLE_MODULE_ARGS": arguments}, file)
            file.flush()
            argv = [sys.executable, "-m", f"ansible_collections.flotilla.kubernetes.plugins.modules.{module}", file.name]
            address = cluster.read()["nodes"][node]["address"]
            paths = {"PYTHONPATH": str(self.folder / "collections"), HOST: address, RUN: str(os.getpid())}
            # Its own session: a test that kills it kills nothing else.
            self.process = subprocess.Popen(
                argv,
                env={**self.environment, **paths},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            output, problem = self.process.communicate()
        assert output or self.process.returncode < 0, problem
        return json.loads(output) if output else {}

    def start(self, playbook: str, *options: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a playbook in a session of its own; ``log`` gets what it prints."""
        with log.open("ab") as output:
            return subprocess.Popen(
                self.argv(playbook, *options),
                cwd=outside.ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


# What a cluster is, and what happened to it


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a playbook with its workers and modules; what outlives them on machines goes on."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def age(cluster: Cluster, seconds: float = 120) -> None:
    """Let the last signs of runs be as old as they are after some time, so that nobody has to wait until a killed run counts as dead."""
    for fence in cluster.folder.glob("nodes/*/var/lib/flotilla/fence"):
        past = fence.stat().st_mtime - seconds
        os.utime(fence, (past, past))


def versions(cluster: Cluster) -> set[str]:
    """Return every version that some part of a cluster runs or records."""
    state = cluster.read()
    found = {state["recorded"], state["proxy"]}
    for node in state["nodes"].values():
        found |= {node["kubelet"], *(version for name, version in node.get("static", {}).items() if name != "etcd")}
    return found


def untouched(cluster: Cluster) -> bool:
    """Tell whether nothing has ever changed it."""
    return all(one["what"] == LOOK for one in cluster.journal())


def done(cluster: Cluster, act: str) -> list[tuple[str, str]]:
    """Return node and detail of each act of a kind that was done."""
    return [(one["node"], one["detail"]) for one in cluster.journal() if one["what"] == DONE and one["act"].startswith(act)]


def overlaps(cluster: Cluster, playbook: str = "") -> list[tuple[str, str]]:
    """Return the runs that were in a cluster at the same time.

    A run is there from its first look or act to its last one; the end of a kubeadm that outlived its run is none.

    :param playbook: only runs of this one: a fleet's own looks at its clusters may come at any time.
    """
    spans: dict[str, list[float]] = {}
    for one in cluster.journal():
        outlived = one["what"] == DONE and one["act"].startswith("kubeadm")
        if one["run"] and one["run"].startswith(playbook) and not outlived:
            spans.setdefault(one["run"], []).append(one["at"])
    ordered = sorted((min(times), max(times), run) for run, times in spans.items())
    return [(one[2], other[2]) for number, one in enumerate(ordered) for other in ordered[number + 1 :] if other[0] <= one[1]]
