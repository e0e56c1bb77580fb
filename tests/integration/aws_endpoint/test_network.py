# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`aws_network` against moto's server."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.aws import layout, network
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError

WORLD = {"CidrIp": "0.0.0.0/0"}


def inventory(ec2: Any) -> dict[str, set[str]]:
    """Every network thing of the account, whoever it belongs to."""
    return {
        "vpcs": {entry["VpcId"] for entry in ec2.describe_vpcs()["Vpcs"]},
        "subnets": {entry["SubnetId"] for entry in ec2.describe_subnets()["Subnets"]},
        "gateways": {entry["InternetGatewayId"] for entry in ec2.describe_internet_gateways()["InternetGateways"]},
        "addresses": {entry["AllocationId"] for entry in ec2.describe_addresses()["Addresses"]},
        "nats": {entry["NatGatewayId"] for entry in ec2.describe_nat_gateways()["NatGateways"] if entry["State"] != "deleted"},
        "tables": {entry["RouteTableId"] for entry in ec2.describe_route_tables()["RouteTables"]},
        "groups": {entry["GroupId"] for entry in ec2.describe_security_groups()["SecurityGroups"]},
    }


def counts(before: dict[str, set[str]], after: dict[str, set[str]]) -> dict[str, int]:
    return {kind: len(after[kind] - before[kind]) for kind in before}


def test_a_network_is_made_once_and_removed_whole(session, ec2, definition):
    before = inventory(ec2)
    predicted = network.present(session, definition, check_mode=True)
    assert inventory(ec2) == before
    assert predicted.changed and predicted.value["vpc_id"] is None

    made = network.present(session, definition)
    after = inventory(ec2)
    # The default group and the main route table come with a VPC.
    assert counts(before, after) == {"vpcs": 1, "subnets": 6, "gateways": 1, "addresses": 3, "nats": 3, "tables": 5, "groups": 4}
    assert made.after == predicted.after

    again = network.present(session, definition)
    assert not again.changed and again.before == again.after and again.warnings == []
    assert inventory(ec2) == after
    assert again.value == made.value and all(made.value["subnets"]["private"].values())

    assert network.absent(session, definition, check_mode=True).changed
    assert inventory(ec2) == after
    assert network.absent(session, definition).changed
    assert inventory(ec2) == before
    assert not network.absent(session, definition).changed


def test_what_is_made_reaches_the_internet_and_carries_its_tags(session, ec2, definition):
    value = network.present(session, definition).value
    for zone, subnet in value["subnets"]["private"].items():
        (table,) = ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": [subnet]}])["RouteTables"]
        assert value["nat_gateways"][zone] in {route.get("NatGatewayId") for route in table["Routes"]}
    for kind, hint in (("public", "kubernetes.io/role/elb"), ("private", "kubernetes.io/role/internal-elb")):
        for entry in ec2.describe_subnets(SubnetIds=list(value["subnets"][kind].values()))["Subnets"]:
            tags = layout.to_tags(entry["Tags"])
            assert tags[hint] == "1" and tags["kubernetes.io/cluster/payments"] == "owned" and tags["team"] == "payments"
            assert tags["flotilla-cluster"] == "payments" and tags["flotilla-uid"] == value["uid"]
    vpc = value["vpc_id"]
    assert ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsHostnames")["EnableDnsHostnames"]["Value"]


def test_the_firewall_lets_in_what_kubernetes_needs_and_drift_is_put_right(session, ec2, definition):
    groups = network.present(session, definition).value["security_groups"]
    (worker,) = groups["worker"]
    (balancer,) = groups["load_balancer"]
    ec2.authorize_security_group_ingress(
        GroupId=worker, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 23, "ToPort": 23, "IpRanges": [WORLD]}]
    )
    service = {
        "IpProtocol": "tcp",
        "FromPort": 30080,
        "ToPort": 30080,
        "IpRanges": [{**WORLD, "Description": "kubernetes.io/rule/nlb/client=a"}],
    }
    ec2.authorize_security_group_ingress(GroupId=worker, IpPermissions=[service])
    (entry,) = ec2.describe_security_groups(GroupIds=[balancer])["SecurityGroups"]
    assert [permission["FromPort"] for permission in entry["IpPermissionsEgress"]] == [6443]
    ec2.revoke_security_group_ingress(GroupId=balancer, IpPermissions=entry["IpPermissions"])
    ec2.delete_tags(Resources=[worker], Tags=[{"Key": "team"}])

    predicted = network.present(session, definition, check_mode=True)
    put_right = network.present(session, definition)
    assert put_right.changed and put_right.after == predicted.after
    (mended,) = ec2.describe_security_groups(GroupIds=[worker])["SecurityGroups"]
    assert {permission["FromPort"] for permission in mended["IpPermissions"]} == {22, 8472, 10250, 30080}
    assert layout.to_tags(mended["Tags"])["team"] == "payments"
    (mended,) = ec2.describe_security_groups(GroupIds=[balancer])["SecurityGroups"]
    assert {permission["FromPort"] for permission in mended["IpPermissions"]} == {6443}
    assert not network.present(session, definition).changed


def test_an_unused_double_of_an_interrupted_run_is_reaped(session, ec2, definition):
    value = network.present(session, definition).value
    after = inventory(ec2)
    for kind, role, make, key in (
        ("vpc", "vpc", lambda tags: ec2.create_vpc(CidrBlock="10.20.0.0/16", TagSpecifications=tags)["Vpc"], "VpcId"),
        ("elastic-ip", "address", lambda tags: ec2.allocate_address(Domain="vpc", TagSpecifications=tags), "AllocationId"),
        (
            "internet-gateway",
            "internet_gateway",
            lambda tags: ec2.create_internet_gateway(TagSpecifications=tags)["InternetGateway"],
            "InternetGatewayId",
        ),
    ):
        tags = layout.place(definition).own_tags(role, value["uid"])
        if role == "address":
            tags["flotilla-zone"] = "eu-west-1a"
        assert make([{"ResourceType": kind, "Tags": layout.from_tags(tags)}])[key]
    assert inventory(ec2) != after
    assert network.present(session, definition).changed
    assert inventory(ec2) == after


def test_removal_refuses_what_others_attached_and_says_what(session, ec2, definition):
    value = network.present(session, definition).value
    stranger = ec2.create_network_interface(SubnetId=value["subnets"]["private"]["eu-west-1a"], Description="a file server")[
        "NetworkInterface"
    ]
    after = inventory(ec2)
    with pytest.raises(FlotillaError) as caught:
        network.absent(session, definition)
    assert caught.value.code == "AWS_NETWORK_IN_USE"
    assert caught.value.details["attached"] == [f"network interface {stranger['NetworkInterfaceId']} of a file server"]
    assert inventory(ec2) == after
    ec2.delete_network_interface(NetworkInterfaceId=stranger["NetworkInterfaceId"])
    assert network.absent(session, definition).changed


def test_a_vpc_of_the_users_is_used_and_never_changed(session, ec2, definition):
    vpc = ec2.create_vpc(CidrBlock="10.50.0.0/16")["Vpc"]["VpcId"]
    zones = definition["control_plane"]["zones"]
    subnets = {
        zone: ec2.create_subnet(VpcId=vpc, AvailabilityZone=zone, CidrBlock=f"10.50.{number}.0/24")["Subnet"]["SubnetId"]
        for number, zone in enumerate(zones)
    }
    definition["aws"] = {"region": "eu-west-1", "vpc": {"id": vpc}, "subnets": {"machines": {"ids": list(subnets.values())[:2]}}}
    with pytest.raises(FlotillaError, match="no subnet in eu-west-1c"):
        network.present(session, definition)
    definition["aws"]["subnets"]["machines"]["ids"] = list(subnets.values())
    before = inventory(ec2)
    described = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"], ec2.describe_subnets(SubnetIds=list(subnets.values()))["Subnets"]
    made = network.present(session, definition)
    assert made.value["subnets"]["private"] == subnets and made.value["vpc_id"] == vpc
    assert counts(before, inventory(ec2)) == {**dict.fromkeys(before, 0), "groups": 3}
    assert not network.present(session, definition).changed
    assert network.absent(session, definition).changed
    assert inventory(ec2) == before
    assert described == (ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"], ec2.describe_subnets(SubnetIds=list(subnets.values()))["Subnets"])


def test_another_foundation_is_refused(session, ec2, definition):
    network.present(session, definition)
    before = inventory(ec2)
    definition["foundation"] = "elsewhere"
    for change in (network.present, network.absent):
        with pytest.raises(FlotillaError) as caught:
            change(session, definition)
        assert caught.value.code == "CLUSTER_FOREIGN_FOUNDATION"
    assert inventory(ec2) == before


def test_fewer_nat_gateways_when_one_is_enough(session, ec2, definition):
    network.present(session, definition)
    definition["aws"]["nat_gateways"] = "single"
    predicted = network.present(session, definition, check_mode=True)
    assert network.present(session, definition).after == predicted.after
    assert {kind: len(ids) for kind, ids in inventory(ec2).items()}["nats"] == 1
    assert len(inventory(ec2)["addresses"]) == 1
    assert not network.present(session, definition).changed
