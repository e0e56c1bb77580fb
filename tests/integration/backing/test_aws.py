# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backing reads from AWS's API, and what it tells the endpoint. No machine is made real here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from backing.aws.account import Account
from backing.aws.adapter import Adapter
from backing.picture import DRAINING, HEALTHY, INITIAL, RUNNING, STOPPED, Check, Health, Picture, Target
from clouds.aws.inventory import REGION, client
from clouds.cloud import Place, started

USER_DATA = "#cloud-config\n{}\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with started(Account(), tmp_path_factory.mktemp("endpoint"), 1.0) as place:
        yield place


@pytest.fixture
def made(place: Place) -> dict[str, Any]:
    """Make a VPC with two machines behind a load balancer, next to what belongs to others."""
    place.reset()
    ec2, elb, dns = (client(name, place.direct) for name in ("ec2", "elbv2", "route53"))

    def tagged(kind: str) -> list[dict[str, Any]]:
        return [{"ResourceType": kind, "Tags": [{"Key": "flotilla-cluster", "Value": "backed"}]}]

    vpc = ec2.create_vpc(CidrBlock="10.61.0.0/16", TagSpecifications=tagged("vpc"))["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.61.{number}.0/24", AvailabilityZone=f"{REGION}{'ab'[number]}")["Subnet"]["SubnetId"]
        for number in range(2)
    ]
    request = {"ImageId": Account().images(place.direct)[0], "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
    ids = [ec2.run_instances(SubnetId=subnet, UserData=USER_DATA, **request)["Instances"][0]["InstanceId"] for subnet in subnets]
    place.clock.advance(10)
    check = {"HealthCheckProtocol": "HTTPS", "HealthCheckPath": "/readyz", "HealthCheckPort": "6443", "HealthCheckIntervalSeconds": 10}
    counts = {"HealthCheckTimeoutSeconds": 6, "HealthyThresholdCount": 2, "UnhealthyThresholdCount": 3}
    group = elb.create_target_group(Name="api", Protocol="TCP", Port=6443, VpcId=vpc, TargetType="instance", **check, **counts)
    arn = group["TargetGroups"][0]["TargetGroupArn"]
    balancer = elb.create_load_balancer(Name="api", Type="network", Scheme="internal", Subnets=subnets)["LoadBalancers"][0]
    forward = [{"Type": "forward", "TargetGroupArn": arn}]
    elb.create_listener(LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="TCP", Port=443, DefaultActions=forward)
    elb.register_targets(TargetGroupArn=arn, Targets=[{"Id": instance} for instance in ids])
    zone = dns.create_hosted_zone(Name="example.com", CallerReference="1")["HostedZone"]["Id"]
    alias = {"HostedZoneId": balancer["CanonicalHostedZoneId"], "DNSName": balancer["DNSName"], "EvaluateTargetHealth": False}
    record = {"Action": "UPSERT", "ResourceRecordSet": {"Name": "api.example.com", "Type": "A", "AliasTarget": alias}}
    dns.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [record]})
    return {"ec2": ec2, "elb": elb, "ids": ids, "group": arn, "host": balancer["DNSName"]}


def test_what_is_the_clusters_is_in_the_picture(place: Place, made: dict[str, Any]) -> None:
    picture = Adapter(place.direct, "backed").look()
    assert picture.network == IPv4Network("10.61.0.0/16")
    assert {instance.id: (instance.state, instance.address, instance.hostname) for instance in picture.instances} == {
        made["ids"][0]: (RUNNING, "10.61.0.4", "ip-10-61-0-4.ec2.internal"),
        made["ids"][1]: (RUNNING, "10.61.1.4", "ip-10-61-1-4.ec2.internal"),
    }
    (balancer,) = picture.balancers
    assert (balancer.name, balancer.host, balancer.listeners) == ("api", made["host"], {443: made["group"]})
    assert sorted(balancer.addresses) == ["10.61.0.254", "10.61.1.254"]
    assert picture.names == {"api.example.com": balancer.addresses}
    group = picture.groups[made["group"]]
    assert group.check == Check("HTTPS", 6443, "/readyz", interval=10, timeout=6, rise=2, fall=3)
    assert group.keeps_client
    assert set(group.targets) == {Target(instance, 6443) for instance in made["ids"]}
    assert Adapter(place.direct, "backed").user_data(made["ids"][0]) == USER_DATA.encode()


def test_a_cluster_without_network_is_nothing(place: Place, made: dict[str, Any]) -> None:
    assert Adapter(place.direct, "back").look() == Picture()


def test_machines_that_end_leave_the_picture(place: Place, made: dict[str, Any]) -> None:
    adapter, (first, second) = Adapter(place.direct, "backed"), made["ids"]
    made["ec2"].stop_instances(InstanceIds=[first])
    made["ec2"].terminate_instances(InstanceIds=[second])
    assert {instance.id: instance.state for instance in adapter.look().instances} == {first: STOPPED}


def test_a_boot_is_seen(place: Place, made: dict[str, Any]) -> None:
    adapter, first = Adapter(place.direct, "backed"), made["ids"][0]
    before = {instance.id: instance.boots for instance in adapter.look().instances}
    made["ec2"].reboot_instances(InstanceIds=[first])
    after = {instance.id: instance.boots for instance in adapter.look().instances}
    assert {instance: after[instance] - before[instance] for instance in made["ids"]} == {first: 1, made["ids"][1]: 0}


def test_targets_are_as_the_backing_says_and_drain(place: Place, made: dict[str, Any]) -> None:
    adapter, elb, arn, (first, second) = Adapter(place.direct, "backed"), made["elb"], made["group"], made["ids"]

    def states() -> dict[str, str]:
        found = elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        return {entry["Target"]["Id"]: entry["TargetHealth"]["State"] for entry in found}

    assert states() == {first: INITIAL, second: INITIAL}
    adapter.report({arn: {first: Health(HEALTHY), second: Health(INITIAL, "Elb.InitialHealthChecking")}})
    assert states() == {first: HEALTHY, second: INITIAL}
    delay = [{"Key": "deregistration_delay.timeout_seconds", "Value": "30"}]
    elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=delay)
    elb.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": first}])
    assert states() == {first: DRAINING, second: INITIAL}
    assert {target.instance for target in adapter.look().groups[arn].targets if target.draining} == {first}
    place.clock.advance(31)
    assert states() == {second: INITIAL}
    elb.register_targets(TargetGroupArn=arn, Targets=[{"Id": first}])
    assert states() == {first: INITIAL, second: INITIAL}
