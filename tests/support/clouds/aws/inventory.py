# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an AWS account holds, asked of the endpoint itself with boto3. Imports nothing of plugins/: it is what judges them."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.config import Config

from clouds.judge import Thing

REGION = "us-east-1"
DEAD = ("shutting-down", "terminated", "deleting", "deleted")
# What moto holds without an API that lists it, or that comes and goes with what is listed.
UNCOUNTED = ("AccountSummary", "Reservation", "FakeHealthStatus")


def client(service: str, url: str) -> Any:
    retries = Config(retries={"total_max_attempts": 1})
    keys = {"aws_access_key_id": "judge", "aws_secret_access_key": "judge"}
    return boto3.client(service, endpoint_url=url, region_name=REGION, config=retries, **keys)


def _tags(item: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in item.get("Tags") or item.get("TagSet") or []}


def _all(api: Any, method: str, key: str, **arguments: Any) -> list[dict[str, Any]]:
    if api.can_paginate(method):
        return [item for page in api.get_paginator(method).paginate(**arguments) for item in page[key]]
    return list(getattr(api, method)(**arguments)[key])


def _rules(permissions: list[dict[str, Any]]) -> list[str]:
    found = []
    for rule in permissions:
        ports = f"{rule['IpProtocol']} {rule.get('FromPort', '')}-{rule.get('ToPort', '')}"
        found += [f"{ports} {source['CidrIp']}" for source in rule.get("IpRanges", [])]
        found += [f"{ports} {source['CidrIpv6']}" for source in rule.get("Ipv6Ranges", [])]
        found += [f"{ports} {source['GroupId']}" for source in rule.get("UserIdGroupPairs", [])]
    return sorted(found)


class Inventory:
    """:param url: of the endpoint, without a proxy."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ec2, self.elb, self.iam, self.dns = (client(name, url) for name in ("ec2", "elbv2", "iam", "route53"))

    def read(self) -> list[Thing]:
        """Return everything; what is dead but still shown is left out."""
        things, dead = [], set()
        for thing, lives in (*self._network(), *self._machines(), *self._load_balancers(), *self._others()):
            if lives:
                things.append(thing)
            else:
                dead.add(thing.id)
        known = {thing.id for thing in things} | dead
        with urllib.request.urlopen(f"{self.url}/_endpoint/inventory", timeout=60) as answer:
            everything = json.loads(answer.read())
        things += [
            Thing(f"moto's {kind}", number, bare=True)
            for kind, numbers in everything.items()
            for number in numbers
            if number not in known and kind not in UNCOUNTED
        ]
        return things

    def _thing(self, kind: str, number: str, item: dict[str, Any], lives: bool = True, **attributes: Any) -> tuple[Thing, bool]:
        tags = _tags(item)
        return Thing(kind, number, tags.get("flotilla-cluster", ""), tags, attributes), lives

    def _network(self) -> Iterator[tuple[Thing, bool]]:
        for item in _all(self.ec2, "describe_vpcs", "Vpcs"):
            yield self._thing("vpc", item["VpcId"], item, cidr=item["CidrBlock"])
        for item in _all(self.ec2, "describe_subnets", "Subnets"):
            public, vpc = item["MapPublicIpOnLaunch"], item["VpcId"]
            yield self._thing(
                "subnet", item["SubnetId"], item, cidr=item["CidrBlock"], zone=item["AvailabilityZone"], public=public, vpc=vpc
            )
        for item in _all(self.ec2, "describe_internet_gateways", "InternetGateways"):
            yield self._thing("internet gateway", item["InternetGatewayId"], item, vpcs=[to["VpcId"] for to in item["Attachments"]])
        for item in _all(self.ec2, "describe_nat_gateways", "NatGateways"):
            addresses = [address.get("AllocationId") for address in item["NatGatewayAddresses"]]
            lives = item["State"] not in DEAD
            yield self._thing("nat gateway", item["NatGatewayId"], item, lives, subnet=item["SubnetId"], addresses=addresses)
        for item in self.ec2.describe_addresses()["Addresses"]:
            yield self._thing("address", item["AllocationId"], item, used=bool(item.get("AssociationId")))
        for item in _all(self.ec2, "describe_route_tables", "RouteTables"):
            routes = [
                f"{route.get('DestinationCidrBlock')} {route.get('GatewayId') or route.get('NatGatewayId')}" for route in item["Routes"]
            ]
            subnets = [link.get("SubnetId") or "main" for link in item["Associations"]]
            yield self._thing("route table", item["RouteTableId"], item, routes=sorted(routes), subnets=sorted(subnets), vpc=item["VpcId"])
        for item in _all(self.ec2, "describe_security_groups", "SecurityGroups"):
            rules, outwards = _rules(item["IpPermissions"]), _rules(item["IpPermissionsEgress"])
            yield self._thing(
                "security group", item["GroupId"], item, name=item["GroupName"], rules=rules, outwards=outwards, vpc=item.get("VpcId")
            )

    def _machines(self) -> Iterator[tuple[Thing, bool]]:
        volumes = {item["VolumeId"]: item for item in _all(self.ec2, "describe_volumes", "Volumes")}
        for reservation in _all(self.ec2, "describe_instances", "Reservations"):
            for item in reservation["Instances"]:
                disks = [volumes[disk["Ebs"]["VolumeId"]] for disk in item["BlockDeviceMappings"] if disk["Ebs"]["VolumeId"] in volumes]
                yield self._thing(
                    "instance",
                    item["InstanceId"],
                    item,
                    item["State"]["Name"] not in DEAD,
                    state=item["State"]["Name"],
                    type=item["InstanceType"],
                    image=item["ImageId"],
                    machine_zone=item["Placement"]["AvailabilityZone"],
                    machine_subnet=item.get("SubnetId"),
                    groups=sorted(group["GroupId"] for group in item["SecurityGroups"]),
                    metadata=(item.get("MetadataOptions") or {}).get("HttpTokens"),
                    spot=item.get("InstanceLifecycle", ""),
                    disks=[f"{disk['VolumeType']} {disk['Size']} {disk['Encrypted']}" for disk in disks],
                )
        for item in volumes.values():
            yield self._thing("volume", item["VolumeId"], item, machines=[to["InstanceId"] for to in item["Attachments"]])
        for item in _all(self.ec2, "describe_network_interfaces", "NetworkInterfaces"):
            yield self._thing(
                "network interface", item["NetworkInterfaceId"], {"Tags": item.get("TagSet")}, machine_subnet=item["SubnetId"]
            )
        for item in _all(self.ec2, "describe_launch_templates", "LaunchTemplates"):
            yield self._thing("launch template", item["LaunchTemplateId"], item, name=item["LaunchTemplateName"])
        for item in self.ec2.describe_key_pairs()["KeyPairs"]:
            yield self._thing("key pair", item["KeyPairId"], item, name=item["KeyName"])

    def _load_balancers(self) -> Iterator[tuple[Thing, bool]]:
        balancers = _all(self.elb, "describe_load_balancers", "LoadBalancers")
        groups = _all(self.elb, "describe_target_groups", "TargetGroups")
        names = [item["LoadBalancerArn"] for item in balancers] + [item["TargetGroupArn"] for item in groups]
        tags = {}
        for start in range(0, len(names), 20):
            for item in self.elb.describe_tags(ResourceArns=names[start : start + 20])["TagDescriptions"]:
                tags[item["ResourceArn"]] = item
        for item in balancers:
            arn = item["LoadBalancerArn"]
            subnets, used = [zone["SubnetId"] for zone in item["AvailabilityZones"]], item.get("SecurityGroups", [])
            yield self._thing(
                "load balancer", arn, tags.get(arn, {}), scheme=item["Scheme"], type=item["Type"], subnets=subnets, groups=used
            )
            for listener in _all(self.elb, "describe_listeners", "Listeners", LoadBalancerArn=arn):
                actions = [action.get("TargetGroupArn") for action in listener["DefaultActions"]]
                yield self._thing("listener", listener["ListenerArn"], {}, port=listener["Port"], to=actions, of=arn)
        for item in groups:
            arn = item["TargetGroupArn"]
            targets = [health["Target"]["Id"] for health in self.elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]]
            yield self._thing("target group", arn, tags.get(arn, {}), port=item.get("Port"), vpc=item.get("VpcId"), targets=targets)

    def _others(self) -> Iterator[tuple[Thing, bool]]:
        for item in _all(self.iam, "list_roles", "Roles"):
            yield self._thing("role", item["Arn"], item, name=item["RoleName"])
        for item in _all(self.iam, "list_instance_profiles", "InstanceProfiles"):
            yield self._thing(
                "instance profile", item["Arn"], item, name=item["InstanceProfileName"], roles=[role["Arn"] for role in item["Roles"]]
            )
        for item in _all(self.dns, "list_hosted_zones", "HostedZones"):
            records = _all(self.dns, "list_resource_record_sets", "ResourceRecordSets", HostedZoneId=item["Id"])
            yield self._thing(
                "hosted zone", item["Id"], {}, name=item["Name"], records=sorted(f"{record['Type']} {record['Name']}" for record in records)
            )
