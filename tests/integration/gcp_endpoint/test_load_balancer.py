# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API load balancer of a cluster in Google Cloud."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.gcp import load_balancer, machines, network
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.gcp.session import Session
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError

from .conftest import Google, Stopwatch

Definition = dict[str, Any]


@pytest.fixture
def members(session: Session, definition: Definition) -> list[dict[str, Any]]:
    """The control planes of a cluster."""
    network.present(session, definition)
    made = machines.present(session, definition, wait_timeout=60, wait_for="running").value["machines"]
    return [{"id": item["id"], "address": item["addresses"]["private"]} for item in made if item["role"] == "control_plane"]


def _health(result: Any) -> list[str]:
    return [member["health"] for member in result.value["members"]]


def test_it_is_made_before_there_is_a_machine(session: Session, google: Google, definition: Definition) -> None:
    network.present(session, definition)
    foretold = load_balancer.present(session, definition, [], check_mode=True)
    assert foretold.changed and foretold.value["endpoint"] == {"host": None, "port": 6443}
    made = load_balancer.present(session, definition, [])
    assert made.value == {"endpoint": {"host": google.body("addresses", "payments-api")["address"], "port": 6443}, "members": []}
    session.calls.clear()
    again = load_balancer.present(session, definition, [])
    assert not again.changed and again.before == again.after and sum(session.calls.values()) == 6


def test_it_needs_its_network(session: Session, google: Google, definition: Definition) -> None:
    with pytest.raises(FlotillaError, match="lacks its subnetwork"):
        load_balancer.present(session, definition, [])


def test_members_come_get_well_and_go(session: Session, google: Google, definition: Definition, members: list[dict[str, Any]]) -> None:
    joined = load_balancer.present(session, definition, members)
    assert joined.changed and joined.value["members"][0]["address"]
    google.clock.advance(30)
    assert _health(load_balancer.present(session, definition, members)) == ["healthy"] * 3
    assert load_balancer.observed(session, definition).value["members"][0]["health"] == "healthy"
    watch = session.clock
    assert isinstance(watch, Stopwatch)
    watch.slept = 0
    drained = [{**members[0], "state": "drained"}, *members[1:]]
    left = load_balancer.present(session, definition, drained, drain_timeout=25)
    assert left.changed and _health(left) == ["drained", "healthy", "healthy"]
    # New connections end with the operation; those that are open get their time.
    assert watch.slept >= 25
    assert google.body("backendServices", "payments-api")["connectionDraining"] == {"drainingTimeoutSec": 25}
    assert not load_balancer.present(session, definition, drained, drain_timeout=10).changed
    load_balancer.present(session, definition, members)
    watch.slept = 0
    assert load_balancer.present(session, definition, drained, drain_timeout=100, close=False).changed
    # Nobody waits for connections that are left to the API server, and nothing cuts them while it ends.
    assert watch.slept < 100
    assert google.body("backendServices", "payments-api")["connectionDraining"] == {"drainingTimeoutSec": 300}


def test_who_waits_is_no_member_before_the_first_has_been_one(
    session: Session, google: Google, definition: Definition, members: list[dict[str, Any]]
) -> None:
    """What a member sends to the address comes back to it: one that joins has to reach another one there."""
    waiting = [{**member, "state": "waiting"} for member in members]
    first, *others = sorted(members, key=lambda member: str(member["id"]))

    def inside() -> list[str]:
        return [member["id"] for member in load_balancer.observed(session, definition).value["members"]]

    made = load_balancer.present(session, definition, waiting)
    assert inside() == [first["id"]]
    assert [member["state"] for member in made.value["members"]] == ["active", "waiting", "waiting"]
    assert not load_balancer.present(session, definition, waiting).changed
    # Those that are members stay that, whatever their order.
    load_balancer.present(session, definition, others)
    assert not load_balancer.present(session, definition, waiting[1:]).changed
    assert not load_balancer.present(session, definition, [{**member, "state": "waiting"} for member in members]).changed
    assert inside() == [member["id"] for member in others]
    # One that leaves does not take the others with it, and leaves room for the next when it was the last.
    load_balancer.present(session, definition, [{**others[0], "state": "drained"}, {**others[1], "state": "waiting"}])
    assert inside() == [others[1]["id"]]
    load_balancer.present(session, definition, [{**first, "state": "waiting"}, {**others[1], "state": "drained"}])
    assert inside() == [first["id"]]


def test_members_that_a_lost_call_has_added_are_no_error(
    session: Session, google: Google, definition: Definition, members: list[dict[str, Any]]
) -> None:
    load_balancer.present(session, definition, [])
    place = {"zone": "us-central1-a", "instance_group": "payments-api"}
    here = next(member["id"] for member in members if "us-central1-a" in google.body("instances", member["id"])["zone"])
    balancer = load_balancer._Balancer(session, load_balancer.names.place(definition))
    link = {"instance": f"projects/contract/zones/us-central1-a/instances/{here}"}
    session.finish([session.change("instance_groups", "add_instances", {"instances": [link]}, **place)])
    load_balancer._join(balancer, {member["id"] for member in members})
    balancer.look()
    assert sorted(balancer.members) == [member["id"] for member in sorted(members, key=lambda member: member["id"])]


def test_nobody_is_healthy_whom_the_checks_do_not_reach(
    session: Session, google: Google, definition: Definition, members: list[dict[str, Any]]
) -> None:
    load_balancer.present(session, definition, members)
    google.body("firewalls", "payments-health-checks")["sourceRanges"] = ["35.191.0.0/16"]
    google.clock.advance(30)
    assert _health(load_balancer.present(session, definition, members)) == ["unhealthy"] * 3


def test_what_somebody_changed_is_put_right(session: Session, google: Google, definition: Definition) -> None:
    network.present(session, definition)
    load_balancer.present(session, definition, [])
    google.body("healthChecks", "payments-api")["httpsHealthCheck"]["requestPath"] = "/healthz"
    google.body("backendServices", "payments-api")["sessionAffinity"] = "CLIENT_IP"
    assert load_balancer.present(session, definition, []).changed
    assert google.body("healthChecks", "payments-api")["httpsHealthCheck"]["requestPath"] == "/readyz"
    assert not load_balancer.present(session, definition, []).changed


def test_private_does_not_become_public(session: Session, google: Google, definition: Definition) -> None:
    network.present(session, definition)
    load_balancer.present(session, definition, [])
    definition["api_endpoint"].update(visibility="public", allowed_cidrs=["0.0.0.0/0"])
    with pytest.raises(FlotillaError, match="Google Cloud can not change that"):
        load_balancer.present(session, definition, [], check_mode=True)


def test_a_public_one_has_an_external_address(session: Session, google: Google, definition: Definition) -> None:
    definition["api_endpoint"].update(visibility="public", allowed_cidrs=["0.0.0.0/0"])
    network.present(session, definition)
    made = load_balancer.present(session, definition, [])
    assert made.value["endpoint"]["host"].startswith("198.18.") and not load_balancer.present(session, definition, []).changed
    assert google.body("forwardingRules", "payments-api")["loadBalancingScheme"] == "EXTERNAL"


def test_a_zone_more_gets_its_group(session: Session, google: Google, definition: Definition) -> None:
    network.present(session, definition)
    load_balancer.present(session, definition, [])
    definition["pools"][0]["zones"] = [*definition["pools"][0]["zones"], "us-central1-f"]
    assert load_balancer.present(session, definition, []).changed
    assert len(google.body("backendServices", "payments-api")["backends"]) == 4
    assert not load_balancer.present(session, definition, []).changed


def test_unknown_and_double_members_are_refused(session: Session, google: Google, definition: Definition) -> None:
    network.present(session, definition)
    member = {"id": "x", "address": ""}
    for given, code in (([member, member], "LOAD_BALANCER_MEMBER"), ([member], "GCP_LOAD_BALANCER_MEMBER")):
        with pytest.raises(FlotillaError) as caught:
            load_balancer.present(session, definition, given)
        assert caught.value.code == code


def test_it_goes(session: Session, google: Google, definition: Definition) -> None:
    network.present(session, definition)
    before = set(google.world.things)
    load_balancer.present(session, definition, [])
    assert load_balancer.absent(session, definition, check_mode=True).changed and set(google.world.things) != before
    assert load_balancer.absent(session, definition).changed and set(google.world.things) == before
    assert not load_balancer.absent(session, definition).changed
    assert load_balancer.observed(session, definition).value == {"endpoint": {}, "members": []}
