# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines that exist already: examples/own_inventory as it is, and a definition for the same machines. In `make e2e-full` only.

The machines are node containers, made without a cluster and addressed as if bought elsewhere. The tests run in the order of this file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bare_machines
import outside
import pytest
from conftest import wait_for

pytestmark = pytest.mark.full

NAME = "test-bought"
BASE = os.environ.get("FLOTILLA_TEST_NETWORK", "172.30.247")
# Only because these machines are containers that share this host's kernel and disk.
CONTAINERS = {
    "kubernetes_control_plane_kubelet_configuration": {
        "failSwapOn": False,
        "failCgroupV1": False,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
    },
    "kubernetes_control_plane_kube_proxy_configuration": {
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
    },
    "kubernetes_control_plane_ignore_preflight_errors": ["SystemVerification"],
    "kubernetes_worker_ignore_preflight_errors": ["SystemVerification"],
    "kubernetes_node_disable_swap": False,
    "infrastructure_acknowledged": ["MACHINE_UUID_TWICE"],
}


@dataclass(frozen=True)
class Site:
    """Two machines, and what reaches them."""

    folder: Path
    server: str
    agent: str

    def run(self, *arguments: str) -> outside.Run:
        return outside.command("ansible-playbook", *arguments, "-e", json.dumps(CONTAINERS))

    def definition(self, provider: str = "haproxy_keepalived", address: str = f"{BASE}.5") -> Path:
        return outside.write_definition(
            self.folder / "defined",
            NAME,
            cloud="existing",
            control_plane={},
            pools=[{"name": "workers"}],
            api_endpoint={"provider": provider, "address": address},
            access={"ssh_user": "flotilla", "ssh_private_key_file": str(outside.cache() / "local/ssh/id_ed25519")},
            existing={
                "host_keys": "accept_new",
                "machines": [
                    {"address": self.server, "role": "control_plane", "node_name": "server-1"},
                    {"address": self.agent, "pool": "workers", "node_name": "agent-1"},
                ],
            },
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("bought")
    # Of a run that failed: host keys of machines that are gone, at the same addresses.
    for path in (Path.home() / f".kube/flotilla/{NAME}.conf", outside.cache() / "known_hosts" / NAME):
        path.unlink(missing_ok=True)
    with bare_machines.made(folder / "made", NAME, f"{BASE}.0/24") as addresses:
        yield Site(folder, *addresses)


def kubectl(*arguments: str, check: bool = True) -> str:
    program, kubeconfig = outside.cache() / "bundles/1.36.3/bin/amd64/kubectl", Path.home() / f".kube/flotilla/{NAME}.conf"
    return outside.host(str(program), f"--kubeconfig={kubeconfig}", *arguments, check=check)


def nodes_ready() -> set[str]:
    """Return the names of the Ready nodes."""
    listed = kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=300s", "--output=name")
    return {line.removeprefix("node/") for line in listed.split()}


def test_the_example_makes_a_cluster_without_a_definition(site: Site) -> None:
    example = outside.ROOT / "examples/own_inventory"
    assert "flotilla_cluster" not in "".join(path.read_text(encoding="utf-8") for path in example.glob("*.yml"))
    # What the machines of this test are, beside the inventory of the example: of two sources the later one counts.
    addresses = {"servers": {"server-1": site.server}, "agents": {"agent-1": site.agent}}
    machines = {
        group: {"hosts": {name: {"ansible_host": address} for name, address in hosts.items()}} for group, hosts in addresses.items()
    }
    variables = {"api_endpoint_address": f"{BASE}.5", "kubernetes_control_plane_cluster_name": NAME, "kubeconfig_cluster_name": NAME}
    own = bare_machines.inventory(site.folder / "own.yml", machines, variables)
    arguments = ("-i", str(example / "hosts.yml"), "-i", str(own), str(example / "site.yml"))
    first = site.run(*arguments)
    assert first.status == 0, first.output[-6000:]
    assert nodes_ready() == {"server-1", "agent-1"}
    again = site.run(*arguments)
    assert (again.status, again.changed) == (0, 0), again.output[-6000:]


def test_a_definition_takes_the_same_cluster_over(site: Site) -> None:
    path = site.definition()
    run = site.run("-i", str(path), "flotilla.kubernetes.cluster_apply")
    assert run.status == 0, run.output[-6000:]
    assert f"Cluster {NAME}: Kubernetes 1.36.3, healthy" in run.output
    assert nodes_ready() == {"server-1", "agent-1"}


def test_a_machine_that_is_down_is_named_before_anything_changes(site: Site) -> None:
    path = site.definition()
    machine = outside.machines(NAME)[0]
    outside.host("podman", "kill", machine)
    try:
        run = site.run("-i", str(path), "flotilla.kubernetes.cluster_apply", "-e", "ansible_ssh_timeout=3")
        assert run.status != 0 and run.changed == 0, run.output[-3000:]
        assert f"[MACHINE_UNREACHABLE] The machine server-1 ({site.server})" in run.output
    finally:
        outside.host("podman", "start", machine)
    wait_for("the machine serves again", lambda: kubectl("get", "--raw=/readyz", "--request-timeout=5s", check=False) == "ok")


def test_a_machine_of_another_cluster_is_left_alone(site: Site) -> None:
    path = site.definition(address=f"{BASE}.6")
    run = site.run("-i", str(path), "flotilla.kubernetes.cluster_apply")
    assert run.status != 0 and run.changed == 0
    assert f"[MACHINE_IN_OTHER_CLUSTER] The machine server-1 ({site.server}) is a member of the cluster at {BASE}.5:8443" in run.output
    deleted = site.run("-i", str(path), "flotilla.kubernetes.cluster_delete", "-e", f"flotilla_confirm={NAME}")
    assert deleted.status != 0 and "MACHINE_IN_OTHER_CLUSTER" in deleted.output
    assert nodes_ready() == {"server-1", "agent-1"}


def remains(machine: str) -> str:
    """Return what a machine has of a cluster; the files of HAProxy's and keepalived's packages are not of it."""
    script = (
        "ls -d /etc/kubernetes; ls -A /var/lib/etcd; pgrep --list-name 'kube|etcd|haproxy|keepalived'; "
        "grep -l flotilla /etc/haproxy/haproxy.cfg /etc/keepalived/keepalived.conf; "
        f"ip -oneline address show | grep -wE '{BASE}.[56]'"
    )
    return outside.host("podman", "exec", machine, "sh", "-c", script, check=False)


def test_delete_gives_the_machines_back_and_they_take_another_cluster(site: Site) -> None:
    def delete(path: Path) -> None:
        run = site.run("-i", str(path), "flotilla.kubernetes.cluster_delete", "-e", f"flotilla_confirm={NAME}")
        assert run.status == 0, run.output[-3000:]
        assert {machine: remains(machine) for machine in outside.machines(NAME)} == dict.fromkeys(outside.machines(NAME), "")

    delete(site.definition())
    other = site.definition("kube_vip", f"{BASE}.6")
    made = site.run("-i", str(other), "flotilla.kubernetes.cluster_apply")
    assert made.status == 0, made.output[-6000:]
    assert nodes_ready() == {"server-1", "agent-1"}
    control_plane = outside.machines(NAME, "control-plane")[0]
    assert re.search(rf"^/etc/kubernetes$.* kube-vip$.* {BASE}.6/32 ", remains(control_plane), re.MULTILINE | re.DOTALL)
    delete(other)
