# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags of machines in a simulated vCenter: given once, never used to find a machine, and gone with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.vsphere import machines, tags
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.vsphere.session import Session
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.decision import Wish
from clouds.vsphere.account import ASSOCIATIONS, CATEGORIES, TAGS, THEIRS, Client
from clouds.vsphere.simulator import Simulator

SignIn = Callable[[], Session]
NOW = Wish(removal="now")


@pytest.fixture
def tagged(definition: dict[str, Any]) -> dict[str, Any]:
    """A cluster whose machines have a tag of a category that is not there, and one of other people."""
    definition["vsphere"]["tags"] = {f"environment-{definition['name']}": "production", THEIRS[0]: THEIRS[1]}
    return definition


def present(session: Session, definition: dict[str, Any], **options: Any) -> Any:
    return machines.present(session, definition, **{"wait_timeout": 60, "wait_for": "running", **options})


def given(client: Client, definition: dict[str, Any]) -> Counter[str]:
    """Return how many of a cluster's machines have which tags."""
    own = {str(number) for number in numbers(client, definition)}
    return Counter(f"{category}: {name}" for number, category, name in client.tagged() if number in own)


def numbers(client: Client, definition: dict[str, Any]) -> list[str]:
    from pyVmomi import vim

    found = client.read(vim.VirtualMachine, ["name"])
    return [ref._GetMoId() for ref, values in found.items() if str(values["name"]).startswith(f"{definition['name']}-")]


def categories(client: Client) -> dict[str, dict[str, Any]]:
    found = [client.rest("GET", f"{CATEGORIES}/id:{number}") for number in client.rest("GET", CATEGORIES) or ()]
    return {one["name"]: one for one in found}


def test_machines_get_their_tags_once_and_leave_none(sign_in: SignIn, client: Client, tagged: dict[str, Any]) -> None:
    before, own = client.tagged(), f"environment-{tagged['name']}"
    told = present(sign_in(), tagged, check_mode=True)
    assert own not in categories(client) and told.after["tags"] == {f"{THEIRS[0]}: {THEIRS[1]}": 3, f"{own}: production": 3}
    done = present(sign_in(), tagged)
    assert done.after["tags"] == told.after["tags"] == given(client, tagged)
    assert categories(client)[own]["cardinality"] == "SINGLE" and categories(client)[own]["associable_types"] == ["VirtualMachine"]
    session = sign_in()
    again = present(session, tagged)
    assert not again.changed and again.before == again.after
    session.close()
    rest = {name: count for name, count in session.calls.items() if " " in name}
    assert rest == {"create session": 1, "list-attached-tags-on-objects tag-association": 1, "delete session": 1}
    assert machines.absent(sign_in(), tagged, check_mode=True).changed
    assert machines.absent(sign_in(), tagged).changed
    assert client.tagged() == before and own not in categories(client)
    assert THEIRS[0] in categories(client) and {tag["name"] for tag in client.tags().values() if tag["category"] == THEIRS[0]} >= {"4712"}
    assert not machines.absent(sign_in(), tagged).changed


def test_what_people_do_to_tags_is_mended_or_left_alone(sign_in: SignIn, client: Client, tagged: dict[str, Any]) -> None:
    made = present(sign_in(), tagged).value["machines"]
    own = f"environment-{tagged['name']}"
    machine = client.machine(made[1]["id"])
    tag = next(number for number, tag in client.tags().items() if tag["category"] == own)
    client.rest("POST", f"{ASSOCIATIONS}/id:{tag}?~action=detach", {"object_id": {"id": machine._GetMoId(), "type": "VirtualMachine"}})
    # One of somebody else's is nobody's business.
    client.give(machine, THEIRS[0], "4712")
    told = present(sign_in(), tagged, check_mode=True)
    assert told.changed and told.before["tags"][f"{own}: production"] == 2
    mended = present(sign_in(), tagged)
    assert mended.changed and mended.before["tags"] == told.before["tags"]
    wanted = {f"{THEIRS[0]}: {THEIRS[1]}": 3, f"{THEIRS[0]}: 4712": 1, f"{own}: production": 3}
    assert given(client, tagged) == wanted
    # Renamed, it is still the same tag; removed, it is made anew.
    client.rest("PATCH", f"{TAGS}/id:{tag}", {"update_spec": {"name": "prod"}})
    assert not present(sign_in(), tagged).changed
    client.rest("DELETE", f"{TAGS}/id:{tag}")
    assert present(sign_in(), tagged).changed and given(client, tagged) == wanted
    machines.absent(sign_in(), tagged)


def test_a_definition_that_changes_takes_its_own_tags_away(sign_in: SignIn, client: Client, tagged: dict[str, Any]) -> None:
    made = present(sign_in(), tagged).value["machines"]
    own, section = f"environment-{tagged['name']}", tagged["vsphere"]
    client.give(client.machine(made[0]["id"]), THEIRS[0], "4712")
    section["tags"] = {own: "staging"}
    assert present(sign_in(), tagged).changed
    assert given(client, tagged) == {f"{own}: staging": 3, f"{THEIRS[0]}: 4712": 1}
    assert [tag["name"] for tag in client.tags().values() if tag["category"] == own] == ["staging"], "the old one is nobody's any more"
    section["tags"] = {}
    assert present(sign_in(), tagged).changed and own not in categories(client)
    assert given(client, tagged) == {f"{THEIRS[0]}: 4712": 1}
    session = sign_in()
    assert not present(session, tagged).changed and not [name for name in session.calls if " " in name], "nothing to ask for"
    machines.absent(sign_in(), tagged)


def test_a_category_of_other_people_is_not_added_to(sign_in: SignIn, client: Client, tagged: dict[str, Any]) -> None:
    tagged["vsphere"]["tags"] = {THEIRS[0]: "4799"}
    for check_mode in (True, False):
        with pytest.raises(FlotillaError) as caught:
            present(sign_in(), tagged, check_mode=check_mode)
        assert caught.value.code == "VSPHERE_TAG" and caught.value.details["candidates"] == [THEIRS[1], "4712"]
    assert numbers(client, tagged) == [], "nothing is made whose tags are not to be had"


def test_what_tags_need_is_said_before_anything_is_made(
    sign_in: SignIn, simulator: Simulator, client: Client, tagged: dict[str, Any]
) -> None:
    simulator.put("denied", ["InventoryService.Tagging.AttachTag", "InventoryService.Tagging.CreateCategory"])
    with pytest.raises(FlotillaError) as caught:
        present(sign_in(), tagged, check_mode=True)
    assert caught.value.code == "VSPHERE_NO_PERMISSION"
    assert caught.value.details["missing"]["the vCenter"] == ["InventoryService.Tagging.CreateCategory"]
    assert ["InventoryService.Tagging.AttachTag"] in caught.value.details["missing"].values()


@pytest.mark.parametrize("step", range(1, 7))
def test_a_run_that_is_killed_leaves_no_tag_that_nobody_knows(
    sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, client: Client, tagged: dict[str, Any], step: int
) -> None:
    """Killed at each call that changes something while tags are changed, and deleted then."""
    before = client.tagged()
    present(sign_in(), tagged)
    tagged["vsphere"]["tags"] = {f"environment-{tagged['name']}": "staging"}
    session, left = sign_in(), [step]
    ordinary = session.rest.call

    def call(method: str, path: str, body: Any = None, **options: Any) -> Any:
        changes = (
            method in ("DELETE", "PATCH") or "create_spec" in (body or {}) or options.get("action", "").startswith(("attach", "detach"))
        )
        left[0] -= changes
        if changes and left[0] == 0:
            raise KeyboardInterrupt
        return ordinary(method, path, body, **options)

    monkeypatch.setattr(session.rest, "call", call)
    try:
        present(session, tagged)
    except KeyboardInterrupt:
        session.close()
    machines.absent(sign_in(), tagged)
    assert client.tagged() == before and f"environment-{tagged['name']}" not in categories(client)


def test_a_broken_mark_is_none() -> None:
    given = {tags.Tag("a", "b", "urn:1"), tags.Tag("a", "c", "urn:2")}
    assert tags.read_mark(tags.written(given)) == given and tags.written([]) == ""
    for broken in ("", "{", "[1]", '[["a"]]', "null"):
        assert tags.read_mark(broken) == frozenset()
