# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks up to where a machine would have to answer by SSH."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import outside
import pytest
import yaml
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.azure import load_balancer, machines, network
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load
from clouds.azure.offers import LOCATION

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs ops"
CLUSTER: dict[str, Any] = {
    "plugin": "flotilla.kubernetes.cluster",
    "schema": 1,
    "name": "payments",
    "cloud": "azure",
    "kubernetes_version": "1.36.3",
    "control_plane": {"count": 1, "machine": {"size": "Standard_D2s_v5"}, "zones": [f"{LOCATION}-1"]},
    "pools": [{"name": "general", "count": 2, "machine": {"size": "Standard_D2s_v5"}}],
    "access": {"ssh_user": "ops", "ssh_public_keys": [KEY]},
    "azure": {"location": LOCATION},
}


@pytest.fixture
def written(tmp_path) -> Any:
    """Return what writes a definition and gives its file."""
    path = tmp_path / "foundation/clusters/payments.yml"
    path.parent.mkdir(parents=True)

    def write(**changes: Any) -> Path:
        path.write_text(yaml.safe_dump({**copy.deepcopy(CLUSTER), **changes}), encoding="utf-8")
        return path

    return write


def everything(azure: Any) -> set[str]:
    return {*azure.state.groups, *azure.state.things}


def test_a_create_is_predicted_on_an_empty_subscription(azure, written, tmp_path):
    run = outside.playbook("cluster_apply", written(), "--check", environment={"FLOTILLA_CACHE": str(tmp_path / "cache")})
    assert run.status == 0, run.output
    assert run.changed >= 3 and not everything(azure)
    # What can not be made is said by the preflight, in a run that would make it.
    wrong = written(pools=[{"name": "general", "count": 2, "machine": {"size": "Standard_M128s"}}])
    run = outside.playbook("cluster_apply", wrong)
    assert run.status != 0 and "AZURE_SIZE_UNKNOWN" in run.output and not everything(azure)


def test_a_cluster_is_deleted_as_predicted_and_only_once(azure, session, written):
    """Its machines do not answer, which must not keep it."""
    path = written()
    definition = load.load_file(path)
    network.present(session, definition)
    made = machines.present(session, definition, wait_timeout=60, scan=lambda _definition, _machine: KEY)
    members = [
        {"id": one["id"], "address": one["addresses"]["private"]} for one in made.value["machines"] if one["role"] == "control_plane"
    ]
    load_balancer.present(session, definition, members)
    there = everything(azure)

    def delete(*options: str) -> outside.Run:
        return outside.playbook("cluster_delete", path, *options, "-e", "flotilla_confirm=payments", environment={"ANSIBLE_TIMEOUT": "2"})

    predicted = delete("--check")
    assert predicted.status == 0, predicted.output
    assert predicted.changed >= 3 and everything(azure) == there
    deleted = delete()
    assert deleted.status == 0 and not everything(azure), deleted.output
    again = delete()
    assert again.status == 0 and again.changed == 0, again.output
