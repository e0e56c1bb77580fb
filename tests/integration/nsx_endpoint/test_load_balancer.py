# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""API load balancers of clusters in NSX, against the suite's manager with two Tier-0 routers."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.nsx import layout, load_balancer, network
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from clouds.faults import Answer

POOL, SERVER = "/infra/lb-pools/flotilla-payments-api", "/infra/lb-virtual-servers/flotilla-payments-api"
SERVICE, MONITOR = "/infra/lb-services/flotilla-payments", "/infra/lb-monitor-profiles/flotilla-payments-api"


def members(*states):
    return [{"id": f"vm-{number}", "address": f"10.20.0.{number + 3}", "state": state} for number, state in enumerate(states)]


def states(nsx):
    return {one["display_name"]: one["admin_state"] for one in nsx.dump()[POOL].get("members", ())}


@pytest.fixture
def ready(nsx, session, definition):
    """A definition whose network is there."""
    network.present(session, definition)
    nsx.log.clear()
    return definition


@pytest.fixture
def serving(nsx, session, ready):
    """Three members that serve."""
    load_balancer.present(session, ready, members("active", "active", "active"))
    nsx.log.clear()
    return ready


def test_it_is_made_as_predicted_kept_without_a_change_and_removed_without_a_trace(nsx, session, ready):
    before = nsx.dump()
    predicted = load_balancer.present(session, ready, members("active"), check_mode=True)
    assert predicted.changed and nsx.dump() == before and predicted.value["endpoint"] == {"host": None, "port": 6443}
    made = load_balancer.present(session, ready, [])
    assert made.changed and set(made.after) == set(predicted.after) and len(made.after) == 7
    host = made.value["endpoint"]["host"]
    assert host.startswith("192.0.2.")
    load_balancer.present(session, ready, members("active", "active", "active"))
    things = nsx.dump()
    assert things[SERVICE]["connectivity_path"] == "/infra/tier-1s/flotilla-payments" and things[SERVICE]["size"] == "SMALL"
    assert things[MONITOR]["request_url"] == "/readyz" and things[MONITOR]["monitor_port"] == 6443
    assert things[SERVER]["ip_address"] == host and things[SERVER]["ports"] == ["6443"] and things[SERVER]["lb_service_path"] == SERVICE
    (clients,) = things["/infra/domains/default/groups/flotilla-payments-api-clients"]["expression"]
    assert set(clients["ip_addresses"]) == {
        "10.20.0.0/28",
        "10.20.0.64/26",
        "10.8.0.0/16",
        network.present(session, ready).value["outbound_address"],
    }
    assert all(layout.tags_of(thing)["flotilla-role"] == "load_balancer" for path, thing in things.items() if path in made.after)
    nsx.log.clear()
    again = load_balancer.present(session, ready, members("active", "active", "active"))
    assert not again.changed and again.before == again.after and not nsx.changes() and again.value["endpoint"] == made.value["endpoint"]
    assert len(nsx.log) <= 32, nsx.log
    assert not network.present(session, ready).changed
    with pytest.raises(FlotillaError, match="LBService /infra/lb-services/flotilla-payments"):
        network.absent(session, ready)
    assert network.absent(session, ready, True).changed
    nsx.log.clear()
    assert load_balancer.absent(session, ready, True).changed and not nsx.changes()
    assert load_balancer.absent(session, ready).changed
    assert nsx.dump() == before
    order = nsx.changes()
    assert [order.index(f"DELETE {path}") for path in (SERVER, POOL, MONITOR, SERVICE)] == sorted(
        order.index(f"DELETE {path}") for path in (SERVER, POOL, MONITOR, SERVICE)
    )
    assert not load_balancer.absent(session, ready).changed


def test_nothing_is_observed_before_there_is_anything(nsx, session, definition):
    assert load_balancer.observed(session, definition).value == {"endpoint": {}, "members": []}
    with pytest.raises(FlotillaError) as caught:
        load_balancer.present(session, definition, [])
    assert caught.value.code == "NSX_NO_NETWORK"
    assert load_balancer.present(session, definition, members("active"), check_mode=True).changed and not nsx.changes()


def test_members_are_told_with_what_the_monitor_says(nsx, session, serving):
    nsx.health["10.20.0.4"] = ("DOWN", "Connection refused")
    load_balancer.present(session, serving, members("active", "active", "drained"), drain_timeout=0)
    found = load_balancer.observed(session, serving).value
    assert [(one["id"], one["state"], one["health"], one["detail"]) for one in found["members"]] == [
        ("vm-0", "active", "healthy", ""),
        ("vm-1", "active", "unhealthy", "Connection refused"),
        ("vm-2", "drained", "drained", ""),
    ]


def test_a_drained_member_keeps_its_connections_until_they_end(nsx, session, serving):
    nsx.sessions["10.20.0.4"] = 3
    slept = session.clock.slept
    result = load_balancer.present(session, serving, members("active", "drained", "active"), drain_timeout=30)
    assert result.changed and states(nsx) == {"vm-0": "ENABLED", "vm-1": "GRACEFUL_DISABLED", "vm-2": "ENABLED"}
    assert 30 <= session.clock.slept - slept < 40
    assert nsx.changes() == [f"PUT {POOL}"]
    nsx.log.clear()
    assert not load_balancer.present(session, serving, members("active", "drained", "active"), drain_timeout=30).changed
    assert load_balancer.present(session, serving, members("active", "active", "active")).changed
    assert states(nsx)["vm-1"] == "ENABLED"
    slept = session.clock.slept
    load_balancer.present(session, serving, members("active", "drained", "active"), drain_timeout=30, close=False)
    assert states(nsx)["vm-1"] == "GRACEFUL_DISABLED" and session.clock.slept - slept < 10, "they are left to the API server"
    load_balancer.present(session, serving, members("active", "active", "active"))
    nsx.sessions.clear()
    slept = session.clock.slept
    load_balancer.present(session, serving, members("active", "drained", "active"), drain_timeout=30)
    assert session.clock.slept - slept < 10


def test_a_member_that_leaves_is_drained_first(nsx, session, serving):
    nsx.bodies.clear()
    load_balancer.present(session, serving, members("active", "active"), drain_timeout=5)
    sent = [[(one["display_name"], one["admin_state"]) for one in body["members"]] for _method, path, body in nsx.bodies if path == POOL]
    assert sent == [
        [("vm-0", "ENABLED"), ("vm-1", "ENABLED"), ("vm-2", "GRACEFUL_DISABLED")],
        [("vm-0", "ENABLED"), ("vm-1", "ENABLED")],
    ]


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        ({"load_balancer_size": "MEDIUM"}, {SERVICE}),
        ({"floating_ip_pool": "floating-b"}, set()),
        ({"tags": {"team": "ledger"}}, None),
    ],
)
def test_a_change_of_the_profile_is_made_in_place(nsx, session, serving, change, touched):
    nsx.clock.advance(60)
    before = nsx.dump()
    serving["nsx"].update(change)
    result = load_balancer.present(session, serving, members("active", "active", "active"))
    after = nsx.dump()
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    assert changed == (set(result.after) if touched is None else touched) and result.changed == bool(changed)
    assert not load_balancer.present(session, serving, members("active", "active", "active")).changed


def test_clients_follow_the_definition(nsx, session, serving):
    serving["api_endpoint"]["allowed_cidrs"] = []
    nsx.log.clear()
    load_balancer.present(session, serving, members("active", "active", "active"))
    assert nsx.changes() == ["PUT /infra/domains/default/groups/flotilla-payments-api-clients"]


def test_the_endpoint_does_not_move(nsx, session, serving):
    before = nsx.dump()
    serving["nsx"]["load_balancer_address"] = "192.0.2.200"
    with pytest.raises(FlotillaError, match=r"nsx\.load_balancer_address: it is in every kubeconfig") as caught:
        load_balancer.present(session, serving, members("active"))
    assert caught.value.code == "NSX_FIXED" and nsx.dump() == before


def test_an_address_of_the_users(nsx, session, ready):
    ready["nsx"]["load_balancer_address"] = "192.0.2.200"
    made = load_balancer.present(session, ready, members("active"))
    assert made.value["endpoint"] == {"host": "192.0.2.200", "port": 6443} and len(made.after) == 6
    # Taken out of the definition, it stays, and no other one is taken.
    ready["nsx"]["load_balancer_address"] = None
    assert not load_balancer.present(session, ready, members("active")).changed
    ready["api_endpoint"]["dns_name"] = "api.example.com"
    assert load_balancer.present(session, ready, members("active")).value["endpoint"]["host"] == "api.example.com"


def test_a_tier_1_of_the_users_has_one_service(nsx, session, definition):
    definition["nsx"].update(tier1="shop-a", tier0=None)
    network.present(session, definition)
    nsx.put("/infra/lb-services/shop-a", connectivity_path="/infra/tier-1s/shop-a")
    with pytest.raises(FlotillaError, match="takes one only") as caught:
        load_balancer.present(session, definition, [])
    assert caught.value.remedy == "Set nsx.load_balancer_service: shop-a."
    definition["nsx"]["load_balancer_service"] = "shop-a"
    before = nsx.dump()["/infra/lb-services/shop-a"]
    load_balancer.present(session, definition, members("active"))
    assert nsx.dump()[SERVER]["lb_service_path"] == "/infra/lb-services/shop-a" and SERVICE not in nsx.dump()
    load_balancer.absent(session, definition)
    assert nsx.dump()["/infra/lb-services/shop-a"] == before
    definition["nsx"].update(load_balancer_service="shop-b")
    nsx.put("/infra/lb-services/shop-b", connectivity_path="/infra/tier-1s/shop-b")
    with pytest.raises(FlotillaError, match="not at /infra/tier-1s/shop-a"):
        load_balancer.present(session, definition, [])


def test_two_clusters_of_two_tenants_know_nothing_of_each_other(nsx, session, serving, other):
    first = {path: thing for path, thing in nsx.dump().items() if "payments" in path}
    network.present(session, other)
    load_balancer.present(session, other, members("active"))
    assert {path: thing for path, thing in nsx.dump().items() if "payments" in path} == first
    assert nsx.dump()["/infra/lb-virtual-servers/flotilla-ledger-api"]["ip_address"].startswith("192.0.2.7")
    second = {path: thing for path, thing in nsx.dump().items() if "ledger" in path}
    load_balancer.absent(session, serving)
    network.absent(session, serving)
    assert {path: thing for path, thing in nsx.dump().items() if "ledger" in path} == second
    assert not [path for path in nsx.dump() if "payments" in path]


def test_two_runs_at_once_do_not_overwrite_each_others_members(nsx, front, session, serving):
    def theirs():
        pool = nsx.dump()[POOL]
        nsx.put(POOL, members=[{**one, "weight": 7} for one in pool["members"]])

    front.before.append((f"PUT /policy/api/v1{POOL}", theirs))
    load_balancer.present(session, serving, members("active", "drained", "active"), drain_timeout=0)
    assert states(nsx)["vm-1"] == "GRACEFUL_DISABLED" and {one["weight"] for one in nsx.dump()[POOL]["members"]} == {7}


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
def test_lost_answers_and_outages_make_no_difference(nsx, front, session, ready, method):
    before = nsx.dump()
    faults = [(f"{method} /policy", Answer(429, {"Retry-After": "1"}, b""), False), (f"{method} /policy", None, True)]
    front.answers += faults * 3
    load_balancer.present(session, ready, members("active", "active"))
    load_balancer.present(session, ready, members("active", "drained"), drain_timeout=0)
    assert states(nsx) == {"vm-0": "ENABLED", "vm-1": "GRACEFUL_DISABLED"}
    load_balancer.present(session, ready, members("active"), drain_timeout=0)
    load_balancer.absent(session, ready)
    assert nsx.dump() == before


def test_a_member_given_twice_is_refused(session, ready):
    with pytest.raises(FlotillaError, match="given twice"):
        load_balancer.present(session, ready, copy.deepcopy(members("active") * 2))
