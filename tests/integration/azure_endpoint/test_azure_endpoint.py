# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The suite's Azure is strict: a good body with one thing wrong is refused, and so is what Azure refuses."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.azure import load_balancer, machines, network
from clouds.azure.account import machine_properties
from clouds.azure.offers import LOCATION, SUBSCRIPTION
from clouds.faults import Request

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/mine"
NETWORK = f"{GROUP}/providers/Microsoft.Network"
VMS = f"{GROUP}/providers/Microsoft.Compute/virtualMachines"
FREE = ("tags", "userAssignedIdentities")
"""Maps whose keys are the user's."""


class Caller:
    """Makes calls by hand."""

    def __init__(self, azure) -> None:
        self.azure = azure
        self.token = json.loads(azure(Request("PUT", "/_endpoint/token", {}, b"{}")).body)["token"]

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        given = {"authorization": f"Bearer {self.token}", "content-type": "application/json", "host": "fake", **headers}
        query = "" if "api-version" in path else f"{'&' if '?' in path else '?'}api-version=2024-07-01"
        answer = self.azure(Request(method, path + query, given, json.dumps(body).encode()))
        return answer.status, json.loads(answer.body or b"{}")

    def finish(self) -> None:
        self.azure(Request("PUT", "/_endpoint/finish", {}, b"{}"))

    def refused(self, *call: Any, **headers: str) -> str:
        status, body = self(*call, **headers)
        assert status >= 400, body
        return body["error"]["code"]


@pytest.fixture
def call(azure) -> Caller:
    made = Caller(azure)
    assert made("PUT", GROUP, {"location": LOCATION})[0] == 201
    return made


@pytest.fixture
def subnet(call) -> str:
    body = {
        "addressSpace": {"addressPrefixes": ["10.0.0.0/16"]},
        "subnets": [{"name": "n", "properties": {"addressPrefix": "10.0.0.0/24"}}],
    }
    assert call("PUT", f"{NETWORK}/virtualNetworks/v", {"location": LOCATION, "properties": body})[0] == 201
    call.finish()
    return f"{NETWORK}/virtualNetworks/v/subnets/n"


def vm(subnet: str, **more: Any) -> dict[str, Any]:
    return {"location": LOCATION, "zones": ["1"], "properties": machine_properties("m", subnet, **more)}


@pytest.fixture
def bodies(azure, session, definition) -> list[tuple[str, dict[str, Any]]]:
    """What the collection itself sends for a whole cluster: path and body."""
    sent: list[tuple[str, dict[str, Any]]] = []
    route = azure._route

    def watch(request: Request) -> Any:
        if request.method in ("PUT", "PATCH") and request.path.startswith("/subscriptions/"):
            sent.append((request.path, json.loads(request.body)))
        return route(request)

    definition["azure"].update(
        public_machines=False, identities={"worker": f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/w"}
    )
    definition["pools"][0]["machine"]["spot"] = True
    azure._route = watch
    try:
        network.present(session, definition)
        made = machines.present(session, definition, wait_timeout=60, wait_for="running").value["machines"]
        members = [{"id": one["id"], "address": one["addresses"]["private"]} for one in made if one["role"] == "control_plane"]
        load_balancer.present(session, definition, members)
    finally:
        del azure._route
    return sent


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the path of each value in a body but what is in the user's own maps."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            if key not in FREE:
                yield from places(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value[:1]):
            yield from places(item, (*path, number))


def mutated(body: Any, path: tuple[Any, ...], how: str) -> Any:
    body = copy.deepcopy(body)
    parent = body
    for key in path[:-1]:
        parent = parent[key]
    if how == "renamed":
        parent[f"{path[-1]}X"] = parent.pop(path[-1])
    else:
        now = parent[path[-1]]
        parent[path[-1]] = ["x"] if isinstance(now, (bool, int, dict)) else {"x": "y"} if isinstance(now, list) else 5
    return body


OWN = (
    "id",
    "name",
    "type",
    "etag",
    "provisioningState",
    "resourceGuid",
    "ipAddress",
    "macAddress",
    "virtualMachine",
    "backendIPConfigurations",
)
"""Fields that are the cloud's own where a document is read and written again."""


def test_a_good_body_with_one_thing_wrong_is_refused(call, azure, bodies):
    kept = copy.deepcopy(azure.state)
    kinds, tried = set(), 0
    for path, body in {
        path.partition("/providers/")[2].split("/")[1] if "/providers/" in path else "group": (path, body) for path, body in bodies
    }.values():
        kinds.add(path.partition("?")[0].rpartition("/")[0].rpartition("/")[2])
        for place in places(body):
            if any(part in OWN for part in place):
                continue
            for how in ("renamed", "retyped"):
                azure.state = copy.deepcopy(kept)
                wrong = mutated(body, place, how)
                status, answer = call("PATCH" if "/tags/" in path else "PUT", path, wrong)
                assert status == 400, (how, place, answer)
                tried += 1
    assert {"virtualNetworks", "networkSecurityGroups", "natGateways", "loadBalancers", "virtualMachines", "networkInterfaces"} <= kinds
    assert tried > 250


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"location": "mars"}, "LocationNotAvailableForResourceType"),
        ({"zones": ["4"]}, "InvalidAvailabilityZone"),
        ({"tags": {"a/b": "c"}}, "InvalidTagNameCharacters"),
        ({"plan": {"name": "p", "product": "o", "publisher": "q"}}, "VMMarketplaceInvalidInput"),
    ],
)
def test_a_wrong_machine_is_refused(call, subnet, change, code):
    assert call.refused("PUT", f"{VMS}/m", {**vm(subnet), **change}) == code


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("hardwareProfile.vmSize", "Standard_X1", "InvalidParameter"),
        ("hardwareProfile.vmSize", "Standard_M128s", "SkuNotAvailable"),
        ("hardwareProfile.vmSize", "Standard_D2ps_v5", "InvalidParameter"),
        ("storageProfile.imageReference.version", "9.9.9", "PlatformImageNotFound"),
        ("storageProfile.osDisk.diskSizeGB", 10, "InvalidParameter"),
        ("osProfile.adminUsername", "root", "InvalidParameter"),
        ("osProfile.customData", "not base64!", "InvalidParameter"),
        ("osProfile.linuxConfiguration.ssh.publicKeys", [], "InvalidParameter"),
        ("networkProfile.networkApiVersion", None, "InvalidParameter"),
        ("evictionPolicy", "Delete", "OperationNotAllowed"),
        ("priority", "Spott", "InvalidParameter"),
        ("securityProfile", {"uefiSettings": {"secureBootEnabled": True}}, "InvalidParameter"),
    ],
)
def test_what_a_machine_can_not_be_is_refused(call, subnet, path, value, code):
    body = vm(subnet)
    parent, keys = body["properties"], path.split(".")
    for key in keys[:-1]:
        parent = parent[key]
    parent[keys[-1]] = value
    assert call.refused("PUT", f"{VMS}/m", body) == code
    assert call("PUT", f"{VMS}/m", vm(subnet))[0] == 201


def test_things_that_are_in_use_stay(call, subnet):
    assert call("PUT", f"{VMS}/m", vm(subnet))[0] == 201
    nic = call("GET", f"{NETWORK}/networkInterfaces")[1]["value"][0]
    assert call.refused("DELETE", subnet.rpartition("/subnets/")[0]) == "InUseSubnetCannotBeDeleted"
    assert call.refused("DELETE", nic["id"]) == "NicInUse"
    disk = call("GET", f"{GROUP}/providers/Microsoft.Compute/disks")[1]["value"][0]
    assert call.refused("DELETE", disk["id"]) == "OperationNotAllowed"
    call.finish()
    assert call("DELETE", f"{VMS}/m")[0] == 202
    assert call("GET", f"{VMS}/m")[1]["properties"]["provisioningState"] == "Deleting"
    call.finish()
    for path in (f"{VMS}/m", nic["id"], disk["id"]):
        assert call.refused("GET", path) == "ResourceNotFound"
    assert call("DELETE", f"{VMS}/m")[0] == 204


def test_a_change_takes_its_time_and_comes_alone(call, subnet, azure):
    group = f"{NETWORK}/networkSecurityGroups/g"
    assert call("PUT", group, {"location": LOCATION})[0] == 201
    assert call.refused("PUT", group, {"location": LOCATION}) == "AnotherOperationInProgress"
    nic = {"name": "p", "properties": {"subnet": {"id": subnet}}}
    with_group = {"location": LOCATION, "properties": {"ipConfigurations": [nic], "networkSecurityGroup": {"id": group}}}
    assert call.refused("PUT", f"{NETWORK}/networkInterfaces/i", with_group) == "ReferencedResourceNotProvisioned"
    azure.clock.advance(10)
    assert call("PUT", f"{NETWORK}/networkInterfaces/i", with_group)[0] == 201
    with_group["properties"]["networkSecurityGroup"]["id"] += "x"
    assert call.refused("PUT", f"{NETWORK}/networkInterfaces/j", with_group) == "InvalidResourceReference"


def test_a_long_operation_says_how_it_ended(call, subnet, azure):
    azure.state.capacity = {f"{LOCATION}-1": 0}
    ends = set()
    for number in range(3):
        status, body = call("PUT", f"{VMS}/m{number}", vm(subnet))
        ends.add(body["error"]["code"] if status >= 400 else "accepted")
    assert ends == {"SkuNotAvailable", "accepted"}
    assert {machine["properties"]["provisioningState"] for machine in call("GET", VMS)[1]["value"]} == {"Creating"}
    azure.clock.advance(60)
    shown = call("GET", f"{VMS}?$expand=instanceView")[1]["value"]
    codes = {machine["properties"]["instanceView"]["statuses"][0]["code"] for machine in shown}
    assert codes == {"ProvisioningState/failed/AllocationFailed", "ProvisioningState/failed/ZonalAllocationFailed"}
    said = {
        call("GET", f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/locations/x/operations/{one}")[1]["status"]
        for one in azure.state.operations
    }
    assert said == {"Failed", "Succeeded"}


def test_a_quota_is_told_from_no_room(call, subnet, azure):
    azure.state.cores = 2
    assert call("PUT", f"{VMS}/m", vm(subnet))[0] == 201
    status, body = call("PUT", f"{VMS}/n", vm(subnet))
    assert (status, body["error"]["code"]) == (409, "OperationNotAllowed") and "quota" in body["error"]["message"]


def test_a_name_that_is_taken_is_said_so_to_who_asks(call, subnet):
    assert call("PUT", f"{VMS}/m", vm(subnet), **{"if-none-match": "*"})[0] == 201
    call.finish()
    assert call.refused("PUT", f"{VMS}/m", vm(subnet), **{"if-none-match": "*"}) == "PreconditionFailed"
    assert call("PUT", f"{VMS}/m", vm(subnet))[0] == 200
    other = vm(subnet)
    other["properties"]["osProfile"]["adminUsername"] = "somebody"
    call.finish()
    assert call.refused("PUT", f"{VMS}/m", other) == "PropertyChangeNotAllowed"


def test_lists_come_in_pages_and_ids_of_machines_in_another_case(call, azure, subnet):
    azure.state.page = 2
    for number in range(5):
        assert call("PUT", f"{NETWORK}/applicationSecurityGroups/a{number}", {"location": LOCATION})[0] == 201
    found, path = [], f"{NETWORK}/applicationSecurityGroups"
    while path:
        body = call("GET", path)[1]
        found += [one["name"] for one in body["value"]]
        path = body.get("nextLink", "").removeprefix("https://fake")
    assert found == [f"a{number}" for number in range(5)]
    assert call("PUT", f"{VMS}/m", vm(subnet))[1]["id"] == f"{VMS}/m".replace("/mine/", "/MINE/")


def test_nobody_gets_in_without_a_token(call):
    assert call.refused("GET", GROUP, authorization="Bearer guess") == "InvalidAuthenticationToken"
    assert call.refused("GET", GROUP, authorization="") == "AuthenticationFailed"
    assert call.refused("GET", f"{GROUP}?api-version=new") == "MissingApiVersionParameter"
    assert call.refused("PUT", GROUP, {"location": LOCATION}, **{"content-type": "text/plain"}) == "UnsupportedMediaType"
