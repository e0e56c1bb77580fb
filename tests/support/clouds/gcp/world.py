# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Compute Engine holds, and how it changes: by operations, which take their time by the test's clock.

Not in the published description, and made by hand: operations and when they take effect, request ids, unique names, who uses what,
fingerprints, quotas, zones that have no more machines, pages that are empty, and the states of machines.
"""

from __future__ import annotations

import base64
import copy
import datetime
import hashlib
import ipaddress
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from clouds.clock import Clock
from clouds.gcp import filters, rules
from clouds.gcp.rules import ROOT, Body, collection_of, key_of, region_of, short
from clouds.gcp.schema import Method, Refusal

REGIONS = {"us-central1": "abcf", "europe-west1": "bcd"}
PROJECTS = ("contract", "host", "debian-cloud", "ubuntu-os-cloud")
MACHINE_TYPES = {
    "e2-medium": (2, "X86_64"),
    "e2-standard-2": (2, "X86_64"),
    "e2-standard-4": (4, "X86_64"),
    "n2-standard-2": (2, "X86_64"),
    "n2-standard-4": (4, "X86_64"),
    "t2a-standard-2": (2, "ARM64"),
}
# Zones without a machine type of this beginning.
NOT_IN = {"t2a-": ("us-central1-c", "europe-west1-b"), "n2-": ("us-central1-f",)}
IMAGES = {
    "debian-12-bookworm-v20260915": ("debian-12", "X86_64", 10),
    "debian-13-trixie-v20260915": ("debian-13", "X86_64", 10),
    "debian-13-trixie-v20261015": ("debian-13", "X86_64", 10),
    "debian-13-trixie-arm64-v20261015": ("debian-13-arm64", "ARM64", 10),
    "ubuntu-2404-noble-amd64-v20261014": ("ubuntu-2404-lts-amd64", "X86_64", 10),
}
MACHINE, QUICK, ENDING, HEALTHY = 4.0, 1.5, 6.0, 10.0
"""Seconds until a machine runs, anything else is done, a machine is gone, and a backend is healthy. Real ones take 10 to 40 s."""
REQUESTS_KEPT = 3600.0
OPERATIONS_KEPT = 2 * 3600.0
PAGE = 500


def singular(collection: str) -> str:
    return collection.removesuffix("es") if collection.endswith("sses") else collection.removesuffix("s")


@dataclass
class Operation:
    body: Body
    scope: str
    due: float
    apply: Callable[[], None]
    target: str

    @property
    def done(self) -> bool:
        return bool(self.body["status"] == "DONE")


@dataclass
class Thing:
    """:param ready: whether its creation is done: until then only machines show.

    :param busy: operations that change it now.
    """

    body: Body
    ready: bool = False
    leaving: bool = False
    busy: int = 0
    users: set[str] = field(default_factory=set)


class World:
    """All projects. Not for several threads at once."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.clear()

    def clear(self) -> None:
        self.things: dict[str, Thing] = {}
        self.operations: dict[str, Operation] = {}
        self.requests: dict[tuple[str, str], tuple[float, str, Body]] = {}
        self.capacity: dict[str, int] = {}
        self.quota: dict[str, int] = {}
        self.page = PAGE
        self.moment = 0.0
        self.healthy: dict[tuple[str, str], float] = {}
        self._numbers = itertools.count(10**18 + 7919)
        self._external = (str(address) for address in ipaddress.IPv4Network("198.18.0.0/15").hosts())

    # What there always is

    def zones(self) -> list[str]:
        return [f"{region}-{letter}" for region, letters in REGIONS.items() for letter in letters]

    def machine_types(self, zone: str) -> dict[str, Body]:
        found = {}
        for name, (cpus, architecture) in MACHINE_TYPES.items():
            if not any(name.startswith(prefix) and zone in without for prefix, without in NOT_IN.items()):
                found[name] = {"kind": "compute#machineType", "name": name, "zone": zone, "guestCpus": cpus, "architecture": architecture}
        return found

    def images(self, project: str) -> list[Body]:
        return [
            {
                "kind": "compute#image",
                "id": str(int(hashlib.sha256(name.encode()).hexdigest()[:12], 16)),
                "name": name,
                "family": family,
                "status": "READY",
                "architecture": architecture,
                "diskSizeGb": str(size),
                "creationTimestamp": f"2026-{name[-4:-2]}-{name[-2:]}T03:00:00.000-07:00",
                "selfLink": f"{ROOT}projects/{project}/global/images/{name}",
            }
            for name, (family, architecture, size) in IMAGES.items()
            if project == ("ubuntu-os-cloud" if name.startswith("ubuntu-") else "debian-cloud")
        ]

    def image(self, link: str, project: str) -> Body:
        parts = key_of(link, project).split("/")
        if len(parts) < 5 or parts[2:4] != ["global", "images"]:
            raise rules.invalid("disks[].initializeParams.sourceImage", link, "Must be the URL of an image or of a family.")
        images = self.images(parts[1])
        family = parts[4] == "family"
        found = [image for image in images if (image["family"] if family else image["name"]) == parts[-1]]
        if not found:
            raise Refusal(404, "notFound", f"The resource '{'/'.join(parts)}' was not found")
        return found[-1]

    # Things

    def of(self, collection: str) -> Iterator[tuple[str, Body]]:
        for key, thing in self.things.items():
            if collection_of(key) == collection:
                yield key, thing.body

    def thing(self, key: str) -> Thing:
        thing = self.things.get(key)
        if thing is None or not (thing.ready or collection_of(key) == "instances"):
            raise Refusal(404, "notFound", f"The resource '{key}' was not found")
        return thing

    def body(self, key: str) -> Body:
        return self.thing(key).body

    def usable(self, key: str) -> Thing:
        """Return a thing that another one may use.

        :raises Refusal: when it is not there, or not ready yet, or going.
        """
        thing = self.things.get(key)
        if thing is None:
            raise Refusal(404, "notFound", f"The resource '{key}' was not found")
        if not thing.ready or thing.leaving:
            raise Refusal(400, "resourceNotReady", f"The resource '{key}' is not ready")
        return thing

    def _use(self, key: str, body: Body) -> set[str]:
        used = rules.references(key, body)
        for other in used:
            if collection_of(other) not in ("disks", "instances"):
                self.usable(other)
        return used

    def users(self, key: str) -> list[str]:
        return [other for other, thing in self.things.items() if key in thing.users]

    def shown(self, thing: Thing) -> Body:
        body = {name: value for name, value in thing.body.items() if not name.startswith("_")}
        key = body["selfLink"].removeprefix(ROOT)
        if collection_of(key) == "addresses":
            used = self.users(key)
            body.update(status="IN_USE" if used else "RESERVED", **({"users": [ROOT + user for user in used]} if used else {}))
        if collection_of(key) == "instanceGroups":
            body["size"] = len(thing.body["_members"])
        return body

    def _fingerprint(self, body: Body, *names: str) -> str:
        told = {name: body.get(name) for name in names} if names else {k: v for k, v in body.items() if k not in ("fingerprint", "users")}
        return base64.b64encode(hashlib.sha256(json.dumps(told, sort_keys=True).encode()).digest()[:8]).decode()

    def _mark(self, key: str) -> None:
        """Give a thing the fingerprints of what it is now."""
        body, collection = self.things[key].body, collection_of(key)
        self.things[key].users = rules.references(key, body)
        if collection in rules.GUARDED or collection == "instanceGroups":
            body["fingerprint"] = self._fingerprint(body)
        if collection == "instances":
            for name in ("metadata", "tags"):
                part = body.setdefault(name, {})
                part["fingerprint"] = self._fingerprint(part, "items")
        if collection in ("instances", "addresses", "forwardingRules", "disks"):
            body["labelFingerprint"] = self._fingerprint(body, "labels")

    def internal_address(self, subnetwork: str, wanted: str | None) -> str:
        network = ipaddress.IPv4Network(self.body(key_of(subnetwork, ""))["ipCidrRange"])
        taken = {item["address"] for _key, item in self.of("addresses")}
        taken |= {item["IPAddress"] for _key, item in self.of("forwardingRules")}
        taken |= {nic.get("networkIP", "") for _key, item in self.of("instances") for nic in item["networkInterfaces"]}
        # https://cloud.google.com/vpc/docs/subnets#unusable-ip-addresses-in-every-subnet
        hosts = range(int(network.network_address) + 2, int(network.broadcast_address) - 1)
        if wanted:
            if wanted in taken:
                raise rules.invalid("address", wanted, "The IP address is already in use.")
            if int(ipaddress.IPv4Address(wanted)) not in hosts:
                raise rules.invalid("address", wanted, f"It is not in {network}.")
            return wanted
        for number in hosts:
            if str(ipaddress.IPv4Address(number)) not in taken:
                return str(ipaddress.IPv4Address(number))
        raise Refusal(400, "IP_SPACE_EXHAUSTED", f"IP space of '{subnetwork}' is exhausted.")

    def external_address(self) -> str:
        return next(self._external)

    # Time and operations

    def stamp(self, moment: float | None = None) -> str:
        now = self.clock.time() - self.clock.now() + (self.clock.now() if moment is None else moment)
        zone = datetime.timezone(datetime.timedelta(hours=-7))
        return datetime.datetime.fromtimestamp(now, zone).isoformat(timespec="milliseconds")

    def settle(self) -> None:
        """Let happen what is due."""
        now = self.clock.now()
        due = [operation for operation in self.operations.values() if not operation.done and operation.due <= now]
        for operation in sorted(due, key=lambda operation: operation.due):
            self._finish(operation)
        old = [name for name, operation in self.operations.items() if operation.done and now - operation.due > OPERATIONS_KEPT]
        for name in old:
            del self.operations[name]

    def _finish(self, operation: Operation) -> None:
        body, self.moment = operation.body, operation.due
        try:
            operation.apply()
        except Refusal as refusal:
            body["error"] = {"errors": [{"code": refusal.reason, "message": refusal.message}]}
            body["httpErrorStatusCode"] = refusal.status
            body["httpErrorMessage"] = "BAD REQUEST" if refusal.status == 400 else "FORBIDDEN"
        if operation.target in self.things:
            self.things[operation.target].busy -= 1
        body.update(status="DONE", progress=100, endTime=self.stamp(operation.due))

    def begin(self, kind: str, target: str, lasts: float, apply: Callable[[], None], **more: Any) -> Body:
        """Return an operation that takes effect after its time."""
        number, parts = str(next(self._numbers)), target.split("/")
        scope = "/".join(parts[:3] if parts[2] == "global" else parts[:4])
        name = f"operation-{number}-{hashlib.sha256(number.encode()).hexdigest()[:12]}"
        thing = self.things.get(target)
        body: Body = {
            "kind": "compute#operation",
            "id": number,
            "name": name,
            "operationType": kind,
            "status": "PENDING",
            "progress": 0,
            "insertTime": self.stamp(),
            "targetLink": ROOT + target,
            "selfLink": f"{ROOT}{scope}/operations/{name}",
            **({"targetId": thing.body["id"]} if thing else {}),
            **({parts[2][:-1]: ROOT + scope} if parts[2] != "global" else {}),
            **more,
        }
        if thing:
            thing.busy += 1
        self.operations[name] = Operation(body, scope, self.clock.now() + lasts, apply, target)
        return body

    # Methods

    def answer(self, method: Method, path: dict[str, str], query: dict[str, str], body: Body, url: str) -> Body:
        """Do what a good request asks for."""
        self.settle()
        if path["project"] not in PROJECTS:
            raise Refusal(404, "notFound", f"The resource 'projects/{path['project']}' was not found")
        if method.verb == "GET" or method.name in ("wait", "getHealth", "listInstances"):
            return self._read(method, path, query, body, url)
        token = query.get("requestId")
        if not token:
            return dict(self._change(method, path, query, body, url))
        place, now = (f"{method.resource}.{method.name} {url}", token), self.clock.now()
        known = self.requests.get(place)
        if known and now - known[0] < REQUESTS_KEPT:
            if known[1] != json.dumps(body, sort_keys=True):
                raise Refusal(400, "invalid", f"The request id '{token}' came with other parameters before.")
            return dict(known[2])
        done = self._change(method, path, query, copy.deepcopy(body), url)
        self.requests[place] = (now, json.dumps(body, sort_keys=True), done)
        return dict(done)

    def _change(self, method: Method, path: dict[str, str], query: dict[str, str], body: Body, url: str) -> Body:
        name, collection = method.name, url.split("/")
        if name == "insert" and method.resource != "disks":
            return self._insert(url, path, body)
        if name == "bulkInsert" and method.resource == "instances":
            return self._bulk_insert(path, body)
        if name == "delete":
            return self._delete(url)
        if name == "patch":
            return self._patch(url, body)
        if name in _ON_MACHINES and method.resource == "instances":
            return _ON_MACHINES[name](self, "/".join(collection[:-1]), body, query)
        if name in ("addInstances", "removeInstances") and method.resource == "instanceGroups":
            return self._members("/".join(collection[:-1]), body, name == "addInstances")
        if name == "setLabels":
            return self._set_labels("/".join(collection[:-1]), body)
        raise Refusal(501, "notImplemented", f"compute.{method.resource}.{name} is not in this endpoint.")

    def _insert(self, url: str, path: dict[str, str], body: Body) -> Body:
        key = f"{url}/{body['name']}"
        self._name(key)
        if collection_of(key) == "instances":
            machine = rules.instance(self, path["project"], path["zone"], body, bulk=False)
            return self._make_machines(path["project"], path["zone"], {body["name"]: machine}, 1, "insert", key)
        if collection_of(key) not in rules.RULES:
            raise Refusal(501, "notImplemented", f"{collection_of(key)} are not in this endpoint.")
        self._complete(key, body)
        used = self._use(key, body)
        rules.RULES[collection_of(key)](self, key, body)
        self.things[key] = Thing(body, users=used)
        self._mark(key)

        def ready() -> None:
            self.things[key].ready = True

        return self.begin("insert", key, QUICK, ready)

    def _name(self, key: str) -> None:
        if not rules.NAME.fullmatch(short(key)):
            raise rules.invalid("name", short(key), "Must be a match of regex '[a-z]([-a-z0-9]{0,61}[a-z0-9])?'")
        if key in self.things:
            raise Refusal(409, "alreadyExists", f"The resource '{key}' already exists")

    def _complete(self, key: str, body: Body) -> None:
        """Write the names of other things in full, and add what every thing has."""
        parts = key.split("/")
        for where in rules.REFERENCES.get(collection_of(key), ()):
            for holder, at in list(rules.named(body, where)):
                holder[at] = ROOT + key_of(str(holder[at]), parts[1])
        place = {parts[2][:-1]: f"{ROOT}{'/'.join(parts[:4])}"} if parts[2] != "global" else {}
        number, selfs = str(next(self._numbers)), ROOT + key
        body.update(id=number, creationTimestamp=self.stamp(), selfLink=selfs, kind=f"compute#{singular(collection_of(key))}", **place)

    def _patch(self, key: str, body: Body) -> Body:
        collection, thing = collection_of(key), self.usable(key)
        if collection not in rules.FIXED:
            raise Refusal(501, "notImplemented", f"{collection} are not patched at this endpoint.")
        if thing.busy:
            raise Refusal(400, "resourceNotReady", f"The resource '{key}' is not ready")
        if collection in rules.GUARDED and body.get("fingerprint") != thing.body["fingerprint"]:
            raise Refusal(412, "conditionNotMet", "Fingerprint does not match current fingerprint.")
        new = {**copy.deepcopy(thing.body), **body}
        for where in rules.REFERENCES.get(collection, ()):
            for holder, at in list(rules.named(new, where)):
                holder[at] = ROOT + key_of(str(holder[at]), key.split("/")[1])
        for name in rules.FIXED[collection]:
            if new.get(name) != thing.body.get(name):
                raise rules.invalid(name, new.get(name), "It can not be changed.")
        self._use(key, new)
        if collection not in ("forwardingRules", "networks"):
            rules.RULES[collection](self, key, new)

        def change() -> None:
            thing.body.update(new)
            self._mark(key)

        return self.begin("patch", key, QUICK, change)

    def _set_labels(self, key: str, body: Body) -> Body:
        thing = self.usable(key)
        if body.get("labelFingerprint") != thing.body.get("labelFingerprint"):
            raise Refusal(412, "conditionNotMet", "Labels fingerprint either invalid or resource labels have changed")
        rules.check_labels(body.get("labels", {}))
        return self._soon(key, "setLabels", lambda: thing.body.update(labels=body.get("labels", {})))

    def _soon(self, key: str, kind: str, change: Callable[[], Any], lasts: float = QUICK) -> Body:
        def do() -> None:
            if key in self.things:
                change()
                self._mark(key)

        return self.begin(kind, key, lasts, do)

    def _delete(self, key: str) -> Body:
        thing = self.thing(key)
        collection = collection_of(key)
        users = [user for user in self.users(key) if not (collection == "instances" and collection_of(user) == "instanceGroups")]
        if users:
            raise Refusal(
                400, "resourceInUseByAnotherResource", f"The {collection[:-1]} resource '{key}' is already being used by '{users[0]}'"
            )
        if collection == "instances":
            return self._end(key, thing)
        if thing.leaving or thing.busy:
            raise Refusal(400, "resourceNotReady", f"The resource '{key}' is not ready")
        thing.leaving = True

        def gone() -> None:
            self.things.pop(key, None)

        return self.begin("delete", key, QUICK, gone)

    # Machines

    def _bulk_insert(self, path: dict[str, str], body: Body) -> Body:
        project, zone, count = path["project"], path["zone"], int(body["count"])
        least = int(body.get("minCount") or count)
        names = sorted(body.get("perInstanceProperties", {}))
        if not 1 <= least <= count <= 1000:
            raise rules.invalid("count", count, "Must be between minCount and 1000.")
        if body.get("namePattern") or len(names) != count:
            raise rules.invalid("perInstanceProperties", len(names), "This endpoint takes a name for each machine.")
        for item in body["perInstanceProperties"].values():
            if item:
                raise rules.invalid("perInstanceProperties", item, "This endpoint takes names only.")
        if not body.get("instanceProperties"):
            raise rules.invalid("instanceProperties", "", "They are needed without a template.")
        machines = {}
        for name in names:
            if not rules.NAME.fullmatch(name):
                raise rules.invalid("perInstanceProperties", name, "Must be a name.")
            machines[name] = rules.instance(self, project, zone, copy.deepcopy(body["instanceProperties"]), bulk=True)
        return self._make_machines(project, zone, machines, least, "bulkInsert", f"projects/{project}/zones/{zone}")

    def _make_machines(self, project: str, zone: str, machines: dict[str, Body], least: int, kind: str, target: str) -> Body:
        """Make as many machines as fit, or none where that are less than ``least``.

        https://cloud.google.com/compute/docs/instances/multiple/about-bulk-creation
        """
        error: Refusal | None = None
        free = {name: body for name, body in machines.items() if f"projects/{project}/zones/{zone}/instances/{name}" not in self.things}
        if len(free) < len(machines):
            taken = f"projects/{project}/zones/{zone}/instances/{min(set(machines) - set(free))}"
            error = Refusal(409, "RESOURCE_ALREADY_EXISTS", f"The resource '{taken}' already exists")
        fits = min(self.capacity.get(zone, len(free)), len(free))
        if fits < len(free):
            error = Refusal(
                503,
                "ZONE_RESOURCE_POOL_EXHAUSTED",
                f"The zone 'projects/{project}/zones/{zone}' does not have enough resources available to fulfill the request. "
                "Try a different zone, or try again later.",
            )
        room = self._quota_left(region_of(zone), next(iter(machines.values())))
        if room < fits:
            fits = room
            error = Refusal(403, "QUOTA_EXCEEDED", f"Quota 'CPUS' exceeded.  Limit: {self.quota['CPUS']}.0 in region {region_of(zone)}.")
        fits = fits if fits >= least else 0
        made = []
        try:
            for name in list(free)[:fits]:
                made.append(self._make_machine(f"projects/{project}/zones/{zone}/instances/{name}", free[name]))
        except Refusal as refusal:
            error = refusal
            if len(made) < least:
                for key in made:
                    self._remove(key)
                made = []
        if zone in self.capacity:
            self.capacity[zone] -= len(made)
        status = {"targetVmCount": len(machines), "createdVmCount": len(made), "failedToCreateVmCount": len(machines) - len(made)}
        more = {"instancesBulkInsertOperationMetadata": {"perLocationStatus": {f"zones/{zone}": {**status, "status": "DONE"}}}}

        def run() -> None:
            for key in made:
                if key in self.things and not self.things[key].leaving:
                    self.things[key].body["status"] = "RUNNING"
                    self.things[key].ready = True
            if len(made) < least and error:
                raise error

        return self.begin(kind, target, MACHINE if made else QUICK, run, **(more if kind == "bulkInsert" else {}))

    def _quota_left(self, region: str, machine: Body) -> int:
        if "CPUS" not in self.quota:
            return 1 << 30
        inside = [body["machineType"] for _key, body in self.of("instances") if f"/zones/{region}-" in body["machineType"]]
        used = sum(MACHINE_TYPES[short(kind)][0] for kind in inside)
        return max(0, (self.quota["CPUS"] - used) // MACHINE_TYPES[short(machine["machineType"])][0])

    def _make_machine(self, key: str, body: Body) -> str:
        project, name = key.split("/")[1], short(key)
        for interface in body["networkInterfaces"]:
            self.usable(key_of(interface["subnetwork"], project))
            interface["networkIP"] = self.internal_address(interface["subnetwork"], interface.get("networkIP"))
            for access in interface.get("accessConfigs", ()):
                access["natIP"] = self.external_address()
        body.update(name=name)
        self._complete(key, body)
        body.update(lastStartTimestamp=body["creationTimestamp"], deletionProtection=body.get("deletionProtection", False))
        for number, disk in enumerate(body["disks"]):
            made = disk.pop("_make")
            disk.pop("initializeParams")
            disk_key = f"{key.rsplit('/', 2)[0]}/disks/{name}{f'-{number}' if number else ''}"
            self._name(disk_key)
            disk_body = {"name": short(disk_key), "status": "READY", "users": [ROOT + key], **made}
            self._complete(disk_key, disk_body)
            self.things[disk_key] = Thing(disk_body, ready=True)
            self._mark(disk_key)
            disk.update(source=ROOT + disk_key, index=number, deviceName=disk.get("deviceName") or f"persistent-disk-{number}")
        self.things[key] = Thing(body)
        self._mark(key)
        return key

    def _end(self, key: str, thing: Thing) -> Body:
        if thing.body.get("deletionProtection"):
            raise Refusal(412, "conditionNotMet", f"Resource cannot be deleted if it's protected against deletion: '{key}'.")
        thing.leaving = True
        thing.body["status"] = "STOPPING"
        return self.begin("delete", key, ENDING, lambda: self._remove(key))

    def _remove(self, key: str) -> None:
        thing = self.things.pop(key, None)
        for disk in thing.body["disks"] if thing else ():
            disk_key = key_of(disk["source"], "")
            if disk.get("autoDelete"):
                self.things.pop(disk_key, None)
            else:
                self.things[disk_key].body.pop("users", None)
        for group, body in list(self.of("instanceGroups")):
            if ROOT + key in body["_members"]:
                body["_members"].remove(ROOT + key)
                self._mark(group)

    def _machine(self, key: str) -> Thing:
        thing = self.thing(key)
        if thing.leaving:
            raise Refusal(400, "resourceNotReady", f"The resource '{key}' is not ready")
        return thing

    def _start(self, key: str, body: Body, query: dict[str, str]) -> Body:
        thing = self._machine(key)
        if thing.body["status"] == "TERMINATED":
            thing.body["status"] = "STAGING"

        def run() -> None:
            if thing.body["status"] == "STAGING":
                thing.body["status"] = "RUNNING"

        return self._soon(key, "start", run, MACHINE)

    def _stop(self, key: str, body: Body, query: dict[str, str]) -> Body:
        thing = self._machine(key)
        thing.body["status"] = "STOPPING"

        def end() -> None:
            if not thing.leaving:
                thing.body["status"] = "TERMINATED"

        return self._soon(key, "stop", end, ENDING)

    def _set_metadata(self, key: str, body: Body, query: dict[str, str]) -> Body:
        return self._replace(key, "metadata", body)

    def _set_tags(self, key: str, body: Body, query: dict[str, str]) -> Body:
        return self._replace(key, "tags", body)

    def _replace(self, key: str, name: str, body: Body) -> Body:
        thing = self._machine(key)
        if body.get("fingerprint") != thing.body[name]["fingerprint"]:
            raise Refusal(412, "conditionNotMet", f"Supplied fingerprint does not match current {name} fingerprint.")
        if name == "metadata":
            rules.metadata(body)
        elif not all(rules.NAME.fullmatch(tag) for tag in body.get("items", ())):
            raise rules.invalid("tags.items", body.get("items"), "Must be a match of RFC1035.")
        return self._soon(key, f"set{name.capitalize()}", lambda: thing.body.update({name: body}))

    def _set_deletion_protection(self, key: str, body: Body, query: dict[str, str]) -> Body:
        on = query.get("deletionProtection", "true") == "true"
        thing = self._machine(key)
        return self._soon(key, "setDeletionProtection", lambda: thing.body.update(deletionProtection=on))

    # Load balancers

    def _members(self, key: str, body: Body, add: bool) -> Body:
        thing, project = self.usable(key), key.split("/")[1]
        links = [ROOT + key_of(item.get("instance", ""), project) for item in body.get("instances", ())]
        if not links:
            raise Refusal(400, "required", "Invalid value for field 'instances': ''. Required field not specified.")
        zone = "/".join(key.split("/")[:4])
        for link in links:
            machine = self._machine(link.removeprefix(ROOT)) if add or link.removeprefix(ROOT) in self.things else None
            if not link.startswith(f"{ROOT}{zone}/"):
                raise rules.invalid("instances", link, f"It is not in {zone}.")
            if add and link in thing.body["_members"]:
                raise Refusal(400, "memberAlreadyExists", f"'{link}' is already a member of '{key}'")
            if not add and link not in thing.body["_members"]:
                raise Refusal(400, "memberNotFound", f"'{link}' is not a member of '{key}'")
            network = machine.body["networkInterfaces"][0]["network"] if machine else ""
            if add and thing.body.setdefault("network", network) != network:
                raise rules.invalid("instances", link, "It is in another network than the group.")
            others = [other for other, group in self.of("instanceGroups") if other != key and link in group["_members"]]
            if add and any(self.users(other) for other in (*others, key)) and others:
                raise rules.invalid("instances", link, f"It is in the load balanced group '{others[0]}' already.")

        def change() -> None:
            members = [link for link in thing.body["_members"] if link not in links]
            thing.body["_members"] = members + [link for link in links if link.removeprefix(ROOT) in self.things] if add else members
            for link in links:
                self.healthy.pop((key, link), None)
                if add:
                    self.healthy[key, link] = self.moment + HEALTHY

        return self._soon(key, "addInstances" if add else "removeInstances", change)

    def _health(self, key: str, body: Body) -> Body:
        service, group = self.body(key), key_of(body.get("group", ""), key.split("/")[1])
        if ROOT + group not in [backend["group"] for backend in service.get("backends", ())]:
            raise rules.invalid("group", group, "It is no backend of the service.")
        found = []
        check = self.body(key_of(service["healthChecks"][0], ""))
        port = int(check.get(f"{check['type'].lower()}HealthCheck", {}).get("port", 443))
        addresses = [rule["IPAddress"] for _key, rule in self.of("forwardingRules") if rule.get("backendService") == ROOT + key]
        for link in self.body(group)["_members"]:
            machine = self.things[link.removeprefix(ROOT)].body
            nic, tags = machine["networkInterfaces"][0], set((machine.get("tags") or {}).get("items", ()))
            reached = all(
                any(rules.opens(firewall, nic["network"], tags, cidr, port) for _key, firewall in self.of("firewalls"))
                for cidr in rules.PROBES[service["loadBalancingScheme"]]
            )
            well = reached and machine["status"] == "RUNNING" and self.answers(key, group, link)
            for address in addresses:
                state = "HEALTHY" if well else "UNHEALTHY"
                found.append({"instance": link, "ipAddress": nic["networkIP"], "healthState": state, "forwardingRuleIp": address})
        return {"kind": "compute#backendServiceGroupHealth", **({"healthStatus": found} if found else {})}

    def answers(self, service: str, group: str, link: str) -> bool:
        """Tell whether a machine that serves passes the health check of a backend service."""
        return self.clock.now() >= self.healthy.get((group, link), 0.0)

    # Reading

    def _read(self, method: Method, path: dict[str, str], query: dict[str, str], body: Body, url: str) -> Body:
        if method.resource in ("zoneOperations", "regionOperations", "globalOperations"):
            return self._read_operations(method, query, url)
        if method.name == "getHealth":
            return self._health(url.rsplit("/", 1)[0], body)
        if method.name == "listInstances":
            members = [{"instance": link, "status": self.body(link.removeprefix(ROOT))["status"]} for link in
                       self.body(url.rsplit("/", 1)[0])["_members"]]  # fmt: skip
            return self._list(members, query, "compute#instanceGroupsListInstances")
        if method.resource == "images":
            return self._read_images(method, path, query)
        if method.resource in ("zones", "regions", "machineTypes", "projects"):
            return self._read_places(method, path, query)
        if method.name == "get":
            return self.shown(self.thing(url))
        if method.name == "list":
            own = [self.shown(thing) for key, thing in self.things.items() if key.rsplit("/", 1)[0] == url and self._visible(key)]
            return self._list(own, query, f"compute#{singular(collection_of(url + '/'))}List")
        if method.name == "aggregatedList":
            collection, project = collection_of(url + "/"), path["project"]
            own = [
                self.shown(thing)
                for key, thing in self.things.items()
                if collection_of(key) == collection and key.split("/")[1] == project and self._visible(key)
            ]
            return self._aggregated(own, query, collection)
        raise Refusal(501, "notImplemented", f"compute.{method.resource}.{method.name} is not in this endpoint.")

    def _visible(self, key: str) -> bool:
        return self.things[key].ready or collection_of(key) == "instances"

    def _read_operations(self, method: Method, query: dict[str, str], url: str) -> Body:
        if method.name in ("get", "wait"):
            scope = url.split("/operations/")[0]
            name = url.split("/operations/")[1].split("/")[0]
            operation = self.operations.get(name)
            if operation is None or operation.scope != scope:
                raise Refusal(404, "notFound", f"The resource '{scope}/operations/{name}' was not found")
            if not operation.done:
                operation.body["status"] = "RUNNING"
            return dict(operation.body)
        if method.name == "list":
            found = [operation.body for operation in self.operations.values() if operation.scope == url.rsplit("/", 1)[0]]
        else:
            found = [operation.body for operation in self.operations.values() if operation.scope.startswith(url.split("/aggregated")[0])]
        test = filters.compiled(query["filter"]) if query.get("filter") else lambda _item: True
        found = [body for body in found if test(body)]
        without = {name: value for name, value in query.items() if name != "filter"}
        return (
            self._list(found, without, "compute#operationList") if method.name == "list" else self._aggregated(found, without, "operations")
        )

    def unfinished(self, url: str) -> float:
        """Return how long the operation whose end a request waits for still takes."""
        operation = self.operations.get(url.split("/operations/")[1].split("/")[0])
        return max(0.0, operation.due - self.clock.now()) if operation and not operation.done else 0.0

    def _read_images(self, method: Method, path: dict[str, str], query: dict[str, str]) -> Body:
        project = path["project"]
        if method.name == "getFromFamily":
            return self.image(f"projects/{project}/global/images/family/{path['family']}", project)
        if method.name == "get":
            return self.image(f"projects/{project}/global/images/{path['image']}", project)
        return self._list(self.images(project), query, "compute#imageList")

    def _read_places(self, method: Method, path: dict[str, str], query: dict[str, str]) -> Body:
        project = f"{ROOT}projects/{path['project']}"
        if method.resource == "projects":
            return {"kind": "compute#project", "name": path["project"], "selfLink": project}
        if method.resource == "machineTypes" and method.name == "aggregatedList":
            types = [item for zone in self.zones() for item in self.machine_types(zone).values()]
            return self._aggregated([{**item, "zone": f"{project}/zones/{item['zone']}"} for item in types], query, "machineTypes")
        if method.resource == "machineTypes":
            items = list(self.machine_types(path["zone"]).values())
        elif method.resource == "zones":
            items = [
                {"kind": "compute#zone", "name": zone, "status": "UP", "region": f"{project}/regions/{region_of(zone)}"}
                for zone in self.zones()
            ]
        else:
            items = [{"kind": "compute#region", "name": region, "status": "UP"} for region in REGIONS]
        if method.name == "list":
            return self._list(items, query, "compute#list")
        wanted = path[{"zones": "zone", "regions": "region", "machineTypes": "machineType"}[method.resource]]
        for item in items:
            if item["name"] == wanted:
                return item
        raise Refusal(404, "notFound", f"The resource '{method.resource}/{wanted}' was not found")

    def _page(self, items: list[Body], query: dict[str, str]) -> tuple[list[Body], Body]:
        """Return a page: so many things are looked at, and those that the filter lets through are shown, which may be none."""
        test = filters.compiled(query["filter"]) if query.get("filter") else None
        size = min(int(query.get("maxResults") or PAGE) or PAGE, self.page)
        start = 0
        if query.get("pageToken"):
            try:
                start, asked = json.loads(base64.urlsafe_b64decode(query["pageToken"]))
            except ValueError as error:
                raise Refusal(400, "invalid", "Invalid value for field 'pageToken'.") from error
            if asked != query.get("filter", ""):
                raise Refusal(400, "invalid", "Invalid value for field 'pageToken': it is of a list with another filter.")
        token = base64.urlsafe_b64encode(json.dumps([start + size, query.get("filter", "")]).encode()).decode()
        page = [item for item in items[start : start + size] if test is None or test(item)]
        return page, {"nextPageToken": token} if start + size < len(items) else {}

    def _list(self, items: list[Body], query: dict[str, str], kind: str) -> Body:
        page, more = self._page(items, query)
        return {"kind": kind, "id": kind, **({"items": page} if page else {}), **more}

    def _aggregated(self, items: list[Body], query: dict[str, str], collection: str) -> Body:
        page, more = self._page(items, query)
        scopes = [*(f"zones/{zone}" for zone in self.zones()), *(f"regions/{region}" for region in REGIONS), "global"]
        found: dict[str, Body] = {}
        for item in page:
            place = item.get("zone") or item.get("region")
            scope = "/".join(place.split("/")[-2:]) if place else "global"
            found.setdefault(scope, {collection: []})[collection].append(item)
        for scope in scopes:
            warning = {"code": "NO_RESULTS_ON_PAGE", "message": f"There are no results for scope '{scope}' on this page."}
            found.setdefault(scope, {"warning": warning})
        return {"kind": f"compute#{singular(collection)}AggregatedList", "id": collection, "items": found, **more}


_ON_MACHINES: dict[str, Callable[[World, str, Body, dict[str, str]], Body]] = {
    "setDeletionProtection": World._set_deletion_protection,
    "setMetadata": World._set_metadata,
    "setTags": World._set_tags,
    "start": World._start,
    "stop": World._stop,
}
