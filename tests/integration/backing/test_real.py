# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that the API makes runs on this host, and nothing of it is left, however its backing ends."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import outside
from backing import process
from backing.aws.account import Account
from backing.podman import Host, listed
from clouds.aws.inventory import REGION, client
from clouds.cloud import started

NAME = "test-backing"
USER_DATA = "#cloud-config\n" + json.dumps({"users": [{"name": "ops", "lock_passwd": True}]})


def wait_for(what: str, condition: Callable[[], Any], limit: float = 120) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {limit:g} s"
        time.sleep(0.5)


def left() -> list[str]:
    """Return the names of everything on this host that carries the backing's label."""
    host = Host(NAME)
    networks = [entry["name"] for entry in listed("network", "ls", *host.filter)]
    return [*(container.name for container in host.containers().values()), *host.volumes(), *networks]


@pytest.fixture
def settings() -> dict[str, str]:
    return outside.settings()


def test_what_the_api_makes_is_real_and_goes_after_a_kill(tmp_path: Path, settings: dict[str, str]) -> None:
    (tmp_path / "endpoint").mkdir()
    cloud = Account()
    with (
        started(cloud, tmp_path / "endpoint", 1.0) as place,
        process.started("aws", place.direct, NAME, NAME, tmp_path) as backing,
    ):
        ec2 = client("ec2", place.direct)
        tags = [{"ResourceType": "vpc", "Tags": [{"Key": "flotilla-cluster", "Value": NAME}]}]
        vpc = ec2.create_vpc(CidrBlock="10.62.0.0/24", TagSpecifications=tags)["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.62.0.0/26", AvailabilityZone=f"{REGION}a")["Subnet"]["SubnetId"]
        request = {"ImageId": cloud.images(place.direct)[0], "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
        (made,) = ec2.run_instances(SubnetId=subnet, UserData=USER_DATA, **request)["Instances"]
        name = f"{NAME}-{made['InstanceId']}"

        def on_it(*command: str) -> str:
            return outside.host("podman", "exec", name, *command, check=False).strip()

        wait_for("its user data is applied", lambda: on_it("id", "--user", "--name", "ops") == "ops")
        wait_for("cloud-init is done", lambda: json.loads(on_it("cloud-init", "status", "--format=json") or "{}").get("status") == "done")
        # The name that AWS gives it, and the resolver of its VPC, which knows that.
        assert on_it("hostname", "--fqdn") == made["PrivateDnsName"]
        assert made["PrivateIpAddress"] in on_it("getent", "-s", "dns", "hosts", made["PrivateDnsName"])

        backing.kill()
        ec2.stop_instances(InstanceIds=[made["InstanceId"]])
        time.sleep(3)
        assert outside.host("podman", "inspect", "--format", "{{.State.Status}}", name).strip() == "running", "somebody else looks after it"
        another = process.start(backing.command, backing.log)
        wait_for("it is off", lambda: outside.host("podman", "inspect", "--format", "{{.State.Status}}", name).strip() == "exited")
        another.kill()
        assert len(left()) == 1 + 1 + 3 + 1, left()
        process.sweep(NAME)
        assert left() == []
        assert outside.settings() == settings
