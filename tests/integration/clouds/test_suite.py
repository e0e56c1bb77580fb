# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The suite finds what it is there to find: a right module passes, and each wrong one is told by its own defect."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clouds import judge, seeds
from clouds.aws.inventory import REGION, client
from clouds.clock import Clock
from clouds.cloud import Place, started
from clouds.examples.adapter import Adapter
from clouds.examples.example_cluster import DEFECTS
from clouds.faults import CALM, Call, Dice, Draw, Faults
from clouds.runner import CHILD, INSIDE, PLAYBOOK, run
from clouds.seeds import Knowledge, Passed
from clouds.story import BASE, STEPS, Step, Story

Tell = Callable[[str], Story]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with started(Adapter(), tmp_path_factory.mktemp("cloud"), speed=40) as made:
        yield made


@pytest.fixture
def tell(place: Place) -> Tell:
    def with_defect(defect: str) -> Story:
        assert isinstance(place.cloud, Adapter)
        place.cloud.defect = defect
        return Story(place)

    return with_defect


def _steps(*names: str) -> tuple[Step, ...]:
    return tuple(step for step in STEPS if step.name in names)


def test_a_right_module_passes(tell: Tell) -> None:
    story = tell("")
    wrong = story.calm()
    for seed in (10, 1):
        wrong += story.storm(seed)
    assert not wrong, "\n".join(wrong)


FOUND = {
    "orphan": (("create", "destroy"), r"destroy: an orphan after the destroy: volume"),
    "hidden change": (("create", "no-op"), r"no-op: the run sent ec2:CreateTags"),
    "check mode writes": (("create",), r"create: check mode sent ec2:CreateVpc"),
    "check mode lies": (("create", "scale up", "scale down"), r"scale down: check mode (said|foretold)"),
    "blind": (("create", "rule opened by hand"), r"rule opened by hand: 1 too many: security group .*23-23 0\.0\.0\.0/0"),
    "forgetful": (("create", "tag changed by hand"), r"tag changed by hand: 1 too many: instance .*by-hand"),
    "greedy": (("create", "destroy"), r"(never ours|is gone)"),
    "liar": (("create",), r"create: nothing reports a change"),
    "restless": (("create", "no-op"), r"no-op: the run: .*reports a change"),
}


@pytest.mark.parametrize("defect", sorted(FOUND))
def test_a_wrong_module_is_found_in_good_weather(tell: Tell, defect: str) -> None:
    names, pattern = FOUND[defect]
    wrong = tell(defect).calm(steps=_steps(*names))
    assert any(re.search(pattern, text) for text in wrong), (DEFECTS[defect], wrong)


def test_a_machine_without_a_token_is_found_when_answers_are_lost(tell: Tell, place: Place) -> None:
    for defect, clean in (("duplicate", False), ("", True)):
        before = tell(defect).place.reset()
        place.weather(Faults("lost", reset=0.5, burst=1))
        outcomes = list(run(place.cloud.apply(BASE), place))
        assert not outcomes[-1].failed, outcomes
        found = place.cloud.machines(judge.added(before, place.cloud.dump(place.direct)))
        assert (judge.check_machines(BASE.machines, found) == []) is clean


def test_impatience_is_found_when_reads_are_old(tmp_path: Path) -> None:
    # Slowly: within the window the second run has to come as far as its first reads.
    with started(Adapter(), tmp_path, speed=3) as place:
        _be_impatient(place)


def _be_impatient(place: Place) -> None:
    assert isinstance(place.cloud, Adapter)
    for defect, clean in (("impatient", False), ("", True)):
        place.cloud.defect = defect
        place.reset()
        place.weather(CALM)
        tasks = place.cloud.apply(BASE)
        list(run(tasks, place))
        first = [call["mutates"] for call in place.calls()].index(True)
        before = place.reset()
        place.weather(Faults("old", stale_for=5.0, stale=1.0))
        (outcome,) = run(tasks, place, kill=(0, 2 * first + 1))
        assert outcome.killed
        place.calls()
        list(run(tasks, place))
        networks = [thing for thing in judge.added(before, place.cloud.dump(place.direct)) if thing.kind == "vpc"]
        assert (len(networks) == 1) is clean, networks


def test_planted_things_are_found(tell: Tell, place: Place) -> None:
    before = tell("").place.reset()
    ec2, elb = client("ec2", place.direct), client("elbv2", place.direct)
    assert judge.added(before, place.cloud.dump(place.direct)) == []
    ec2.allocate_address(Domain="vpc")
    ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=1)
    elb.create_target_group(Name="planted", Protocol="TCP", Port=1, VpcId=ec2.describe_vpcs()["Vpcs"][0]["VpcId"])
    # Of a kind that no reader of this suite asks for.
    ec2.create_dhcp_options(DhcpConfigurations=[{"Key": "domain-name", "Values": ["planted"]}])
    kinds = {thing.kind for thing in judge.added(before, place.cloud.dump(place.direct))}
    assert {"address", "volume", "target group", "moto's DHCPOptionsSet"} <= kinds
    foreign = next(thing for thing in before if thing.kind == "instance")
    ec2.create_tags(Resources=[foreign.id], Tags=[{"Key": "planted", "Value": "x"}])
    assert any(foreign.id in text for text in judge.disturbed(before, place.cloud.dump(place.direct)))


@pytest.mark.parametrize("how", [INSIDE, CHILD])
def test_a_kill_ends_the_run_at_its_moment(tell: Tell, place: Place, how: str) -> None:
    tell("").place.reset()
    place.weather(CALM)
    list(run(place.cloud.apply(BASE), place))
    first = [call["mutates"] for call in place.calls()].index(True)
    # The first call that changes something was not sent, or was sent and its answer not read.
    for moment, done in ((2 * first, 0), (2 * first + 1, 1)):
        before = place.reset()
        place.weather(CALM)
        (outcome,) = run(place.cloud.apply(BASE), place, how=how, kill=(0, moment))
        assert outcome.killed
        assert (len(place.calls()), sum(call["mutates"] for call in place.calls())) == (first + done, done)
        assert sum(thing.kind == "vpc" for thing in judge.added(before, place.cloud.dump(place.direct))) == done


def test_a_playbook_runs_on_the_same_clock(tell: Tell) -> None:
    wrong = tell("").calm(PLAYBOOK, _steps("create"))
    assert not wrong, "\n".join(wrong)


def test_the_judge_knows_nothing_of_the_code_under_test() -> None:
    code = (
        "import sys; from clouds import judge, proxy, faults; from clouds.aws import account, inventory; "
        "print(*(name for name in sys.modules if name.startswith('ansible_collections')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""


def test_kills_lie_evenly_over_all_moments(tell: Tell) -> None:
    moments = [40, 0, 60]
    story = tell("")
    drawn = [story._choose_kill(seed, STEPS[0], 0, moments) for seed in range(1, 101)]
    numbers = sorted({kill[1] + sum(moments[: kill[0]]) for kill in drawn if kill})
    assert len(numbers) > 80 and max(after - before for before, after in zip(numbers, numbers[1:])) <= 3, numbers
    assert story._choose_kill(1, STEPS[0], 0, []) is None


def test_a_seed_that_passed_is_not_tried_again_until_something_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "folder/passed.json"
    Passed(file, "aws").add(7)
    assert Passed(file, "aws").seeds == {7} and Passed(file, "gcp").seeds == set()
    monkeypatch.setattr(seeds, "_digest", lambda *_places: "another")
    assert Passed(file, "aws").seeds == set()


def test_a_storm_for_which_there_is_no_time_does_not_begin() -> None:
    assert seeds.tell("no such cloud", 1, 1, Knowledge({}, {}), time.monotonic() - 1) is None


def test_the_weather_is_drawn_from_its_seed() -> None:
    def draw(seed: str) -> list[Draw]:
        dice = Dice(Faults.storm(seed))
        return [dice.roll(Call("ec2:DescribeVpcs", False)) for _number in range(2000)]

    draws = draw("a")
    assert draws == draw("a") != draw("b")
    share = {fault: sum(one.fault == fault for one in draws) / len(draws) for fault in ("throttled", "broken", "reset after it was done")}
    assert 0.07 < share["throttled"] < 0.13 and 0.02 < share["broken"] < 0.06 and 0.01 < share["reset after it was done"] < 0.05
    assert all(0.2 <= one.latency <= 0.8 for one in draws)


def test_time_passes_for_all_at_once(tmp_path: Path) -> None:
    clock = Clock.create(tmp_path / "clock", speed=1)
    other = Clock(tmp_path / "clock")
    clock.advance(3600)
    assert 3600 <= other.now() <= clock.now() < 3700


def test_tokens_outlive_their_machines_by_a_day(tell: Tell, place: Place) -> None:
    tell("").place.reset()
    ec2 = client("ec2", place.direct)
    assert isinstance(place.cloud, Adapter)
    request = {"ImageId": place.cloud.prepared[0], "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 2, "ClientToken": "t"}

    def make() -> list[str]:
        return sorted(item["InstanceId"] for item in ec2.run_instances(**request)["Instances"])

    def states() -> set[str]:
        found = ec2.describe_instances()["Reservations"]
        return {item["State"]["Name"] for group in found for item in group["Instances"] if item["InstanceId"] in first}

    first = make()
    assert states() == {"pending"} and make() == first
    with pytest.raises(ec2.exceptions.ClientError, match="IdempotentParameterMismatch"):
        ec2.run_instances(**{**request, "MaxCount": 3})
    place.clock.advance(10)
    assert states() == {"running"}
    ec2.terminate_instances(InstanceIds=first)
    assert states() == {"shutting-down"}
    place.clock.advance(60)
    assert states() == {"terminated"} and make() == first
    place.clock.advance(2 * 3600)
    assert states() == set() and make() == first
    place.clock.advance(25 * 3600)
    assert set(make()).isdisjoint(first)


def test_a_zone_gives_what_it_has(tell: Tell, place: Place) -> None:
    tell("").place.reset()
    ec2 = client("ec2", place.direct)
    assert isinstance(place.cloud, Adapter)
    subnet = next(item for item in ec2.describe_subnets()["Subnets"] if item["AvailabilityZone"] == f"{REGION}b")
    request = {"ImageId": place.cloud.prepared[0], "InstanceType": "m5.large", "SubnetId": subnet["SubnetId"]}
    place.cloud.limit(place.direct, {f"{REGION}b": 2})
    with pytest.raises(ec2.exceptions.ClientError, match="InsufficientInstanceCapacity"):
        ec2.run_instances(MinCount=3, MaxCount=3, **request)
    assert len(ec2.run_instances(MinCount=1, MaxCount=3, **request)["Instances"]) == 2


def test_what_is_in_use_is_not_deleted(tell: Tell, place: Place) -> None:
    tell("").place.reset()
    list(run(place.cloud.apply(BASE), place))
    ec2 = client("ec2", place.direct)
    ids = {thing.kind: thing.id for thing in place.cloud.dump(place.direct) if thing.owner == "contract"}
    for delete, name, kind in (
        (ec2.delete_security_group, "GroupId", "security group"),
        (ec2.delete_subnet, "SubnetId", "subnet"),
        (ec2.delete_vpc, "VpcId", "vpc"),
    ):
        with pytest.raises(ec2.exceptions.ClientError, match="DependencyViolation"):
            delete(**{name: ids[kind]})


def test_a_load_balancer_is_made_once(tell: Tell, place: Place) -> None:
    tell("").place.reset()
    ec2, elb = client("ec2", place.direct), client("elbv2", place.direct)
    first, second = (item["SubnetId"] for item in ec2.describe_subnets()["Subnets"][:2])
    request = {"Name": "one", "Type": "network", "Scheme": "internal"}
    made = [elb.create_load_balancer(**request, Subnets=[first])["LoadBalancers"][0]["LoadBalancerArn"] for _attempt in range(2)]
    assert len(set(made)) == 1
    with pytest.raises(elb.exceptions.ClientError, match="DuplicateLoadBalancerName"):
        elb.create_load_balancer(**request, Subnets=[second])
    group = elb.create_target_group(Name="one", Protocol="TCP", Port=1, VpcId=ec2.describe_vpcs()["Vpcs"][0]["VpcId"])["TargetGroups"][0]
    actions = [{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}]
    listener = {"LoadBalancerArn": made[0], "Protocol": "TCP", "Port": 1, "DefaultActions": actions}
    elb.create_listener(**listener)
    with pytest.raises(elb.exceptions.ClientError, match="DuplicateListener"):
        elb.create_listener(**listener)
