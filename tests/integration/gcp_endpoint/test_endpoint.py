# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoint that stands in for Compute Engine refuses what Compute Engine refuses, and changes as it does."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from clouds.clock import Clock
from clouds.faults import Request
from clouds.gcp import filters, schema
from clouds.gcp.endpoint import TOKEN, Endpoint
from clouds.wire import Wire
from google.oauth2.credentials import Credentials
from googleapiclient import discovery
from googleapiclient.errors import HttpError

PROJECT, REGION, ZONE = "contract", "us-central1", "us-central1-a"
IMAGE = "projects/debian-cloud/global/images/debian-13-trixie-v20261015"
MACHINE: dict[str, Any] = {
    "machineType": "e2-standard-2",
    "disks": [
        {"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": IMAGE, "diskSizeGb": "20", "diskType": "pd-balanced"}}
    ],
    "networkInterfaces": [{"subnetwork": f"regions/{REGION}/subnetworks/nodes"}],
    "labels": {"flotilla-cluster": "payments"},
    "metadata": {"items": [{"key": "user-data", "value": "#cloud-config"}]},
    "tags": {"items": ["workers"]},
    "scheduling": {"provisioningModel": "STANDARD", "automaticRestart": True},
    "shieldedInstanceConfig": {"enableVtpm": True, "enableSecureBoot": False},
    "serviceAccounts": [{"email": "nodes@contract.iam.gserviceaccount.com", "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}],
}
# In the order in which one needs the other.
GOOD: list[tuple[str, str, dict[str, Any]]] = [
    ("global/networks", "Network", {"name": "net", "autoCreateSubnetworks": False, "routingConfig": {"routingMode": "REGIONAL"}}),
    (
        f"regions/{REGION}/subnetworks",
        "Subnetwork",
        {
            "name": "nodes",
            "network": "global/networks/net",
            "ipCidrRange": "10.0.0.0/24",
            "privateIpGoogleAccess": True,
            "secondaryIpRanges": [{"rangeName": "pods", "ipCidrRange": "10.4.0.0/16"}],
        },
    ),
    (
        "global/firewalls",
        "Firewall",
        {
            "name": "api",
            "network": "global/networks/net",
            "direction": "INGRESS",
            "priority": 900,
            "allowed": [{"IPProtocol": "tcp", "ports": ["6443"]}],
            "sourceRanges": ["35.191.0.0/16", "130.211.0.0/22"],
            "targetTags": ["workers"],
        },
    ),
    (f"regions/{REGION}/addresses", "Address", {"name": "out", "addressType": "EXTERNAL"}),
    (
        f"regions/{REGION}/addresses",
        "Address",
        {"name": "api", "addressType": "INTERNAL", "subnetwork": f"regions/{REGION}/subnetworks/nodes", "description": "of the API"},
    ),
    (
        f"regions/{REGION}/routers",
        "Router",
        {
            "name": "out",
            "network": "global/networks/net",
            "nats": [
                {
                    "name": "out",
                    "natIpAllocateOption": "MANUAL_ONLY",
                    "natIps": [f"regions/{REGION}/addresses/out"],
                    "sourceSubnetworkIpRangesToNat": "LIST_OF_SUBNETWORKS",
                    "subnetworks": [{"name": f"regions/{REGION}/subnetworks/nodes", "sourceIpRangesToNat": ["ALL_IP_RANGES"]}],
                }
            ],
        },
    ),
    (
        f"regions/{REGION}/healthChecks",
        "HealthCheck",
        {
            "name": "api",
            "type": "HTTPS",
            "checkIntervalSec": 5,
            "timeoutSec": 4,
            "httpsHealthCheck": {"port": 6443, "requestPath": "/readyz"},
        },
    ),
    (f"zones/{ZONE}/instanceGroups", "InstanceGroup", {"name": "api", "network": "global/networks/net"}),
    (
        f"regions/{REGION}/backendServices",
        "BackendService",
        {
            "name": "api",
            "protocol": "TCP",
            "loadBalancingScheme": "INTERNAL",
            "healthChecks": [f"regions/{REGION}/healthChecks/api"],
            "backends": [{"group": f"zones/{ZONE}/instanceGroups/api", "balancingMode": "CONNECTION"}],
            "connectionDraining": {"drainingTimeoutSec": 10},
        },
    ),
    (
        f"regions/{REGION}/forwardingRules",
        "ForwardingRule",
        {
            "name": "api",
            "loadBalancingScheme": "INTERNAL",
            "IPProtocol": "TCP",
            "ports": ["6443"],
            "IPAddress": f"regions/{REGION}/addresses/api",
            "subnetwork": f"regions/{REGION}/subnetworks/nodes",
            "backendService": f"regions/{REGION}/backendServices/api",
        },
    ),
]
BULK = {"count": "2", "minCount": "1", "perInstanceProperties": {"one": {}, "two": {}}, "instanceProperties": MACHINE}


class Google:
    """The endpoint, and a hand that calls it without any library."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.endpoint = Endpoint(clock)

    def call(self, verb: str, path: str, body: Any = None, token: str = f"{TOKEN}hand") -> tuple[int, dict[str, Any]]:
        url = path if path.startswith("/") else f"/compute/v1/projects/{PROJECT}/{path}"
        raw = b"" if body is None else json.dumps(body).encode()
        answer = self.endpoint(Request(verb, url, {"authorization": f"Bearer {token}"} if token else {}, raw))
        return answer.status, json.loads(answer.body)

    def do(self, verb: str, path: str, body: Any = None) -> dict[str, Any]:
        """Call, wait for the operation, and return it."""
        status, operation = self.call(verb, path, body)
        assert status == 200, operation
        self.clock.advance(30)
        status, done = self.call("GET", operation["selfLink"].replace("https://www.googleapis.com", ""))
        assert status == 200 and done["status"] == "DONE", done
        return done

    def reason(self, verb: str, path: str, body: Any = None) -> str:
        status, answer = self.call(verb, path, body)
        assert status >= 400, answer
        return f"{status} {answer['error']['errors'][0]['reason']}"

    def build(self) -> None:
        for path, _schema, body in GOOD:
            done = self.do("POST", path, body)
            assert "error" not in done, done


@pytest.fixture
def google(tmp_path: Path) -> Google:
    # It passes only when a test says so.
    return Google(Clock.create(tmp_path / "clock", speed=1e-9))


def _holder(body: Any, path: tuple[str, ...]) -> tuple[Any, Any]:
    """Return what holds the last part of a path, and that part as its key."""
    for part in path[:-1]:
        body = body[int(part)] if isinstance(body, list) else body[part]
    return body, int(path[-1]) if isinstance(body, list) else path[-1]


# Keys that are the user's own words.
FREE = ("flotilla-cluster", "one", "two")


def _mutations(name: str, body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield good bodies with one thing wrong."""
    for path, value, form in schema.fields(name, body):
        where, wrongs = ".".join(path), ["wrong" if isinstance(value, (dict, list, bool)) else {"wrong": True}]
        wrongs += ["NO_SUCH_WORD"] if "enum" in form else []
        for wrong in wrongs:
            changed = copy.deepcopy(body)
            holder, key = _holder(changed, path)
            holder[key] = wrong
            yield f"{where} is {wrong}", changed
        changed = copy.deepcopy(body)
        holder, key = _holder(changed, path)
        if isinstance(holder, dict) and key not in FREE:
            holder[f"{key}X"] = holder.pop(key)
            yield f"{where} renamed", changed
    for key in schema.REQUIRED[name]:
        yield f"without {key}", {other: value for other, value in body.items() if other != key}


BODIES = [*GOOD, (f"zones/{ZONE}/instances/bulkInsert", "BulkInsertInstanceResource", BULK)]


@pytest.mark.parametrize(("path", "name", "body"), BODIES, ids=[f"{name}-{number}" for number, (_path, name, _body) in enumerate(BODIES)])
def test_every_field_of_a_good_body_matters(google: Google, path: str, name: str, body: dict[str, Any]) -> None:
    for before, _name, good in GOOD:
        if before == path and good == body:
            break
        google.do("POST", before, good)
    for what, bad in _mutations(name, body):
        status, answer = google.call("POST", path, bad)
        assert status == 400, (what, answer)
    assert "error" not in google.do("POST", path, body)


def test_nobody_gets_in_without_a_token(google: Google) -> None:
    assert google.call("GET", "global/networks", token="")[0] == 401
    assert google.endpoint(Request("POST", "/token", {}, b"grant_type=password")).status == 400


def test_paths_queries_and_projects_have_to_be_right(google: Google) -> None:
    assert google.reason("GET", "global/netwerks") == "404 notFound"
    assert google.reason("GET", "global/networks?wrong=1") == "400 badRequest"
    assert google.reason("GET", "global/networks?maxResults=many") == "400 invalid"
    assert google.reason("POST", "global/networks?requestId=1", GOOD[0][2]) == "400 invalid"
    assert google.reason("GET", "/compute/v1/projects/nobodys/global/networks") == "404 notFound"
    assert google.reason("POST", "global/networks", {**GOOD[0][2], "id": "1"}) == "400 invalid"
    assert google.reason("GET", "global/networks?filter=name%20is%20x") == "400 invalid"


def test_a_thing_shows_and_serves_when_its_operation_is_done(google: Google) -> None:
    path, _name, body = GOOD[0]
    status, operation = google.call("POST", path, body)
    assert (status, operation["status"]) == (200, "PENDING")
    assert google.reason("GET", "global/networks/net") == "404 notFound"
    assert google.reason("POST", path, body) == "409 alreadyExists"
    assert google.reason(*("POST", *GOOD[1][::2])) == "400 resourceNotReady"
    google.clock.advance(5)
    assert google.call("GET", "global/networks/net")[0] == 200
    assert google.call("POST", f"global/operations/{operation['name']}/wait")[1]["status"] == "DONE"


def test_a_request_id_makes_a_thing_once(google: Google) -> None:
    path, _name, body = GOOD[0]
    token = "6e0e2b0c-0000-4000-8000-000000000001"
    first = google.call("POST", f"{path}?requestId={token}", body)[1]
    google.clock.advance(60)
    again = google.call("POST", f"{path}?requestId={token}", body)[1]
    assert again["name"] == first["name"] and again["status"] == "DONE"
    assert google.reason("POST", f"{path}?requestId={token}", {**body, "name": "other"}) == "400 invalid"
    google.clock.advance(2 * 3600)
    assert google.reason("POST", f"{path}?requestId={token}", body) == "409 alreadyExists"


def test_what_is_in_use_stays(google: Google) -> None:
    google.build()
    for path, _name, body in GOOD[:2] + GOOD[3:5] + GOOD[6:9]:
        assert google.reason("DELETE", f"{path}/{body['name']}") == "400 resourceInUseByAnotherResource", path
    for path, _name, body in reversed(GOOD):
        google.do("DELETE", f"{path}/{body['name']}")
    assert google.call("GET", "/_endpoint/inventory")[1] == {}


def test_what_is_not_there_can_not_be_used(google: Google) -> None:
    for path, _name, body in GOOD[1:2] + GOOD[4:6] + GOOD[8:]:
        assert google.reason("POST", path, body) == "404 notFound", path


def test_changes_show_the_fingerprint_of_what_they_change(google: Google) -> None:
    google.build()
    path = f"regions/{REGION}/backendServices/api"
    stamp = google.call("GET", path)[1]["fingerprint"]
    change = {"connectionDraining": {"drainingTimeoutSec": 20}}
    assert google.reason("PATCH", path, change) == "412 conditionNotMet"
    google.do("PATCH", path, {**change, "fingerprint": stamp})
    assert google.reason("PATCH", path, {**change, "fingerprint": stamp}) == "412 conditionNotMet"
    assert google.call("GET", path)[1]["connectionDraining"] == {"drainingTimeoutSec": 20}
    google.do("POST", f"zones/{ZONE}/instances/bulkInsert", BULK)
    machine = google.call("GET", f"zones/{ZONE}/instances/one")[1]
    labels = {"labels": {"a": "b"}, "labelFingerprint": machine["labelFingerprint"]}
    google.do("POST", f"zones/{ZONE}/instances/one/setLabels", labels)
    assert google.reason("POST", f"zones/{ZONE}/instances/one/setLabels", labels) == "412 conditionNotMet"
    assert google.reason("POST", f"zones/{ZONE}/instances/one/setMetadata", {"items": []}) == "412 conditionNotMet"
    assert google.reason("POST", f"zones/{ZONE}/instances/one/setTags", {"fingerprint": "AAAA"}) == "412 conditionNotMet"


def test_machines_run_after_a_while_and_go_with_their_disks(google: Google) -> None:
    google.build()
    assert google.call("POST", f"zones/{ZONE}/instances/bulkInsert", BULK)[0] == 200
    states = [item["status"] for item in google.call("GET", f"zones/{ZONE}/instances")[1]["items"]]
    assert states == ["PROVISIONING"] * 2
    google.clock.advance(30)
    items = google.call("GET", f"zones/{ZONE}/instances")[1]["items"]
    assert [item["status"] for item in items] == ["RUNNING"] * 2
    assert len({item["networkInterfaces"][0]["networkIP"] for item in items}) == 2
    assert google.call("GET", f"zones/{ZONE}/disks/one")[1]["sizeGb"] == "20"
    google.call("DELETE", f"zones/{ZONE}/instances/one")
    assert google.call("GET", f"zones/{ZONE}/instances/one")[1]["status"] == "STOPPING"
    google.clock.advance(30)
    assert google.reason("GET", f"zones/{ZONE}/instances/one") == "404 notFound"
    assert google.reason("GET", f"zones/{ZONE}/disks/one") == "404 notFound"
    google.do("POST", f"zones/{ZONE}/instances/two/stop")
    assert google.call("GET", f"zones/{ZONE}/instances/two")[1]["status"] == "TERMINATED"
    google.do("POST", f"zones/{ZONE}/instances/two/start")
    assert google.call("GET", f"zones/{ZONE}/instances/two")[1]["status"] == "RUNNING"


def _code(operation: dict[str, Any]) -> str:
    return str(operation["error"]["errors"][0]["code"])


def test_zones_and_quotas_end(google: Google) -> None:
    google.build()
    path = f"zones/{ZONE}/instances/bulkInsert"
    google.call("PUT", "/_endpoint/limits", {"capacity": {ZONE: 1}})
    assert _code(google.do("POST", path, {**BULK, "minCount": "2"})) == "ZONE_RESOURCE_POOL_EXHAUSTED"
    assert "items" not in google.call("GET", f"zones/{ZONE}/instances")[1]
    some = google.do("POST", path, BULK)
    assert some["instancesBulkInsertOperationMetadata"]["perLocationStatus"][f"zones/{ZONE}"]["createdVmCount"] == 1
    assert _code(google.do("POST", path, BULK)) == "ZONE_RESOURCE_POOL_EXHAUSTED"
    google.call("PUT", "/_endpoint/limits", {"quota": {"CPUS": 2}})
    other = {**BULK, "count": "1", "perInstanceProperties": {"three": {}}}
    assert _code(google.do("POST", path, other)) == "QUOTA_EXCEEDED"
    google.call("PUT", "/_endpoint/limits", {})
    taken = {**BULK, "count": "1", "perInstanceProperties": {"one": {}}}
    assert _code(google.do("POST", path, taken)) == "RESOURCE_ALREADY_EXISTS"


def test_a_page_may_be_empty_and_not_the_last(google: Google) -> None:
    google.build()
    google.do("POST", f"zones/{ZONE}/instances/bulkInsert", BULK)
    google.do("POST", f"zones/{ZONE}/instances/two/setLabels", {
        "labels": {"mine": "yes"}, "labelFingerprint": google.call("GET", f"zones/{ZONE}/instances/two")[1]["labelFingerprint"]
    })  # fmt: skip
    google.call("PUT", "/_endpoint/limits", {"page": 1})
    path = "aggregated/instances?filter=labels.mine%3D%22yes%22"
    first = google.call("GET", path)[1]
    assert not any(scope.get("instances") for scope in first["items"].values()) and first["nextPageToken"]
    second = google.call("GET", f"{path}&pageToken={first['nextPageToken']}")[1]
    assert [item["name"] for item in second["items"][f"zones/{ZONE}"]["instances"]] == ["two"] and "nextPageToken" not in second
    assert google.reason("GET", f"aggregated/instances?pageToken={first['nextPageToken']}") == "400 invalid"


def test_health_needs_the_firewall_open_for_the_checks(google: Google) -> None:
    google.build()
    google.do("POST", f"zones/{ZONE}/instances/bulkInsert", BULK)
    member = {"instances": [{"instance": f"zones/{ZONE}/instances/one"}]}
    google.do("POST", f"zones/{ZONE}/instanceGroups/api/addInstances", member)
    assert google.reason("POST", f"zones/{ZONE}/instanceGroups/api/addInstances", member) == "400 memberAlreadyExists"

    def health() -> str:
        asked = {"group": f"zones/{ZONE}/instanceGroups/api"}
        return str(google.call("POST", f"regions/{REGION}/backendServices/api/getHealth", asked)[1]["healthStatus"][0]["healthState"])

    assert health() == "HEALTHY"
    google.do("PATCH", "global/firewalls/api", {"sourceRanges": ["35.191.0.0/16"]})
    assert health() == "UNHEALTHY"
    google.do("POST", f"zones/{ZONE}/instanceGroups/api/removeInstances", member)
    assert google.reason("POST", f"zones/{ZONE}/instanceGroups/api/removeInstances", member) == "400 memberNotFound"


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (GOOD[1], {"ipCidrRange": "10.0.0.1/24"}),
        (GOOD[1], {"secondaryIpRanges": [{"rangeName": "pods", "ipCidrRange": "10.0.0.128/25"}]}),
        (GOOD[2], {"allowed": []}),
        (GOOD[2], {"allowed": [{"IPProtocol": "icmp", "ports": ["1"]}]}),
        (GOOD[2], {"targetTags": ["Workers"]}),
        (GOOD[2], {"direction": "EGRESS"}),
        (GOOD[5], {"nats": [{**GOOD[5][2]["nats"][0], "natIps": []}]}),
        (GOOD[6], {"timeoutSec": 6}),
        (GOOD[8], {"healthChecks": []}),
        (GOOD[8], {"backends": [{"group": f"zones/{ZONE}/instanceGroups/api", "balancingMode": "UTILIZATION"}]}),
        (GOOD[9], {"portRange": "6443", "ports": []}),
        (GOOD[9], {"loadBalancingScheme": "EXTERNAL"}),
    ],
)
def test_what_the_schema_does_not_tell_is_refused(google: Google, path: Any, change: dict[str, Any]) -> None:
    for before in GOOD:
        if before == path:
            break
        google.do("POST", before[0], before[2])
    assert google.reason("POST", path[0], {**path[2], **change}) == "400 invalid"


@pytest.mark.parametrize(
    "change",
    [
        {"machineType": f"zones/{ZONE}/machineTypes/e2-standard-2"},
        {"machineType": "m5.large"},
        {"labels": {"Team": "a"}},
        {"labels": {"team": "A"}},
        {"tags": {"items": ["-"]}},
        {"disks": []},
        {"networkInterfaces": [{"network": "global/networks/net"}]},
        {"scheduling": {"provisioningModel": "SPOT", "automaticRestart": True}},
        {"metadata": {"items": [{"key": "a", "value": ""}, {"key": "a", "value": ""}]}},
        {"serviceAccounts": [{"email": "nobody", "scopes": ["x"]}]},
    ],
)
def test_a_machine_that_can_not_be_is_refused(google: Google, change: dict[str, Any]) -> None:
    google.build()
    bad = {**BULK, "instanceProperties": {**MACHINE, **change}}
    assert google.reason("POST", f"zones/{ZONE}/instances/bulkInsert", bad) in ("400 invalid", "400 required")


def test_filters() -> None:
    item = {"name": "a-1", "labels": {"k": "v"}, "status": "DONE", "count": 3}
    for text, lets_through in (
        ('labels.k="v"', True),
        ("labels.k=w", False),
        ("labels.k:*", True),
        ("labels.x:*", False),
        ("name eq a-.*", True),
        ("(name = a-1) AND (status != DONE)", False),
        ("name = b OR (count = 3 labels.k = v)", True),
        ("NOT status = DONE", False),
    ):
        assert filters.compiled(text)(item) is lets_through, text


def test_another_client_of_googles_works_with_it(google: Google) -> None:
    """google-api-python-client makes its calls from the published description, and knows nothing of the collection's SDK."""
    wire = Wire()
    with wire.installed():
        url = wire.publish(google.endpoint)
        options = {"api_endpoint": f"{url}/compute/v1/"}
        api = discovery.build("compute", "v1", credentials=Credentials(f"{TOKEN}other"), client_options=options, static_discovery=True)
        path, _name, body = GOOD[0]
        operation = api.networks().insert(project=PROJECT, body=body).execute()
        google.clock.advance(10)
        assert api.globalOperations().get(project=PROJECT, operation=operation["name"]).execute()["status"] == "DONE"
        found = api.networks().list(project=PROJECT, filter='name = "net"').execute()["items"]
        assert [item["name"] for item in found] == ["net"]
        with pytest.raises(HttpError, match="already exists"):
            api.networks().insert(project=PROJECT, body=body).execute()
        api.close()
