# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""moto's server in a process of its own, and a session that speaks to it without waiting in real time."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.aws.session import Session

REGION = "eu-west-1"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": REGION, "no_proxy": "127.0.0.1"}

DEFINITION: dict[str, Any] = {
    "name": "payments",
    "foundation": "production",
    "cloud": "aws",
    "control_plane": {
        "count": 3,
        "machine": {"size": "m7i.large", "disk_gib": 100},
        "zones": [f"{REGION}a", f"{REGION}b", f"{REGION}c"],
    },
    "pools": [{"name": "general", "count": 2, "machine": {"size": "m7i.xlarge"}, "zones": [f"{REGION}a", f"{REGION}b"]}],
    "image": {"family": "debian-13"},
    "network": {"plugin": "flannel"},
    "api_endpoint": {"provider": "cloud", "port": 6443, "visibility": "private", "allowed_cidrs": [], "dns_name": None},
    "access": {
        "ssh_user": "ops",
        "ssh_private_key_file": None,
        "ssh_public_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs ops"],
    },
    "aws": {"region": REGION, "vpc_cidr": "10.20.0.0/16", "nat_gateways": "per_zone", "tags": {"team": "payments"}},
}


# moto makes MinCount machines, where EC2 makes MaxCount if it can, and forgets a protection that is asked for with them.
SERVER = """
import sys
import threading
from moto.ec2.responses.instances import InstanceResponse
from moto.server import main

run, lock = InstanceResponse.run_instances, threading.Lock()

def most(self):
    ask = self._get_param
    self._get_param = lambda name, *rest, **more: ask("MaxCount" if name == "MinCount" else name, *rest, **more)
    with lock:
        known = set(machines(self))
        answer = run(self)
        for number, machine in machines(self).items():
            if number not in known:
                machine.disable_api_termination = ask("DisableApiTermination") in (True, "true")
    return answer

def machines(self):
    return {machine.id: machine for group in self.ec2_backend.reservations.values() for machine in group.instances}

InstanceResponse.run_instances = most
main(sys.argv[1:])
"""


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_800_000_000 + self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = [sys.executable, "-c", SERVER, "-p", "0"]
    environment = {
        **os.environ,
        "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "1",
        "MOTO_ENABLE_AMI_VALIDATION": "1",
        "PYTHONUNBUFFERED": "1",
    }
    # A file and not a pipe: it writes a line for each request, and a pipe that nobody reads stops it when it is full.
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"Running on (http://\S+)", log.read_text(encoding="utf-8"))):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"moto's server does not start: {log.read_text(encoding='utf-8')}")
            time.sleep(0.1)
        yield found.group(1).rstrip("/")
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def endpoint(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An account without anything but what AWS gives every account."""
    request = urllib.request.Request(f"{server}/moto-api/reset", method="POST")
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).read()
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": server}.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def session(endpoint: str) -> Session:
    return Session(REGION, clock=Clock(), spread=lambda: 0.0)


@pytest.fixture
def ec2(endpoint: str) -> Any:
    """Somebody else's hands, which know nothing of the collection."""
    return boto3.client("ec2", region_name=REGION)


@pytest.fixture
def by_hand(ec2: Any) -> Any:
    """Somebody who deletes protected machines in the console."""

    def terminate(ids: list[str]) -> None:
        for instance in ids:
            ec2.modify_instance_attribute(InstanceId=instance, DisableApiTermination={"Value": False})
        ec2.terminate_instances(InstanceIds=ids)

    return terminate


@pytest.fixture
def definition() -> dict[str, Any]:
    return copy.deepcopy(DEFINITION)
