# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks up to where a machine would have to answer by SSH."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.aws import load_balancer, machines, network
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import outside

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs ops"
CLUSTER: dict[str, Any] = {
    "plugin": "flotilla.kubernetes.cluster",
    "schema": 1,
    "name": "payments",
    "cloud": "aws",
    "kubernetes_version": "1.36.3",
    "control_plane": {"count": 1, "machine": {"size": "m5.large"}, "zones": ["eu-west-1a"]},
    "pools": [{"name": "general", "count": 2, "machine": {"size": "m5.large"}}],
    "access": {"ssh_user": "ops", "ssh_public_keys": [KEY]},
    "aws": {"region": "eu-west-1", "nat_gateways": "none"},
}


@pytest.fixture
def written(tmp_path, ec2) -> Any:
    """Return what writes a definition and gives its file."""
    image = next(entry["ImageId"] for entry in ec2.describe_images()["Images"] if entry.get("Architecture") == "x86_64")
    path = tmp_path / "foundation/clusters/payments.yml"
    path.parent.mkdir(parents=True)

    def write(**changes: Any) -> Path:
        path.write_text(yaml.safe_dump({**copy.deepcopy(CLUSTER), "image": {"id": image}, **changes}), encoding="utf-8")
        return path

    return write


def everything(ec2: Any) -> dict[str, list[str]]:
    vpcs = [entry["VpcId"] for entry in ec2.describe_vpcs()["Vpcs"]]
    found = [entry for part in ec2.describe_instances()["Reservations"] for entry in part["Instances"]]
    live = [entry["InstanceId"] for entry in found if entry["State"]["Name"] != "terminated"]
    return {
        "vpcs": sorted(vpcs),
        "machines": sorted(live),
        "groups": sorted(e["GroupId"] for e in ec2.describe_security_groups()["SecurityGroups"]),
    }


def test_a_create_is_predicted_on_an_empty_account(ec2, written, tmp_path):
    before = everything(ec2)
    run = outside.playbook("cluster_apply", written(), "--check", environment={"FLOTILLA_CACHE": str(tmp_path / "cache")})
    assert run.status == 0, run.output
    assert run.changed >= 3 and everything(ec2) == before
    # What can not be made is said by the preflight, in a run that would make it.
    wrong = written(pools=[{"name": "general", "count": 2, "machine": {"size": "m5.enormous"}}])
    run = outside.playbook("cluster_apply", wrong)
    assert run.status != 0 and "AWS_SIZE_UNKNOWN" in run.output and everything(ec2) == before


def test_a_cluster_is_deleted_as_predicted_and_only_once(session, ec2, written):
    """Its machines do not answer, which must not keep it."""
    nothing = everything(ec2)
    path = written()
    definition = load.load_file(path)
    network.present(session, definition)
    made = machines.present(session, definition, wait_timeout=60, scan=lambda _definition, _machine: KEY)
    members = [
        {"id": one["id"], "address": one["addresses"]["private"]} for one in made.value["machines"] if one["role"] == "control_plane"
    ]
    load_balancer.present(session, definition, members)
    there = everything(ec2)
    assert len(there["machines"]) == 3

    def delete(*options: str) -> outside.Run:
        return outside.playbook("cluster_delete", path, *options, "-e", "flotilla_confirm=payments", environment={"ANSIBLE_TIMEOUT": "2"})

    predicted = delete("--check")
    assert predicted.status == 0, predicted.output
    assert predicted.changed >= 3 and everything(ec2) == there
    deleted = delete()
    assert deleted.status == 0 and everything(ec2) == nothing, deleted.output
    again = delete()
    assert again.status == 0 and again.changed == 0, again.output
