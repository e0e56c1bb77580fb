# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`aws_machines` against moto's server."""

from __future__ import annotations

from collections import Counter
from typing import Any

import boto3
import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.aws import image, load_balancer, machines, network
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.decision import Wish
from botocore.exceptions import ClientError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHostKeyOfATest"


def live(ec2: Any) -> list[dict[str, Any]]:
    pages = ec2.get_paginator("describe_instances").paginate()
    found = [entry for page in pages for reservation in page["Reservations"] for entry in reservation["Instances"]]
    return [entry for entry in found if entry["State"]["Name"] not in ("terminated", "shutting-down")]


@pytest.fixture
def ready(session, ec2, definition) -> dict[str, Any]:
    """A definition whose network is there."""
    definition["image"] = {"id": next(e["ImageId"] for e in ec2.describe_images()["Images"] if e.get("Architecture") == "x86_64")}
    network.present(session, definition)
    session.calls.clear()
    return definition


def apply(session, definition, check_mode=False, roll_out=False, wait_for="ssh", **wish):
    options = {"scan": lambda _definition, _machine: KEY, "check_mode": check_mode, "roll_out": roll_out, "wait_for": wait_for}
    return machines.present(session, definition, wait_timeout=60, wish=Wish(**wish), **options)


def test_machines_are_made_as_asked_for_kept_and_removed(session, ec2, ready):
    predicted = apply(session, ready, check_mode=True)
    assert predicted.changed and len(predicted.value["planned"]) == 5 and live(ec2) == []
    made = apply(session, ready)
    found = live(ec2)
    assert Counter(entry["Placement"]["AvailabilityZone"] for entry in found) == {"eu-west-1a": 2, "eu-west-1b": 2, "eu-west-1c": 1}
    assert Counter(entry["InstanceType"] for entry in found) == {"m7i.large": 3, "m7i.xlarge": 2}
    assert len(made.value["machines"]) == 5 and all(machine["host_key"] == KEY for machine in made.value["machines"])
    for volume in ec2.describe_volumes()["Volumes"]:
        assert volume["VolumeType"] == "gp3" and volume["Encrypted"]
    assert {entry["MetadataOptions"]["HttpTokens"] for entry in found} == {"required"}

    session.calls.clear()
    again = apply(session, ready)
    assert not again.changed and {step["action"] for step in again.value["steps"]} == {"keep"} and again.before == again.after
    assert sum(session.calls.values()) <= 6, session.calls
    assert [machine["id"] for machine in again.value["machines"]] == [machine["id"] for machine in made.value["machines"]]
    assert machines.observed(session, ready).value["machines"] == again.value["machines"]
    assert machines.neighbours(session, ready) == {}
    assert machines.neighbours(session, {**ready, "name": "other"}) == {"payments": [machine["name"] for machine in made.value["machines"]]}

    assert machines.absent(session, ready, check_mode=True).changed and len(live(ec2)) == 5
    assert machines.absent(session, ready).changed and live(ec2) == []
    assert not machines.absent(session, ready).changed
    assert network.absent(session, ready).changed


def test_a_create_takes_few_calls(session, ec2, ready):
    ready["control_plane"]["count"] = 1
    apply(session, ready | {"pools": []}, wait_for="running")
    ready["pools"] = [{"name": "general", "count": 120, "machine": {"size": "m7i.large"}, "zones": ["eu-west-1a"]}]
    session.calls.clear()
    apply(session, ready, wait_for="running")
    waiting = 1  # describe after the creation
    assert len(live(ec2)) == 121 and sum(session.calls.values()) - waiting <= 6 + 120 / 50, session.calls


def test_drift_is_put_right_in_place(session, ec2, ready):
    made = apply(session, ready)
    victim = made.value["machines"][-1]
    ec2.delete_tags(Resources=[victim["id"]], Tags=[{"Key": "team"}])
    default = next(group["GroupId"] for group in ec2.describe_security_groups()["SecurityGroups"] if group["GroupName"] == "default")
    ec2.modify_instance_attribute(InstanceId=victim["id"], Groups=[default])
    ec2.stop_instances(InstanceIds=[made.value["machines"][0]["id"]])
    predicted = apply(session, ready, check_mode=True)
    put_right = apply(session, ready)
    assert sorted(step["action"] for step in put_right.value["steps"] if step["action"] != "keep") == ["start", "update"]
    assert put_right.changed and put_right.after == predicted.after
    assert not apply(session, ready).changed


def test_a_machine_that_is_gone_is_made_anew_and_removal_needs_consent(session, ec2, ready, by_hand):
    made = apply(session, ready)
    workers = [machine["id"] for machine in made.value["machines"] if machine["pool"] == "general"]
    by_hand(workers[:1])
    assert apply(session, ready).changed and len(live(ec2)) == 5
    ready["pools"][0]["count"] = 1
    with pytest.raises(FlotillaError) as caught:
        apply(session, ready)
    assert caught.value.code == "MACHINES_BRAKE" and len(live(ec2)) == 5
    assert apply(session, ready, removal="now").changed and len(live(ec2)) == 4


def pools(found: list[dict[str, Any]]) -> Counter[str]:
    return Counter(machine["pool"] for machine in found)


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [machine["id"] for machine in found]


def test_what_is_to_go_is_named_and_stays_until_it_is_asked_for(session, ec2, ready):
    ready["pools"][0]["count"] = 3
    made = apply(session, ready)
    ready["pools"][0]["count"] = 2
    predicted = apply(session, ready, removal="defer", check_mode=True)
    named = apply(session, ready, removal="defer")
    assert predicted.value == named.value and not named.changed and not predicted.changed
    assert len(named.value["machines"]) == 6 and pools(named.value["leaving"]) == {"general": 1}
    assert [step["machine"] for step in named.value["steps"] if step["action"] == "delete"] == [
        one["name"] for one in named.value["leaving"]
    ]
    assert named.value["plan_id"] and len(live(ec2)) == 6

    going = ids(named.value["leaving"])
    left = [machine for machine in made.value["machines"] if machine["id"] not in going]
    for check_mode in (True, False):
        gone = machines.removed(session, ready, going, check_mode=check_mode)
        assert gone.changed and gone.value["machines"] == left
        assert len(live(ec2)) == (6 if check_mode else 5)
    assert not machines.removed(session, ready, going).changed
    assert not machines.removed(session, ready, []).changed and len(live(ec2)) == 5
    assert not apply(session, ready, removal="defer").changed


def test_a_plan_that_takes_much_away_needs_its_id(session, ec2, ready):
    ready["pools"][0]["count"] = 4
    apply(session, ready)
    ready["pools"][0]["count"] = 2
    with pytest.raises(FlotillaError) as caught:
        apply(session, ready, removal="defer")
    assert caught.value.code == "MACHINES_BRAKE" and len(caught.value.details["machines"]) == 2
    shown = caught.value.details["plan_id"]
    with pytest.raises(FlotillaError) as caught:
        apply(session, ready, removal="defer", plan_id="0123456789ab")
    assert caught.value.code == "MACHINES_PLAN_OUTDATED"
    named = apply(session, ready, removal="defer", plan_id=shown)
    assert pools(named.value["leaving"]) == {"general": 2} and named.value["plan_id"] == shown and len(live(ec2)) == 7
    machines.removed(session, ready, ids(named.value["leaving"])[:1])
    with pytest.raises(FlotillaError) as caught:
        apply(session, ready, removal="defer", plan_id=shown)
    assert caught.value.code == "MACHINES_PLAN_OUTDATED" and len(live(ec2)) == 6
    # One machine needs nobody's consent, and `now` asks for none.
    assert len(apply(session, ready, removal="defer").value["leaving"]) == 1
    assert apply(session, ready, removal="now").changed and len(live(ec2)) == 5


def test_control_planes_leave_one_by_one_and_the_one_that_etcd_misses_first(session, ec2, ready):
    made = apply(session, ready)
    planes = [machine for machine in made.value["machines"] if machine["role"] == "control_plane"]
    ready["control_plane"]["count"] = 1
    shown = apply(session, ready, removal="now", check_mode=True).value["plan_id"]
    etcd = {machine["name"]: machine is not planes[2] for machine in planes}
    with pytest.raises(FlotillaError) as caught:
        apply(session, ready, removal="defer", etcd=etcd)
    assert caught.value.code == "MACHINES_BRAKE"
    shown = caught.value.details["plan_id"]
    named = apply(session, ready, removal="defer", etcd=etcd, plan_id=shown)
    assert ids(named.value["leaving"]) == [planes[2]["id"]]
    # With one more that does not serve, nothing may be taken out of etcd.
    worse = {**etcd, planes[1]["name"]: False}
    shown = apply(session, ready, removal="now", etcd=worse, check_mode=True).value["plan_id"]
    kept = apply(session, ready, removal="defer", etcd=worse, plan_id=shown)
    assert kept.value["leaving"] == [] and any("1 of 3 control planes serve" in step["reason"] for step in kept.value["steps"])
    assert len(live(ec2)) == 5


def test_only_machines_of_the_cluster_are_removed_by_their_ids(session, ec2, ready):
    stranger = ec2.run_instances(ImageId=ready["image"]["id"], MinCount=1, MaxCount=1, InstanceType="m7i.large")["Instances"][0][
        "InstanceId"
    ]
    made = apply(session, ready)
    with pytest.raises(FlotillaError) as caught:
        machines.removed(session, ready, [made.value["machines"][0]["id"], stranger])
    assert caught.value.code == "MACHINES_FOREIGN" and stranger in caught.value.message and len(live(ec2)) == 6
    assert not machines.removed(session, ready, ["i-0123456789abcdef0"]).changed


def test_a_machine_is_replaced_in_two_runs(session, ec2, ready):
    made = apply(session, ready)
    old = next(machine["id"] for machine in made.value["machines"] if machine["pool"] == "general")
    apply(session, ready, replace=(old,), removal="now")
    assert len(live(ec2)) == 6
    apply(session, ready, replace=(old,), removal="now")
    assert len(live(ec2)) == 5 and old not in {entry["InstanceId"] for entry in live(ec2)}
    assert not apply(session, ready, replace=(old,), removal="now").changed


def test_naming_a_machine_is_consent_to_its_removal(session, ec2, ready):
    ready["pools"] = []
    made = apply(session, ready)
    old = made.value["machines"][0]["id"]
    assert apply(session, ready, replace=(old,), removal="defer").changed and len(live(ec2)) == 4
    named = apply(session, ready, replace=(old,), removal="defer")
    assert ids(named.value["leaving"]) == [old] and len(live(ec2)) == 4
    assert machines.removed(session, ready, [old]).changed
    assert not apply(session, ready, replace=(old,), removal="defer").changed


def test_machines_of_others_are_refused_or_left_alone(session, ec2, ready):
    image_id = ready["image"]["id"]
    stranger = ec2.run_instances(ImageId=image_id, MinCount=1, MaxCount=1, InstanceType="m7i.large")["Instances"][0]["InstanceId"]
    apply(session, ready)
    machines.absent(session, ready)
    assert [entry["InstanceId"] for entry in live(ec2)] == [stranger]
    tags = [{"Key": "flotilla-cluster", "Value": "payments"}, {"Key": "flotilla-pool", "Value": "general"}]
    ec2.create_tags(Resources=[stranger], Tags=tags)
    for change in (apply, machines.absent):
        with pytest.raises(FlotillaError) as caught:
            change(session, ready)
        assert caught.value.code == "CLUSTER_FOREIGN_FOUNDATION"
    assert [entry["InstanceId"] for entry in live(ec2)] == [stranger]


def test_the_end_of_a_whole_cluster_is_predicted_and_what_others_attached_is_in_its_way(session, ec2, ready):
    made = apply(session, ready)
    load_balancer.present(session, ready, [])
    assert network.absent(session, ready, check_mode=True).changed and len(live(ec2)) == 5
    with pytest.raises(FlotillaError) as caught:
        network.absent(session, ready)
    assert caught.value.code == "AWS_NETWORK_IN_USE" and len(caught.value.details["attached"]) >= 5
    # Another cluster's machine in this network, of the same name but with another identity.
    first = made.value["machines"][0]["id"]
    ec2.create_tags(Resources=[first], Tags=[{"Key": "flotilla-uid", "Value": "0123456789abcdef"}])
    with pytest.raises(FlotillaError) as caught:
        network.absent(session, ready, check_mode=True)
    assert [first in thing for thing in caught.value.details["attached"]] == [True]


def protected(ec2: Any) -> list[bool]:
    answers = [ec2.describe_instance_attribute(InstanceId=entry["InstanceId"], Attribute="disableApiTermination") for entry in live(ec2)]
    return [answer["DisableApiTermination"]["Value"] for answer in answers]


def test_machines_are_protected_until_they_are_removed_here(session, ec2, ready):
    ready["pools"][0]["machine"]["spot"] = True
    made = apply(session, ready)
    assert Counter(protected(ec2)) == {True: 3, False: 2}
    plane = next(machine["id"] for machine in made.value["machines"] if machine["role"] == "control_plane")
    with pytest.raises(ClientError, match="OperationNotPermitted"):
        ec2.terminate_instances(InstanceIds=[plane])
    ready["aws"]["deletion_protection"] = False
    assert apply(session, ready).changed and not any(protected(ec2)) and not apply(session, ready).changed
    ready["aws"]["deletion_protection"] = True
    assert apply(session, ready).changed and Counter(protected(ec2)) == {True: 3, False: 2}
    machines.removed(session, ready, [plane])
    assert len(live(ec2)) == 4
    assert machines.absent(session, ready).changed and live(ec2) == []


def test_sizes_that_are_not_offered_are_named_before_anything_is_made(session, ec2, ready):
    ready["pools"][0]["machine"]["size"] = "m7i.enormous"
    with pytest.raises(FlotillaError) as caught:
        apply(session, ready, check_mode=True)
    assert caught.value.code == "AWS_SIZE_UNKNOWN" and "m7i.enormous in eu-west-1a" in caught.value.message and live(ec2) == []
    assert "machine.size" in caught.value.remedy


def test_images_are_found_by_parameter_and_by_name(session, ec2, ready):
    ssm = boto3.client("ssm", region_name="eu-west-1")
    ssm.put_parameter(Name="/images/base", Value=ready["image"]["id"], Type="String")
    found = image.resolve(session, {"ssm_parameter": "/images/base"})
    assert found.id == ready["image"]["id"] and found.root_device
    with pytest.raises(FlotillaError) as caught:
        image.resolve(session, {"id": "ami-00000000"})
    assert caught.value.code == "AWS_IMAGE_NONE"
    with pytest.raises(FlotillaError) as caught:
        image.resolve(session, {"id": found.id}, "arm64")
    assert caught.value.code == "AWS_IMAGE_ARCHITECTURE"
    named = image.resolve(session, {"name": found.name, "owners": [found.owner]})
    assert named.name == found.name
