# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS as a backing sees it: EC2, load balancers and Route 53 by boto3, and the health of targets to the endpoint of the tests."""

from __future__ import annotations

import base64
import dataclasses
import json
import urllib.request
from ipaddress import IPv4Network
from typing import Any

from clouds.aws.inventory import client

from backing.picture import RUNNING, STOPPED, Balancer, Check, Group, Health, Instance, Picture, Target

# A machine is there from its first moment on, and has its power until it is off.
_STATES = {"pending": RUNNING, "running": RUNNING, "stopping": STOPPED, "stopped": STOPPED}


class Adapter:
    """:param owner: value of the tag ``flotilla-cluster`` of the VPC."""

    def __init__(self, url: str, owner: str) -> None:
        self.url = url
        self.owner = owner
        self.ec2, self.elb, self.dns = (client(name, url) for name in ("ec2", "elbv2", "route53"))

    def look(self) -> Picture:
        tagged = [{"Name": "tag:flotilla-cluster", "Values": [self.owner]}]
        vpcs = sorted(self.ec2.describe_vpcs(Filters=tagged)["Vpcs"], key=lambda vpc: vpc["VpcId"])
        if not vpcs:
            return Picture()
        # Where one call made two, only one of them will have machines.
        vpc, instances = vpcs[0], ()
        for vpc in vpcs:
            instances = self._instances(vpc["VpcId"])
            if instances:
                break
        balancers = [item for item in self._balancers() if item["VpcId"] == vpc["VpcId"]]
        subnets = {}
        if balancers:
            found = self.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["Subnets"]
            subnets = {item["SubnetId"]: IPv4Network(item["CidrBlock"]) for item in found}
        made = tuple(self._balancer(item, number, subnets) for number, item in enumerate(balancers))
        groups = self._groups(sorted({group for item in made for group in item.listeners.values()}))
        network = IPv4Network(vpc["CidrBlock"])
        # https://docs.aws.amazon.com/vpc/latest/userguide/AmazonDNS-concepts.html
        return Picture(network, str(network[2]), instances, made, groups, self._names(made) if made else {})

    def _instances(self, vpc: str) -> tuple[Instance, ...]:
        pages = self.ec2.get_paginator("describe_instances").paginate(Filters=[{"Name": "vpc-id", "Values": [vpc]}])
        found = [item for page in pages for reservation in page["Reservations"] for item in reservation["Instances"]]
        alive = [item for item in found if item["State"]["Name"] in _STATES]
        boots = self._endpoint("GET", "boots") if alive else {}
        return tuple(
            Instance(
                item["InstanceId"],
                _STATES[item["State"]["Name"]],
                item["PrivateIpAddress"],
                item["PrivateDnsName"],
                boots.get(item["InstanceId"], 0),
            )
            for item in sorted(alive, key=lambda item: item["InstanceId"])
        )

    def user_data(self, instance: str) -> bytes:
        answer = self.ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")
        return base64.b64decode(answer["UserData"].get("Value", ""))

    def _balancers(self) -> list[dict[str, Any]]:
        found = self.elb.describe_load_balancers()["LoadBalancers"]
        return sorted(
            (item for item in found if item["Type"] == "network"), key=lambda item: (item["CreatedTime"], item["LoadBalancerArn"])
        )

    def _balancer(self, item: dict[str, Any], number: int, subnets: dict[str, IPv4Network]) -> Balancer:
        listeners = self.elb.describe_listeners(LoadBalancerArn=item["LoadBalancerArn"])["Listeners"]
        # The API does not say a balancer's own addresses: from the end, because AWS gives machines those from the beginning.
        places = sorted(zone["SubnetId"] for zone in item["AvailabilityZones"])
        return Balancer(
            item["LoadBalancerName"],
            item["DNSName"],
            tuple(str(subnets[place][-2 - number]) for place in places),
            {listener["Port"]: listener["DefaultActions"][0]["TargetGroupArn"] for listener in listeners},
        )

    def _groups(self, arns: list[str]) -> dict[str, Group]:
        found = self.elb.describe_target_groups(TargetGroupArns=arns)["TargetGroups"] if arns else []
        return {item["TargetGroupArn"]: self._group(item) for item in found}

    def _group(self, item: dict[str, Any]) -> Group:
        port = item.get("HealthCheckPort", "traffic-port")
        check = Check(
            item["HealthCheckProtocol"],
            item["Port"] if port == "traffic-port" else int(port),
            item.get("HealthCheckPath") or "/",
            item["HealthCheckIntervalSeconds"],
            item["HealthCheckTimeoutSeconds"],
            item["HealthyThresholdCount"],
            item["UnhealthyThresholdCount"],
        )
        entries = self.elb.describe_target_health(TargetGroupArn=item["TargetGroupArn"])["TargetHealthDescriptions"]
        targets = [
            Target(entry["Target"]["Id"], int(entry["Target"]["Port"]), entry["TargetHealth"]["State"] == "draining") for entry in entries
        ]
        attributes = self.elb.describe_target_group_attributes(TargetGroupArn=item["TargetGroupArn"])["Attributes"]
        # https://docs.aws.amazon.com/elasticloadbalancing/latest/network/edit-target-group-attributes.html#client-ip-preservation
        keeps = {entry["Key"]: entry["Value"] for entry in attributes}.get("preserve_client_ip.enabled", "true") == "true"
        # It fails open: https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-health-checks.html
        return Group(item["TargetGroupArn"], check, tuple(sorted(targets, key=lambda target: target.instance)), keeps)

    def _names(self, balancers: tuple[Balancer, ...]) -> dict[str, tuple[str, ...]]:
        """Return the names that Route 53 leads to a balancer."""
        known = {balancer.host.lower(): balancer.addresses for balancer in balancers}
        names = {}
        for zone in self.dns.list_hosted_zones()["HostedZones"]:
            for record in self.dns.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]:
                target = record.get("AliasTarget", {}).get("DNSName", "").lower().removeprefix("dualstack.").rstrip(".")
                if record["Type"] == "A" and target in known:
                    names[record["Name"].rstrip(".")] = known[target]
        return names

    def report(self, health: dict[str, dict[str, Health]]) -> None:
        self._endpoint(
            "PUT", "health", {group: {key: dataclasses.astuple(one) for key, one in found.items()} for group, found in health.items()}
        )

    def _endpoint(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_backing/{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())
