# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that plain kubeadm made is adopted by examples/adoption, as it is: `make e2e-adoption`.

The cluster is the bare floor of the benchmarks, which knows nothing of this collection. The tests run in the order of this file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bare_machines
import outside
import pytest
import yaml
from conftest import VERSION

NAME = "test-adopt"
BASE = os.environ.get("FLOTILLA_TEST_NETWORK", "172.30.223")
# Only for a moment, for the image of its machines.
OTHER = os.environ.get("FLOTILLA_TEST_OTHER_NETWORK", "172.30.222")
EXAMPLE = outside.ROOT / "examples/adoption"
FLOOR = outside.ROOT / "tests/benchmarks/floor.sh"
MASTER, NODES = f"{NAME}-10", [f"{NAME}-11", f"{NAME}-12"]
# All that the collection could write to on a machine, apart from its fence.
PLACES = ["/etc", "/usr/local", "/opt", "/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env"]
# Only because these machines are containers that share this host's kernel.
CONTAINERS = {"infrastructure_acknowledged": ["MACHINE_UUID_TWICE"], "kubernetes_node_disable_swap": False}

pytestmark = pytest.mark.long


def kubectl(*arguments: str) -> str:
    return outside.host("podman", "exec", MASTER, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", *arguments)


@dataclass(frozen=True)
class Foreign:
    """The foreign cluster: its inventory, beside that of the example, and where its definition goes."""

    own: Path
    definition: Path

    def adopt(self, *options: str, inventories: tuple[Path, ...] = ()) -> outside.Run:
        sources = [argument for path in (EXAMPLE / "hosts.yml", self.own, *inventories) for argument in ("-i", str(path))]
        more = ("-e", f"@{EXAMPLE / 'groups.yml'}", "-e", f"flotilla_definition={self.definition}")
        return outside.command("ansible-playbook", *sources, "flotilla.kubernetes.cluster_adopt", *more, *options)

    def play(self, name: str, *options: str) -> outside.Run:
        return outside.playbook(name, self.definition, "-e", json.dumps(CONTAINERS), *options)

    def set(self, **changes: Any) -> None:
        """Change the definition; mappings are merged."""
        definition = yaml.safe_load(self.definition.read_text(encoding="utf-8"))
        for key, value in changes.items():
            definition[key] = {**definition[key], **value} if isinstance(value, dict) else value
        self.definition.write_text(yaml.safe_dump(definition, sort_keys=False), encoding="utf-8")


def state() -> dict[str, Any]:
    """Return what nobody may change: files, start times of what runs, and what is configured in the cluster."""
    seen: dict[str, Any] = {}
    for machine in (MASTER, *NODES):
        seen[f"files of {machine}"] = outside.digests(machine, PLACES)
        script = "systemctl show --property=ExecMainStartTimestampMonotonic kubelet containerd; pgrep --list-name 'kube|etcd'"
        seen[f"processes of {machine}"] = outside.host("podman", "exec", machine, "sh", "-c", script)
    kinds = "configmaps,secrets,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,daemonsets,deployments,csr"
    template = "jsonpath={range .items[*]}{.kind} {.metadata.namespace} {.metadata.name} {.metadata.generation}{'\\n'}{end}"
    seen["objects"] = kubectl("get", kinds, "--all-namespaces", f"--output={template}")
    for name in ("kubeadm-config", "kubelet-config", "kube-proxy"):
        seen[name] = kubectl("--namespace=kube-system", "get", "configmap", name, "--output=jsonpath={.metadata.resourceVersion}")
    seen["labels"] = kubectl("get", "nodes", "--output=jsonpath={range .items[*]}{.metadata.labels}{.spec.taints}{'\\n'}{end}")
    return seen


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    folder = tmp_path_factory.mktemp("adoption")
    before = outside.settings()
    with bare_machines.made(folder / "made", "test-adopt-image", f"{OTHER}.0/24", workers=0):
        image = outside.host("podman", "inspect", "--format", "{{.ImageName}}", outside.machines("test-adopt-image")[0]).strip()
    outside.host(str(FLOOR), "delete", NAME)
    bundle, floor = outside.cache() / "bundles" / VERSION, folder / "floor"
    outside.host(str(FLOOR), "create", NAME, f"{BASE}.0/24", image, str(bundle), str(floor), "1", "2")
    outside.host("chown", "-R", str(os.getuid()), str(floor))
    kubectl("label", "node", NODES[0], "tier=web")
    kubectl("label", "node", NODES[1], "tier=batch")
    kubectl("taint", "node", NODES[1], "dedicated=batch:PreferNoSchedule")
    addresses = {"master-1": f"{BASE}.10", "node-1": f"{BASE}.11", "node-2": f"{BASE}.12"}
    login = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(floor / "key"),
        "ansible_ssh_common_args": f"-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={floor / 'known_hosts'}",
    }
    own = folder / "own.yml"
    own.write_text(yaml.safe_dump({"all": {"vars": login, "hosts": {name: {"ansible_host": a} for name, a in addresses.items()}}}))
    leftovers = [Path.home() / f".kube/flotilla/{NAME}.conf", outside.cache() / "known_hosts" / NAME]
    for path in leftovers:
        path.unlink(missing_ok=True)
    yield Foreign(own, folder / f"office/clusters/{NAME}.yml")
    if not os.environ.get("FLOTILLA_KEEP"):
        outside.host(str(FLOOR), "delete", NAME)
        for path in leftovers:
            path.unlink(missing_ok=True)
        changed = [f"{key}={before[key]}" for key, value in outside.settings().items() if key in before and before[key] != value]
        if changed:
            outside.host("sysctl", "--quiet", "--write", *changed)


def test_check_mode_shows_the_definition_and_writes_nothing(foreign: Foreign) -> None:
    before = state()
    run = foreign.adopt("--check", "--diff")
    assert run.status == 0, run.output[-4000:]
    assert "+cloud: existing" in run.output and not foreign.definition.exists()
    assert state() == before


def test_a_machine_that_is_down_a_node_that_nobody_named_and_a_wrong_group_are_said(foreign: Foreign, tmp_path: Path) -> None:
    lost = tmp_path / "lost.yml"
    lost.write_text(yaml.safe_dump({"nodes": {"hosts": {"node-2": {"ansible_host": f"{BASE}.99", "ansible_ssh_timeout": 3}}}}))
    run = foreign.adopt(inventories=(lost,))
    assert run.status != 0 and "[ADOPT_MACHINE_UNREACHABLE] node-2" in run.output and not foreign.definition.exists()
    assert f"[ADOPT_NODE_WITHOUT_MACHINE] {NODES[1]}" in run.output
    run = foreign.adopt("-e", "flotilla_control_plane_group=mastres")
    assert run.status != 0 and "-e flotilla_control_plane_group=<group>. Did you mean masters?" in run.output, run.output[-2000:]


def test_the_example_writes_a_definition_of_what_is_there(foreign: Foreign) -> None:
    before = state()
    run = foreign.adopt()
    assert (run.status, run.changed) == (0, 1), run.output[-4000:]
    assert state() == before
    definition = yaml.safe_load(foreign.definition.read_text(encoding="utf-8"))
    assert (definition["name"], definition["cloud"], definition["kubernetes_version"]) == (NAME, "existing", VERSION)
    assert definition["api_endpoint"] == {"provider": "external", "address": f"{BASE}.3", "port": 6443}
    assert definition["network"] == {"pod_cidrs": ["10.244.0.0/16"], "service_cidrs": ["10.96.0.0/12"], "plugin": "none"}
    taint = {"key": "dedicated", "value": "batch", "effect": "PreferNoSchedule"}
    assert definition["pools"] == [
        {"name": "web", "labels": {"tier": "web"}},
        {"name": "batch", "labels": {"tier": "batch"}, "taints": [taint]},
    ]
    assert [(machine["address"], machine["node_name"], machine.get("pool")) for machine in definition["existing"]["machines"]] == [
        (f"{BASE}.10", MASTER, None),
        (f"{BASE}.11", NODES[0], "web"),
        (f"{BASE}.12", NODES[1], "batch"),
    ]
    for code in ("ADOPT_NETWORK_PLUGIN_KEPT", "ADOPT_CLUSTER_NAME", "ADOPT_SECRETS_PLAIN"):
        assert code in run.output and code in foreign.definition.read_text(encoding="utf-8")


def test_a_definition_that_is_there_is_never_overwritten(foreign: Foreign) -> None:
    again = foreign.adopt()
    assert (again.status, again.changed) == (0, 0), again.output[-3000:]
    written = foreign.definition.read_bytes()
    foreign.set(access={"ssh_user": "somebody"})
    changed = foreign.definition.read_bytes()
    refused = foreign.adopt("--diff")
    assert refused.status != 0 and "is there already and is not what the cluster shows" in refused.output, refused.output[-3000:]
    assert foreign.definition.read_bytes() == changed
    foreign.definition.write_bytes(written)


def test_the_plan_of_the_adopted_cluster_shows_no_change(foreign: Foreign) -> None:
    assert outside.playbook("validate", foreign.definition).status == 0
    before = state()
    run = foreign.play("cluster_plan", "--check")
    assert run.status == 0, run.output[-6000:]
    assert f"Cluster {NAME} is as its definition says: cluster_apply would change nothing." in run.output, run.output[-4000:]
    assert state() == before


def test_playbooks_work_on_it_and_leave_it_as_it_is(foreign: Foreign) -> None:
    before = state()
    status = foreign.play("cluster_status")
    assert status.status == 0 and NODES[1] in status.output, status.output[-4000:]
    applied = foreign.play("cluster_apply")
    assert applied.status == 0, applied.output[-6000:]
    assert f"Cluster {NAME}: Kubernetes {VERSION}, healthy" in applied.output
    after = state()
    # A kubeconfig is signed by a request to the cluster, which is gone again.
    assert after == before


def test_an_upgrade_of_what_is_kept_is_refused_with_the_way_out(foreign: Foreign) -> None:
    written = foreign.definition.read_bytes()
    foreign.set(kubernetes_version="1.36.4")
    run = foreign.play("cluster_upgrade")
    foreign.definition.write_bytes(written)
    assert run.status != 0 and run.changed == 0 and "[UPGRADE_SETTINGS_KEPT]" in run.output, run.output[-4000:]


def test_what_managing_it_would_change_is_named_before_anybody_decides(foreign: Foreign) -> None:
    written, before = foreign.definition.read_bytes(), state()
    foreign.set(existing={"settings": "manage"})
    run = foreign.play("cluster_plan", "--check", "-e", f"flotilla_report={foreign.definition.with_suffix('.json')}")
    foreign.definition.write_bytes(written)
    assert run.status == 0, run.output[-6000:]
    steps = json.loads(foreign.definition.with_suffix(".json").read_text(encoding="utf-8"))["steps"]
    found = {(step["object"], step["action"]) for step in steps}
    assert {(MASTER, "settings of the control plane"), (MASTER, "containerd"), (NODES[0], "containerd")} <= found, run.output[-4000:]
    assert {step["where"] for step in steps} == {"nodes"}
    assert state() == before
