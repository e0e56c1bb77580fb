# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles themselves ask of Kubernetes is known to every minor, and not deprecated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import tables

ROOT = Path(__file__).resolve().parents[2]
ROLES = ROOT / "roles"

pytestmark = pytest.mark.skipif(not (ROOT / "galaxy.yml").exists(), reason="an installed collection has no checkout around it")

MACHINE = {
    "flotilla_node_name": "n1",
    "flotilla_machine": {"zone": "z1", "pool": "workers", "addresses": {"private": "10.0.0.1"}},
    "kubernetes_control_plane_endpoint": {"host": "10.0.0.3", "port": 6443},
    "kubernetes_control_plane_shutdown_delay": "5s",
}
DEFINITION = {
    "name": "c1",
    "kubernetes_version": "1.0.0",
    "control_plane": {"labels": {}, "taints": [], "extra_args": {}},
    "pools": [{"name": "workers", "labels": {}, "taints": []}],
    "network": {"pod_cidrs": ["10.244.0.0/16"], "service_cidrs": ["10.96.0.0/12"]},
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> list[dict[str, object]]:
    """Return the kubeadm documents that the roles write for a cluster on the cloud `local`."""
    folder = tmp_path_factory.mktemp("render")
    node = yaml.safe_load((ROLES / "infrastructure/vars/local.yml").read_text(encoding="utf-8"))["__infrastructure_node_settings"]
    given = {
        "kubernetes_control_plane_kubelet_configuration": node["kubelet_configuration"],
        "kubernetes_control_plane_kube_proxy_configuration": node["kube_proxy_configuration"],
        "flotilla_cluster": DEFINITION,
        **MACHINE,
    }
    files = [str(ROLES / "kubernetes_control_plane" / part / "main.yml") for part in ("defaults", "vars")]
    task = {
        "ansible.builtin.copy": {
            "dest": str(folder / "documents.json"),
            "content": "{{ (__kubernetes_control_plane_configuration + [{'kind': 'JoinConfiguration',"
            " 'nodeRegistration': 'n1' | flotilla.kubernetes.node_registration('10.0.0.1')}]) | to_json }}",
            "mode": "0644",
        }
    }
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars_files": files, "tasks": [task]}
    (folder / "play.yml").write_text(json.dumps([play]), encoding="utf-8")
    (folder / "vars.json").write_text(json.dumps({**given, "ansible_python_interpreter": sys.executable}), encoding="utf-8")
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "-e", f"@{folder}/vars.json", str(folder / "play.yml")],
        cwd=folder,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collection")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return json.loads((folder / "documents.json").read_text(encoding="utf-8"))


def test_the_documents_are_all_there(rendered):
    kinds = [document["kind"] for document in rendered]
    assert kinds == ["InitConfiguration", "ClusterConfiguration", "KubeletConfiguration", "KubeProxyConfiguration", "JoinConfiguration"]
    assert {"name": "profiling", "value": "false"} in rendered[1]["apiServer"]["extraArgs"]
    assert rendered[4]["nodeRegistration"]["kubeletExtraArgs"]


@pytest.mark.parametrize("minor", tables.minors())
def test_every_minor_takes_what_the_roles_ask_for(rendered, minor):
    assert tables.kubeadm_documents(rendered, minor) == []


def test_a_flag_that_no_version_knows_would_be_found(rendered):
    documents = json.loads(json.dumps(rendered))
    documents[1]["scheduler"]["extraArgs"].append({"name": "no-such-flag", "value": ""})
    assert len(tables.kubeadm_documents(documents, tables.minors()[-1])) == 1
