# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Examples without machines, as they are in examples/: the collection alone, and the playbook of an adoption.

On real machines: own_play and own_inventory in tests/e2e/test_own_play.py and test_existing_machines.py, adoption in test_adoption.py.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import outside

EXAMPLES = outside.ROOT / "examples"


def ansible(program: str, *arguments: str, folder: Path, collections: Path) -> subprocess.CompletedProcess[str]:
    """Run a program of Ansible in a folder where nothing but ``collections`` is known of the collection."""
    environment = {key: value for key, value in outside.playbook_environment().items() if key != "ANSIBLE_CONFIG"}
    return subprocess.run(
        [str(outside.BIN / program), *arguments],
        cwd=folder,
        env={**environment, "ANSIBLE_COLLECTIONS_PATH": str(collections)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty directory, and in it the collection and nothing else, installed as the example says."""
    folder = tmp_path_factory.mktemp("installed")
    for arguments in (
        ("build", "--output-path", str(folder / "dist"), str(outside.ROOT)),
        ("install", "--offline", "--collections-path", "collections", "dist/flotilla-kubernetes-0.1.0.tar.gz"),
    ):
        done = ansible("ansible-galaxy", "collection", *arguments, folder=folder, collections=folder / "collections")
        assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture
def example(installed: Path) -> Path:
    """The example as the archive brought it, in the empty directory."""
    source = installed / "collections/ansible_collections/flotilla/kubernetes/examples/collection_only"
    shutil.copytree(source, installed, dirs_exist_ok=True)
    return installed


def test_playbooks_of_a_collection_that_was_installed_are_called_by_name(example: Path) -> None:
    collections = example / "collections"
    listed = ansible("ansible-galaxy", "collection", "list", "flotilla.kubernetes", folder=example, collections=collections)
    assert str(collections) in listed.stdout and "collection/ansible_collections" not in listed.stdout.replace(str(collections), "")
    inventory = ("-i", "clusters/office.yml")
    checked = ansible("ansible-playbook", *inventory, "flotilla.kubernetes.validate", folder=example, collections=collections)
    assert checked.returncode == 0, checked.stdout
    assert "office: Kubernetes 1.36.3 on existing, 1 control planes, 1 workers (" in checked.stdout
    played = ansible("ansible-playbook", *inventory, "site.yml", folder=example, collections=collections)
    assert played.returncode == 0 and "office: office-control-plane-192-0-2-11, office-workers-192-0-2-21" in played.stdout, played.stdout


def test_a_definition_with_a_mistake_fails_there_too(example: Path) -> None:
    definition = example / "clusters/office.yml"
    definition.write_text(definition.read_text(encoding="utf-8").replace("pool: workers", "pool: wrokers"), encoding="utf-8")
    done = ansible(
        "ansible-playbook", "-i", "clusters", "flotilla.kubernetes.validate", folder=example, collections=example / "collections"
    )
    assert done.returncode != 0
    assert 'did you mean "workers"?' in done.stdout, done.stdout


def test_programs_and_settings_of_the_checkout_are_not_installed(installed: Path) -> None:
    there = {path.name for path in (installed / "collections/ansible_collections/flotilla/kubernetes").iterdir()}
    assert {"examples", "playbooks", "roles", "requirements.txt"} <= there
    assert not there & {"Makefile", "tools", "inventories", "ansible.cfg", "collection"}


# What machine_info and kubeadm_cluster_info would say of the machines of examples/adoption. Extra variables count before what tasks
# register.
CONFIGURATION = """\
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: kubernetes
kubernetesVersion: v1.36.3
controlPlaneEndpoint: 192.0.2.5:6443
networking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12}
"""
ADDRESSES = {"master-1": "192.0.2.11", "node-1": "192.0.2.21", "node-2": "192.0.2.22"}


def shown(name: str, address: str) -> dict[str, object]:
    control_plane = name == "master-1"
    taint = {"key": "node-role.kubernetes.io/control-plane", "value": "", "effect": "NoSchedule"}
    return {
        "name": name, "control_plane": control_plane, "ready": True, "schedulable": True, "addresses": [address],
        "kubelet_version": "1.36.3", "architecture": "amd64", "os": "linux", "runtime": "containerd://2.2.1",
        "labels": {} if control_plane else {"tier": "web"}, "taints": [taint] if control_plane else [], "pod_cidrs": [],
    }  # fmt: skip


@pytest.fixture
def foreign(tmp_path: Path) -> tuple[str, ...]:
    """Options of a run to which the machines of the example show a cluster, and whose SSH ends on this machine."""
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n', encoding="utf-8")
    ssh.chmod(0o755)
    looks = {name: {"machine_id": name, "addresses": [address], "api_endpoint": "192.0.2.5:6443"} for name, address in ADDRESSES.items()}
    cluster = {
        "address": "192.0.2.11",
        "port": 6443,
        "documents": {"ClusterConfiguration": CONFIGURATION},
        "flags": {},
        "nodes": [shown(name, address) for name, address in ADDRESSES.items()],
        "api_server_versions": {"master-1": "1.36.3"},
        "network_plugins": ["calico"],
    }
    variables = {
        "looks": looks,
        "flotilla_look": "{{ looks[inventory_hostname] }}",
        "flotilla_foreign": cluster,
        "ansible_ssh_executable": str(ssh),
        "ansible_pipelining": True,
        "ansible_become": False,
        "ansible_user": "ops",
        "ansible_python_interpreter": sys.executable,
    }
    (tmp_path / "shown.json").write_text(json.dumps(variables), encoding="utf-8")
    example = EXAMPLES / "adoption"
    options = ("-e", f"@{example / 'groups.yml'}", "-e", "flotilla_definition=clusters/shop.yml", "-e", f"@{tmp_path / 'shown.json'}")
    return ("-i", str(example / "hosts.yml"), "flotilla.kubernetes.cluster_adopt", *options)


def test_an_adoption_shows_writes_once_and_overwrites_nothing(tmp_path: Path, foreign: tuple[str, ...]) -> None:
    definition = tmp_path / "clusters/shop.yml"

    def adopt(*options: str) -> outside.Run:
        done = ansible("ansible-playbook", *foreign, *options, folder=tmp_path, collections=outside.ROOT / "collection")
        return outside.Run(done.returncode, done.stdout)

    checked = adopt("--check", "--diff")
    assert checked.status == 0 and "+cloud: existing" in checked.output and not definition.exists(), checked.output
    written = adopt()
    assert (written.status, written.changed) == (0, 1) and "calico runs in the cluster" in written.output, written.output
    loaded = yaml.safe_load(definition.read_text(encoding="utf-8"))
    assert (loaded["name"], loaded["existing"]["settings"], loaded["access"]) == ("shop", "keep", {"ssh_user": "ops"})
    assert loaded["pools"] == [{"name": "workers", "labels": {"tier": "web"}}]
    valid = ansible(
        "ansible-playbook", "-i", "clusters", "flotilla.kubernetes.validate", folder=tmp_path, collections=outside.ROOT / "collection"
    )
    assert valid.returncode == 0 and "1 control planes, 2 workers" in valid.stdout, valid.stdout
    again = adopt()
    assert (again.status, again.changed) == (0, 0), again.output
    definition.write_text(definition.read_text(encoding="utf-8").replace("ssh_user: ops", "ssh_user: jane"), encoding="utf-8")
    refused = adopt()
    assert (
        refused.status != 0 and "ADOPT_DEFINITION_EXISTS" in refused.output and "ssh_user: jane" in definition.read_text(encoding="utf-8")
    )
    claimed = adopt("-e", "flotilla_claim=true")
    assert claimed.status != 0 and "CLAIM_NO_DEFINITION" in claimed.output, claimed.output
