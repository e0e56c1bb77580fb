# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS for the suite: moto's server, boto3's look at it, and what people do in its console."""

from __future__ import annotations

import contextlib
import functools
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clouds.aws import endpoint
from clouds.aws.dialect import AwsDialect
from clouds.aws.inventory import REGION, Inventory, client
from clouds.clock import Clock
from clouds.cloud import CLUSTER, WORKERS
from clouds.judge import Machine, Thing
from clouds.wire import Handler


class AwsEndpoint:
    """What is the same for whatever modules are tried on AWS."""

    dialect = AwsDialect()
    volatile_tags: tuple[str, ...] = ("flotilla-uid", "flotilla-host-key")
    zones: tuple[str, ...] = (f"{REGION}a", f"{REGION}b", f"{REGION}c")

    @contextlib.contextmanager
    def endpoint(self, clock: Clock, folder: Path) -> Iterator[Handler | str]:
        yield endpoint.create(clock)

    def environment(self, url: str) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "contract",
            "AWS_SECRET_ACCESS_KEY": "contract",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    @functools.lru_cache(maxsize=8)  # noqa: B019  there is one adapter
    def _ec2(self, url: str) -> Any:
        return client("ec2", url)

    @functools.lru_cache(maxsize=8)  # noqa: B019
    def _inventory(self, url: str) -> Inventory:
        return Inventory(url)

    @functools.lru_cache(maxsize=8)  # noqa: B019
    def images(self, url: str) -> list[str]:
        """Return two images that machines can be made from."""
        found = self._ec2(url).describe_images(Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"]
        return sorted(item["ImageId"] for item in found if item.get("RootDeviceType") == "ebs")[:2]

    def prepare(self, url: str) -> None:
        _put(url, "reset")
        ec2 = self._ec2(url)
        # Somebody else's cluster, whose name begins like ours, and a network that nobody tagged.
        tags = [
            {"Key": "flotilla-cluster", "Value": f"{CLUSTER}-2"},
            {"Key": "flotilla-pool", "Value": WORKERS},
            {"Key": "flotilla-uid", "Value": "0123456789abcdef"},
        ]
        vpc = ec2.create_vpc(CidrBlock="10.99.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": tags}])["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.99.0.0/24", AvailabilityZone=self.zones[0])["Subnet"]["SubnetId"]
        machine = {"ImageId": self.images(url)[0], "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1, "SubnetId": subnet}
        ec2.run_instances(**machine, TagSpecifications=[{"ResourceType": "instance", "Tags": tags}])
        ec2.create_vpc(CidrBlock="10.98.0.0/16")
        ec2.allocate_address(Domain="vpc")
        # With the first encrypted disk AWS makes its own key, which stays.
        disk = ec2.create_volume(AvailabilityZone=self.zones[0], Size=1, Encrypted=True)["VolumeId"]
        ec2.delete_volume(VolumeId=disk)

    def dump(self, url: str) -> list[Thing]:
        return self._inventory(url).read()

    def machines(self, things: list[Thing], cluster: str = CLUSTER) -> list[Machine]:
        mine = (thing for thing in things if thing.kind == "instance" and thing.owner == cluster)
        return [Machine(thing.id, thing.tags.get("flotilla-pool", ""), thing.attributes["machine_zone"]) for thing in mine]

    def limit(self, url: str, zones: dict[str, int]) -> None:
        _put(url, "limits", {"capacity": zones})

    def delete_machine(self, url: str, machine: Machine) -> None:
        self._ec2(url).terminate_instances(InstanceIds=[machine.id])

    def change_tag(self, url: str, machine: Machine) -> None:
        self._ec2(url).create_tags(Resources=[machine.id], Tags=[{"Key": "flotilla-role", "Value": "by-hand"}])

    def open_rule(self, url: str, things: list[Thing]) -> None:
        group = min(thing.id for thing in things if thing.kind == "security group" and thing.owner == CLUSTER)
        rule = {"IpProtocol": "tcp", "FromPort": 23, "ToPort": 23, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        self._ec2(url).authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])


def _put(url: str, path: str, body: Any = None) -> None:
    request = urllib.request.Request(f"{url}/_endpoint/{path}", json.dumps(body or {}).encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()
