# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic of etcd's quorum, and what a control plane that is gone left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import leftovers
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.client import ApiError, Client
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.etcd import Member, Removal, gone, plan_removal


def members(text: str) -> list[Member]:
    """Return members of words such as ``a`` (healthy), ``b!`` (down), ``c*`` (leads), ``d?`` (learner), ``e?!`` (learner, down)."""
    return [
        Member(str(number), word.rstrip("!*?"), (f"https://10.0.0.{number}:2380",), (), "?" in word, "!" not in word, "*" in word)
        for number, word in enumerate(text.split(), start=1)
    ]


@pytest.mark.parametrize(
    ("state", "name", "remove_healthy", "problem"),
    [
        ("a* b c!", "c", False, ""),
        ("a* b! c!", "c", False, "1 of 3 voting members answer, 2 are needed"),
        ("a! b! c!", "c", False, "0 of 3 voting members answer, 2 are needed"),
        ("a* b c d! e!", "e", False, ""),
        ("a* b c! d! e!", "e", False, "2 of 5 voting members answer, 3 are needed"),
        ("a* b c", "c", False, "The etcd member c is healthy"),
        ("a* b c", "c", True, ""),
        ("a* b c!", "b", True, "1 of 2 voting members would answer, 2 would be needed"),
        ("a* b", "b", True, ""),
        ("a* b!", "b", False, "1 of 2 voting members answer, 2 are needed"),
        ("a*", "a", True, "is the only voting one"),
        ("a* b?", "a", True, "is the only voting one"),
        ("a* b?!", "b", False, ""),
        ("a* b?", "b", False, "is a learner that works"),
        ("a* b?", "b", True, ""),
        ("a! b?!", "b", False, "0 of 1 voting members answer, 1 are needed"),
    ],
)
def test_a_removal_never_costs_the_quorum(state, name, remove_healthy, problem) -> None:
    all_members = members(state)
    removal = plan_removal(all_members, next(one for one in all_members if one.name == name), remove_healthy)
    assert problem in removal.problem and bool(removal.problem) == bool(problem) == bool(removal.remedy)


@pytest.mark.parametrize("size", range(1, 8))
def test_whatever_may_be_removed_leaves_a_majority(size) -> None:
    for mask in range(2**size):
        state = [Member(str(index), f"m{index}", (), (), False, bool(mask >> index & 1)) for index in range(size)]
        for member in state:
            for forced in (False, True):
                removal = plan_removal(state, member, forced)
                left = [one for one in state if one.id != member.id]
                works = sum(one.healthy for one in left) > len(left) // 2
                assert removal.problem or works, (mask, member.name)
                # And nothing is refused that is dead weight of a cluster with a quorum.
                spare = not member.healthy and sum(one.healthy for one in state) > size // 2
                assert not (spare and removal.problem), (mask, member.name)


def test_only_a_leader_needs_heirs() -> None:
    state = members("a* b c d!")
    assert [heir.name for heir in plan_removal(state, state[0], True).heirs] == ["b", "c"]
    assert plan_removal(state, state[1], True).heirs == ()


def test_gone_are_those_without_a_machine() -> None:
    state = members("a b! c!")
    joining = Member("9", "", ("https://10.0.0.9:2380",), (), True)
    stranger = Member("8", "", ("https://10.0.0.8:2380",), (), True)
    control_planes = {"a": "10.0.0.1", "b": "10.0.0.2", "d": "10.0.0.9"}
    assert [member.name or member.peer_urls[0] for member in gone([*state, joining, stranger], control_planes)] == [
        "c",
        "https://10.0.0.8:2380",
    ]


class Cluster(Client):
    """A cluster whose control planes are ``state``; it notes what is removed."""

    def __init__(self, state: str, ready: str) -> None:
        self.state, self.ready, self.removed = members(state), ready.split(), []

    def items(self, path):
        assert "control-plane" in path
        for member in self.state:
            status = "True" if member.name in self.ready else "Unknown"
            yield {"metadata": {"name": member.name}, "status": {"conditions": [{"type": "Ready", "status": status}]}}

    def request(self, method, path, body=None):
        self.removed.append(path)
        raise ApiError(404, method, path, "somebody was faster")

    def members(self):
        return self.state

    def remove(self, removal):
        self.removed.append(removal.member.name)


@pytest.fixture
def cluster(monkeypatch):
    def make(state: str, ready: str) -> Cluster:
        made = Cluster(state, ready)
        monkeypatch.setattr(leftovers, "Etcd", lambda endpoints, context: made)
        monkeypatch.setattr(leftovers, "client_context", lambda: None)
        return made

    return make


def test_leftovers_of_a_machine_that_is_gone_are_removed(cluster) -> None:
    made = cluster("a* b c!", "a b")
    exists = {"a": "10.0.0.1", "b": "10.0.0.2", "d": "10.0.0.9"}
    predicted = leftovers.remove_leftovers(made, "10.0.0.1", exists, True)
    assert predicted["changed"] and made.removed == []
    done = leftovers.remove_leftovers(made, "10.0.0.1", exists, False)
    assert done == predicted and made.removed == ["c", "/api/v1/nodes/c"]
    assert done["diff"]["before"] == "etcd member c\nnode c\n" and done["kept"] == []


def test_what_works_or_is_needed_stays(cluster) -> None:
    made = cluster("a* b c", "a b c")
    done = leftovers.remove_leftovers(made, "10.0.0.1", {"a": "10.0.0.1", "b": "10.0.0.2"}, False)
    assert done["changed"] is False and made.removed == [] and "The etcd member c is healthy" in done["kept"][0]
    made = cluster("a* b! c!", "a")
    done = leftovers.remove_leftovers(made, "10.0.0.1", {"a": "10.0.0.1", "b": "10.0.0.2"}, False)
    assert "1 of 3 voting members answer" in done["kept"][0] and done["members"] == []


@pytest.mark.parametrize(
    ("state", "removed", "code"),
    [
        ("a* b? c", ["2"], ""),
        ("a* b?! c", ["2"], ""),
        ("a* b", ["2"], ""),
        ("a* b! c", ["2"], ""),
        ("a*", [], ""),
        ("a! b! c", [], "ETCD_MEMBER_NEEDED"),
    ],
)
def test_a_join_that_did_not_end_leaves_etcd_before_its_data_goes(
    monkeypatch: pytest.MonkeyPatch, state: str, removed: list[str], code: str
) -> None:
    done: list[str] = []

    class Etcd:
        def __init__(self, endpoints: list[str], _context: object) -> None:
            assert endpoints == ["10.0.0.1"]

        def members(self) -> list[Member]:
            return members(state)

        def remove(self, removal: Removal) -> None:
            done.append(removal.member.id)

    monkeypatch.setattr(leftovers, "Etcd", Etcd)
    monkeypatch.setattr(leftovers, "client_context", lambda *_arguments: None)
    try:
        leftovers.leave_etcd("10.0.0.1", "10.0.0.2")
    except FlotillaError as error:
        assert error.code == code
    else:
        assert not code
    assert done == removed


def test_a_join_that_did_not_come_to_etcd_has_nothing_to_leave(tmp_path: Path) -> None:
    leftovers.leave_etcd("192.0.2.1", "10.0.0.2", pki=str(tmp_path))
