# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of a cluster in Google Cloud."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.gcp import load_balancer, network
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.gcp.session import Session
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError

from .conftest import PROJECT, REGION, Google

Definition = dict[str, Any]


def _refused(do: Any, code: str) -> FlotillaError:
    with pytest.raises(FlotillaError) as caught:
        do()
    assert caught.value.code == code, caught.value
    return caught.value


def _shared(session: Session, google: Google) -> Definition:
    """Make the network of another project, and return the part of a definition that names it."""
    network_body = {"name": "shared", "autoCreateSubnetworks": False}
    session.finish([session.change("networks", "insert", network_body, project="host")])
    subnet = {"name": "nodes", "network": "projects/host/global/networks/shared", "ipCidrRange": "10.50.0.0/20"}
    session.finish([session.change("subnetworks", "insert", subnet, project="host", region=REGION)])
    return {"name": "shared", "subnetwork": "nodes", "project": "host"}


def test_it_is_made_once(session: Session, google: Google, definition: Definition) -> None:
    foretold = network.present(session, definition, check_mode=True)
    assert foretold.changed and foretold.value["network"] is None and not google.world.things
    made = network.present(session, definition)
    assert made.changed and made.value["cidr"] == "10.20.0.0/20" and made.value["nat_address"]
    assert google.names("firewalls") == [f"payments-{name}" for name in ("api", "etcd", "health-checks", "kubelet", "nodes", "ssh")]
    session.calls.clear()
    again = network.present(session, definition)
    assert not again.changed and again.value == made.value and again.before == again.after
    assert sum(session.calls.values()) == 5 and not [name for name in session.calls if "insert" in name or "patch" in name]


def test_what_somebody_changed_is_put_right(session: Session, google: Google, definition: Definition) -> None:
    network.present(session, definition)
    google.body("firewalls", "payments-ssh")["sourceRanges"].append("0.0.0.0/0")
    google.body("subnetworks", "payments")["privateIpGoogleAccess"] = False
    google.body("routers", "payments")["nats"][0]["minPortsPerVm"] = 32
    assert network.present(session, definition, check_mode=True).changed
    changed = network.present(session, definition)
    assert set(changed.before) == set(changed.after)
    assert google.body("firewalls", "payments-ssh")["sourceRanges"] == ["10.20.0.0/20"]
    assert not network.present(session, definition).changed


def test_a_public_endpoint_lets_the_address_of_the_nat_in(session: Session, google: Google, definition: Definition) -> None:
    definition["api_endpoint"].update(visibility="public", allowed_cidrs=["198.51.100.0/24"])
    made = network.present(session, definition)
    sources = google.body("firewalls", "payments-api")["sourceRanges"]
    assert sources == ["10.20.0.0/20", "198.51.100.0/24", f"{made.value['nat_address']}/32"]
    assert google.body("firewalls", "payments-health-checks")["sourceRanges"] == ["35.191.0.0/16", "209.85.152.0/22", "209.85.204.0/22"]
    assert not network.present(session, definition).changed


def test_nothing_is_as_open_as_the_cluster_needs_it(session: Session, google: Google, definition: Definition) -> None:
    network.present(session, definition)
    for _key, rule in google.world.of("firewalls"):
        assert rule["targetTags"] and "0.0.0.0/0" not in rule.get("sourceRanges", []), rule
        assert all(item.get("ports") for item in rule["allowed"]), rule


def test_own_networks_are_checked_and_stay_as_they_are(session: Session, google: Google, definition: Definition) -> None:
    definition["gcp"]["network"] = _shared(session, google)
    before = {key: dict(thing.body) for key, thing in google.world.things.items()}
    made = network.present(session, definition)
    assert made.value["subnetwork"] == f"projects/host/regions/{REGION}/subnetworks/nodes" and made.value["cidr"] == "10.50.0.0/20"
    added = set(google.world.things) - set(before)
    assert {key.split("/")[1] for key in added} == {"host"} and {key.split("/")[3] for key in added} == {"firewalls"}
    load_balancer.present(session, definition, [])
    assert google.body("forwardingRules", "payments-api")["network"].endswith("/host/global/networks/shared")
    load_balancer.absent(session, definition)
    assert network.absent(session, definition).changed
    assert {key: thing.body for key, thing in google.world.things.items()} == before


def test_own_firewall_rules_are_the_users(session: Session, google: Google, definition: Definition) -> None:
    definition["gcp"]["network"] = {**_shared(session, google), "firewall_rules": False}
    assert not network.present(session, definition).changed
    assert google.names("firewalls") == [] and not network.absent(session, definition).changed


def test_an_own_network_has_to_be_there(session: Session, google: Google, definition: Definition) -> None:
    shared = _shared(session, google)
    for change in ({"subnetwork": "other"}, {"name": "other"}):
        definition["gcp"]["network"] = {**shared, **change}
        _refused(lambda: network.present(session, definition), "GCP_OWN_NETWORK")


def test_networks_of_others_are_left_alone(session: Session, google: Google, definition: Definition) -> None:
    session.finish([session.change("networks", "insert", {"name": "payments", "autoCreateSubnetworks": False})])
    _refused(lambda: network.present(session, definition), "CLUSTER_FOREIGN_FOUNDATION")
    _refused(lambda: network.absent(session, definition), "CLUSTER_FOREIGN_FOUNDATION")
    assert google.names("networks") == ["payments"]


def test_another_foundation_is_refused(session: Session, google: Google, definition: Definition) -> None:
    network.present(session, definition)
    _refused(lambda: network.present(session, {**definition, "foundation": "staging"}), "CLUSTER_FOREIGN_FOUNDATION")


def test_addresses_that_are_in_use_do_not_change(session: Session, google: Google, definition: Definition) -> None:
    network.present(session, definition)
    definition["gcp"]["subnet_cidr"] = "10.30.0.0/20"
    error = _refused(lambda: network.present(session, definition), "GCP_FIXED")
    assert "10.20.0.0/20" in error.message and "10.30.0.0/20" in error.message


def test_zones_have_to_be_there(session: Session, google: Google, definition: Definition) -> None:
    definition["control_plane"]["zones"] = [f"{REGION}-a", f"{REGION}-z"]
    error = _refused(lambda: network.present(session, definition, check_mode=True), "GCP_ZONE_UNKNOWN")
    assert f"{REGION}-f" in error.remedy and not google.world.things


def test_nat_can_go(session: Session, google: Google, definition: Definition) -> None:
    network.present(session, definition)
    definition["gcp"]["nat"] = False
    assert network.present(session, definition).changed
    assert google.names("routers") == [] and google.names("addresses") == []
    assert not network.present(session, definition).changed


def test_secondary_ranges_come_and_go(session: Session, google: Google, definition: Definition) -> None:
    definition["gcp"]["secondary_ranges"] = {"pods": "10.64.0.0/14", "more": "10.68.0.0/20"}
    network.present(session, definition)
    assert not network.present(session, definition).changed
    del definition["gcp"]["secondary_ranges"]["more"]
    assert network.present(session, definition).changed
    assert google.body("subnetworks", "payments")["secondaryIpRanges"] == [{"rangeName": "pods", "ipCidrRange": "10.64.0.0/14"}]
    # The last one stays: the SDK has no words for an empty list.
    definition["gcp"]["secondary_ranges"] = {}
    assert not network.present(session, definition).changed


def test_what_others_attached_stops_a_removal(session: Session, google: Google, definition: Definition) -> None:
    network.present(session, definition)
    rule = {"name": "k8s-fw-service", "network": "global/networks/payments", "allowed": [{"IPProtocol": "tcp", "ports": ["80"]}]}
    session.finish([session.change("firewalls", "insert", rule)])
    load_balancer.present(session, definition, [])
    error = _refused(lambda: network.absent(session, definition), "GCP_NETWORK_IN_USE")
    assert error.details["attached"] == ["address payments-api", "firewall rule k8s-fw-service", "forwarding rule payments-api"]
    load_balancer.absent(session, definition)
    session.finish([session.change("firewalls", "delete", firewall="k8s-fw-service")])
    assert network.absent(session, definition).changed and google.world.things == {}
    assert not network.absent(session, definition).changed


def test_a_foundation_of_any_name_is_known_again(session: Session, google: Google, definition: Definition) -> None:
    definition["foundation"] = "Production EU (west)"
    network.present(session, definition)
    assert not network.present(session, definition).changed
    assert PROJECT in network.present(session, definition).value["network"]
