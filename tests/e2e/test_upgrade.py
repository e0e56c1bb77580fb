# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of three and three is upgraded by two minors under load, and nobody notices: `make e2e-upgrade`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import agnhost
import load
import outside
import pytest
import yaml
from conftest import Cluster, wait_for

NAME, OLD, NEW = "test-upgrade", "1.34.4", "1.36.3"
QUIET = 60.0  # seconds of load without an upgrade
TOO_NOISY = 75  # exit code: the machine fails requests by itself, so nothing can be said of an upgrade

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class World:
    cluster: Cluster
    probe: Path
    url: str

    def set_version(self, version: str) -> None:
        path = self.cluster.foundation / "clusters" / f"{NAME}.yml"
        definition = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump({**definition, "kubernetes_version": version}, sort_keys=False), encoding="utf-8")

    def versions(self) -> set[str]:
        return {node["status"]["nodeInfo"]["kubeletVersion"].lstrip("v") for node in self.cluster.get("nodes")}

    def evictions(self) -> int:
        def audit(machine: str) -> str:
            return outside.host("podman", "exec", machine, "sh", "-c", "grep -h eviction /var/log/kubernetes/audit/*.log || true")

        return load.evictions(audit, outside.machines(NAME, "control-plane"))

    def leaders(self) -> int:
        """Return the term of etcd: it grows by one with every leader."""
        machine = outside.machines(NAME, "control-plane")[0]
        pki = "/etc/kubernetes/pki/etcd"
        flags = f"--cacert={pki}/ca.crt --cert={pki}/healthcheck-client.crt --key={pki}/healthcheck-client.key"
        shown = outside.host("podman", "exec", machine, "sh", "-c", f"etcdctl {flags} endpoint status --write-out=json")
        return int(json.loads(shown)[0]["Status"]["raftTerm"])


def address(machine: str) -> str:
    return outside.host("podman", "inspect", "--format", '{{index .Config.Labels "flotilla-address"}}', machine).strip()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    foundation = tmp_path_factory.mktemp("upgrade")
    outside.write_definition(
        foundation,
        NAME,
        kubernetes_version=OLD,
        control_plane={"count": 3},
        pools=[{"name": "workers", "count": 3}],
        local={"network_cidr": "172.30.242.0/24"},
    )
    vault = tmp_path_factory.mktemp("inputs") / "vault.json"
    vault.write_text("{}", encoding="utf-8")
    if any(outside.left_of(NAME).values()):
        outside.playbook("cluster_delete", foundation, "-e", f"flotilla_confirm={NAME}")
    image, archive = agnhost.make("1.36.3")
    probe = load.program()
    made = outside.playbook("cluster_apply", foundation)
    assert made.status == 0, made.output[-6000:]
    cluster = Cluster(foundation, NAME, made, {}, None, foundation, vault)
    for machine in outside.machines(NAME, "workers"):
        outside.host("podman", "cp", str(archive), f"{machine}:/root/agnhost.tar")
        outside.host("podman", "exec", machine, "ctr", "--namespace=k8s.io", "images", "import", "/root/agnhost.tar")
    cluster.kubectl("apply", "--filename=-", stdin="\n---\n".join(json.dumps(one) for one in load.objects(image)))
    cluster.kubectl("rollout", "status", f"deployment/{load.APPLICATION}", "--timeout=180s")
    with load.front(NAME, [address(machine) for machine in outside.machines(NAME, "workers")]) as url:
        yield World(cluster, probe, url)
    if not outside.os.environ.get("FLOTILLA_KEEP"):
        outside.playbook("cluster_delete", foundation, "-e", f"flotilla_confirm={NAME}")


def test_the_machine_is_quiet_enough(world: World) -> None:
    with load.load(world.probe, world.cluster.kubeconfig, world.url) as seen:
        time.sleep(QUIET)
    print(seen)
    if seen.failed or seen.lost:
        pytest.exit(
            f"The machine is too noisy: {seen.failed} requests failed and {seen.lost} writes were lost without an upgrade.\n{seen}",
            TOO_NOISY,
        )


def test_a_prediction_changes_nothing(world: World) -> None:
    containers, term, evicted = outside.containers(NAME), world.leaders(), world.evictions()
    world.set_version(NEW)
    run = world.cluster.play("cluster_upgrade", "--check")
    world.set_version(OLD)
    assert run.status == 0 and run.changed > 0, run.output[-6000:]
    assert f"{OLD} -> 1.35.4 -> {NEW}" in run.output
    assert (outside.containers(NAME), world.leaders(), world.evictions(), world.versions()) == (containers, term, evicted, {OLD})


def test_two_minors_in_a_row_fail_no_request(world: World) -> None:
    term, evicted = world.leaders(), world.evictions()
    # Every pod once, and those of the first batch, which find no upgraded node yet, once more.
    nodes = [pod["spec"]["nodeName"] for pod in world.cluster.get("pods", "--selector=app=shop")]
    first = max(nodes.count(node) for node in set(nodes))
    world.set_version(NEW)
    with load.load(world.probe, world.cluster.kubeconfig, world.url) as seen:
        run = world.cluster.play("cluster_upgrade")
    moves, evicted, bound = world.leaders() - term, world.evictions() - evicted, load.REPLICAS + first
    print(seen)
    print(
        f"\nfailed_requests={seen.failed} first_try_errors={seen.first_try_errors} lost_writes={seen.lost} "
        f"evictions={evicted} bound={bound} leader_moves={moves}"
    )
    assert run.status == 0, run.output[-6000:]
    assert world.versions() == {NEW}
    assert (seen.failed, seen.lost) == (0, 0), str(seen)
    assert seen.first_try_errors <= moves, str(seen)
    assert 0 < evicted <= bound


def test_afterwards_nothing_is_left_to_do(world: World) -> None:
    containers = outside.containers(NAME)
    for name in ("cluster_upgrade", "cluster_apply"):
        run = world.cluster.play(name)
        assert (run.status, run.changed) == (0, 0), run.output[-6000:]
    assert outside.containers(NAME) == containers
    taints = [taint["key"] for node in world.cluster.get("nodes") for taint in node["spec"].get("taints", [])]
    assert not [key for key in taints if key.startswith("flotilla")]
    wait_for(
        "every pod of the application",
        lambda: len(world.cluster.get("pods", "--field-selector=status.phase=Running", "--selector=app=shop")) == 6,
    )


def test_a_downgrade_is_refused_before_anything_changes(world: World) -> None:
    world.set_version("1.35.4")
    run = world.cluster.play("cluster_upgrade")
    world.set_version(NEW)
    assert run.status != 0 and run.changed == 0
    assert "which is newer than 1.35.4" in run.output
