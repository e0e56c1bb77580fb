# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets a real module work on a simulated machine: it is the first thing that the module imports.

The module's own code runs, its argument spec and most of what it imports. Exchanged is what reaches beyond it: commands of the machine, the
network, and where files lie.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from .api import Refused, Server
from .cluster import LOOK, Broken, Machine

ROOT = __name__.rpartition("._simulated")[0]
# Modules that have been tried on simulated machines; every other one refuses them.
KNOWN = frozenset(
    [
        "cluster_health",
        "cluster_versions",
        "drain_plan",
        "etcd_member",
        "kubeadm_info",
        "kubeadm_upgrade",
        "kubernetes_manifest",
        "network_plugin_info",
        "node_drain",
        "node_fence",
        "node_files",
        "node_info",
        "upgrade_preflight",
    ]
)


def stand_in(module: str) -> None:
    """Exchange what reaches beyond a module, if it is meant to run on a simulated machine."""
    machine = Machine.here()
    if machine is None:
        return
    if module not in KNOWN:
        print(json.dumps({"failed": True, "msg": f"flotilla.kubernetes.{module} can not work on simulated machines."}))
        sys.exit(1)
    machine.cluster.note(LOOK, machine.name, module)
    _Exchange(machine).everything()


def _module(name: str) -> Any:
    """Return a part of the collection if the module brought it along: only what it imports itself is there."""
    full = f"{ROOT}.{name}"
    try:
        return importlib.import_module(full) if importlib.util.find_spec(full) else None
    except ModuleNotFoundError:
        return None


class _Exchange:
    """In the order in which the parts import each other: whoever takes a name from a part takes the exchanged one."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def everything(self) -> None:
        at = self._machine.at
        # Whether they reach the disk is not what is tried here.
        os.fsync = lambda descriptor: None
        if os.geteuid() != 0:
            os.chown = lambda *arguments, **options: None
        self._set("_state", STATE_DIR=at("/var/lib/flotilla"))
        self._errors = _module("_errors")
        self._command()
        self._client()
        self._set("_kubernetes.etcd", client_context=lambda *paths: None)
        self._set("_kubernetes.gates", api_server_problem=self._problem, kubelet_certificate_problem=lambda address, port=0: "")
        self._set("_kubernetes.membership", KUBELET_KUBECONFIG=at("/etc/kubernetes/kubelet.conf"), kubelet_problem=lambda port=0: "")
        self._set("_kubernetes.configuration", MANIFESTS=at("/etc/kubernetes/manifests"))
        self._set("_kubernetes.node_step", LOG_DIR=at("/var/log/flotilla"), RUN_DIR=at("/run"))
        self._set("_kubernetes.kubelet_flags", drop_left_behind=lambda version: [])
        # All machines have the same folder for Ansible's temporary files here.
        self._set("_installed", forget_staged=lambda folder: None)
        self._node_files()
        self._preflight()

    def _set(self, name: str, **values: Any) -> ModuleType | None:
        part = _module(name)
        for key, value in values.items() if part else ():
            if not hasattr(part, key):
                raise AttributeError(f"{name} has no {key} any more: mend tests/support/simulated/stand_in.py")
            setattr(part, key, value)
        return part

    def _problem(self, address: str, port: int = 0) -> str:
        try:
            own = address in ("127.0.0.1", "localhost")
            Server(self._machine.cluster, self._machine.address if own else address, port).answer("GET", "/readyz", None)
        except OSError as error:
            return str(error)
        return ""

    # Commands

    def _command(self) -> None:
        part = _module("_command")
        if part is None:
            return
        path, real = f"{self._machine.at('/usr/local/bin')}:{part.SEARCH_PATH}", part.node_environment
        self._set("_command", SEARCH_PATH=path, node_environment=lambda: {**real(), "PATH": path}, run=self.run)

    def run(self, argv: Any, *, stdin: str | None = None, code: str = "COMMAND_FAILED", remedy: str = "", **_more: Any) -> str:
        """Do what a command of the machine does."""
        known = {
            "kubelet": self._version,
            "kubeadm": self._version,
            "systemctl": self._systemctl,
            "ctr": self._ctr,
            "kubectl": self._kubectl,
            "ip": self._ip,
        }
        try:
            return known[argv[0]](list(argv), stdin or "") if argv[0] in known else _unknown(argv)
        except Broken as broken:
            message, details = str(broken), {"rc": 1, "stdout": str(broken), "stderr": str(broken)}
            raise self._errors.FlotillaError(code, message, remedy, details=details) from broken

    def _version(self, argv: list[str], _stdin: str) -> str:
        if argv[1:2] not in (["--version"], ["version"]):
            return _unknown(argv)
        return f"v{self._installed(argv[0])}" if argv[0] == "kubeadm" else f"Kubernetes v{self._installed('kubelet')}"

    def _installed(self, program: str) -> str:
        text = self._machine.at(f"/usr/local/bin/{program}").read_text(encoding="utf-8")
        return re.search(rf"^# {program} (\S+)$", text, re.MULTILINE).group(1)

    def _ip(self, _argv: list[str], _stdin: str) -> str:
        return json.dumps([{"ifname": "eth0", "addr_info": [{"local": self._machine.address}]}])

    def _systemctl(self, argv: list[str], _stdin: str) -> str:
        if argv[1] == "show":
            return "UnitFileState=enabled\nActiveState=active\n"
        if argv[1] == "daemon-reload":
            return ""
        if argv[1] != "restart":
            return _unknown(argv)
        machine = self._machine
        with machine.cluster.act(machine.name, f"restart {argv[2]}"), machine.cluster.change() as state:
            node = state["nodes"][machine.name]
            if argv[2] == "kubelet":
                node["kubelet"] = self._installed("kubelet")
            elif argv[2] == "containerd":
                node["runtime"] = self._installed("containerd")
        return ""

    def _ctr(self, argv: list[str], _stdin: str) -> str:
        file = self._machine.at("/var/lib/containerd/images.json")
        images = json.loads(file.read_text(encoding="utf-8"))
        words = argv[2:]
        if words[:3] == ["images", "import", "--local"]:
            name = Path(words[3]).read_text(encoding="utf-8").split()[-1]
            with self._machine.cluster.act(self._machine.name, "import image", name):
                file.write_text(json.dumps(sorted({*images, name})), encoding="utf-8")
            return ""
        if words[:3] == ["images", "list", "--quiet"]:
            wanted = words[3].partition("==")[2] if len(words) > 3 else ""
            return "\n".join(image for image in images if wanted in ("", image))
        return _unknown(argv)

    def _kubectl(self, argv: list[str], stdin: str) -> str:
        machine, name = self._machine, "apps.v1.DaemonSet.kube-flannel.kube-flannel-ds"
        if machine.cluster.read()["applied"] == stdin:
            return ""
        if argv[1] == "diff":
            raise Broken(f"diff -u -N LIVE/{name} MERGED/{name}")
        if argv[1] != "apply":
            return _unknown(argv)
        with machine.cluster.act(machine.name, "kubectl apply"), machine.cluster.change() as state:
            state["applied"] = stdin
        return ""

    # The API

    def _client(self) -> None:
        part = _module("_kubernetes.client")
        if part is None:
            return
        machine = self._machine

        @contextmanager
        def kubeconfig(address: str, user: str, port: int = 0, validity: int = 0) -> Iterator[Path]:
            if address != machine.address or machine.role != "control_plane":
                remedy = "Run this on a control-plane node of the cluster."
                raise self._errors.FlotillaError(
                    "KUBERNETES_CLIENT_CERTIFICATE", f"{machine.name} is no control plane at {address}.", remedy
                )
            yield machine.at("/etc/kubernetes/kubelet.conf")

        class Client(part.Client):  # type: ignore[name-defined, misc]
            """The real one, whose requests go to the simulated server."""

            def __init__(self, host: str, port: int, context: Any = None, timeout: float = 15.0, token: str = "") -> None:
                self.address = f"{host}:{port}"
                self._settings = (host, port, context, timeout, token)
                own = host in ("127.0.0.1", "localhost")
                self._server = Server(machine.cluster, machine.address if own else host, port)

            @classmethod
            def short_lived(cls, address: str, user: str, port: int = part.API_PORT, timeout: float = 15.0) -> Any:
                with kubeconfig(address, user):
                    return cls(address, port)

            @classmethod
            def of_kubeconfig(cls, path: Path, address: str, port: int = part.API_PORT, timeout: float = 15.0) -> Any:
                return cls(address, port)

            def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> str:
                try:
                    return self._server.answer(method, path, body)
                except Refused as refused:
                    raise part.ApiError(refused.status, method, path, json.dumps({"message": str(refused)})) from refused

            def disconnect(self) -> None:
                """There is no connection."""

        self._set("_kubernetes.client", Client=Client, short_lived_kubeconfig=kubeconfig)

    # Files

    def _node_files(self) -> None:
        part = _module("_node_files")
        if part is None:
            return
        machine = self._machine

        def placed(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [{**entry, "dest": str(machine.at(entry["dest"]))} for entry in entries]

        class NodeFiles(part.NodeFiles):  # type: ignore[name-defined, misc]
            """The real one, below the folder of the machine."""

            def __init__(self, params: dict[str, Any]) -> None:
                super().__init__({**params, **{kind: placed(params[kind]) for kind in ("bundle_files", "files", "secret_files")}})

            def apply(self, staged: dict[str, str]) -> None:
                if not self.result()["changed"]:
                    return super().apply(staged)
                with machine.cluster.act(machine.name, "bring files" if self._ahead else "install files"):
                    return super().apply(staged)

        self._set("_node_files", NodeFiles=NodeFiles)

    def _preflight(self) -> None:
        part = _module("_kubernetes.preflight.node")
        if part is None:
            return
        real, root = part.observe, self._machine.root
        # The disk is that of whoever runs the tests.
        disks = [{"path": "/var/lib/containerd", "free": 50 << 30, "inodes": 1 << 20}]
        self._set("_kubernetes.preflight.node", observe=lambda name, wanted: {**real(name, wanted, root), "disks": disks})


def _unknown(argv: Any) -> str:
    raise Broken(f"{' '.join(argv)} is not simulated")
