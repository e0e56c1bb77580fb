# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster in a cloud whose machines are real: the endpoint, a proxy that writes down every call, the backing, and playbooks."""

from __future__ import annotations

import contextlib
import importlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import outside
import yaml
from clouds.cloud import CONTROL_PLANE, Cloud, Place
from clouds.cloud import started as endpoint_started
from clouds.faults import CALM

from backing import process
from backing.machines import MACHINE
from backing.picture import Picture
from backing.podman import Host

# What Kubernetes needs on machines that share the kernel, the disk and the memory of one host, as a user of the roles may say it.
_CONFIGURATION = {
    "failSwapOn": False,
    "failCgroupV1": False,
    "imageGCHighThresholdPercent": 100,
    "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
}
NODE_VARIABLES = {
    "kubernetes_node_disable_swap": False,
    "kubernetes_control_plane_kubelet_configuration": _CONFIGURATION,
    "kubernetes_control_plane_kube_proxy_configuration": {
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
    },
    "kubernetes_control_plane_ignore_preflight_errors": ["SystemVerification"],
    "kubernetes_worker_ignore_preflight_errors": ["SystemVerification"],
}


class Scene(Protocol):
    """What a stage has to know of a cloud: a cloud's folder has a module `scene` with a class `Scene`, made without arguments."""

    account: Cloud
    """The account of the contract suite at an endpoint that can be backed."""
    machine: dict[str, Any]
    """What a machine is to be like."""

    def definition(self, url: str, cidr: str) -> dict[str, Any]:
        """Return image and the cloud's own section of a definition, whose network is in ``cidr``."""

    def pool(self, url: str) -> dict[str, Any]:
        """Return what a pool of workers has besides."""


@dataclass
class Stage:
    """:param folder: holds definition, key and logs; ``account`` are the things of others that the account began with."""

    folder: Path
    cloud: str
    scene: Scene
    name: str
    cidr: str
    version: str
    place: Place
    backing: process.Process
    account: list[Any]

    @property
    def foundation(self) -> Path:
        return self.folder / "foundation"

    def define(self, control_planes: int, workers: int) -> None:
        """Write the cluster's definition."""
        zones = list(self.place.cloud.zones)
        machine = self.scene.machine
        pool = {"name": "workers", "count": workers, "machine": machine, "zones": zones[:2], **self.scene.pool(self.place.direct)}
        outside.write_definition(
            self.foundation,
            self.name,
            cloud=self.cloud,
            kubernetes_version=self.version,
            control_plane={"count": control_planes, "machine": machine, "zones": zones},
            pools=[pool],
            access={"ssh_user": "ops", "ssh_private_key_file": str(self.folder / "key")},
            **self.scene.definition(self.place.direct, self.cidr),
        )

    def play(self, name: str, *options: str) -> outside.Run:
        """Run a playbook through the proxy, which begins a new list of calls."""
        self.place.weather(CALM)
        variables = f"@{self.folder / 'nodes.yml'}"
        return outside.playbook(name, self.foundation, "-e", variables, *options, environment=self.place.environment)

    def machines(self, pool: str = "") -> list[str]:
        """Return the ids of the cluster's machines that live, in all pools or in one."""
        found = self.place.cloud.machines(self.place.cloud.dump(self.place.direct), self.name)
        return sorted(machine.id for machine in found if pool in ("", machine.pool))

    @property
    def control_planes(self) -> list[str]:
        return self.machines(CONTROL_PLANE)

    def changes(self) -> list[str]:
        """Return the calls of the last playbook that may have changed something."""
        return [str(call["action"]) for call in self.place.calls() if call["mutates"]]

    def containers(self) -> dict[str, str]:
        """Return the name of the container of each machine, by the instance's id."""
        return {thing: container.name for thing, container in Host(self.name).containers(MACHINE).items()}

    def ids(self) -> dict[str, str]:
        """Return podman's own id of each machine's container, by the instance's id: another one is another container."""
        return {thing: outside.host("podman", "inspect", "--format", "{{.Id}}", name).strip() for thing, name in self.containers().items()}

    def run_on(self, instance: str, *command: str, check: bool = True) -> str:
        return outside.host("podman", "exec", self.containers()[instance], *command, check=check)

    def left(self) -> list[Any]:
        """Return what the account holds besides what it began with."""
        return [thing for thing in self.place.cloud.dump(self.place.direct) if thing not in self.account]

    def logs(self) -> str:
        """Return what explains a cluster that did not come up."""
        collected = outside.command(str(outside.ROOT / "tools/collect-logs"), self.name).output
        return f"{collected}\n===== backing\n{self.backing.log.read_text(encoding='utf-8')}"

    def picture(self) -> Picture:
        adapter: Any = importlib.import_module(f"backing.{self.cloud}.adapter").Adapter(self.place.direct, self.name)
        return adapter.look()

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """Run kubectl where names are asked of the network's own resolver, through the load balancer's name."""
        picture = self.picture()
        assert picture.network is not None, "there is no network"
        resolver = self.folder / "resolv.conf"
        resolver.write_text(f"nameserver {picture.resolver}\n", encoding="utf-8")
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        kubectl = outside.cache() / "bundles" / self.version / "bin/amd64/kubectl"
        config = Path.home() / f".kube/flotilla/{self.name}.conf"
        command = [*outside.SUDO, "unshare", "--mount", "sh", "-c", script, str(resolver)]
        done = subprocess.run(
            [*command, str(kubectl), f"--kubeconfig={config}", "--request-timeout=30s", *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout


@contextlib.contextmanager
def started(cloud: str, folder: Path, name: str, cidr: str, version: str, strict: bool = True) -> Iterator[Stage]:
    """Set the stage for a cluster.

    :param cloud: folder next to this file.
    :param folder: empty.
    :param name: of the cluster and of the backing.
    :param strict: as of `keeper.Keeper`.
    """
    scene: Scene = importlib.import_module(f"backing.{cloud}.scene").Scene()
    (folder / "endpoint").mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    (folder / "nodes.yml").write_text(yaml.safe_dump(NODE_VARIABLES), encoding="utf-8")
    with endpoint_started(scene.account, folder / "endpoint", 1.0) as place:
        others = place.reset()
        with process.started(cloud, place.direct, name, name, folder, strict) as backing:
            yield Stage(folder, cloud, scene, name, cidr, version, place, backing, others)
