# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules of Azure against the suite's Resource Manager, each on its own."""

from __future__ import annotations

from collections import Counter

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.azure import image, load_balancer, machines, network
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.azure.session import Session
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.decision import Wish
from clouds.azure.offers import LOCATION, SUBSCRIPTION

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHostKeyOfATest"


def things(azure, kind):
    """Return what the subscription holds of a kind."""
    return [document for document in azure.state.things.values() if document["type"].endswith(f"/{kind}")]


def apply(session, definition, check_mode=False, wait_for="ssh", **wish):
    options = {"scan": lambda _definition, _machine: HOST_KEY, "check_mode": check_mode, "wait_for": wait_for}
    return machines.present(session, definition, wait_timeout=120, wish=Wish(**wish), **options)


@pytest.fixture
def ready(session, definition):
    """A definition whose network is there."""
    network.present(session, definition)
    session.calls.clear()
    return definition


def test_machines_are_made_as_asked_for_kept_and_removed(azure, session, ready):
    predicted = apply(session, ready, check_mode=True)
    assert predicted.changed and len(predicted.value["planned"]) == 5 and not things(azure, "virtualMachines")
    session.calls.clear()
    made = apply(session, ready)
    found = things(azure, "virtualMachines")
    assert Counter(one["zones"][0] for one in found) == {"1": 2, "2": 2, "3": 1}
    assert Counter(one["properties"]["hardwareProfile"]["vmSize"] for one in found) == {"Standard_D2s_v5": 3, "Standard_D4s_v5": 2}
    assert {one["properties"]["securityProfile"]["securityType"] for one in found} == {"TrustedLaunch"}
    assert all(one["host_key"] == HOST_KEY and one["addresses"]["private"] for one in made.value["machines"])
    assert session.calls["compute:virtual_machines.begin_create_or_update"] == 5
    session.calls.clear()
    again = apply(session, ready)
    assert not again.changed and {step["action"] for step in again.value["steps"]} == {"keep"} and again.before == again.after
    assert sum(session.calls.values()) <= 8, session.calls
    assert machines.observed(session, ready).value["machines"] == again.value["machines"]
    assert machines.neighbours(session, {**ready, "name": "other"}) == {"payments": [one["name"] for one in made.value["machines"]]}
    going = [one["id"] for one in made.value["machines"] if one["role"] == "worker"][:1]
    assert machines.removed(session, ready, going).changed and len(things(azure, "virtualMachines")) == 4
    assert not machines.removed(session, ready, going).changed
    assert machines.absent(session, ready).changed and not machines.absent(session, ready).changed
    assert not things(azure, "virtualMachines") and not things(azure, "disks") and not things(azure, "networkInterfaces")


def test_a_zone_without_room_sends_workers_to_another_one_and_leaves_nothing_behind(azure, session, ready):
    # Control planes wait for their own zone, so they come before there is no room.
    ready["pools"][0]["count"], workers = 0, ready["pools"][0]["count"]
    apply(session, ready, wait_for="running")
    azure.state.capacity = {f"{LOCATION}-2": 0}
    ready["pools"][0]["count"] = workers
    made = apply(session, ready, wait_for="running")
    assert Counter(one["zone"] for one in made.value["machines"] if one["role"] == "worker") == {f"{LOCATION}-1": workers}
    assert len(things(azure, "virtualMachines")) == len(things(azure, "disks")) == len(things(azure, "networkInterfaces")) == 5


def test_where_no_zone_has_room_the_run_says_so_with_the_remedy_and_leaves_nothing_behind(azure, session, ready):
    azure.state.capacity = {f"{LOCATION}-{number}": 0 for number in (1, 2, 3)}
    with pytest.raises(FlotillaError) as caught:
        apply(session, ready, wait_for="running")
    assert caught.value.code in ("AZURE_CAPACITY", "MACHINE_NO_CAPACITY", "MACHINES_FAILED")
    assert not things(azure, "virtualMachines") and not things(azure, "disks") and not things(azure, "networkInterfaces")


def test_a_size_that_is_not_to_be_had_gives_way_to_the_next_of_the_users_list(azure, session, ready):
    ready["pools"][0]["machine"]["size"] = "Standard_M128s"
    ready["azure"]["other_sizes"] = {"Standard_M128s": ["Standard_D2as_v5"]}
    apply(session, ready, check_mode=True)
    made = apply(session, ready, wait_for="running")
    assert len(made.value["machines"]) == 5
    sizes = Counter(one["properties"]["hardwareProfile"]["vmSize"] for one in things(azure, "virtualMachines"))
    assert sizes == {"Standard_D2s_v5": 3, "Standard_D2as_v5": 2}
    assert not apply(session, ready, wait_for="running").changed


def test_a_size_that_a_zone_does_not_offer_is_refused_before_anything_is_made(azure, session, ready):
    ready["pools"][0]["machine"]["size"] = "Standard_M128s"
    with pytest.raises(FlotillaError, match=r"Standard_M128s in westeurope-1, Standard_M128s in westeurope-2") as caught:
        apply(session, ready, check_mode=True)
    assert caught.value.code == "AZURE_SIZE_UNKNOWN"


def test_a_quota_is_named_with_how_to_raise_it_and_what_was_made_is_kept(azure, session, ready):
    azure.state.cores = 6
    with pytest.raises(FlotillaError) as caught:
        apply(session, ready, wait_for="running")
    assert caught.value.code == "AZURE_QUOTA" and "Quotas" in caught.value.remedy
    assert 1 <= len(things(azure, "virtualMachines")) <= 3
    azure.state.cores = None
    assert len(apply(session, ready, wait_for="running").value["machines"]) == 5


def test_machines_with_public_addresses_take_them_along(azure, session, definition):
    definition["azure"].update(public_machines=True)
    network.present(session, definition)
    made = apply(session, definition, wait_for="running")
    assert len({one["addresses"]["public"] for one in made.value["machines"]} - {None}) == 5
    assert not things(azure, "natGateways") and len(things(azure, "publicIPAddresses")) == 5
    machines.absent(session, definition)
    assert not things(azure, "publicIPAddresses")


def test_the_least_is_open_and_what_somebody_opened_is_closed(azure, session, ready):
    groups = {one["name"]: one["properties"]["securityRules"] for one in things(azure, "networkSecurityGroups")}
    assert {rule["properties"]["destinationPortRange"] for rule in groups["payments-worker"]} == {"22", "8472", "10250", "*"}
    ports = {rule["properties"]["destinationPortRange"] for rule in groups["payments-control-plane"]}
    assert ports == {"22", "8472", "10250", "6443", "2379-2380", "*"}
    last = max(groups["payments-worker"], key=lambda rule: rule["properties"]["priority"])["properties"]
    assert (last["access"], last["priority"]) == ("Deny", 4096)
    assert not network.present(session, ready).changed
    (group,) = [one for one in things(azure, "networkSecurityGroups") if one["name"] == "payments-worker"]
    rule = {
        "priority": 500,
        "direction": "Inbound",
        "access": "Allow",
        "protocol": "Tcp",
        "sourcePortRange": "*",
        "sourceAddressPrefix": "*",
    }
    rule.update(destinationAddressPrefix="*", destinationPortRange="80")
    group["properties"]["securityRules"] += [
        {"name": "k8s-azure-lb_allow", "properties": dict(rule)},
        {"name": "mine", "properties": {**rule, "priority": 501}},
    ]
    assert network.present(session, ready).changed
    (group,) = [one for one in things(azure, "networkSecurityGroups") if one["name"] == "payments-worker"]
    left = {one["name"] for one in group["properties"]["securityRules"]}
    assert "k8s-azure-lb_allow" in left and "mine" not in left


def test_ones_own_subnet_and_group_are_used_and_stay_as_they_are(azure, session, definition):
    session.repeat("resources", "resource_groups.create_or_update", "shared", body={"location": LOCATION})
    subnets = [{"name": "n", "properties": {"addressPrefix": "10.0.0.0/24"}}]
    document = {"location": LOCATION, "properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "subnets": subnets}}
    session.repeat("network", "virtual_networks.begin_create_or_update", "shared", "v", body=document)
    azure.clock.advance(60)
    number = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/shared/providers/Microsoft.Network/virtualNetworks/v/subnets/n"
    definition["azure"] = {"location": LOCATION, "resource_group": "shared", "subnets": {"machines": number}}
    network.present(session, definition)
    made = apply(session, definition, wait_for="running")
    load_balancer.present(session, definition, [])
    assert {one["addresses"]["private"].rpartition(".")[0] for one in made.value["machines"]} == {"10.0.0"}
    (kept,) = things(azure, "virtualNetworks")
    assert kept["properties"]["subnets"][0]["properties"].get("natGateway") is None and not things(azure, "natGateways")
    with pytest.raises(FlotillaError) as caught:
        network.absent(session, definition)
    assert caught.value.code == "AZURE_NETWORK_IN_USE" and "virtualMachines" in str(caught.value.details["attached"])
    machines.absent(session, definition)
    load_balancer.absent(session, definition)
    network.absent(session, definition)
    assert [one["name"] for one in azure.state.things.values()] == ["v"] and list(azure.state.groups) == ["shared"]
    definition["azure"]["subnets"]["machines"] += "x"
    with pytest.raises(FlotillaError, match="is not there"):
        network.present(session, definition)


def test_another_foundations_cluster_of_the_name_is_refused(session, ready):
    for change in (network.present, network.absent, lambda *given: machines.present(*given, wait_timeout=9)):
        with pytest.raises(FlotillaError) as caught:
            change(session, {**ready, "foundation": "test"})
        assert caught.value.code == "CLUSTER_FOREIGN_FOUNDATION"


def test_members_come_and_go_and_the_load_balancer_says_who_is_healthy(azure, session, ready):
    made = apply(session, ready, wait_for="running").value["machines"]
    planes = [{"id": one["id"], "address": one["addresses"]["private"]} for one in made if one["role"] == "control_plane"]
    first = load_balancer.present(session, ready, planes)
    assert first.changed and first.value["endpoint"] == {"host": "10.20.0.9", "port": 6443}
    assert not load_balancer.present(session, ready, planes).changed
    # A successor that check mode only plans is a member that is no machine yet.
    successor = {"id": "payments-control-plane-new-1", "address": ""}
    assert load_balancer.present(session, ready, [*planes, successor], check_mode=True).changed
    with pytest.raises(FlotillaError, match="payments-control-plane-new-1") as caught:
        load_balancer.present(session, ready, [*planes, successor])
    assert caught.value.code == "AZURE_MEMBER_UNKNOWN" and not load_balancer.present(session, ready, planes).changed
    azure.state.ill = {planes[0]["address"]}
    health = {one["id"]: one["health"] for one in load_balancer.observed(session, ready).value["members"]}
    assert health == {planes[0]["id"]: "unhealthy", planes[1]["id"]: "healthy", planes[2]["id"]: "healthy"}
    before = azure.clock.now()
    gone = load_balancer.present(session, ready, [{**planes[0], "state": "drained"}, *planes[1:]], drain_timeout=30)
    assert gone.changed and azure.clock.now() - before >= 30
    load_balancer.present(session, ready, planes)
    before = azure.clock.now()
    gone = load_balancer.present(session, ready, [{**planes[0], "state": "drained"}, *planes[1:]], drain_timeout=3600, close=False)
    assert gone.changed and azure.clock.now() - before < 3600, "connections are left to the API server"
    assert {one["id"] for one in load_balancer.observed(session, ready).value["members"]} == {one["id"] for one in planes[1:]}
    (balancer,) = things(azure, "loadBalancers")
    probe = balancer["properties"]["probes"][0]["properties"]
    assert (probe["protocol"], probe["requestPath"], probe["port"]) == ("Https", "/readyz", 6443)
    with pytest.raises(FlotillaError) as caught:
        load_balancer.present(
            session, {**ready, "api_endpoint": {**ready["api_endpoint"], "visibility": "public", "allowed_cidrs": ["0.0.0.0/0"]}}, []
        )
    assert caught.value.code == "AZURE_ENDPOINT_FIXED"


def test_a_public_endpoint_lets_in_the_machines_through_their_nat_gateway(azure, session, definition):
    definition["api_endpoint"].update(visibility="public", allowed_cidrs=["198.51.100.0/24"])
    network.present(session, definition)
    assert not network.present(session, definition).changed
    (group,) = [one for one in things(azure, "networkSecurityGroups") if one["name"] == "payments-control-plane"]
    (clients,) = [one["properties"] for one in group["properties"]["securityRules"] if one["name"] == "api-clients"]
    (nat,) = things(azure, "publicIPAddresses")
    assert set(clients["sourceAddressPrefixes"]) == {"10.20.0.0/16", "198.51.100.0/24", f"{nat['properties']['ipAddress']}/32"}
    endpoint = load_balancer.present(session, definition, []).value["endpoint"]
    assert endpoint["host"].startswith("203.0.113.") and endpoint["host"] != nat["properties"]["ipAddress"]


def test_images_are_pinned_and_carry_their_plan(azure, session, ready):
    assert image.resolve(session, LOCATION, {"family": "debian-13"}).id == "Debian:debian-13:13-gen2:0.20261101.1"
    assert image.resolve(session, LOCATION, {"family": "debian-13"}, "arm64").architecture == "arm64"
    ready["image"] = {"id": "acme:hardened:node:latest"}
    apply(session, ready, wait_for="running")
    assert {one["plan"]["name"] for one in things(azure, "virtualMachines")} == {"node"}
    ready["pools"][0]["count"] = 3
    assert len(apply(session, ready, wait_for="running").value["machines"]) == 6
    for wanted, code in (
        ({"id": "Debian:debian-13:13-arm64:latest"}, "ARCHITECTURE"),
        ({"id": "a:b:c:d"}, "NONE"),
        ({"id": "ami-1"}, "ID"),
    ):
        with pytest.raises(FlotillaError) as caught:
            image.resolve(session, LOCATION, wanted)
        assert caught.value.code == f"AZURE_IMAGE_{code}"


def test_wrong_credentials_are_told_from_none_and_from_a_wrong_address(azure, session, definition, monkeypatch):
    clock = session.clock
    monkeypatch.setenv("AZURE_SECRET", "wrong")
    with pytest.raises(FlotillaError, match="AADSTS7000215") as caught:
        machines.observed(Session(SUBSCRIPTION, clock=clock), definition)
    assert caught.value.code == "AZURE_UNAUTHORISED"
    with pytest.raises(FlotillaError) as caught:
        machines.observed(Session(SUBSCRIPTION, "https://127.0.0.1:9", clock=clock), definition)
    assert caught.value.code == "AZURE_UNREACHABLE"
    with pytest.raises(FlotillaError) as caught:
        machines.observed(Session(SUBSCRIPTION, "AzureMars", clock=clock), definition)
    assert caught.value.code == "AZURE_ENVIRONMENT"
