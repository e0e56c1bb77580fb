# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules and the playbooks, up to where a machine would have to answer by SSH."""

from __future__ import annotations

import contextlib
import copy
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.vsphere import machines
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.vsphere.session import Session
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load
from clouds.vsphere.account import COMPUTE, DATACENTER, IMAGES, NETWORK, Client
from pyVmomi import vim, vmodl

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import outside

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs ops"
CLUSTER: dict[str, Any] = {
    "plugin": "flotilla.kubernetes.cluster",
    "schema": 1,
    "name": "payments",
    "cloud": "vsphere",
    "kubernetes_version": "1.36.3",
    "control_plane": {"count": 1, "machine": {"cpus": 2, "memory_gib": 4}},
    "pools": [{"name": "general", "count": 2, "machine": {"cpus": 2, "memory_gib": 4}}],
    "image": {"id": IMAGES[0]},
    "api_endpoint": {"address": "10.20.0.5"},
    "access": {"ssh_user": "ops", "ssh_public_keys": [KEY]},
    "vsphere": {"datacenter": DATACENTER, "cluster": COMPUTE, "network": NETWORK},
}


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Return what writes a definition and gives its file."""
    path = tmp_path / "foundation/clusters/payments.yml"
    path.parent.mkdir(parents=True)

    def write(**changes: Any) -> Path:
        path.write_text(yaml.safe_dump({**copy.deepcopy(CLUSTER), **changes}), encoding="utf-8")
        return path

    return write


def there(client: Client) -> list[str]:
    """Return what there is of the cluster."""
    rules = client.named(vim.ClusterComputeResource, COMPUTE).configurationEx.rule or ()
    found = [rule.name for rule in rules]
    for machine in client.all(vim.VirtualMachine):
        # The simulator goes on listing a template that is gone.
        with contextlib.suppress(vmodl.fault.ManagedObjectNotFound):
            found.append(machine.name)
    return sorted(name for name in found if name.startswith(("payments-", "flotilla.payments.")))


def run(name: str, capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    module = importlib.import_module(f"ansible_collections.flotilla.kubernetes.plugins.modules.{name}")
    with patch_module_args({**arguments, "_ansible_check_mode": True}), pytest.raises(SystemExit):
        module.main()
    return dict(json.loads(capsys.readouterr().out))


def test_modules_in_check_mode(capsys: pytest.CaptureFixture[str], client: Client, definition: dict[str, Any]) -> None:
    planned = run("vsphere_machines", capsys, cluster=definition)
    assert planned["changed"] and len(planned["planned"]) == 3 and len(planned["plan_id"]) == 12
    assert not run("vsphere_machines", capsys, cluster=definition, state="absent")["changed"]
    assert "state=absent" in run("vsphere_machines", capsys, cluster=definition, ids=[])["msg"]
    assert definition["name"] not in run("vsphere_machines", capsys, cluster=definition, state="observed", neighbours=True)["neighbours"]
    balancer = run("vsphere_load_balancer", capsys, cluster=definition, state="observed")
    assert balancer["endpoint"] == {"host": "10.20.0.5", "port": 6443}
    members = [{"id": "a", "address": "10.20.0.20"}, {"id": "b", "address": "10.20.0.21", "state": "drained"}]
    told = run("vsphere_load_balancer", capsys, cluster=definition, members=members, wait_timeout=1)
    assert not told["changed"] and [one["health"] for one in told["members"]] == ["healthy", "unhealthy"]
    refused = run("vsphere_load_balancer", capsys, cluster={**definition, "api_endpoint": {"provider": "avi"}})
    assert refused["code"] == "VSPHERE_LOAD_BALANCER"
    found = run("vsphere_image_info", capsys, id=IMAGES[0])["images"]
    assert found[0]["ready"] and found[0]["path"] == f"/{DATACENTER}/vm/{IMAGES[0]}"
    # Sessions do not outlive their module.
    assert len(client.content.sessionManager.sessionList) <= 2


def test_a_create_is_predicted(client: Client, written: Callable[..., Path], tmp_path: Path) -> None:
    done = outside.playbook("cluster_apply", written(), "--check", environment={"FLOTILLA_CACHE": str(tmp_path / "cache")})
    assert done.status == 0, done.output
    assert done.changed >= 1 and there(client) == []
    # What can not be made is said by the preflight, in a run that would make it.
    done = outside.playbook("cluster_apply", written(image={"id": "debian-14"}))
    assert done.status != 0 and "VSPHERE_UNKNOWN" in done.output and there(client) == []


def test_a_cluster_is_deleted_as_predicted_and_only_once(client: Client, session: Session, written: Callable[..., Path]) -> None:
    """Its machines do not answer, which must not keep it."""
    path = written()
    definition = load.load_file(path)
    assert definition
    machines.present(session, definition, wait_timeout=60, scan=lambda _definition, _machine: KEY)
    made = there(client)
    assert len(made) == 4, made

    def delete(*options: str) -> outside.Run:
        return outside.playbook("cluster_delete", path, *options, "-e", "flotilla_confirm=payments", environment={"ANSIBLE_TIMEOUT": "2"})

    predicted = delete("--check")
    assert predicted.status == 0, predicted.output
    assert predicted.changed >= 1 and there(client) == made
    deleted = delete()
    assert deleted.status == 0 and there(client) == [], deleted.output
    again = delete()
    assert again.status == 0 and again.changed == 0, again.output


def test_the_inventory_has_the_machines(client: Client, session: Session, written: Callable[..., Path]) -> None:
    definition = load.load_file(written())
    assert definition
    made = machines.present(session, definition, wait_timeout=60, scan=lambda _definition, _machine: KEY).value["machines"]
    found = machines.observe_machines(definition)
    assert [(one.name, one.addresses["private"], one.host_key) for one in found] == [
        (one["name"], one["addresses"]["private"], KEY) for one in made
    ]
    machines.absent(session, definition)
