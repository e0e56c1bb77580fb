# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters with an application under load, and what an upgrade must not be noticed by."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agnhost
import load
import outside
import pytest
import yaml
from conftest import Cluster, wait_for

QUIET = 60.0  # seconds of load without an upgrade
SLOW = 2500.0  # milliseconds; half of what a request may take, and an upgrade needs processors besides
IDLE = 0.3  # share of the host's processors that a cluster leaves free which has come to rest
TOO_NOISY = 75  # exit code: the machine fails requests by itself, so nothing can be said of an upgrade
PATIENCE = 7200.0  # seconds; the load alone keeps a small machine busy
_ARCHIVE = "/root/agnhost.tar"


@dataclass(frozen=True)
class Upgrade:
    """One upgrade under load: the run, what the probe saw, how often etcd got another leader, and evictions of the application's pods."""

    run: outside.Run
    seen: load.Report
    leader_moves: int
    evictions: int

    def summary(self, bound: int) -> str:
        """Return the line by which an upgrade is judged; ``bound`` is how many evictions there may be."""
        return (
            f"\nfailed_requests={self.seen.failed} first_try_errors={self.seen.first_try_errors} lost_writes={self.seen.lost} "
            f"evictions={self.evictions} bound={bound} leader_moves={self.leader_moves}"
        )


@dataclass(frozen=True)
class World:
    """A cluster, the probe, and the URL of the application outside of it."""

    cluster: Cluster
    probe: Path
    url: str

    @property
    def name(self) -> str:
        return self.cluster.name

    def set_version(self, version: str) -> None:
        path = self.cluster.foundation / "clusters" / f"{self.name}.yml"
        definition = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump({**definition, "kubernetes_version": version}, sort_keys=False), encoding="utf-8")

    def versions(self) -> set[str]:
        return {node["status"]["nodeInfo"]["kubeletVersion"].lstrip("v") for node in self.cluster.get("nodes")}

    def evictions(self) -> int:
        def audit(machine: str) -> str:
            return outside.host("podman", "exec", machine, "sh", "-c", "grep -h eviction /var/log/kubernetes/audit/*.log || true")

        return load.evictions(audit, outside.machines(self.name, "control-plane"))

    def upgrade(self, version: str, environment: dict[str, str] | None = None) -> Upgrade:
        """Upgrade it under load."""
        term, evicted = self.leaders(), self.evictions()
        self.set_version(version)
        with load.load(self.probe, self.cluster.kubeconfig, self.url) as seen:
            run = self.cluster.play("cluster_upgrade", environment=environment, timeout=PATIENCE)
        return Upgrade(run, seen, self.leaders() - term, self.evictions() - evicted)

    def leaders(self) -> int:
        """Return the term of etcd: it grows by one with every leader."""
        machine = outside.machines(self.name, "control-plane")[0]
        pki = "/etc/kubernetes/pki/etcd"
        flags = f"--cacert={pki}/ca.crt --cert={pki}/healthcheck-client.crt --key={pki}/healthcheck-client.key"
        shown = outside.host("podman", "exec", machine, "sh", "-c", f"etcdctl {flags} endpoint status --write-out=json")
        return int(json.loads(shown)[0]["Status"]["raftTerm"])


def see_that_it_is_quiet(world: World) -> None:
    """End all tests where requests fail or wait although nothing is done, once the making of the cluster has come to its end."""
    wait_for("a cluster at rest", lambda: outside.idle(5) >= IDLE, timeout=900)
    with load.load(world.probe, world.cluster.kubeconfig, world.url) as seen:
        time.sleep(QUIET)
    if seen.failed or seen.lost or seen.worst > SLOW:
        pytest.exit(
            f"The machine is too noisy: {seen.failed} requests failed, {seen.lost} writes were lost and the slowest answer took "
            f"{seen.worst:.0f} ms without an upgrade.\n{seen}",
            TOO_NOISY,
        )


def give_image(machine: str, archive: Path) -> None:
    """Let a machine have the application's image."""
    outside.host("podman", "cp", str(archive), f"{machine}:{_ARCHIVE}")
    outside.host("podman", "exec", machine, "ctr", "--namespace=k8s.io", "images", "import", _ARCHIVE)


@contextmanager
def world(
    factory: pytest.TempPathFactory, name: str, more_addresses: Sequence[str] = (), by_proxy: bool = False, **definition: Any
) -> Iterator[World]:
    """Make a cluster with the application; it is deleted in the end, unless FLOTILLA_KEEP is set.

    :param more_addresses: where workers may come that the front sends requests to.
    :param by_proxy: whether the front asks kube-proxy which nodes take requests, as the load balancers of clouds do.
    """
    foundation = factory.mktemp("loaded")
    outside.write_definition(foundation, name, **definition)
    vault = factory.mktemp("inputs") / "vault.json"
    vault.write_text("{}", encoding="utf-8")
    if any(outside.left_of(name).values()):
        outside.playbook("cluster_delete", foundation, "-e", f"flotilla_confirm={name}")
    image, archive = agnhost.make("1.36.3")
    probe = load.program()
    made = outside.playbook("cluster_apply", foundation)
    assert made.status == 0, made.output[-6000:]
    cluster = Cluster(foundation, name, made, {}, None, foundation, vault)
    workers = outside.machines(name, "workers")
    for machine in workers:
        give_image(machine, archive)
    cluster.kubectl("apply", "--filename=-", stdin="\n---\n".join(json.dumps(one) for one in load.objects(image)))
    cluster.kubectl("rollout", "status", f"deployment/{load.APPLICATION}", "--timeout=180s")
    try:
        with load.front(name, [*map(outside.address, workers), *more_addresses], by_proxy) as url:
            yield World(cluster, probe, url)
    finally:
        if not os.environ.get("FLOTILLA_KEEP"):
            outside.playbook("cluster_delete", foundation, "-e", f"flotilla_confirm={name}")
