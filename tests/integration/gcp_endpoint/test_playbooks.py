# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules and the playbooks, up to where a machine would have to answer by SSH."""

from __future__ import annotations

import copy
import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.gcp import load_balancer, machines, network
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.gcp.session import session_for
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load

SUPPORT = Path(__file__).resolve().parents[2] / "support"
sys.path.insert(0, str(SUPPORT))

import outside
from clouds.clock import Clock
from clouds.gcp.account import GcpEndpoint
from clouds.gcp.endpoint import Endpoint
from clouds.wire import Wire

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs ops"
CLUSTER: dict[str, Any] = {
    "plugin": "flotilla.kubernetes.cluster",
    "schema": 1,
    "name": "payments",
    "cloud": "gcp",
    "kubernetes_version": "1.36.3",
    "control_plane": {"count": 1, "machine": {"size": "e2-standard-2"}, "zones": ["us-central1-a"]},
    "pools": [{"name": "general", "count": 2, "machine": {"size": "e2-standard-2"}}],
    "access": {"ssh_user": "ops", "ssh_public_keys": [KEY]},
    "gcp": {"project": "contract", "region": "us-central1"},
}


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    """An endpoint that other processes reach, with the environment in which they find it."""
    made, wire, account = Endpoint(Clock.create(tmp_path / "clock", speed=20)), Wire(), GcpEndpoint()
    account.folder = tmp_path
    with wire.installed():
        environment = {**account.environment(wire.publish(made)), "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
        # Modules that wait do so by the endpoint's clock.
        environment.update(FLOTILLA_TEST_CLOCK=str(tmp_path / "clock"), PYTHONPATH=str(SUPPORT / "clouds/site"))
        with mock.patch.dict(os.environ, environment):
            yield made


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Return what writes a definition and gives its file."""
    path = tmp_path / "foundation/clusters/payments.yml"
    path.parent.mkdir(parents=True)

    def write(**changes: Any) -> Path:
        path.write_text(yaml.safe_dump({**copy.deepcopy(CLUSTER), **changes}), encoding="utf-8")
        return path

    return write


def everything(endpoint: Endpoint) -> list[str]:
    endpoint.world.settle()
    return sorted(endpoint.world.things)


def run(name: str, capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    module = importlib.import_module(f"ansible_collections.flotilla.kubernetes.plugins.modules.{name}")
    with patch_module_args({**arguments, "_ansible_check_mode": True}), pytest.raises(SystemExit):
        module.main()
    return dict(json.loads(capsys.readouterr().out))


def test_check_mode_in_an_empty_project_predicts_everything(
    capsys: pytest.CaptureFixture[str], endpoint: Endpoint, definition: dict[str, Any]
) -> None:
    made = run("gcp_network", capsys, cluster=definition)
    assert made["changed"] and made["differs"] and made["diff"]["after"]["subnetwork payments"]["ipCidrRange"] == "10.20.0.0/20"
    balancer = run("gcp_load_balancer", capsys, cluster=definition, members=[{"id": "payments-control-plane-1", "address": "10.20.0.9"}])
    assert balancer["changed"] and balancer["endpoint"] == {"host": None, "port": 6443}
    planned = run("gcp_machines", capsys, cluster=definition)
    assert planned["changed"] and len(planned["planned"]) == 5 and len(planned["plan_id"]) == 12
    gone = run("gcp_machines", capsys, cluster=definition, state="absent", ids=["payments-general-00000000"])
    assert not gone["changed"] and gone["machines"] == []
    assert "state=absent" in run("gcp_machines", capsys, cluster=definition, ids=[])["msg"]
    for name in ("gcp_network", "gcp_load_balancer", "gcp_machines"):
        assert not run(name, capsys, cluster=definition, state="absent")["changed"]
    found = run("gcp_image_info", capsys, project="contract", family="debian-13")
    assert found["image"]["id"] == "projects/debian-cloud/global/images/debian-13-trixie-v20261015"
    assert everything(endpoint) == []


def test_a_create_is_predicted_in_an_empty_project(endpoint: Endpoint, written: Any, tmp_path: Path) -> None:
    done = outside.playbook("cluster_apply", written(), "--check", environment={"FLOTILLA_CACHE": str(tmp_path / "cache")})
    assert done.status == 0, done.output
    assert done.changed >= 3 and everything(endpoint) == []
    # What can not be made is said by the preflight, in a run that would make it.
    done = outside.playbook("cluster_apply", written(pools=[{"name": "general", "count": 2, "machine": {"size": "e2-enormous"}}]))
    assert done.status != 0 and "GCP_SIZE_UNKNOWN" in done.output and everything(endpoint) == []


def test_a_cluster_is_deleted_as_predicted_and_only_once(endpoint: Endpoint, written: Any) -> None:
    """Its machines do not answer, which must not keep it."""
    path = written()
    definition = load.load_file(path)
    assert definition
    session = session_for(definition)
    network.present(session, definition)
    made = machines.present(session, definition, wait_timeout=60, scan=lambda _definition, _machine: KEY).value["machines"]
    members = [{"id": one["id"], "address": one["addresses"]["private"]} for one in made if one["role"] == "control_plane"]
    load_balancer.present(session, definition, members)
    there = everything(endpoint)

    def delete(*options: str) -> outside.Run:
        return outside.playbook("cluster_delete", path, *options, "-e", "flotilla_confirm=payments", environment={"ANSIBLE_TIMEOUT": "2"})

    predicted = delete("--check")
    assert predicted.status == 0, predicted.output
    assert predicted.changed >= 3 and everything(endpoint) == there
    deleted = delete()
    assert deleted.status == 0 and everything(endpoint) == [], deleted.output
    again = delete()
    assert again.status == 0 and again.changed == 0, again.output
