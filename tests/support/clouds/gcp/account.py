# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google Cloud for the suite: the endpoint, a look at everything in it, and what people do in its console."""

from __future__ import annotations

import contextlib
import functools
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clouds.clock import Clock
from clouds.cloud import CLUSTER, WORKERS
from clouds.gcp import endpoint
from clouds.gcp.dialect import GcpDialect
from clouds.gcp.rules import collection_of
from clouds.judge import Machine, Thing
from clouds.wire import Handler

PROJECT, REGION = "contract", "us-central1"
UNIVERSE = "contract.test"
"""A cloud that somebody else runs: in Google's own, google-auth asks a service that is not here for locations."""
IMAGES = [f"projects/debian-cloud/global/images/debian-13-trixie-{version}" for version in ("v20260915", "v20261015")]
SIZE = "e2-standard-2"
# What is different each time, or follows from what else is told.
_UNTOLD = {
    *("id", "kind", "selfLink", "creationTimestamp", "lastStartTimestamp", "fingerprint", "labelFingerprint", "users", "_users"),
    *("size", "status", "address", "IPAddress", "networkIP", "natIP", "deviceName", "index", "gatewayAddress"),
}


@functools.cache
def private_key() -> str:
    """Return a key that a service account may have."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def write_account(path: Path, url: str) -> None:
    """Write the key file of a service account that signs in at an endpoint."""
    account = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "1",
        "private_key": private_key(),
        "client_email": f"automation@{PROJECT}.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{url}/token",
        "universe_domain": UNIVERSE,
    }
    path.write_text(json.dumps(account), encoding="utf-8")


def ask(url: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """Call the endpoint by hand."""
    target = path if path.startswith("/") else f"/compute/v1/projects/{PROJECT}/{path}"
    headers = {"Authorization": f"Bearer {endpoint.TOKEN}judge", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}{target}", None if body is None else json.dumps(body).encode(), headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return dict(json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {path}: {error.read().decode()}") from error


class GcpEndpoint:
    """What is the same for whatever modules are tried on Google Cloud."""

    dialect = GcpDialect()
    volatile_tags: tuple[str, ...] = ("flotilla-uid", "flotilla-host-key")
    zones: tuple[str, ...] = (f"{REGION}-a", f"{REGION}-b", f"{REGION}-c")

    def __init__(self) -> None:
        self.folder = Path()
        self.clock: Clock | None = None

    @contextlib.contextmanager
    def endpoint(self, clock: Clock, folder: Path) -> Iterator[Handler | str]:
        self.folder, self.clock = folder, clock
        yield endpoint.create(clock)

    def environment(self, url: str) -> dict[str, str]:
        key = self.folder / "account.json"
        if not key.exists() or url not in key.read_text(encoding="utf-8"):
            write_account(key, url)
        return {
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{url}/compute/v1/",
            "GOOGLE_APPLICATION_CREDENTIALS": str(key),
            "GOOGLE_CLOUD_UNIVERSE_DOMAIN": UNIVERSE,
            "NO_GCE_CHECK": "true",
        }

    def make(self, url: str, path: str, body: Any) -> None:
        """Make something, and let pass the time that it takes."""
        ask(url, "POST", path, body)
        assert self.clock
        self.clock.advance(30)

    def prepare(self, url: str) -> None:
        ask(url, "PUT", "/_endpoint/reset", {})
        # Somebody else's cluster, whose name begins like ours, and a network that nobody marked.
        labels = {"flotilla-cluster": f"{CLUSTER}-2", "flotilla-pool": WORKERS, "flotilla-uid": "0123456789abcdef"}
        for name, cidr in ((f"{CLUSTER}-2", "10.99.0.0/24"), ("theirs", "10.98.0.0/24")):
            self.make(url, "global/networks", {"name": name, "autoCreateSubnetworks": False})
            subnet = {"name": name, "network": f"global/networks/{name}", "ipCidrRange": cidr}
            self.make(url, f"regions/{REGION}/subnetworks", subnet)
        rule = {"name": f"{CLUSTER}-2-ssh", "network": f"global/networks/{CLUSTER}-2", "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}]}
        self.make(url, "global/firewalls", rule)
        self.make(url, f"regions/{REGION}/addresses", {"name": "theirs"})
        machine = {
            "machineType": SIZE,
            "disks": [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": IMAGES[0]}}],
            "networkInterfaces": [{"subnetwork": f"regions/{REGION}/subnetworks/{CLUSTER}-2"}],
            "labels": labels,
        }
        bulk = {"count": "1", "perInstanceProperties": {f"{CLUSTER}-2-general-0": {}}, "instanceProperties": machine}
        self.make(url, f"zones/{self.zones[0]}/instances/bulkInsert", bulk)

    def dump(self, url: str) -> list[Thing]:
        return [_thing(key, body) for key, body in ask(url, "GET", "/_endpoint/inventory").items()]

    def machines(self, things: list[Thing], cluster: str = CLUSTER) -> list[Machine]:
        mine = (thing for thing in things if thing.kind == "instances" and thing.owner == cluster)
        return [
            Machine(thing.id, thing.tags.get("flotilla-pool", ""), thing.attributes["machine_zone"])
            for thing in mine
            if thing.attributes["state"] not in ("STOPPING",)
        ]

    def limit(self, url: str, zones: dict[str, int]) -> None:
        ask(url, "PUT", "/_endpoint/limits", {"capacity": zones})

    def delete_machine(self, url: str, machine: Machine) -> None:
        ask(url, "DELETE", f"zones/{machine.zone}/instances/{machine.id}")

    def change_tag(self, url: str, machine: Machine) -> None:
        path = f"zones/{machine.zone}/instances/{machine.id}"
        entry = ask(url, "GET", path)
        body = {"labels": {**entry["labels"], "flotilla-role": "by-hand"}, "labelFingerprint": entry["labelFingerprint"]}
        ask(url, "POST", f"{path}/setLabels", body)

    def open_rule(self, url: str, things: list[Thing]) -> None:
        rule = min(thing.id for thing in things if thing.kind == "firewalls" and thing.owner == CLUSTER)
        path = f"global/firewalls/{rule.rsplit('/', 1)[-1]}"
        entry = ask(url, "GET", path)
        body = {"allowed": [*entry["allowed"], {"IPProtocol": "tcp", "ports": ["23"]}], "sourceRanges": ["0.0.0.0/0"]}
        ask(url, "PATCH", path, body)


def marks(body: dict[str, Any]) -> dict[str, str]:
    """Return what says whose a thing is: labels, or what a description ends with."""
    if body.get("labels"):
        return {str(key): str(value) for key, value in body["labels"].items()}
    text = str(body.get("description") or "")
    with contextlib.suppress(ValueError):
        return {str(key): str(value) for key, value in json.loads(text[text.index("{") :]).items()}
    return {}


def _told(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _told(item) for key, item in value.items() if key not in _UNTOLD}
    return [_told(item) for item in value] if isinstance(value, list) else value


def _thing(key: str, body: dict[str, Any]) -> Thing:
    kind, tags = collection_of(key), marks(body)
    attributes = {name: value for name, value in _told(body).items() if name not in ("labels", "description", "name")}
    zone = key.split("/")[3] if kind in ("instances", "disks") else ""
    if zone:
        # Where machines are follows from the way by which they came to be.
        text = json.dumps(attributes).replace(f"zones/{zone}", "zones/ITS")
        attributes = {**json.loads(text), "machine_zone": zone}
    if kind == "instances":
        attributes["state"] = body["status"]
        number = str(body["name"])
    else:
        number = key
    return Thing(kind, number, tags.get("flotilla-cluster", ""), tags, attributes)
