# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backing decides by itself; what it does to this host is for tests/e2e."""

from __future__ import annotations

import sys
import threading
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from backing import balancers, keeper
from backing.health import Checker, Course
from backing.picture import (
    DRAINING,
    HEALTHY,
    INITIAL,
    RUNNING,
    STOPPED,
    UNHEALTHY,
    Balancer,
    Check,
    Group,
    Health,
    Instance,
    Picture,
    Target,
)
from backing.podman import Container

CHECK = Check("HTTPS", 6443, "/readyz", interval=10, timeout=6, rise=2, fall=3)
ONE, TWO = Instance("i-1", RUNNING, "10.0.0.4", "ip-10-0-0-4"), Instance("i-2", RUNNING, "10.0.0.5", "ip-10-0-0-5")


def test_a_target_changes_its_state_after_so_many_checks_in_a_row() -> None:
    course = Course()
    seen = []
    for passed in (False, True, False, False, False, True, False, True, True, False, False, False):
        course.add(passed, CHECK)
        seen.append(course.state)
    assert seen == [INITIAL] * 4 + [UNHEALTHY] * 4 + [HEALTHY] * 3 + [UNHEALTHY]


def test_a_target_that_comes_back_begins_anew() -> None:
    asked = threading.Event()
    answered = threading.Event()

    def ask(_address: str, _check: Check) -> bool:
        asked.set()
        answered.wait(10)
        return True

    checker = Checker(ask)
    eager = Check("HTTPS", 6443, "/readyz", interval=0, timeout=1, rise=1, fall=1)
    checker.watch({("group", "i-1"): ("10.0.0.4", eager)})
    assert asked.wait(10)
    assert checker.health("group", "i-1").state == INITIAL
    checker.watch({})
    checker.watch({("group", "i-1"): ("10.0.0.4", CHECK)})
    answered.set()
    # The check of its first life does not count for its second, whose own first check is not enough.
    assert checker.health("group", "i-1").state == INITIAL


READY, DRAIN, CLOSED = balancers.READY, balancers.DRAIN, balancers.CLOSED
SAME, STAYS = Group("same", CHECK), Group("stays", CHECK, keeps_open=True, fails_open=False)


@pytest.mark.parametrize(
    ("group", "states", "served"),
    [
        (SAME, [HEALTHY, UNHEALTHY, INITIAL], [READY, CLOSED, CLOSED]),
        (SAME, [UNHEALTHY, INITIAL, DRAINING], [READY, READY, DRAIN]),
        (SAME, [HEALTHY, DRAINING], [READY, DRAIN]),
        (STAYS, [HEALTHY, UNHEALTHY, INITIAL], [READY, DRAIN, DRAIN]),
        (STAYS, [UNHEALTHY, INITIAL], [DRAIN, DRAIN]),
    ],
)
def test_the_healthy_targets_are_served_and_the_others_as_the_cloud_does(group: Group, states: list[str], served: list[str]) -> None:
    health = {f"i-{number}": Health(state) for number, state in enumerate(states)}
    assert [keeper._state(group, health, instance) for instance in health] == served


class Fakes:
    """Stands in for everything that touches the host, and keeps what was asked of it."""

    def __init__(self) -> None:
        self.there: dict[str, Container] = {}
        self.kept: dict[str, str] = {}
        self.asked: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.asked.append((name, *arguments))

    def containers(self, kind: str = "") -> dict[str, Container]:
        return dict(self.there)

    def volumes(self) -> dict[str, str]:
        return dict(self.kept)

    @staticmethod
    def health(_group: str, instance: str) -> Health:
        return Health(HEALTHY if instance == "i-1" else INITIAL)


class Clouded:
    picture = Picture()

    def __init__(self) -> None:
        self.reports: list[dict[str, dict[str, Health]]] = []

    def look(self) -> Picture:
        return self.picture

    @staticmethod
    def user_data(instance: str) -> bytes:
        return f"for {instance}".encode()

    def report(self, health: dict[str, dict[str, Health]]) -> None:
        self.reports.append(health)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> tuple[keeper.Keeper, Clouded, Fakes]:
    fakes, cloud = Fakes(), Clouded()
    made = keeper.Keeper(cloud, "test", "image")
    made.host = made.network = made.machines = made.balancers = made.checker = fakes  # type: ignore[assignment]
    return made, cloud, fakes


def container(instance: Instance, running: bool = True) -> dict[str, Container]:
    return {instance.id: Container(f"test-{instance.id}", running, {})}


def asked_of(fakes: Fakes, *names: str) -> list[tuple[Any, ...]]:
    return [entry for entry in fakes.asked if entry[0] in names and entry[1:] != ([], [])]


def test_machines_become_what_the_api_says(kept: tuple[keeper.Keeper, Clouded, Fakes]) -> None:
    made, cloud, fakes = kept
    off = Instance("i-3", STOPPED, "10.0.0.6", "ip-10-0-0-6")
    on = Instance("i-4", RUNNING, "10.0.0.7", "ip-10-0-0-7")
    fakes.there = {**container(off), **container(on, running=False), "i-5": Container("test-i-5", True, {})}
    fakes.kept = {"test-i-5-etcd": "i-5", "test-i-6-etcd": "i-6", "test-i-4-etcd": "i-4"}
    cloud.picture = Picture(IPv4Network("10.0.0.0/16"), "10.0.0.2", (ONE, off, on))
    made.step()
    assert asked_of(fakes, "remove", "create", "start", "stop") == [
        ("remove", ["test-i-5"], ["test-i-5-etcd", "test-i-6-etcd"]),
        ("create", ONE, b"for i-1", "10.0.0.2"),
        ("stop", "test-i-3"),
        ("start", "test-i-4"),
    ]


def test_a_machine_that_is_told_to_boots_again_once(kept: tuple[keeper.Keeper, Clouded, Fakes]) -> None:
    made, cloud, fakes = kept
    fakes.there = container(ONE)
    for boots in (0, 1, 1):
        cloud.picture = Picture(IPv4Network("10.0.0.0/16"), "10.0.0.2", (Instance(ONE.id, RUNNING, ONE.address, ONE.hostname, boots),))
        made.step()
    assert asked_of(fakes, "stop", "start") == [("stop", "test-i-1"), ("start", "test-i-1")]


def test_a_balancer_serves_what_is_healthy_and_the_api_is_told_once(kept: tuple[keeper.Keeper, Clouded, Fakes]) -> None:
    made, cloud, fakes = kept
    fakes.there = {**container(ONE), **container(TWO)}
    group = Group("arn", CHECK, (Target("i-1", 6443), Target("i-2", 6443), Target("i-9", 6443)))
    balancer = Balancer("api", "api.example.com", ("10.0.0.250", "10.0.1.250"), {6443: "arn"})
    cloud.picture = Picture(
        IPv4Network("10.0.0.0/16"), "10.0.0.2", (ONE, TWO), (balancer,), {"arn": group}, {"k8s.example.com": balancer.addresses}
    )
    made.step()
    made.step()
    pool = balancers.pool("arn")
    servers = {
        (pool, "i-1"): balancers.Server("10.0.0.4", 6443, balancers.READY),
        (pool, "i-2"): balancers.Server("10.0.0.5", 6443, balancers.CLOSED),
    }
    assert asked_of(fakes, "serve") == [("serve", "api", servers)] * 2
    assert [{key: one.state for key, one in report["arn"].items()} for report in cloud.reports] == [
        {"i-1": HEALTHY, "i-2": INITIAL, "i-9": INITIAL}
    ]
    (names,) = {tuple(sorted(entry[1])) for entry in asked_of(fakes, "answer")}
    assert names == ("api.example.com", "ip-10-0-0-4", "ip-10-0-0-5", "k8s.example.com")


def test_a_machine_that_somebody_cut_off_stays_dead(kept: tuple[keeper.Keeper, Clouded, Fakes]) -> None:
    made, cloud, fakes = kept
    fakes.there = container(ONE)
    cloud.picture = Picture(IPv4Network("10.0.0.0/16"), "10.0.0.2", (ONE,))
    made.step()
    fakes.there = container(ONE, running=False)
    made.step()
    assert asked_of(fakes, "create", "start") == []


def test_what_failed_is_tried_again(kept: tuple[keeper.Keeper, Clouded, Fakes], monkeypatch: pytest.MonkeyPatch) -> None:
    made, cloud, fakes = kept
    cloud.picture = Picture(IPv4Network("10.0.0.0/16"), "10.0.0.2", (ONE,))
    with monkeypatch.context() as broken:
        broken.setattr(made.cloud, "user_data", lambda _instance: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            made.step()
    made.step()
    assert len(asked_of(fakes, "create")) == 1


def test_without_a_network_nothing_stays(kept: tuple[keeper.Keeper, Clouded, Fakes]) -> None:
    made, _cloud, fakes = kept
    fakes.there, fakes.kept = container(ONE), {"test-i-1-etcd": "i-1"}
    made.step()
    assert ("remove", ["test-i-1"], ["test-i-1-etcd"]) in fakes.asked
    assert ("ensure", (), "") in fakes.asked
    assert ("remove",) in fakes.asked


def test_targets_take_the_address_of_a_balancer_for_their_own_as_long_as_they_are_its(kept: tuple[keeper.Keeper, Clouded, Fakes]) -> None:
    made, cloud, fakes = kept
    fakes.there = {**container(ONE), **container(TWO)}
    balancer = Balancer("api", "10.0.0.9", ("10.0.1.3", "10.0.0.9"), {6443: "api"}, taken=("10.0.0.9",))

    def step(*targets: Target, one: Instance = ONE) -> list[tuple[Any, ...]]:
        before = len(asked_of(fakes, "take"))
        groups = {"api": Group("api", CHECK, targets)}
        cloud.picture = Picture(IPv4Network("10.0.0.0/16"), "10.0.0.2", (one, TWO), (balancer,), groups)
        made.step()
        return asked_of(fakes, "take")[before:]

    assert step(Target("i-1", 6443)) == [("take", "test-i-1", ("10.0.0.9",))]
    assert step(Target("i-1", 6443)) == []
    # What a machine was told so is gone when it boots again.
    again = Instance(ONE.id, RUNNING, ONE.address, ONE.hostname, 1)
    assert step(Target("i-1", 6443), one=again) == [("take", "test-i-1", ("10.0.0.9",))]
    assert step(Target("i-1", 6443, draining=True), Target("i-2", 6443), one=again) == [
        ("take", "test-i-1", ()),
        ("take", "test-i-2", ("10.0.0.9",)),
    ]
    # Its address is no name.
    assert all("10.0.0.9" not in entry[1] for entry in asked_of(fakes, "answer"))
