# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of clusters in NSX, against the suite's manager with two Tier-0 routers."""

from __future__ import annotations

import copy
import json

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.nsx import layout, network
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from clouds.faults import Answer
from clouds.nsx.manager import NODE

TIER1 = "/infra/tier-1s/flotilla-payments"
SEGMENT = "/infra/segments/flotilla-payments-control-plane"
POLICY = "/infra/domains/default/security-policies/flotilla-payments"
RULE = f"{TIER1}/nat/USER/nat-rules/flotilla-payments-snat"
ALLOCATION = "/infra/ip-pools/floating-a/ip-allocations/flotilla-payments-snat"


def of(name, things):
    """Return the part of an inventory that carries a cluster's tag."""
    return {path: thing for path, thing in things.items() if layout.tags_of(thing).get("flotilla-cluster") == name}


def throttled(seconds="1"):
    return Answer(
        429, {"Retry-After": seconds, "Content-Type": "application/json"}, b'{"error_code": 98, "error_message": "Too many requests."}'
    )


@pytest.fixture
def made(nsx, session, definition):
    """A network that is there; what it took is forgotten."""
    result = network.present(session, definition)
    nsx.log.clear()
    nsx.bodies.clear()
    return result


def test_it_is_made_as_predicted_kept_without_a_change_and_removed_without_a_trace(nsx, session, definition):
    before = nsx.dump()
    predicted = network.present(session, definition, True)
    assert predicted.changed and not nsx.changes() and nsx.dump() == before
    assert predicted.value["segments"]["worker"]["cidr"] is None and predicted.value["uid"] is None
    made = network.present(session, definition)
    assert made.changed and made.before == predicted.before == {}
    assert set(made.after) == set(predicted.after) == set(of("payments", nsx.dump())) and len(made.after) == 13
    assert made.value["tier0"] == "/infra/tier-0s/tenant-a" and made.value["tier1"] == TIER1
    assert made.value["segments"]["control_plane"] == {
        "name": "flotilla-payments-control-plane",
        "path": SEGMENT,
        "cidr": "10.20.0.0/28",
        "gateway": "10.20.0.1",
    }
    assert made.value["outbound_address"].startswith("192.0.2.") and len(made.value["uid"]) == 16
    for thing in of("payments", nsx.dump()).values():
        tags = layout.tags_of(thing)
        assert tags["flotilla-foundation"] == "production" and tags["flotilla-uid"] == made.value["uid"]
        assert tags["flotilla-role"] == "network" and tags["team"] == "payments"
    nsx.log.clear()
    again = network.present(session, definition)
    assert not again.changed and again.before == again.after and not nsx.changes() and again.value == made.value
    assert len(nsx.log) <= 32, nsx.log
    assert not network.present(session, definition, True).changed
    going = network.absent(session, definition, True)
    assert going.changed and not nsx.changes() and set(going.before) == set(made.after)
    nsx.log.clear()
    assert network.absent(session, definition).changed
    assert nsx.dump() == before
    order = [line.removeprefix("DELETE ") for line in nsx.changes()]
    places = [order.index(path) for path in (POLICY, RULE, SEGMENT, ALLOCATION, f"{TIER1}/locale-services/default", TIER1)]
    assert places == sorted(places)
    assert not network.absent(session, definition).changed


def test_newer_releases_write_addresses_into_the_things_themselves(nsx, session, definition):
    nsx.new_release = True
    made = network.present(session, definition)
    assert made.value["segments"]["worker"]["cidr"] == "10.20.0.64/26" and made.value["outbound_address"].startswith("192.0.2.")
    assert not network.present(session, definition).changed


def test_what_is_made_is_what_was_asked_for(nsx, session, definition, made):
    things = nsx.dump()
    assert things[TIER1]["tier0_path"] == "/infra/tier-0s/tenant-a"
    assert things[TIER1]["route_advertisement_types"] == ["TIER1_LB_VIP", "TIER1_CONNECTED", "TIER1_NAT"]
    assert things[f"{TIER1}/locale-services/default"]["edge_cluster_path"] == f"{NODE}/edge-clusters/edges-a"
    (subnet,) = things[SEGMENT]["subnets"]
    assert subnet == {
        "gateway_address": "10.20.0.1/28",
        "dhcp_ranges": ["10.20.0.3-10.20.0.14"],
        "dhcp_config": {"resource_type": "SegmentDhcpV4Config", "server_address": "10.20.0.2/28", "dns_servers": ["10.1.1.53"]},
    }
    assert things[SEGMENT]["domain_name"] == "example.com" and things[SEGMENT]["connectivity_path"] == TIER1
    rule = things[RULE]
    assert rule["source_network"] == "10.20.0.0/28,10.20.0.64/26" and rule["translated_network"] == made.value["outbound_address"]


def test_the_least_is_open_each_rule_says_why_and_what_somebody_opened_is_closed(nsx, session, definition, made):
    policy = nsx.dump()[POLICY]
    assert policy["category"] == "Application" and policy["scope"] == ["ANY"]
    found = {}
    for rule in policy["rules"]:
        ports = [port for entry in rule["service_entries"] for port in entry["destination_ports"]]
        found[rule["id"]] = (rule["action"], ports, [group.rsplit("-", 1)[-1] for group in rule["source_groups"]], rule["direction"])
        assert rule["description"] and len(rule["scope"]) >= 1
    assert found == {
        "control-plane-overlay": ("ALLOW", ["8472"], ["plane", "worker"], "IN"),
        "control-plane-kubelet": ("ALLOW", ["10250"], ["plane"], "IN"),
        "worker-overlay": ("ALLOW", ["8472"], ["plane", "worker"], "IN"),
        "worker-kubelet": ("ALLOW", ["10250"], ["plane"], "IN"),
        "control-plane-api": ("ALLOW", ["6443"], ["plane"], "IN"),
        "control-plane-api-nodes": ("ALLOW", ["6443"], ["worker"], "IN"),
        "control-plane-etcd": ("ALLOW", ["2379-2380"], ["plane"], "IN"),
        "load-balancer": ("ALLOW", ["6443"], ["100.64.0.0/16"], "IN"),
        "ssh": ("ALLOW", ["22"], ["plane", "worker", "10.9.0.0/24"], "IN"),
        "dhcp": ("ALLOW", ["68"], ["ANY"], "IN"),
        "rest": ("DROP", [], ["ANY"], "IN"),
    }
    assert policy["rules"][-1]["id"] == "rest"
    rules = [{**rule, "source_groups": ["ANY"]} if rule["id"] == "control-plane-etcd" else rule for rule in policy["rules"]]
    extra = {
        "id": "mine",
        "action": "ALLOW",
        "source_groups": ["ANY"],
        "destination_groups": ["ANY"],
        "services": ["ANY"],
        "scope": ["ANY"],
    }
    nsx.put(POLICY, rules=[*rules, extra])
    nsx.log.clear()
    assert network.present(session, definition).changed
    assert nsx.changes() == [f"PUT {POLICY}"]
    after = nsx.dump()[POLICY]["rules"]
    assert [rule["id"] for rule in after] == list(found) and after[6]["source_groups"] != ["ANY"]
    assert not network.present(session, definition).changed


def test_two_clusters_of_two_tenants_know_nothing_of_each_other(nsx, session, definition, other):
    network.present(session, definition)
    first = of("payments", nsx.dump())
    made = network.present(session, other)
    assert of("payments", nsx.dump()) == first
    second = of("ledger", nsx.dump())
    assert second["/infra/tier-1s/flotilla-ledger"]["tier0_path"] == "/infra/tier-0s/tenant-b"
    assert second["/infra/tier-1s/flotilla-ledger/locale-services/default"]["edge_cluster_path"] == f"{NODE}/edge-clusters/edges-b"
    assert made.value["segments"]["control_plane"]["cidr"] == "10.21.0.0/28"
    policy = second["/infra/domains/default/security-policies/flotilla-ledger"]
    assert next(rule for rule in policy["rules"] if rule["id"] == "load-balancer")["source_groups"] == ["100.80.0.0/16"]
    assert "payments" not in json.dumps([{**thing, "tags": []} for thing in second.values()])
    third = copy.deepcopy(definition)
    third["name"] = "pay"
    network.present(session, third)
    network.absent(session, definition)
    assert of("ledger", nsx.dump()) == second and not of("payments", nsx.dump()) and len(of("pay", nsx.dump())) == 13
    assert not network.present(session, other).changed


@pytest.mark.parametrize(
    ("section", "touched"),
    [
        ({"dns_servers": []}, {SEGMENT, "/infra/segments/flotilla-payments-worker"}),
        ({"domain_name": None}, {SEGMENT, "/infra/segments/flotilla-payments-worker"}),
        ({"tags": {"team": "ledger"}}, None),
        ({"outbound": "routed"}, {TIER1, RULE, ALLOCATION}),
        (
            {"firewall": False},
            {
                POLICY,
                "/infra/domains/default/groups/flotilla-payments-control-plane",
                "/infra/domains/default/groups/flotilla-payments-worker",
            },
        ),
        ({"floating_ip_pool": "floating-b"}, {RULE, ALLOCATION, ALLOCATION.replace("-a/", "-b/")}),
        ({"transport_zone": "overlay"}, set()),
    ],
)
def test_a_change_of_the_profile_is_made_in_place(nsx, session, definition, made, section, touched):
    before = nsx.dump()
    definition["nsx"].update(section)
    predicted = network.present(session, definition, True)
    assert not nsx.changes() and nsx.dump() == before
    nsx.clock.advance(60)  # the search knows of the first run
    result = network.present(session, definition)
    assert result.changed == predicted.changed == (touched != set())
    after = nsx.dump()
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    assert changed == (set(of("payments", before)) if touched is None else touched)
    nsx.log.clear()
    assert not network.present(session, definition).changed and not nsx.changes()
    network.absent(session, definition)
    assert not of("payments", nsx.dump())


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"tier0": "tenant-b"}, "nsx.tier0"),
        ({"tier1": "shop-a"}, "nsx.tier1"),
        ({"edge_cluster": "edges-b"}, "nsx.edge_cluster"),
        ({"ip_block": "nodes-b"}, "nsx.ip_block"),
        ({"ip_block": None, "segments": {"control_plane": {"cidr": "10.40.0.0/28"}, "worker": {"cidr": "10.40.1.0/24"}}}, "nsx.segments"),
        ({"segments": {"control_plane": {"size": 32}, "worker": {"size": 64}}}, "nsx.segments.control_plane.size"),
        ({"segments": {"control_plane": {"size": 16}, "worker": {"size": 128}}}, "nsx.segments.worker.size"),
        ({"addresses": "static"}, "nsx.addresses"),
        ({"transport_zone": "overlay-2"}, "nsx.transport_zone"),
    ],
)
def test_what_can_not_change_is_refused_with_the_reason_before_anything_is_done(nsx, session, definition, made, section, key):
    before = nsx.dump()
    definition["nsx"].update(section)
    for check_mode in (True, False):
        with pytest.raises(FlotillaError, match=f"{key}.*: .*") as caught:
            network.present(session, definition, check_mode)
        assert caught.value.code == "NSX_FIXED" and "Set it back" in caught.value.remedy
    assert nsx.dump() == before and not nsx.changes()


def test_a_tier_1_of_the_users_is_checked_and_never_changed(nsx, session, definition):
    definition["nsx"].update(tier1="shop-a", tier0=None)
    before = nsx.dump()
    made = network.present(session, definition)
    assert made.value["tier1"] == "/infra/tier-1s/shop-a" and made.value["tier0"] == "/infra/tier-0s/tenant-a"
    after = nsx.dump()
    assert {path: after[path] for path in before} == before
    assert "/infra/tier-1s/shop-a/nat/USER/nat-rules/flotilla-payments-snat" in after
    assert not network.present(session, definition).changed
    network.absent(session, definition)
    assert nsx.dump() == before
    for section, said in (
        ({"tier0": "tenant-b"}, "is attached to /infra/tier-0s/tenant-a"),
        ({"tier1": "nobody"}, "has no nsx.tier1 'nobody'"),
    ):
        wrong = copy.deepcopy(definition)
        wrong["nsx"].update(section)
        with pytest.raises(FlotillaError, match=said):
            network.present(session, wrong)
    nsx.put("/infra/tier-1s/shop-a", route_advertisement_types=["TIER1_CONNECTED"])
    with pytest.raises(FlotillaError, match="does not tell its Tier-0 the routes of all NAT addresses and load balancer addresses"):
        network.present(session, definition)
    assert not of("payments", nsx.dump())


def test_a_name_that_means_several_things_is_refused_with_all_of_them(nsx, session, definition):
    for number in (1, 2):
        nsx.put(f"/infra/tier-0s/twin-{number}", display_name="twin")
    definition["nsx"]["tier0"] = "twin"
    with pytest.raises(FlotillaError, match="is the name of several: /infra/tier-0s/twin-1, /infra/tier-0s/twin-2"):
        network.present(session, definition)
    definition["nsx"]["tier0"] = "/infra/tier-0s/twin-1"
    with pytest.raises(FlotillaError, match="has no edge cluster") as caught:
        network.present(session, definition)
    assert caught.value.remedy == "Set nsx.edge_cluster."
    definition["nsx"]["edge_cluster"] = "edges-b"
    assert network.present(session, definition).value["tier0"] == "/infra/tier-0s/twin-1"


def test_static_addresses_and_networks_of_the_definition(nsx, session, definition):
    parts = {"control_plane": {"cidr": "10.40.0.0/28"}, "worker": {"cidr": "10.40.1.0/24"}}
    definition["nsx"].update(addresses="static", ip_block=None, segments=parts, outbound="routed")
    predicted = network.present(session, definition, True)
    made = network.present(session, definition)
    assert {path: {**thing, "tags": 0} for path, thing in predicted.after.items()} == {
        path: {**thing, "tags": 0} for path, thing in made.after.items()
    }
    assert nsx.dump()[SEGMENT]["subnets"] == [{"gateway_address": "10.40.0.1/28"}] and made.value["outbound_address"] is None
    assert nsx.dump()[TIER1]["route_advertisement_types"] == ["TIER1_LB_VIP", "TIER1_CONNECTED"]
    assert not network.present(session, definition).changed


def test_an_address_that_control_planes_hand_on_is_nobodys_by_dhcp(nsx, session, definition):
    definition["nsx"].update(ip_block=None, segments={"control_plane": {"cidr": "10.40.0.0/28"}, "worker": {"cidr": "10.40.1.0/24"}})
    definition["api_endpoint"].update(provider="kube_vip", address="10.40.0.5")
    network.present(session, definition)
    assert nsx.dump()[SEGMENT]["subnets"][0]["dhcp_ranges"] == ["10.40.0.3-10.40.0.4", "10.40.0.6-10.40.0.14"]
    rules = {rule["id"]: rule for rule in nsx.dump()[POLICY]["rules"]}
    assert "load-balancer" not in rules and rules["api-clients"]["source_groups"] == ["10.8.0.0/16"]
    assert rules["api-clients"]["destination_groups"] == ["ANY"] and len(rules["api-clients"]["scope"]) == 1


def test_what_somebody_else_changed_meanwhile_is_read_again_and_not_overwritten(nsx, front, session, definition, made):
    definition["nsx"]["domain_name"] = "example.org"
    tags = nsx.dump()[SEGMENT]["tags"]
    theirs = {"scope": "cost-centre", "tag": "4711"}
    front.before.append((f"PUT /policy/api/v1{SEGMENT}", lambda: nsx.put(SEGMENT, tags=[*tags, theirs], admin_state="DOWN")))
    assert network.present(session, definition).changed
    segment = nsx.dump()[SEGMENT]
    assert segment["domain_name"] == "example.org" and theirs in segment["tags"] and segment["admin_state"] == "DOWN"
    assert not network.present(session, definition).changed


def test_what_never_stops_changing_ends_with_a_sentence(nsx, front, session, definition, made):
    definition["nsx"]["domain_name"] = "example.org"
    front.before += [(f"PUT /policy/api/v1{SEGMENT}", lambda: nsx.put(SEGMENT, admin_state="UP"))] * 9
    with pytest.raises(FlotillaError) as caught:
        network.present(session, definition)
    assert caught.value.code == "NSX_STALE" and len(front.before) == 4


def test_what_nsx_can_not_make_is_told_in_its_own_words_and_mended_by_the_next_run(nsx, session, definition):
    nsx.failing[SEGMENT] = "Transport zone overlay has no transport nodes."
    with pytest.raises(FlotillaError, match="could not make .*control-plane: Transport zone overlay has no transport nodes") as caught:
        network.present(session, definition)
    assert caught.value.code == "NSX_NOT_REALIZED"
    # Neither a prediction nor a run without a change passes over it.
    for check_mode in (True, False):
        with pytest.raises(FlotillaError, match="no transport nodes"):
            network.present(session, definition, check_mode)
    nsx.failing.clear()
    network.present(session, definition)
    assert not network.present(session, definition).changed


def test_a_pool_without_a_free_address_is_named(nsx, session, definition):
    for number in range(20):
        nsx.put(f"/infra/ip-pools/floating-a/ip-allocations/taken-{number}")
    with pytest.raises(FlotillaError, match="floating-a/ip-allocations/flotilla-payments-snat: The pool or block has no free addresses"):
        network.present(session, definition)
    network.absent(session, definition)
    assert not of("payments", nsx.dump())


def test_it_waits_for_what_takes_long_and_gives_up_in_the_end(nsx, session, definition):
    nsx.lag = 45.0
    network.present(session, definition)
    assert not network.present(session, definition).changed
    nsx.lag = 10000.0
    definition["name"] = "slow"
    with pytest.raises(FlotillaError, match="has not made .* after 300 s") as caught:
        network.present(session, definition)
    assert caught.value.code == "NSX_NOT_REALIZED"


def test_a_run_that_was_ended_before_things_were_real_is_finished_by_the_next(nsx, front, session, definition):
    front.answers.append((f"PATCH /policy/api/v1{RULE}", Answer(400, {}, b'{"error_message": "ended"}'), False))
    with pytest.raises(FlotillaError, match="ended"):
        network.present(session, definition)
    uid = {layout.tags_of(thing)["flotilla-uid"] for thing in of("payments", nsx.dump()).values()}
    result = network.present(session, definition)
    assert result.changed and {result.value["uid"]} == uid
    assert not network.present(session, definition).changed


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE", "GET"])
def test_throttling_outages_and_lost_answers_make_no_difference(nsx, front, session, definition, method):
    broken = Answer(503, {"Retry-After": "2", "Content-Type": "text/html"}, b"<html>starting</html>")
    faults = [(f"{method} /policy", throttled(), False), (f"{method} /policy", broken, False), (f"{method} /policy", None, True)]
    front.answers += faults * (1 if method == "GET" else 3)
    network.present(session, definition)
    definition["nsx"]["dns_servers"] = ["10.1.1.54"]
    network.present(session, definition)
    assert len(of("payments", nsx.dump())) == 13
    assert nsx.dump()[SEGMENT]["subnets"][0]["dhcp_config"]["dns_servers"] == ["10.1.1.54"]
    assert not network.present(session, definition).changed
    network.absent(session, definition)
    assert not of("payments", nsx.dump()) and not front.answers


def test_the_pause_that_the_manager_asks_for_is_kept(nsx, front, session, definition, made):
    front.answers.append(("GET /policy", throttled("17"), False))
    slept = session.clock.slept
    network.present(session, definition)
    assert session.clock.slept - slept >= 17


def test_what_is_not_the_clusters_is_never_touched(nsx, session, definition):
    nsx.put(POLICY, display_name="somebody's", tags=[])
    before = nsx.dump()
    for act in (network.present, network.absent):
        with pytest.raises(FlotillaError, match="has the id that cluster 'payments' gives it") as caught:
            act(session, definition)
        assert caught.value.code == "CLUSTER_FOREIGN_NAME"
    assert nsx.dump() == before and not nsx.changes()


def test_a_cluster_of_that_name_in_another_foundation_is_refused(nsx, session, definition, made):
    before = nsx.dump()
    definition["foundation"] = "staging"
    for act in (network.present, network.absent):
        with pytest.raises(FlotillaError) as caught:
            act(session, definition)
        assert caught.value.code == "CLUSTER_FOREIGN_FOUNDATION"
    assert nsx.dump() == before and not nsx.changes()


def test_a_thing_with_another_uid_is_refused(nsx, session, definition, made):
    tags = [tag if tag["scope"] != "flotilla-uid" else {**tag, "tag": "0" * 16} for tag in nsx.dump()[TIER1]["tags"]]
    nsx.put(TIER1, tags=tags)
    before = nsx.dump()
    with pytest.raises(FlotillaError) as caught:
        network.absent(session, definition)
    assert caught.value.code == "CLUSTER_FOREIGN_UID" and nsx.dump() == before


def test_what_others_attached_stops_a_removal_before_it_begins(nsx, session, definition, made):
    nsx.attached[SEGMENT] = ["payments-control-plane-1"]
    nsx.put("/infra/segments/theirs", connectivity_path=TIER1, subnets=[{"gateway_address": "10.99.0.1/24"}])
    before = nsx.dump()
    with pytest.raises(FlotillaError) as caught:
        network.absent(session, definition)
    assert caught.value.code == "NSX_NETWORK_IN_USE"
    assert caught.value.details["attached"] == ["Segment /infra/segments/theirs", f"payments-control-plane-1 at {SEGMENT}"]
    assert nsx.dump() == before and not nsx.changes()


def test_what_is_left_of_an_earlier_profile_is_found_by_its_tags(nsx, session, definition, made):
    tags = nsx.dump()[TIER1]["tags"]
    nsx.put("/infra/ip-pools/floating-b/ip-allocations/old", tags=tags)
    # The same words in other scopes, which the search does not tell apart.
    words = [{"scope": "flotilla-cluster", "tag": "shop-b"}, {"scope": "note", "tag": "payments"}]
    nsx.put("/infra/ip-pools/floating-b/ip-allocations/theirs", tags=words)
    assert network.present(session, definition).changed
    assert nsx.changes()[-1] == "DELETE /infra/ip-pools/floating-b/ip-allocations/old"
    assert "/infra/ip-pools/floating-b/ip-allocations/theirs" in nsx.dump()


def test_pages_are_read_to_their_end(nsx, session, definition):
    for number in range(25):
        nsx.put(f"/infra/ip-pools/many-{number:02}", display_name=f"many {number:02}")
    nsx.page = 4
    network.present(session, definition)
    assert not network.present(session, definition).changed
    network.absent(session, definition)
    assert not of("payments", nsx.dump())
