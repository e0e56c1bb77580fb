# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster in AWS, through AWS's API, whose machines and load balancer are real: `make e2e-aws`.

The endpoint is moto's server, and what it says runs, runs in containers of this host (tests/support/backing). The tests share one cluster
and run in the order of this file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import outside
import pytest
from backing import process
from backing.aws import stage
from backing.aws.stage import Stage
from backing.picture import HEALTHY
from backing.podman import Host
from clouds.aws.inventory import client
from conftest import VERSION, wait_for

pytestmark = pytest.mark.full

NAME = "test-aws"
CIDR = "10.61.0.0/16"
PORT = 6443


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    before = outside.settings()
    with stage.started(tmp_path_factory.mktemp("aws"), NAME, CIDR, VERSION) as made:
        yield made
        if outside.left_of(NAME)["files"]:
            made.play("cluster_delete", "-e", f"flotilla_confirm={NAME}")
    assert not any(outside.left_of(NAME).values()), outside.left_of(NAME)
    assert outside.settings() == before


def apply(aws: Stage, *options: str) -> outside.Run:
    """Run cluster_apply, and say what the machines say where it fails."""
    run = aws.play("cluster_apply", *options)
    assert run.status == 0, f"{run.output[-8000:]}\n{aws.logs()[-30000:]}"
    return run


def plan_id(aws: Stage) -> str:
    """Return the id of what cluster_apply would do now, as cluster_plan shows it."""
    report = aws.folder / "plan.json"
    run = aws.play("cluster_plan", "--check", "-e", f"flotilla_report={report}")
    assert run.status == 0 and aws.changes() == [], run.output[-4000:]
    return str(json.loads(report.read_text(encoding="utf-8"))["plan_id"])


def machines(aws: Stage, role: str = "") -> list[str]:
    """Return the ids of the cluster's instances that live, by role."""
    found = aws.place.cloud.dump(aws.place.direct)
    return sorted(
        thing.id for thing in found if thing.kind == "instance" and thing.owner == NAME and role in ("", thing.tags["flotilla-role"])
    )


def nodes(aws: Stage) -> dict[str, bool]:
    """Return whether each node is Ready, as a client of the load balancer's name sees it."""
    items = json.loads(aws.kubectl("get", "nodes", "--output=json"))["items"]
    return {item["metadata"]["name"]: {c["type"]: c["status"] for c in item["status"]["conditions"]}["Ready"] == "True" for item in items}


def expected_nodes(aws: Stage) -> dict[str, bool]:
    """Return the nodes that the account's instances should be, all Ready."""
    pools = {True: "control-plane", False: "workers"}
    control_planes = machines(aws, "control_plane")
    return {f"{NAME}-{pools[instance in control_planes]}-{instance[-8:]}": True for instance in machines(aws)}


def health(aws: Stage) -> dict[str, str]:
    """Return the state of each target of the API's load balancer, as AWS's API gives it."""
    elb = client("elbv2", aws.place.direct)
    group = elb.describe_target_groups(Names=[f"{NAME}-api"])["TargetGroups"][0]["TargetGroupArn"]
    entries = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    return {entry["Target"]["Id"]: entry["TargetHealth"]["State"] for entry in entries}


def members(aws: Stage) -> set[str]:
    """Return the names of etcd's voting members."""
    pki = "/etc/kubernetes/pki/etcd"
    text = aws.run_on(
        machines(aws, "control_plane")[0], "etcdctl", f"--cacert={pki}/ca.crt", f"--cert={pki}/healthcheck-client.crt",
        f"--key={pki}/healthcheck-client.key", "--endpoints=https://127.0.0.1:2379", "member", "list", "--write-out=json",
    )  # fmt: skip
    return {member["name"] for member in json.loads(text)["members"] if not member.get("isLearner")}


def check(aws: Stage, control_planes: int, workers: int) -> None:
    """Fail unless cloud, containers, nodes, etcd and load balancer agree on so many machines."""
    assert (len(machines(aws, "control_plane")), len(machines(aws, "worker"))) == (control_planes, workers)
    wait_for("every instance has its container, and no other has", lambda: sorted(aws.containers()) == machines(aws))
    assert nodes(aws) == expected_nodes(aws)
    assert members(aws) == {name for name in expected_nodes(aws) if "-control-plane-" in name}
    wanted = dict.fromkeys(machines(aws, "control_plane"), HEALTHY)
    wait_for("the load balancer sends to the control planes", lambda: health(aws) == wanted, 120)


def test_the_first_run_makes_a_cluster_of_three_and_two(aws: Stage) -> None:
    aws.define(3, 2)
    apply(aws)
    made = Counter(aws.changes())
    assert made["ec2:RunInstances"] >= 2 and made["elasticloadbalancing:CreateLoadBalancer"] == 1, made
    check(aws, 3, 2)
    # They were made as a cloud makes them: from their own user data.
    for instance in machines(aws):
        status = json.loads(aws.run_on(instance, "cloud-init", "status", "--format=json"))
        assert (status["status"], status["errors"]) == ("done", []), status
        assert "NoCloud" in status["detail"]


def test_a_second_run_changes_nothing(aws: Stage) -> None:
    before = aws.ids()
    run = apply(aws)
    calls = aws.place.calls()
    assert run.changed == 0, run.recap
    assert aws.changes() == [] and calls, "the proxy wrote down no call at all"
    assert aws.ids() == before


def ask(aws: Stage, instance: str, times: int = 12) -> Counter[str]:
    """Let a machine connect to the API by the load balancer's name so often, and count the answers."""
    (balancer,) = aws.picture().balancers
    command = f"curl --silent --insecure --max-time 3 https://{balancer.host}:{PORT}/livez || echo none"
    return Counter(aws.run_on(instance, "sh", "-c", f"for number in $(seq {times}); do {command}; echo; done").split())


def test_the_load_balancer_is_a_real_one(aws: Stage) -> None:
    """It serves everybody, but loses what a machine sends to itself: the cluster came up without that."""
    assert ask(aws, machines(aws, "worker")[0]) == {"ok": 12}
    own = ask(aws, machines(aws, "control_plane")[0], times=40)
    assert set(own) == {"ok", "none"} and own["ok"] > own["none"], own


def test_a_dump_shows_the_cluster_while_it_is_there(aws: Stage) -> None:
    """What the last test looks for is found as long as it is there."""
    kinds = {thing.kind for thing in aws.left()}
    assert {"vpc", "subnet", "instance", "volume", "security group", "load balancer", "target group", "nat gateway"} <= kinds
    here = Host(NAME)
    assert len(here.containers()) == 3 + 2 + 2 and len(here.volumes()) == 3 * 5
    left = outside.left_of(NAME)
    assert left["containers"] and left["volumes"] and left["networks"] and left["files"]


def test_workers_are_added(aws: Stage) -> None:
    before = aws.ids()
    aws.define(3, 4)
    apply(aws)
    check(aws, 3, 4)
    assert before.items() < aws.ids().items()


def test_what_takes_much_away_needs_consent(aws: Stage) -> None:
    before = aws.ids()
    aws.define(3, 1)
    run = aws.play("cluster_apply")
    assert run.status != 0 and "MACHINES_BRAKE" in run.output, run.output[-4000:]
    assert aws.changes() == [] and aws.ids() == before


def test_workers_are_taken_away(aws: Stage) -> None:
    before = aws.ids()
    apply(aws, "-e", f"flotilla_plan_id={plan_id(aws)}")
    check(aws, 3, 1)
    after = aws.ids()
    assert after.items() < before.items() and set(machines(aws, "control_plane")) < set(after)
    assert "ec2:TerminateInstances" in aws.changes()
    assert {Host(NAME).volumes()[volume] for volume in Host(NAME).volumes()} == set(after), "disks go with their machines"


def test_a_backing_that_was_killed_goes_on(aws: Stage) -> None:
    before = aws.ids()
    aws.backing.kill()
    aws.backing.popen = process.start(aws.backing.command, aws.backing.log).popen
    check(aws, 3, 1)
    assert aws.ids() == before


def test_a_control_plane_is_replaced(aws: Stage) -> None:
    before, control_planes, workers = aws.ids(), machines(aws, "control_plane"), machines(aws, "worker")
    # The first by name is the one that a run asks first.
    victim = min(control_planes, key=lambda instance: instance[-8:])
    run = aws.play("machine_replace", "-e", f"flotilla_machine_name={victim}")
    assert run.status == 0, f"{run.output[-8000:]}\n{aws.logs()[-30000:]}"
    check(aws, 3, len(workers))
    after = aws.ids()
    assert victim not in after and {key: value for key, value in before.items() if key != victim}.items() < after.items()
    changes = aws.changes()
    # It left the load balancer before it ended.
    assert changes.index("elasticloadbalancing:DeregisterTargets") < changes.index("ec2:TerminateInstances"), changes


@pytest.mark.last
def test_deleting_leaves_nothing(aws: Stage) -> None:
    run = aws.play("cluster_delete", "-e", f"flotilla_confirm={NAME}")
    assert run.status == 0, f"{run.output[-8000:]}\n{aws.logs()[-10000:]}"
    assert aws.left() == []
    # Others' things in the account are as they were.
    assert {(thing.kind, thing.id) for thing in aws.place.cloud.dump(aws.place.direct)} == {(thing.kind, thing.id) for thing in aws.account}

    def gone() -> bool:
        left: dict[str, Any] = outside.left_of(NAME)
        return not any(left.values())

    wait_for("the machines are gone for real", gone, 60)
