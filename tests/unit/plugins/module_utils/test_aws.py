# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS without AWS: layout of a network, rules of its firewall, meaning of errors."""

from __future__ import annotations

import ipaddress
import re
from itertools import combinations
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.aws import errors, layout
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines import cloud


def define(**more: Any) -> dict[str, Any]:
    base = {
        "name": "a",
        "foundation": "f",
        "control_plane": {"zones": ["r1a", "r1b"]},
        "pools": [{"zones": ["r1b", "r1c"]}],
        "aws": {"region": "r1"},
    }
    return {**base, **more}


@pytest.mark.parametrize("cidr", ["10.20.0.0/16", "10.20.0.0/19", "10.20.0.0/22"])
def test_subnets_do_not_overlap_and_stay_where_they_are(cidr):
    seven = [f"r1{letter}" for letter in "abcdefg"]
    where = layout.place(define(control_plane={"zones": seven}, pools=[], aws={"region": "r1", "vpc_cidr": cidr}))
    every = layout.subnet_cidrs(where, {})
    networks = [ipaddress.ip_network(text) for text in every.values()]
    assert len(networks) == 14 and all(network.subnet_of(ipaddress.ip_network(cidr)) for network in networks)
    assert not any(one.overlaps(other) for one, other in combinations(networks, 2))
    assert all(network.prefixlen <= 28 for network in networks)
    # Zones that come later in another order move nobody.
    few = layout.place(define(control_plane={"zones": ["r1c"]}, pools=[], aws={"region": "r1", "vpc_cidr": cidr}))
    first = layout.subnet_cidrs(few, {})
    assert {place: layout.subnet_cidrs(where, first)[place] for place in first} == first


def test_an_eighth_zone_finds_no_room():
    zones = [f"r1{letter}" for letter in "abcdefgh"]
    with pytest.raises(FlotillaError) as caught:
        layout.subnet_cidrs(layout.place(define(control_plane={"zones": zones}, pools=[])), {})
    assert caught.value.code == "AWS_ADDRESSES_SPENT" and "r1h" in caught.value.message


def test_zones_are_those_of_all_pools_in_their_order():
    assert layout.place(define()).zones == ("r1a", "r1b", "r1c")


def test_rules_survive_the_way_to_aws_and_back():
    ids = {"control_plane": "sg-1", "worker": "sg-2", "load_balancer": "sg-3"}
    roles = {group: role for role, group in ids.items()}
    for plugin in ("flannel", "none"):
        where = layout.place(define(network={"plugin": plugin}, bundle={"delivery": {"method": "seed"}}))
        for rules in layout.rules(where, ["10.20.0.0/16"], []).values():
            described = {
                key: [layout.write_rule(rule, ids) for rule in rules if rule.direction == direction]
                for direction, key in (("ingress", "IpPermissions"), ("egress", "IpPermissionsEgress"))
            }
            assert layout.read_rules(described, roles) == rules
            # https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpRange.html
            assert all(rule.reason and re.fullmatch(r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}", rule.reason) for rule in rules)


def test_nothing_but_the_load_balancer_is_open_beyond_the_vpc():
    where = layout.place(define(api_endpoint={"visibility": "public", "allowed_cidrs": ["198.51.100.0/24"], "port": 443}))
    rules = layout.rules(where, ["10.20.0.0/16"], ["203.0.113.7"])
    inside = {"10.20.0.0/16", *layout.GROUP_ROLES}
    for role in ("control_plane", "worker"):
        assert {rule.source for rule in rules[role] if rule.direction == "ingress"} <= inside
    balancer = {(rule.first, rule.source) for rule in rules["load_balancer"] if rule.direction == "ingress"}
    assert balancer == {(443, source) for source in ("10.20.0.0/16", "198.51.100.0/24", "203.0.113.7/32", "control_plane", "worker")}


def test_a_group_of_the_users_stands_for_its_role():
    rules = layout.rules(layout.place(define(aws={"region": "r1", "security_groups": {"worker": ["sg-9"]}})), ["10.20.0.0/16"], [])
    assert set(rules) == {"control_plane", "load_balancer"}
    assert "sg-9" in {rule.source for rule in rules["control_plane"]} and "worker" not in {rule.source for rule in rules["control_plane"]}


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"api_endpoint": {"visibility": "public"}}, "AWS_ENDPOINT_OPEN"),
        ({"aws": {"region": "r1", "vpc_cidr": "10.0.0.0/25"}}, "AWS_VPC_CIDR"),
        ({"aws": {"region": "r1", "vpc_cidr": "10.0.0.1/16"}}, "AWS_VPC_CIDR"),
        ({"control_plane": {}, "pools": []}, "AWS_ZONES"),
        (
            {"api_endpoint": {"visibility": "public", "allowed_cidrs": ["192.0.2.0/24"]}, "aws": {"region": "r1", "public_machines": True}},
            "AWS_ENDPOINT_UNREACHABLE",
        ),
    ],
)
def test_what_can_not_work_is_refused_before_any_call(more, code):
    with pytest.raises(FlotillaError) as caught:
        layout.place(define(**more))
    assert caught.value.code == code and caught.value.remedy


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("RequestLimitExceeded", 503, cloud.Throttled),
        ("Throttling", 400, cloud.Throttled),
        ("InternalError", 500, cloud.Transient),
        ("SomethingNew", 503, cloud.Transient),
        ("DependencyViolation", 400, cloud.Transient),
        ("InsufficientInstanceCapacity", 500, cloud.NoCapacity),
        ("VcpuLimitExceeded", 400, cloud.QuotaExceeded),
        ("VpcLimitExceeded", 400, cloud.QuotaExceeded),
        ("UnauthorizedOperation", 403, cloud.Unauthorised),
        ("ExpiredToken", 400, cloud.Unauthorised),
        ("InvalidInstanceID.NotFound", 400, cloud.NotFound),
        ("TargetGroupNotFound", 400, cloud.NotFound),
        ("InvalidParameterValue", 400, cloud.Refused),
    ],
)
def test_errors_say_what_to_do(code, status, kind):
    error = errors.translate("ec2:RunInstances", code, "You are not authorized to perform: ec2:RunInstances on resource", status)
    assert error.__class__ is kind and error.remedy and error.details["aws_code"] == code
    if code == "UnauthorizedOperation":
        assert "ec2:RunInstances" in error.remedy and "docs/aws.md" in error.remedy
