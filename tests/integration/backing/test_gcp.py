# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backing reads from Compute Engine's API, and what it tells the endpoint. No machine is made real here."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from backing.gcp.account import Account
from backing.gcp.adapter import Adapter
from backing.gcp.scene import WITH_CLOUD_INIT
from backing.picture import HEALTHY, INITIAL, RUNNING, STOPPED, UNHEALTHY, Check, Health, Picture, Target
from clouds.cloud import Place, started
from clouds.gcp.account import IMAGES, REGION, SIZE, ask
from clouds.gcp.rules import ROOT

ZONE = f"{REGION}-a"
PLACE = f"regions/{REGION}"
SERVICE = f"{ROOT}projects/contract/{PLACE}/backendServices/api"
USER_DATA = "#cloud-config\n{}\n"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs ops"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with started(Account(), tmp_path_factory.mktemp("endpoint"), 1.0) as place:
        yield place


@pytest.fixture
def made(place: Place) -> Place:
    """Make a network with two machines behind a load balancer, next to what belongs to others."""
    place.reset()
    account = place.cloud
    assert isinstance(account, Account)

    def make(path: str, **body: object) -> None:
        account.make(place.direct, path, body)

    owner = f"x: {json.dumps({'flotilla-cluster': 'backed'})}"
    network, subnet = {"network": "global/networks/backed"}, {"subnetwork": f"{PLACE}/subnetworks/backed"}
    make("global/networks", name="backed", autoCreateSubnetworks=False)
    make(f"{PLACE}/subnetworks", name="backed", ipCidrRange="10.61.0.128/25", description=owner, **network)
    inside = {"addressType": "INTERNAL", "purpose": "GCE_ENDPOINT"}
    make(f"{PLACE}/addresses", name="api", **inside, **subnet)
    check = {"type": "HTTPS", "checkIntervalSec": 5, "timeoutSec": 4, "healthyThreshold": 2, "unhealthyThreshold": 3}
    make(f"{PLACE}/healthChecks", name="api", httpsHealthCheck={"port": 6443, "requestPath": "/readyz"}, **check)
    make(f"zones/{ZONE}/instanceGroups", name="api", **network)
    probes = ["35.191.0.0/16", "130.211.0.0/22"]
    make("global/firewalls", name="probes", allowed=[{"IPProtocol": "tcp", "ports": ["6443"]}], sourceRanges=probes, **network)
    backends = [{"group": f"zones/{ZONE}/instanceGroups/api", "balancingMode": "CONNECTION"}]
    scheme = {"loadBalancingScheme": "INTERNAL"}
    service = {"protocol": "TCP", "healthChecks": [f"{PLACE}/healthChecks/api"], "connectionDraining": {"drainingTimeoutSec": 30}}
    make(f"{PLACE}/backendServices", name="api", backends=backends, **service, **scheme)
    rule = {"IPProtocol": "TCP", "ports": ["6443"], "backendService": f"{PLACE}/backendServices/api", "IPAddress": f"{PLACE}/addresses/api"}
    make(f"{PLACE}/forwardingRules", name="api", **rule, **subnet, **scheme)
    for name, image in (("one", IMAGES[0]), ("two", WITH_CLOUD_INIT)):
        metadata = {"user-data": USER_DATA, "ssh-keys": f"ops:{KEY}"}
        machine = {
            "machineType": SIZE,
            "disks": [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": image}}],
            "networkInterfaces": [subnet],
            "metadata": {"items": [{"key": key, "value": value} for key, value in metadata.items()]},
        }
        make(f"zones/{ZONE}/instances/bulkInsert", count="1", perInstanceProperties={name: {}}, instanceProperties=machine)
    change(place, "addInstances", "one", "two")
    return place


def change(place: Place, method: str, *names: str) -> None:
    links = [{"instance": f"projects/contract/zones/{ZONE}/instances/{name}"} for name in names]
    ask(place.direct, "POST", f"zones/{ZONE}/instanceGroups/api/{method}", {"instances": links})
    place.clock.advance(5)


def look(place: Place) -> Picture:
    return Adapter(place.direct, "backed").look()


def test_what_is_the_clusters_is_in_the_picture(made: Place) -> None:
    picture = look(made)
    # Twice as large as the subnetwork, whose own are for machines and the load balancer's address.
    assert (picture.network, picture.resolver) == (IPv4Network("10.61.0.0/24"), "10.61.0.2")
    assert {instance.id: (instance.state, instance.address, instance.hostname) for instance in picture.instances} == {
        "one": (RUNNING, "10.61.0.131", f"one.{ZONE}.c.contract.internal"),
        "two": (RUNNING, "10.61.0.132", f"two.{ZONE}.c.contract.internal"),
    }
    (balancer,) = picture.balancers
    assert (balancer.name, balancer.host, balancer.listeners) == ("api", "10.61.0.130", {6443: SERVICE})
    assert (balancer.addresses, balancer.taken) == (("10.61.0.3", "10.61.0.130"), ("10.61.0.130",))
    group = picture.groups[SERVICE]
    assert group.check == Check("HTTPS", 6443, "/readyz", interval=5, timeout=4, rise=2, fall=3)
    assert set(group.targets) == {Target("one", 6443), Target("two", 6443)}


def test_machines_are_told_their_login_in_the_way_of_their_image(made: Place) -> None:
    adapter = Adapter(made.direct, "backed")
    assert adapter.user_data("two") == USER_DATA.encode()
    (login,) = json.loads(adapter.user_data("one").removeprefix(b"#cloud-config"))["users"]
    assert (login["name"], login["ssh_authorized_keys"]) == ("ops", [KEY])


def test_a_cluster_without_network_is_nothing(made: Place) -> None:
    assert Adapter(made.direct, "back").look() == Picture()


def test_machines_run_until_they_are_off_or_gone(made: Place) -> None:
    ask(made.direct, "POST", f"zones/{ZONE}/instances/one/stop")
    ask(made.direct, "DELETE", f"zones/{ZONE}/instances/two")
    assert {instance.id: instance.state for instance in look(made).instances} == {"one": RUNNING, "two": RUNNING}
    made.clock.advance(30)
    assert {instance.id: instance.state for instance in look(made).instances} == {"one": STOPPED}


def test_backends_are_as_the_backing_says_and_drain(made: Place) -> None:
    def states() -> dict[str, str]:
        group = {"group": f"zones/{ZONE}/instanceGroups/api"}
        found = ask(made.direct, "POST", f"{PLACE}/backendServices/api/getHealth", group).get("healthStatus", ())
        return {entry["instance"].rsplit("/", 1)[-1]: entry["healthState"] for entry in found}

    assert states() == {"one": "UNHEALTHY", "two": "UNHEALTHY"}
    Adapter(made.direct, "backed").report({SERVICE: {"one": Health(HEALTHY), "two": Health(INITIAL)}})
    assert states() == {"one": "HEALTHY", "two": "UNHEALTHY"}
    Adapter(made.direct, "backed").report({SERVICE: {"one": Health(UNHEALTHY), "two": Health(HEALTHY)}})
    assert states() == {"one": "UNHEALTHY", "two": "HEALTHY"}
    change(made, "removeInstances", "two")
    assert states() == {"one": "UNHEALTHY"}
    assert set(look(made).groups[SERVICE].targets) == {Target("one", 6443), Target("two", 6443, draining=True)}
    made.clock.advance(31)
    assert set(look(made).groups[SERVICE].targets) == {Target("one", 6443)}
    change(made, "addInstances", "two")
    assert set(look(made).groups[SERVICE].targets) == {Target("one", 6443), Target("two", 6443)}
