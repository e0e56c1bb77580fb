# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backing reads from Resource Manager, and what it tells the endpoint. No machine is made real here."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from backing.azure.account import Account
from backing.azure.adapter import Adapter
from backing.picture import HEALTHY, INITIAL, RUNNING, STOPPED, Check, Health, Picture, Target
from clouds.azure.account import machine_properties
from clouds.azure.inventory import ask, control, find_out, group_id
from clouds.azure.offers import LOCATION
from clouds.cloud import Place, started

GROUP = group_id("backed")
NETWORK, COMPUTE = f"{GROUP}/providers/Microsoft.Network", f"{GROUP}/providers/Microsoft.Compute"
SUBNET = f"{NETWORK}/virtualNetworks/backed/subnets/nodes"
BALANCER = f"{NETWORK}/loadBalancers/api"
POOL = f"{BALANCER}/backendAddressPools/api"
USER_DATA = b"#cloud-config\n{}\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with started(Account(), tmp_path_factory.mktemp("endpoint"), 1.0) as place:
        yield place


def put(place: Place, number: str, **body: Any) -> None:
    tags = {"flotilla-cluster": "backed"}
    ask(place.direct, "PUT", number, {"location": LOCATION, "tags": tags, **body})
    control(place.direct, "finish")


@pytest.fixture
def made(place: Place) -> Place:
    """Make a network with two machines behind a load balancer, next to what belongs to others."""
    place.reset()
    put(place, GROUP)
    subnets = [{"name": "nodes", "properties": {"addressPrefix": "10.61.0.0/25"}}]
    space = {"addressSpace": {"addressPrefixes": ["10.61.0.0/24"]}}
    put(place, f"{NETWORK}/virtualNetworks/backed", properties={**space, "subnets": subnets})
    rule = {
        "frontendIPConfiguration": {"id": f"{BALANCER}/frontendIPConfigurations/api"},
        "backendAddressPool": {"id": POOL},
        "probe": {"id": f"{BALANCER}/probes/api"},
        "protocol": "Tcp",
        "frontendPort": 443,
        "backendPort": 6443,
    }
    probe = {"protocol": "Https", "port": 6443, "requestPath": "/readyz", "intervalInSeconds": 5, "probeThreshold": 2}
    balancer = {
        "frontendIPConfigurations": [{"name": "api", "properties": {"subnet": {"id": SUBNET}}}],
        "backendAddressPools": [{"name": "api"}],
        "probes": [{"name": "api", "properties": probe}],
        "loadBalancingRules": [{"name": "api", "properties": rule}],
    }
    put(place, BALANCER, sku={"name": "Standard"}, properties=balancer)
    for name in ("one", "two"):
        properties = machine_properties(name, SUBNET)
        properties["osProfile"]["customData"] = base64.b64encode(USER_DATA).decode()
        put(place, f"{COMPUTE}/virtualMachines/{name}", zones=["1"], properties=properties)
        join(place, name, True)
    return place


def join(place: Place, name: str, joins: bool) -> None:
    machine = ask(place.direct, "GET", f"{COMPUTE}/virtualMachines/{name}")
    number = machine["properties"]["networkProfile"]["networkInterfaces"][0]["id"]
    document = ask(place.direct, "GET", number)
    document["properties"]["ipConfigurations"][0]["properties"]["loadBalancerBackendAddressPools"] = [{"id": POOL}] if joins else []
    ask(place.direct, "PUT", number, document)
    control(place.direct, "finish")


def look(place: Place) -> Picture:
    return Adapter(place.direct, "backed").look()


def by_name(place: Place) -> dict[str, str]:
    return {instance.hostname: instance.id for instance in look(place).instances}


def test_what_is_the_clusters_is_in_the_picture(made: Place) -> None:
    picture, ids = look(made), by_name(made)
    assert (picture.network, picture.resolver) == (IPv4Network("10.61.0.0/24"), "10.61.0.2")
    assert {instance.hostname: (instance.state, instance.address) for instance in picture.instances} == {
        "one": (RUNNING, "10.61.0.5"),
        "two": (RUNNING, "10.61.0.6"),
    }
    (balancer,) = picture.balancers
    assert (balancer.name, balancer.host, balancer.addresses) == ("api", "10.61.0.4", ("10.61.0.4",))
    assert (balancer.listeners, balancer.taken) == ({443: POOL.lower()}, ())
    group = picture.groups[POOL.lower()]
    assert group.check == Check("HTTPS", 6443, "/readyz", interval=5, timeout=5, rise=2, fall=2)
    assert set(group.targets) == {Target(ids["one"], 6443), Target(ids["two"], 6443)}
    assert Adapter(made.direct, "backed").user_data(ids["one"]) == USER_DATA


def test_a_cluster_without_network_is_nothing(made: Place) -> None:
    assert Adapter(made.direct, "back").look() == Picture()


def test_machines_run_until_they_are_off_or_gone(made: Place) -> None:
    ask(made.direct, "POST", f"{COMPUTE}/virtualMachines/one/powerOff")
    ask(made.direct, "DELETE", f"{COMPUTE}/virtualMachines/two")
    assert {instance.hostname: instance.state for instance in look(made).instances} == {"one": RUNNING, "two": RUNNING}
    control(made.direct, "finish")
    assert {instance.hostname: instance.state for instance in look(made).instances} == {"one": STOPPED}


def test_members_are_as_the_backing_says_and_leave(made: Place) -> None:
    adapter, ids = Adapter(made.direct, "backed"), by_name(made)
    adapter.look()

    def states() -> dict[str, str]:
        found = find_out(made.direct, f"{BALANCER}/loadBalancingRules/api/health")["loadBalancerBackendAddresses"]
        return {entry["ipAddress"]: entry["state"] for entry in found}

    assert states() == {"10.61.0.5": "Down", "10.61.0.6": "Down"}
    adapter.report({POOL.lower(): {ids["one"]: Health(HEALTHY), ids["two"]: Health(INITIAL)}})
    assert states() == {"10.61.0.5": "Up", "10.61.0.6": "Down"}
    join(made, "one", False)
    assert states() == {"10.61.0.6": "Down"}
    assert set(look(made).groups[POOL.lower()].targets) == {Target(ids["two"], 6443)}
