# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small module for AWS by which the suite itself is tried: right as it stands, wrong in one way for each of `DEFECTS`.

It makes a network and machines as plainly as it can be done right: it begins by waiting until nobody's changes are hidden any more.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

WINDOW = 6.0
ATTEMPTS = 8
UNSURE = ("RequestLimitExceeded", "Throttling", "InternalError", "Unavailable", "ServiceUnavailable")
LIVE = ("pending", "running")
DEFECTS = {
    "orphan": "the disks of its machines outlive them",
    "duplicate": "it makes machines without a token",
    "impatient": "it believes a read that shows nothing, and takes nothing away that was made twice",
    "hidden change": "it writes tags that are right already, and reports nothing",
    "check mode writes": "check mode makes the network",
    "check mode lies": "check mode foretells nothing of what is to be removed",
    "blind": "it never looks at the rules of its security group",
    "forgetful": "it does not look at machines that are there, so it never mends their tags",
    "greedy": "it takes machines for its own whose cluster's name begins like its cluster's",
    "liar": "it reports no change, ever",
    "restless": "it reports a change, always",
}


class Cluster:
    def __init__(self, parameters: dict[str, Any], check: bool) -> None:
        import boto3
        from botocore.config import Config

        self.ec2 = boto3.Session().client(
            "ec2", config=Config(retries={"total_max_attempts": 1}), endpoint_url=os.environ["AWS_ENDPOINT_URL"]
        )
        self.name, self.zones, self.image = parameters["name"], parameters["zones"], parameters["image"]
        self.counts: dict[str, int] = parameters["counts"] if parameters["state"] == "present" else {}
        self.defect, self.replace, self.check = parameters["defect"], parameters["replace"], check
        self.steps: list[dict[str, Any]] = []
        self.changed = False

    def ask(self, call: Callable[..., Any], *fine: str, **arguments: Any) -> Any:
        """Call until it is answered; an error among ``fine`` is an answer."""
        from botocore.exceptions import ClientError, HTTPClientError

        for attempt in range(ATTEMPTS):
            try:
                return call(**arguments)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code in fine:
                    return {"code": code}
                if code not in UNSURE or attempt == ATTEMPTS - 1:
                    raise
            except HTTPClientError:
                if attempt == ATTEMPTS - 1:
                    raise
            time.sleep(0.5 * 2**attempt)
        return None

    def find(self, what: str, key: str) -> list[dict[str, Any]]:
        filters = [
            {"Name": "tag:flotilla-cluster", "Values": [f"{self.name}*" if self.defect == "greedy" and what == "instances" else self.name]}
        ]
        paginator = self.ec2.get_paginator(f"describe_{what}")
        return [item for page in self.ask(lambda: list(paginator.paginate(Filters=filters))) for item in page[key]]

    def tags(self, kind: str, **more: str) -> list[dict[str, Any]]:
        tags = {"flotilla-cluster": self.name, **more}
        return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]

    def one(self, what: str, key: str, number: str, create: Callable[[], Any], remove: Callable[[str], Any], zone: str = "") -> str:
        """Return the id of the one thing of its kind; make it if it is missing, and take away those that nobody meant to make."""
        from botocore.exceptions import ClientError, HTTPClientError

        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(WINDOW)
            found = sorted(item[number] for item in self.find(what, key) if not zone or item["AvailabilityZone"] == zone)
            if found:
                for surplus in [] if self.defect == "impatient" else found[1:]:
                    self.changed = True
                    remove(surplus)
                return str(found[0])
            self.changed = True
            if self.check and self.defect != "check mode writes":
                return ""
            try:
                create()
            except ClientError as error:
                if error.response["Error"]["Code"] not in UNSURE:
                    raise
            except HTTPClientError:
                pass
        raise RuntimeError(f"{what} can not be made")

    def network(self) -> tuple[dict[str, str], str]:
        """Return zone -> id of its subnet, and the id of the security group."""
        ec2, delete = self.ec2, "DependencyViolation"
        vpc = self.one(
            "vpcs",
            "Vpcs",
            "VpcId",
            lambda: ec2.create_vpc(CidrBlock="10.20.0.0/16", TagSpecifications=self.tags("vpc")),
            lambda item: self.ask(ec2.delete_vpc, "InvalidVpcID.NotFound", delete, VpcId=item),
        )
        if not vpc or (self.check and self.defect == "check mode writes"):
            return {}, ""
        subnets = {
            zone: self.one(
                "subnets",
                "Subnets",
                "SubnetId",
                lambda zone=zone, n=n: ec2.create_subnet(
                    VpcId=vpc, CidrBlock=f"10.20.{n}.0/24", AvailabilityZone=zone, TagSpecifications=self.tags("subnet")
                ),
                lambda item: self.ask(ec2.delete_subnet, "InvalidSubnetID.NotFound", SubnetId=item),
                zone,
            )
            for n, zone in enumerate(self.zones)
        }
        group = self.one(
            "security_groups",
            "SecurityGroups",
            "GroupId",
            lambda: ec2.create_security_group(
                GroupName=self.name, Description="nodes", VpcId=vpc, TagSpecifications=self.tags("security-group")
            ),
            lambda item: self.ask(ec2.delete_security_group, "InvalidGroup.NotFound", GroupId=item),
        )
        if group and self.defect != "blind":
            self.rules(group)
        return subnets, group

    def rules(self, group: str) -> None:
        wanted = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
        found = [item for item in self.find("security_groups", "SecurityGroups") if item["GroupId"] == group]
        rules = found[0]["IpPermissions"] if found else []
        known = False
        for rule in rules:
            if {key: rule.get(key) for key in ("IpProtocol", "FromPort", "ToPort")} == {
                key: wanted[key] for key in ("IpProtocol", "FromPort", "ToPort")
            }:
                known = True
                continue
            self.changed = True
            if not self.check:
                bare = {key: value for key, value in rule.items() if value != []}
                self.ask(self.ec2.revoke_security_group_ingress, "InvalidPermission.NotFound", GroupId=group, IpPermissions=[bare])
        if not known:
            self.changed = True
            if not self.check:
                self.ask(self.ec2.authorize_security_group_ingress, "InvalidPermission.Duplicate", GroupId=group, IpPermissions=[wanted])

    def machines(self) -> list[dict[str, Any]]:
        found = [item for group in self.find("instances", "Reservations") for item in group["Instances"]]
        for item in found:
            item["tags"] = {tag["Key"]: tag["Value"] for tag in item["Tags"]}
        return sorted((item for item in found if item["State"]["Name"] in LIVE), key=lambda item: item["InstanceId"])

    def step(self, action: str, pool: str, zone: str) -> None:
        self.steps.append({"action": action, "pool": pool, "role": pool, "zone": zone, "machine": None, "reason": "an example"})
        self.changed = self.changed or action != "keep"

    def scale(self, subnets: dict[str, str], group: str) -> None:
        live = self.machines()
        leaving, missing = [], []
        for pool, count in self.counts.items():
            stale = [item for item in live if item["tags"].get("flotilla-pool") == pool and self.outdated(item)]
            members = [item for item in live if item["tags"].get("flotilla-pool") == pool and item not in stale]
            leaving += stale + members[count:]
            zones = [item["Placement"]["AvailabilityZone"] for item in members[:count]]
            for item in members[:count]:
                self.mend(item, pool)
            for _number in range(len(zones), count):
                zone = min(self.zones, key=lambda zone: (zones.count(zone), zone))
                zones.append(zone)
                missing.append((pool, zone))
        leaving += [item for item in live if item["tags"].get("flotilla-pool") not in self.counts]
        for item in leaving:
            if not (self.check and self.defect == "check mode lies"):
                self.step("delete", item["tags"].get("flotilla-pool", ""), item["Placement"]["AvailabilityZone"])
        for pool, zone in missing:
            self.step("create", pool, zone)
        if self.check:
            return
        self.remove(leaving)
        for pool, zone in sorted(set(missing)):
            self.create(pool, zone, missing.count((pool, zone)), subnets, group)

    def outdated(self, item: dict[str, Any]) -> bool:
        return item["ImageId"] != self.image or item["InstanceId"] == self.replace

    def mend(self, item: dict[str, Any], pool: str) -> None:
        if self.defect == "forgetful":
            return
        wrong = item["tags"].get("flotilla-role") != pool
        self.step("update" if wrong else "keep", pool, item["Placement"]["AvailabilityZone"])
        if (wrong or self.defect == "hidden change") and not self.check:
            self.ask(self.ec2.create_tags, Resources=[item["InstanceId"]], Tags=[{"Key": "flotilla-role", "Value": pool}])

    def remove(self, machines: list[dict[str, Any]]) -> None:
        ids = [item["InstanceId"] for item in machines]
        if ids:
            self.ask(self.ec2.terminate_instances, InstanceIds=ids)

    def create(self, pool: str, zone: str, count: int, subnets: dict[str, str], group: str) -> None:
        """Make machines in a zone, and what does not fit there in the others."""
        request: dict[str, Any] = {
            "ImageId": self.image,
            "InstanceType": "m5.large",
            "SecurityGroupIds": [group],
            "BlockDeviceMappings": [
                {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 20, "VolumeType": "gp3", "DeleteOnTermination": self.defect != "orphan"}}
            ],
            "TagSpecifications": self.tags("instance", **{"flotilla-pool": pool, "flotilla-role": pool}) + self.tags("volume"),
        }
        ids: list[str] = []
        attempt = 0
        for place in sorted(self.zones, key=lambda other: (other != zone, other)):
            while len(ids) < count:
                seen = sorted(item["InstanceId"] for item in self.machines())
                token = hashlib.sha256(json.dumps([pool, place, count, seen, ids, request, attempt], sort_keys=True).encode()).hexdigest()
                options = {} if self.defect == "duplicate" else {"ClientToken": token[:64]}
                made = self.ask(
                    self.ec2.run_instances,
                    "InsufficientInstanceCapacity",
                    SubnetId=subnets[place],
                    MinCount=1,
                    MaxCount=count - len(ids),
                    **options,
                    **request,
                )
                if "code" in made:
                    break
                # A token gives what it gave before, also when that is gone by now.
                time.sleep(WINDOW)
                live = {item["InstanceId"] for item in self.machines()}
                ids += [item["InstanceId"] for item in made["Instances"] if item["InstanceId"] in live]
                attempt += 1
        while not all(item["State"]["Name"] == "running" for item in self.machines() if item["InstanceId"] in ids):
            time.sleep(2)
        if len(ids) < count:
            raise RuntimeError(f"{pool} got {len(ids)} of {count} machines: no zone has more")

    def destroy(self) -> None:
        ec2, machines = self.ec2, self.machines()
        for item in machines:
            self.step("delete", item["tags"].get("flotilla-pool", ""), item["Placement"]["AvailabilityZone"])
        if not self.check:
            self.remove(machines)
        for what, key, number, delete in (
            ("security_groups", "SecurityGroups", "GroupId", ec2.delete_security_group),
            ("subnets", "Subnets", "SubnetId", ec2.delete_subnet),
            ("vpcs", "Vpcs", "VpcId", ec2.delete_vpc),
        ):
            gone = ("InvalidGroup.NotFound", "InvalidSubnetID.NotFound", "InvalidVpcID.NotFound")
            for item in self.find(what, key):
                self.changed = True
                while (
                    not self.check
                    and self.ask(delete, "DependencyViolation", *gone, **{number: item[number]}).get("code") == "DependencyViolation"
                ):
                    time.sleep(2)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "zones": {"type": "list", "elements": "str", "required": True},
            "counts": {"type": "dict", "required": True},
            "image": {"type": "str", "required": True},
            "replace": {"type": "str", "default": ""},
            "defect": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    cluster = Cluster(module.params, module.check_mode)
    if cluster.defect != "impatient":
        time.sleep(WINDOW)
    try:
        if module.params["state"] == "present":
            cluster.scale(*cluster.network())
        else:
            cluster.destroy()
    except RuntimeError as error:
        module.fail_json(msg=str(error))
    changed = {"liar": False, "restless": True}.get(cluster.defect, cluster.changed)
    module.exit_json(changed=changed, steps=cluster.steps)


if __name__ == "__main__":
    main()
