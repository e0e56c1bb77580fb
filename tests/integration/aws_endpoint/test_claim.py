# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances that somebody else made are claimed for a cluster, against moto's server: shown first, tagged after consent, once."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils import _clouds
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.aws import machines
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._claim import claim, wanted

REGION = "eu-west-1"
SIZES = {"10.60.0.11": "m7i.large", "10.60.0.21": "m7i.xlarge", "10.60.0.22": "m7i.xlarge"}


@pytest.fixture
def world(ec2, definition) -> dict[str, Any]:
    """A VPC with three instances, made by hand, and a definition of them. A second VPC has the same addresses."""
    image = next(entry["ImageId"] for entry in ec2.describe_images()["Images"] if entry.get("Architecture") == "x86_64")
    made: dict[str, Any] = {}
    for place in ("other", "ours"):
        vpc = ec2.create_vpc(CidrBlock="10.60.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.60.0.0/20", AvailabilityZone=f"{REGION}a")["Subnet"]["SubnetId"]
        made = {"vpc": vpc, "subnet": subnet, "instances": {}}
        for address, size in SIZES.items():
            answer = ec2.run_instances(
                ImageId=image,
                InstanceType=size,
                MinCount=1,
                MaxCount=1,
                SubnetId=subnet,
                PrivateIpAddress=address,
                TagSpecifications=[
                    {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": place}, {"Key": "cost", "Value": "shop"}]}
                ],
            )
            made["instances"][address] = answer["Instances"][0]["InstanceId"]
    definition.update(
        kubernetes_version="1.36.3",
        control_plane={"count": 1, "machine": {"size": "m7i.large"}, "zones": [f"{REGION}a"]},
        pools=[{"name": "general", "count": 2, "machine": {"size": "m7i.xlarge"}, "zones": [f"{REGION}a"]}],
        network={"plugin": "none", "pod_cidrs": ["10.244.0.0/16"], "service_cidrs": ["10.96.0.0/12"]},
        api_endpoint={**definition["api_endpoint"], "provider": "external", "address": "10.60.0.5"},
        aws={"region": REGION, "vpc": {"id": made["vpc"]}, "subnets": {"machines": {"ids": [made["subnet"]]}}},
    )
    return {**made, "definition": definition}


def adopted(**changes: Any) -> dict[str, Any]:
    listed = [{"address": "10.60.0.11", "role": "control_plane", "node_name": "master-1"}]
    listed += [{"address": f"10.60.0.2{number}", "pool": "general", "node_name": f"node-{number}"} for number in (1, 2)]
    return {
        "kubernetes_version": "1.36.3",
        "network": {"pod_cidrs": ["10.244.0.0/16"], "service_cidrs": ["10.96.0.0/12"]},
        "api_endpoint": {"address": "10.60.0.5"},
        "existing": {"machines": listed},
        **changes,
    }


def tags(ec2: Any) -> dict[str, dict[str, str]]:
    """Return the tags of all instances, by id."""
    found = [
        entry for page in ec2.get_paginator("describe_instances").paginate() for one in page["Reservations"] for entry in one["Instances"]
    ]
    return {entry["InstanceId"]: {tag["Key"]: tag["Value"] for tag in entry.get("Tags", [])} for entry in found}


def refused(session: Any, world: dict[str, Any], **changes: Any) -> FlotillaError:
    with pytest.raises(FlotillaError) as raised:
        claim(world["definition"], adopted(**changes), "", session=session)
    return raised.value


def test_nothing_is_tagged_before_somebody_has_agreed_to_this_very_plan(session, ec2, world):
    before = tags(ec2)
    lines: list[str] = []
    planned = claim(world["definition"], adopted(), "", check_mode=True, session=session, show=lines.append)
    assert planned["changed"] and {entry["node"] for entry in planned["claims"]} == {"master-1", "node-1", "node-2"}
    assert planned["plan_id"] in "".join(lines) and world["instances"]["10.60.0.11"] in "".join(lines)
    assert (refused(session, world).code, tags(ec2)) == ("CLAIM_NOT_AGREED", before)
    with pytest.raises(FlotillaError) as raised:
        claim(world["definition"], adopted(), "0123456789ab", session=session)
    assert raised.value.code == "CLAIM_PLAN_CHANGED" and planned["plan_id"] in str(raised.value) and tags(ec2) == before


def test_claimed_machines_are_the_clusters_and_keep_the_names_of_their_nodes(session, ec2, world):
    before = tags(ec2)
    identity = claim(world["definition"], adopted(), "", check_mode=True, session=session)["plan_id"]
    assert claim(world["definition"], adopted(), identity, session=session)["changed"]
    after = tags(ec2)
    assert {instance for instance in after if after[instance] != before[instance]} == set(world["instances"].values())
    assert all(after[instance]["cost"] == "shop" for instance in after)
    seen = machines.observed(session, world["definition"]).value["machines"]
    assert {(machine["id"], machine["name"], machine["pool"], machine["role"]) for machine in seen} == {
        (world["instances"]["10.60.0.11"], "master-1", "control-plane", "control_plane"),
        (world["instances"]["10.60.0.21"], "node-1", "general", "worker"),
        (world["instances"]["10.60.0.22"], "node-2", "general", "worker"),
    }
    again = claim(world["definition"], adopted(), "", session=session)
    assert not again["changed"] and again["plan_id"] == identity and tags(ec2) == after


def test_consent_holds_for_what_a_killed_run_left_undone(session, ec2, world):
    identity = claim(world["definition"], adopted(), "", check_mode=True, session=session)["plan_id"]
    claimer = _clouds.claimer("aws")
    claims, _findings = claimer.plan(session, world["definition"], wanted(adopted()))
    claimer.apply(session, claims[:1])
    assert claim(world["definition"], adopted(), identity, session=session)["changed"]
    assert len(machines.observed(session, world["definition"]).value["machines"]) == 3


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"control_plane": {"count": 1, "machine": {"size": "m7i.4xlarge"}, "zones": [f"{REGION}a"]}}, "CLAIM_SIZE_DIFFERS"),
        ({"control_plane": {"count": 1, "machine": {"size": "m7i.large"}, "zones": [f"{REGION}b"]}}, "CLAIM_ZONE_DIFFERS"),
        ({"control_plane": {"count": 3, "machine": {"size": "m7i.large"}, "zones": [f"{REGION}a"]}}, "CLAIM_POOL_DIFFERS"),
        ({"kubernetes_version": "1.35.9"}, "CLAIM_DEFINITION_DIFFERS"),
        ({"aws": {"region": REGION}}, "CLAIM_NEEDS_VPC"),
    ],
)
def test_a_definition_of_something_else_is_refused(session, ec2, world, change, code):
    before = tags(ec2)
    world["definition"].update(change)
    error = refused(session, world)
    assert code in (error.code, *(entry["code"] for entry in error.details.get("refusals", []))) and tags(ec2) == before


@pytest.mark.parametrize(
    ("tag", "value", "code"),
    [("flotilla-cluster", "billing", "CLAIM_FOREIGN"), ("kubernetes.io/cluster/billing", "owned", "CLAIM_OTHER_TAG")],
)
def test_machines_of_others_are_never_taken(session, ec2, world, tag, value, code):
    ec2.create_tags(Resources=[world["instances"]["10.60.0.21"]], Tags=[{"Key": tag, "Value": value}])
    before = tags(ec2)
    error = refused(session, world)
    assert [entry["code"] for entry in error.details["refusals"]] == [code] and tags(ec2) == before


def test_machines_that_are_not_there_or_do_not_run_are_named(session, ec2, world):
    ec2.stop_instances(InstanceIds=[world["instances"]["10.60.0.22"]])
    listed = adopted()["existing"]["machines"]
    listed[1]["address"] = "10.60.0.99"
    found = {entry["code"]: entry["object"] for entry in refused(session, world, existing={"machines": listed}).details["refusals"]}
    assert found["CLAIM_MACHINE_UNKNOWN"] == "node-1" and world["instances"]["10.60.0.22"] in found["CLAIM_NOT_RUNNING"]


@pytest.mark.parametrize("cloud", ["gcp", "azure", "vsphere", "local"])
def test_other_clouds_are_refused_in_a_sentence(definition, cloud):
    with pytest.raises(FlotillaError) as raised:
        claim({**definition, "cloud": cloud}, adopted(), "")
    assert raised.value.code == "CLAIM_CLOUD_UNSUPPORTED" and f"'{cloud}'" in str(raised.value)
