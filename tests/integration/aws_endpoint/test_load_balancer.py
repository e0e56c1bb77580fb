# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`aws_load_balancer` against moto's server."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.aws import load_balancer, network
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError

REGION = "eu-west-1"


@pytest.fixture
def elb(endpoint: str) -> Any:
    return boto3.client("elbv2", region_name=REGION)


def machine(ec2: Any, subnet: str) -> str:
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    answer = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, SubnetId=subnet, InstanceType="m7i.large")
    return str(answer["Instances"][0]["InstanceId"])


def _delay(elb: Any, group: dict[str, Any]) -> str:
    """Return the seconds that connections of a target stay open that was taken out."""
    attributes = elb.describe_target_group_attributes(TargetGroupArn=group["TargetGroupArn"])["Attributes"]
    return next(one["Value"] for one in attributes if one["Key"] == "deregistration_delay.timeout_seconds")


def inventory(elb: Any) -> dict[str, list[str]]:
    return {
        "balancers": sorted(entry["LoadBalancerName"] for entry in elb.describe_load_balancers()["LoadBalancers"]),
        "groups": sorted(entry["TargetGroupName"] for entry in elb.describe_target_groups()["TargetGroups"]),
    }


def test_a_load_balancer_is_made_once_fed_and_removed(session, ec2, elb, definition):
    value = network.present(session, definition).value
    subnets = list(value["subnets"]["private"].values())
    predicted = load_balancer.present(session, definition, [], check_mode=True)
    assert predicted.changed and inventory(elb) == {"balancers": [], "groups": []}
    made = load_balancer.present(session, definition, [])
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    assert (balancer["Scheme"], balancer["Type"]) == ("internal", "network")
    assert sorted(balancer["SecurityGroups"]) == value["security_groups"]["load_balancer"]
    assert made.value["endpoint"] == {"host": balancer["DNSName"], "port": 6443}
    assert made.after == predicted.after
    (group,) = elb.describe_target_groups()["TargetGroups"]
    assert (group["HealthCheckProtocol"], group["HealthCheckPath"], group["TargetType"]) == ("HTTPS", "/readyz", "instance")
    attributes = elb.describe_target_group_attributes(TargetGroupArn=group["TargetGroupArn"])["Attributes"]
    assert {"Key": "preserve_client_ip.enabled", "Value": "false"} in attributes
    attributes = elb.describe_load_balancer_attributes(LoadBalancerArn=balancer["LoadBalancerArn"])["Attributes"]
    assert {"Key": "deletion_protection.enabled", "Value": "true"} in attributes
    again = load_balancer.present(session, definition, [])
    assert not again.changed and again.before == again.after

    members = [{"id": machine(ec2, subnet), "address": "10.20.0.9"} for subnet in subnets]
    fed = load_balancer.present(session, definition, members)
    assert fed.changed and {member["health"] for member in fed.value["members"]} <= {"healthy", "unknown"}
    assert not load_balancer.present(session, definition, members).changed
    found = load_balancer.observed(session, definition).value
    assert [member["id"] for member in found["members"]] == sorted(member["id"] for member in members)

    members[0]["state"] = "drained"
    drained = load_balancer.present(session, definition, members, drain_timeout=3)
    health = {member["id"]: member["health"] for member in drained.value["members"]}
    assert drained.changed and health[members[0]["id"]] == "drained"
    registered = {
        entry["Target"]["Id"] for entry in elb.describe_target_health(TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"]
    }
    assert registered == {member["id"] for member in members[1:]}
    assert not load_balancer.present(session, definition, members).changed
    assert _delay(elb, group) == "3"
    members[0]["state"] = "active"
    load_balancer.present(session, definition, members)
    members[0]["state"] = "drained"
    assert load_balancer.present(session, definition, members, drain_timeout=3, close=False).changed
    assert _delay(elb, group) == "300", "connections are left to the API server"
    assert not load_balancer.present(session, definition, members, drain_timeout=3).changed

    assert load_balancer.absent(session, definition, check_mode=True).changed
    assert inventory(elb)["balancers"] == ["payments-api"]
    session.calls.clear()
    assert load_balancer.absent(session, definition).changed
    assert inventory(elb) == {"balancers": [], "groups": []}
    # The protection is lifted before; moto deletes a protected one, too.
    called = list(session.calls)
    assert called.index("elbv2:ModifyLoadBalancerAttributes") < called.index("elbv2:DeleteLoadBalancer")
    assert not load_balancer.absent(session, definition).changed


def test_drift_is_put_right(session, elb, definition):
    network.present(session, definition)
    load_balancer.present(session, definition, [])
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    (group,) = elb.describe_target_groups()["TargetGroups"]
    (listener,) = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    elb.delete_listener(ListenerArn=listener["ListenerArn"])
    elb.modify_target_group(TargetGroupArn=group["TargetGroupArn"], HealthCheckPath="/livez")
    elb.remove_tags(ResourceArns=[group["TargetGroupArn"]], TagKeys=["team"])
    predicted = load_balancer.present(session, definition, [], check_mode=True)
    put_right = load_balancer.present(session, definition, [])
    assert put_right.changed and put_right.after == predicted.after
    assert [entry["Port"] for entry in elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]] == [6443]
    assert elb.describe_target_groups()["TargetGroups"][0]["HealthCheckPath"] == "/readyz"
    assert not load_balancer.present(session, definition, []).changed


def test_its_own_name_leads_to_it_and_a_name_of_others_is_left_alone(session, definition):
    dns = boto3.client("route53", region_name=REGION)
    zone = dns.create_hosted_zone(Name="example.com", CallerReference="1")["HostedZone"]["Id"].rsplit("/", 1)[-1]
    definition["aws"]["hosted_zone_id"] = zone
    definition["api_endpoint"]["dns_name"] = "api.payments.example.com"
    network.present(session, definition)

    def records() -> dict[str, str]:
        found = dns.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        return {entry["Name"]: entry.get("AliasTarget", {}).get("DNSName", "") for entry in found if entry["Type"] == "A"}

    made = load_balancer.present(session, definition, [])
    assert made.value["endpoint"] == {"host": "api.payments.example.com", "port": 6443}
    assert list(records()) == ["api.payments.example.com."]
    assert not load_balancer.present(session, definition, []).changed
    load_balancer.absent(session, definition)
    assert records() == {}

    other = {"Name": "api.payments.example.com", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]}
    dns.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": other}]})
    with pytest.raises(FlotillaError) as caught:
        load_balancer.present(session, definition, [])
    assert caught.value.code == "AWS_DNS_NAME_TAKEN"
    load_balancer.absent(session, definition)
    assert list(records()) == ["api.payments.example.com."]


def test_without_a_network_it_says_what_is_missing(session, elb, definition):
    with pytest.raises(FlotillaError) as caught:
        load_balancer.present(session, definition, [])
    assert caught.value.code == "AWS_NETWORK_MISSING" and inventory(elb) == {"balancers": [], "groups": []}
    assert load_balancer.present(session, definition, [], check_mode=True).changed
