# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module etcd_member against real etcd processes: what it removes, what it refuses, and that a killed run is repeated."""

from __future__ import annotations

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.etcd import Etcd, client_context, plan_removal
from ansible_collections.flotilla.kubernetes.plugins.modules import etcd_member
from control_plane import EtcdMembers, free_port, wait_for

NAMES = ("m1", "m2", "m3")


class Three:
    """etcd with three members, and the module on it."""

    def __init__(self, members: EtcdMembers) -> None:
        self.members, folder = members, members.authority.folder
        members.reserve(*NAMES)
        for name in NAMES:
            members.start(name, NAMES)
        self.context = client_context(str(members.authority.file), str(folder / "healthcheck-client"))
        wait_for("three healthy members", lambda: len(self.healthy()) == 3, explain=lambda: members.processes.log("m1"))

    def etcd(self) -> Etcd:
        return Etcd([self.members.endpoint(name) for name in self.members.ports], self.context, timeout=3)

    def seen(self) -> list[dict]:
        try:
            return [member.as_dict() for member in self.etcd().members()]
        except FlotillaError:
            return []

    def names(self) -> list[str]:
        return sorted(member["name"] for member in self.seen())

    def healthy(self) -> list[str]:
        return [member["name"] for member in self.seen() if member["healthy"]]

    def leader(self) -> str:
        return wait_for("a leader", lambda: next((member["name"] for member in self.seen() if member["leader"]), ""))

    def run(self, check_mode: bool = False, **params) -> dict:
        given = {"state": "absent", "name": None, "peer_url": None, "remove_healthy": False, "timeout": 60, **params}
        return etcd_member.run(self.etcd(), given, check_mode)

    def refused(self, **params) -> str:
        before = self.names()
        with pytest.raises(FlotillaError) as caught:
            self.run(**params)
        assert caught.value.code == "ETCD_MEMBER_NEEDED" and self.names() == before
        return str(caught.value)


@pytest.fixture
def three(etcd: EtcdMembers) -> Three:
    return Three(etcd)


def test_a_dead_member_is_removed_once(three: Three) -> None:
    leader = three.leader()
    dead = next(name for name in NAMES if name != leader)
    assert f"The etcd member {dead} is healthy" in three.refused(name=dead), "one that works stays"
    three.members.processes.kill(dead)
    wait_for("the member is seen as dead", lambda: len(three.healthy()) == 2)
    predicted = three.run(check_mode=True, name=dead)
    assert predicted["changed"] and dead in predicted["diff"]["before"] and dead not in predicted["diff"]["after"]
    assert dead in three.names(), "check mode removes nothing"
    done = three.run(name=dead)
    assert done["changed"] and dead not in [member["name"] for member in done["members"]]
    assert three.run(name=dead)["changed"] is False
    # Two are left, and both are needed.
    other = next(name for name in three.names() if name != three.leader())
    three.members.processes.kill(other)
    wait_for("no quorum", lambda: not three.healthy())
    assert "0 of 2 voting members answer, 2 are needed" in three.refused(name=other)


def test_the_leader_hands_over_before_it_goes(three: Three) -> None:
    leader = three.leader()
    assert f"The etcd member {leader} is healthy" in three.refused(name=leader)
    removal = plan_removal(three.etcd().members(), next(one for one in three.etcd().members() if one.name == leader), True)
    heirs = [heir.name for heir in removal.heirs]
    assert removal.problem == "" and sorted([leader, *heirs]) == sorted(NAMES)
    done = three.run(name=leader, remove_healthy=True)
    assert done["changed"] and leader not in three.names()
    assert three.leader() == heirs[0]
    assert "leadership transfer finished" in three.members.processes.log(leader)


def test_a_removal_whose_answer_was_lost_is_done(three: Three) -> None:
    dead = next(name for name in NAMES if name != three.leader())
    three.members.processes.kill(dead)
    wait_for("the member is seen as dead", lambda: len(three.healthy()) == 2)
    etcd = three.etcd()
    members = etcd.members()
    removal = plan_removal(members, next(one for one in members if one.name == dead), False)
    etcd.remove(removal)
    etcd.remove(removal)
    assert dead not in three.names()


def test_a_healthy_member_is_not_spared_for_a_dead_one(three: Three) -> None:
    dead = next(name for name in NAMES if name != three.leader())
    three.members.processes.kill(dead)
    wait_for("the member is seen as dead", lambda: len(three.healthy()) == 2)
    assert "1 of 2 voting members would answer, 2 would be needed" in three.refused(name=three.leader(), remove_healthy=True)


def test_a_learner_is_announced_promoted_and_removed(three: Three) -> None:
    three.members.reserve("m4")
    url = three.members.peer_url("m4")
    assert three.run(state="present", peer_url=url, check_mode=True)["changed"] and len(three.names()) == 3
    done = three.run(state="present", peer_url=url)
    announced = next(member for member in done["members"] if url in member["peer_urls"])
    assert announced["learner"] and announced["name"] == "" and not announced["healthy"]
    with pytest.raises(FlotillaError) as caught:
        three.run(state="present", peer_url=url, timeout=1)
    assert caught.value.code == "ETCD_LEARNER_BEHIND", "one that never started can not vote"
    three.members.start("m4", (*NAMES, "m4"), state="existing")
    done = three.run(state="present", peer_url=url, timeout=120)
    assert done["changed"] and {member["name"]: member["learner"] for member in done["members"]}["m4"] is False
    assert three.run(state="present", name="m4")["changed"] is False

    stranger = f"https://127.0.0.1:{free_port()}"
    three.run(state="present", peer_url=stranger)
    assert three.run(peer_url=stranger)["changed"], "a learner that never started is removed by its peer URL"
    assert three.names() == ["m1", "m2", "m3", "m4"]


def test_nobody_answers(three: Three) -> None:
    for name in NAMES:
        three.members.processes.kill(name)
    with pytest.raises(FlotillaError) as caught:
        three.run(name="m1")
    assert caught.value.code == "ETCD_UNREACHABLE" and three.members.endpoint("m1") in str(caught.value)
