# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure Resource Manager with its sign-in, as far as clusters need it: strict about bodies and slow like the real one. For tests only.

Bodies are checked by the SDK's own models (`clouds.azure.schema`); what follows from one resource to another is here: references and who is
in use by whom, provisioning states and operations that take their time, zones, sizes, capacity, quota and address space.
"""

from __future__ import annotations

import base64
import copy
import datetime
import ipaddress
import json
import re
import threading
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from clouds.azure import offers, schema
from clouds.azure.offers import AUDIENCE, CLIENT, IMAGES, LOCATIONS, SECRET, SIZES, SUBSCRIPTION, TENANT
from clouds.clock import Clock
from clouds.faults import Answer, Request

Document = dict[str, Any]

VM, NIC, DISK = "microsoft.compute/virtualmachines", "microsoft.network/networkinterfaces", "microsoft.compute/disks"
VNET, NSG, ASG = (
    "microsoft.network/virtualnetworks",
    "microsoft.network/networksecuritygroups",
    "microsoft.network/applicationsecuritygroups",
)
NAT, PIP, LB = "microsoft.network/natgateways", "microsoft.network/publicipaddresses", "microsoft.network/loadbalancers"
# kind -> (name as Azure writes it, code of a refused deletion, seconds to make, seconds to delete)
KINDS: dict[str, tuple[str, str, float, float]] = {
    VM: ("Microsoft.Compute/virtualMachines", "OperationNotAllowed", 25, 20),
    DISK: ("Microsoft.Compute/disks", "OperationNotAllowed", 2, 2),
    NIC: ("Microsoft.Network/networkInterfaces", "NicInUse", 2, 2),
    VNET: ("Microsoft.Network/virtualNetworks", "InUseSubnetCannotBeDeleted", 3, 3),
    NSG: ("Microsoft.Network/networkSecurityGroups", "InUseNetworkSecurityGroupCannotBeDeleted", 2, 2),
    ASG: ("Microsoft.Network/applicationSecurityGroups", "InUseApplicationSecurityGroupCannotBeDeleted", 1, 1),
    NAT: ("Microsoft.Network/natGateways", "InUseNatGatewayCannotBeDeleted", 6, 6),
    PIP: ("Microsoft.Network/publicIPAddresses", "PublicIPAddressCannotBeDeleted", 2, 2),
    LB: ("Microsoft.Network/loadBalancers", "LoadBalancerInUseByVirtualMachineScaleSet", 4, 4),
}
GROUP = "Microsoft.Resources/resourceGroups"
# Lists inside a resource whose entries have ids of their own.
PARTS = (
    "subnets",
    "securityRules",
    "frontendIPConfigurations",
    "backendAddressPools",
    "probes",
    "loadBalancingRules",
    "outboundRules",
    "ipConfigurations",
)
IMMUTABLE_VM = ("osProfile", "storageProfile", "networkProfile", "priority")
RESERVED_LOGINS = {"admin", "administrator", "root", "guest", "user", "test", "console", "sys"}
SSH_KEYS = re.compile(r"(ssh-rsa|ssh-ed25519) [A-Za-z0-9+/]+=*( .*)?")
ID = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)/providers/(?P<kind>[^/]+/[^/]+)/(?P<name>[^/]+)(?P<rest>(/[^/]+)*)",
    re.I,
)


class Error(Exception):
    def __init__(self, status: int, code: str, message: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.answer = _json(status, {"error": {"code": code, "message": message or code}}, headers)


@dataclass
class Operation:
    """:param error: what it ends with instead of success.

    :param answer: what it finds out, where it is a question.
    """

    id: str
    target: str
    due: float
    finish: Callable[[], None]
    error: dict[str, str] | None = None
    done: bool = False
    answer: Any = None


@dataclass
class State:
    groups: dict[str, Document] = field(default_factory=dict)
    things: dict[str, Document] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    capacity: dict[str, int] | None = None
    cores: int | None = None
    page: int = 50
    made: int = 0
    ill: set[str] = field(default_factory=set)
    """Private addresses of members that do not answer the probe."""


def _json(status: int, body: Any, headers: dict[str, str] | None = None) -> Answer:
    text = b"" if body is None else json.dumps(body).encode()
    return Answer(
        status, {"Content-Type": "application/json; charset=utf-8", "x-ms-request-id": str(uuid.uuid4()), **(headers or {})}, text
    )


def references(value: Any) -> Iterator[str]:
    """Give the ids of resources that a body names."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "id" and isinstance(item, str) and item.lower().startswith("/subscriptions/"):
                yield item
            elif key == "userAssignedIdentities":
                continue
            else:
                yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


class Endpoint:
    """Answers requests; one at a time, as its state has no locks of its own."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.state = State()
        self._lock = threading.RLock()
        self._tokens: set[str] = set()

    def __call__(self, request: Request) -> Answer | None:
        with self._lock:
            self._settle()
            try:
                return self._route(request)
            except Error as error:
                return error.answer
            except schema.Refused as refused:
                return Error(400, refused.code, refused.message).answer

    # ---- time

    def _settle(self) -> None:
        while True:
            due = [one for one in self.state.operations.values() if not one.done and one.due <= self.clock.now()]
            if not due:
                return
            first = min(due, key=lambda one: one.due)
            first.done = True
            first.finish()

    def _begin(self, target: str, seconds: float, finish: Callable[[], None], error: dict[str, str] | None = None) -> Operation:
        self.state.made += 1
        operation = Operation(f"{self.state.made:08d}-{uuid.uuid4()}", target.lower(), self.clock.now() + seconds, finish, error)
        self.state.operations[operation.id] = operation
        return operation

    def _busy(self, target: str) -> Operation | None:
        return next((one for one in self.state.operations.values() if not one.done and one.target == target.lower()), None)

    # ---- what is asked for

    def _route(self, request: Request) -> Answer:
        url = urllib.parse.urlsplit(request.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        path, method = urllib.parse.unquote(url.path), request.method
        base = f"https://{request.headers.get('host', 'localhost')}"
        if path.startswith("/_endpoint/"):
            return self._control(path.removeprefix("/_endpoint/"), request)
        public = self._sign_in(path, query, request, base)
        if public:
            return public
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self._tokens:
            challenge = {"WWW-Authenticate": f'Bearer authorization_uri="{base}/{TENANT}", error="invalid_token"'}
            raise Error(401, "InvalidAuthenticationToken" if token else "AuthenticationFailed", "The access token is invalid.", challenge)
        if not re.fullmatch(r"\d{4}-\d\d-\d\d(-preview)?", query.get("api-version", "")):
            raise Error(400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
        body = None
        if method in ("PUT", "PATCH"):
            if not request.headers.get("content-type", "").startswith("application/json"):
                raise Error(415, "UnsupportedMediaType", "The content media type is not supported. Only 'application/json' is supported.")
            try:
                body = json.loads(request.body)
            except ValueError as error:
                raise Error(
                    400, "InvalidRequestContent", f"The request content was invalid and could not be deserialized: {error}."
                ) from error
        return self._resources(method, path, query, body, request, base)

    def _resources(self, method: str, path: str, query: dict[str, str], body: Any, request: Request, base: str) -> Answer:
        scoped = re.fullmatch(r"(/subscriptions/.+)/providers/Microsoft\.Resources/tags/default", path, re.I)
        if scoped and method == "PATCH":
            return self._merge_tags(scoped[1], schema.check("microsoft.resources/tags", body))
        found = re.match(r"/subscriptions(?:/([^/]+)(/.*|$))?", path, re.I)
        if re.fullmatch(r"/subscriptions(/[^/]+)?/?", path, re.I) and method == "GET" and found and found[1] in (None, SUBSCRIPTION):
            return _json(200, offers.subscription_document() if found[1] else {"value": [offers.subscription_document()]})
        if not found or not found[1]:
            raise Error(404, "InvalidResourceType", f"There is no such resource: {path}")
        if found[1] != SUBSCRIPTION:
            raise Error(404, "SubscriptionNotFound", f"The subscription '{found[1]}' could not be found.")
        rest = found[2]
        if match := re.fullmatch(r"/resourcegroups(?:/([^/]+)(/resources)?)?", rest, re.I):
            return self._group(method, match[1], bool(match[2]), query, body, path, base)
        if match := re.fullmatch(r"/providers/[^/]+/locations/[^/]+/operations/([^/]+)", rest, re.I):
            return self._operation(match[1])
        if re.fullmatch(r"/providers/Microsoft\.Compute/skus", rest, re.I):
            wanted = re.fullmatch(r"location eq '([^']+)'", query.get("$filter", ""))
            places = [wanted[1]] if wanted else list(LOCATIONS)
            return _json(200, {"value": [offers.sku_document(place, size) for place in places if place in LOCATIONS for size in SIZES]})
        if match := re.fullmatch(r"/providers/Microsoft\.Compute/locations/([^/]+)/vmSizes", rest, re.I):
            return _json(200, {"value": [offers.size_document(size) for size in SIZES] if match[1] in LOCATIONS else []})
        pattern = r"/providers/Microsoft\.Compute/locations/([^/]+)/publishers/([^/]+)/artifacttypes/vmimage"
        pattern += r"/offers/([^/]+)/skus/([^/]+)/versions(?:/([^/]+))?"
        if match := re.fullmatch(pattern, rest, re.I):
            return self._images(match[1], (match[2], match[3], match[4]), match[5], query)
        if match := re.fullmatch(r"/providers/([^/]+/[^/]+)", rest, re.I):
            kind = self._kind(match[1])
            return self._list(method, [doc for doc in self.state.things.values() if doc["type"].lower() == kind], query, path, base)
        match = re.fullmatch(r"/resourceGroups/([^/]+)/providers/([^/]+/[^/]+)(?:/([^/]+)((?:/[^/]+)*))?", rest, re.I)
        if not match:
            raise Error(404, "InvalidResourceType", f"There is no such resource: {path}")
        group, kind, name, tail = match[1], self._kind(match[2]), match[3], match[4]
        if group.lower() not in self.state.groups:
            raise Error(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")
        if name is None:
            within = [doc for doc in self.state.things.values() if doc["type"].lower() == kind and _group_of(doc) == group.lower()]
            return self._list(method, within, query, path, base)
        number = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/{KINDS[kind][0]}/{name}"
        if tail:
            return self._inside(method, number, tail.strip("/").split("/"), query, body, base)
        if method == "GET":
            return _json(200, self._view(self._need(number), query))
        if method == "PUT":
            return self._put(kind, number, body, request, base)
        if method == "PATCH":
            return self._patch(number, body)
        if method == "DELETE":
            return self._delete(kind, number, base)
        raise Error(405, "MethodNotAllowed", method)

    def _kind(self, text: str) -> str:
        if text.lower() not in KINDS:
            raise Error(404, "InvalidResourceType", f"The resource type '{text}' could not be found.")
        return text.lower()

    def _need(self, number: str) -> Document:
        thing = self.state.things.get(number.lower())
        if thing is None:
            name = number.rpartition("/")[2]
            raise Error(404, "ResourceNotFound", f"The Resource '{number.partition('/providers/')[2]}' was not found ({name}).")
        return thing

    def _list(self, method: str, found: list[Document], query: dict[str, str], path: str, base: str) -> Answer:
        if method != "GET":
            raise Error(405, "MethodNotAllowed", method)
        found = sorted(found, key=lambda doc: doc["id"].lower())
        start = int(query.get("$skiptoken") or 0)
        answer: Document = {"value": [self._view(doc, query) for doc in found[start : start + self.state.page]]}
        if start + self.state.page < len(found):
            more = urllib.parse.urlencode({**query, "$skiptoken": start + self.state.page})
            answer["nextLink"] = f"{base}{urllib.parse.quote(path)}?{more}"
        return _json(200, answer)

    def _lro(self, status: int, body: Any, operation: Operation, base: str) -> Answer:
        link = f"{base}/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/locations/{offers.LOCATION}/operations/{operation.id}"
        link += "?api-version=2024-07-01"
        headers = {"Azure-AsyncOperation": link, "Retry-After": "1"}
        if status == 202:
            headers["Location"] = link
        return _json(status, body, headers)

    def _operation(self, number: str) -> Answer:
        operation = self.state.operations.get(number)
        if operation is None:
            raise Error(404, "OperationNotFound", number)
        if not operation.done:
            status = 202 if operation.answer is not None else 200
            return _json(status, {"name": number, "status": "InProgress"}, {"Retry-After": "1"})
        if operation.answer is not None:
            return _json(200, operation.answer)
        if operation.error:
            return _json(200, {"name": number, "status": "Failed", "error": operation.error})
        return _json(200, {"name": number, "status": "Succeeded"})

    # ---- sign-in

    def _sign_in(self, path: str, query: dict[str, str], request: Request, base: str) -> Answer | None:
        if path == "/metadata/endpoints":
            login = {"loginEndpoint": base, "audiences": [AUDIENCE], "tenant": "common"}
            one = {"name": "Fake", "resourceManager": base, "authentication": login, "suffixes": {}}
            # The clouds that there are, or in newer versions this one.
            return _json(200, [one] if "2018" < query.get("api-version", "") < "2022" else one)
        if path.endswith("/v2.0/.well-known/openid-configuration"):
            home = f"{base}/{TENANT}"
            return _json(
                200,
                {
                    "issuer": f"{home}/v2.0",
                    "authorization_endpoint": f"{home}/oauth2/v2.0/authorize",
                    "token_endpoint": f"{home}/oauth2/v2.0/token",
                    "device_authorization_endpoint": f"{home}/oauth2/v2.0/devicecode",
                },
            )
        if not path.endswith("/oauth2/v2.0/token"):
            return None
        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        if form.get("grant_type") != "client_credentials" or f"{AUDIENCE}/.default" not in form.get("scope", "").split():
            return _json(
                400, {"error": "invalid_scope", "error_description": f"AADSTS70011: The provided scope is not valid: {form.get('scope')}."}
            )
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            return _json(
                401,
                {
                    "error": "invalid_client",
                    "error_description": "AADSTS7000215: Invalid client secret provided.",
                    "error_codes": [7000215],
                },
            )
        token = uuid.uuid4().hex
        self._tokens.add(token)
        return _json(200, {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token})

    # ---- for tests

    def _control(self, path: str, request: Request) -> Answer:
        if path == "inventory":
            groups = [self._group_view(doc) for doc in self.state.groups.values()]
            return _json(
                200, {"groups": groups, "things": [self._view(doc, {"$expand": "instanceView"}) for doc in self.state.things.values()]}
            )
        body = json.loads(request.body or b"{}")
        if path == "reset":
            self.state = State()
        elif path == "limits":
            self.state.capacity = body.get("capacity", self.state.capacity) or None
            self.state.cores = body.get("cores", self.state.cores)
            self.state.page = body.get("page", self.state.page)
        elif path == "token":
            token = uuid.uuid4().hex
            self._tokens.add(token)
            return _json(200, {"token": token})
        elif path == "finish":
            # As if all operations had had their time.
            for operation in self.state.operations.values():
                operation.due = min(operation.due, self.clock.now())
            self._settle()
        else:
            raise Error(404, "NotFound", path)
        return _json(200, {})

    # ---- resource groups and tags

    def _group(self, method: str, name: str | None, resources: bool, query: dict[str, str], body: Any, path: str, base: str) -> Answer:
        groups = self.state.groups
        if name is None:
            return _json(200, {"value": [self._group_view(doc) for doc in groups.values()]})
        key = name.lower()
        if method == "PUT":
            body = schema.check("microsoft.resources/resourcegroups", body)
            _check_tags(body)
            _check_location(body)
            if not re.fullmatch(r"[-\w.()]{1,89}[-\w()]", name):
                raise Error(400, "InvalidResourceGroupName", name)
            old = groups.get(key)
            if old and old["location"] != body["location"]:
                raise Error(409, "InvalidResourceGroupLocation", f"The Resource group already exists in location '{old['location']}'.")
            if old and old["properties"]["provisioningState"] == "Deleting":
                raise Error(
                    409,
                    "ResourceGroupBeingDeleted",
                    f"The resource group '{name}' is in deprovisioning state and cannot perform this operation.",
                )
            groups[key] = {
                "id": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{name}",
                "name": name,
                "type": GROUP,
                "location": body["location"],
                "tags": body.get("tags") or {},
                "properties": {"provisioningState": "Succeeded"},
            }
            return _json(200 if old else 201, self._group_view(groups[key]))
        if key not in groups:
            raise Error(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")
        inside = [doc for doc in self.state.things.values() if _group_of(doc) == key]
        if resources:
            short = ("id", "name", "type", "location", "tags")
            return _json(200, {"value": [{part: doc[part] for part in short if part in doc} for doc in inside]})
        if method == "GET":
            return _json(200, self._group_view(groups[key]))
        if method == "HEAD":
            return _json(204, None)
        if method == "DELETE":
            groups[key]["properties"]["provisioningState"] = "Deleting"

            def gone() -> None:
                groups.pop(key, None)
                for doc in [doc for doc in self.state.things.values() if _group_of(doc) == key]:
                    self.state.things.pop(doc["id"].lower(), None)

            return self._lro(202, None, self._begin(f"group {key}", 5, gone), base)
        raise Error(405, "MethodNotAllowed", method)

    def _group_view(self, doc: Document) -> Document:
        return copy.deepcopy(doc)

    def _merge_tags(self, scope: str, body: Document) -> Answer:
        group = re.fullmatch(r"/subscriptions/[^/]+/resourceGroups/([^/]+)", scope, re.I)
        target = self.state.groups.get(group[1].lower()) if group else self.state.things.get(scope.lower())
        if target is None:
            raise Error(404, "ResourceNotFound", f"The Resource '{scope}' was not found.")
        tags = (body["properties"] or {}).get("tags") or {}
        now = dict(target.get("tags") or {})
        operation = body["operation"].lower()
        now = (
            {**now, **tags} if operation == "merge" else tags if operation == "replace" else {k: v for k, v in now.items() if k not in tags}
        )
        _check_tags({"tags": now})
        target["tags"] = now
        return _json(
            200,
            {
                "id": f"{scope}/providers/Microsoft.Resources/tags/default",
                "name": "default",
                "type": "Microsoft.Resources/tags",
                "properties": {"tags": now},
            },
        )

    def _patch(self, number: str, body: Any) -> Answer:
        thing = self._need(number)
        if not isinstance(body, dict) or set(body) - {"tags"}:
            raise Error(400, "InvalidRequestContent", "Only tags are changed by PATCH here.")
        _check_tags(body)
        thing["tags"] = dict(body.get("tags") or {})
        return _json(200, self._view(thing, {}))

    # ---- resources

    def _put(self, kind: str, number: str, body: Any, request: Request, base: str) -> Answer:
        body = schema.check(kind, body)
        _check_tags(body)
        _check_location(body)
        if not re.fullmatch(r"[A-Za-z0-9]([-\w.]{0,78}\w)?", number.rpartition("/")[2]):
            raise Error(400, "InvalidResourceName", f"Resource name {number.rpartition('/')[2]} is invalid.")
        key, old = number.lower(), self.state.things.get(number.lower())
        if old and request.headers.get("if-none-match") == "*":
            raise Error(412, "PreconditionFailed", f"The resource {number} exists already.")
        if request.headers.get("if-match") and (old is None or request.headers["if-match"].strip('"') != old["etag"]):
            raise Error(412, "PreconditionFailed", "Precondition failed.")
        if old and old["location"] != body["location"]:
            raise Error(409, "InvalidResourceLocation", f"The resource already exists in location '{old['location']}'.")
        if self._busy(key):
            code = "Conflict" if kind == VM else "AnotherOperationInProgress"
            raise Error(409, code, f"Another operation on this or dependent resource is in progress: {number}.")
        group = self.state.groups[_group_of({"id": number})]
        if group["properties"]["provisioningState"] == "Deleting":
            raise Error(409, "ResourceGroupBeingDeleted", f"The resource group '{group['name']}' is in deprovisioning state.")
        new = {**body, "id": number, "name": number.rpartition("/")[2], "type": KINDS[kind][0], "etag": uuid.uuid4().hex}
        new["properties"] = copy.deepcopy(body.get("properties") or {})
        if old:
            new["id"] = old["id"]
        _name_parts(new)
        self._check_references(new)
        checks: dict[str, Callable[[Document, Document | None], None]] = {
            VNET: self._check_network,
            NSG: self._check_rules,
            NAT: self._check_nat,
            PIP: self._check_address,
            LB: self._check_balancer,
            NIC: self._check_interface,
        }
        if kind == VM:
            return self._put_machine(new, old, base)
        if kind in checks:
            checks[kind](new, old)
        new["properties"]["provisioningState"] = "Updating"
        new["properties"].setdefault("resourceGuid", (old or {"properties": {}})["properties"].get("resourceGuid") or str(uuid.uuid4()))
        self.state.things[key] = new

        def done() -> None:
            new["properties"]["provisioningState"] = "Succeeded"

        operation = self._begin(key, KINDS[kind][2], done)
        if kind == NIC:
            # A change of the members of a balancer is one of the balancer, too.
            before = set(self._balancers(old)) if old else set()
            for balancer in before ^ set(self._balancers(new)):
                self._begin(balancer, KINDS[NIC][2], lambda: None)
        return self._lro(200 if old else 201, self._view(new, {}), operation, base)

    def _balancers(self, interface: Document) -> list[str]:
        return [
            _resource(pool["id"])
            for part in interface["properties"].get("ipConfigurations") or ()
            for pool in part["properties"].get("loadBalancerBackendAddressPools") or ()
        ]

    def _check_references(self, new: Document) -> None:
        own = new["id"].lower()
        known = {part["id"].lower() for name in PARTS for part in new["properties"].get(name) or ()}
        for number in references(new["properties"]):
            low = number.lower()
            if low in known:
                continue
            if _resource(low) == own:
                raise Error(400, "InvalidResourceReference", f"Resource {number} referenced by resource {new['id']} was not found.")
            if "/providers/microsoft.compute/images/" in low or "/galleries/" in low or "/diskencryptionsets/" in low:
                continue
            target = self.state.things.get(_resource(low))
            if target is None or (
                low != _resource(low) and low not in {part["id"].lower() for name in PARTS for part in target["properties"].get(name) or ()}
            ):
                raise Error(
                    400,
                    "InvalidResourceReference",
                    f"Resource {number} referenced by resource {new['id']} was not found.",
                )
            if target["location"] != new["location"]:
                raise Error(400, "InvalidResourceReference", f"Resource {number} is not in the region of {new['id']}.")
            state = target["properties"]["provisioningState"]
            if state != "Succeeded" and target["type"].lower() != VM:
                raise Error(
                    400,
                    "ReferencedResourceNotProvisioned",
                    f"Resource {number} used by resource {new['id']} is not in Succeeded state. Resource is in {state} state.",
                )

    def _check_network(self, new: Document, old: Document | None) -> None:
        properties = new["properties"]
        spaces = [_cidr(text) for text in properties["addressSpace"]["addressPrefixes"]]
        taken: list[Any] = []
        for part in properties.get("subnets") or ():
            inner = part["properties"]
            network = _cidr(inner.get("addressPrefix") or (inner.get("addressPrefixes") or [""])[0])
            if not any(network.subnet_of(space) for space in spaces):
                raise Error(
                    400,
                    "NetcfgSubnetRangeOutsideVnet",
                    f"Subnet '{part['name']}' is outside the IP address range of virtual network.",
                )
            if any(network.overlaps(other) for other in taken):
                raise Error(
                    400,
                    "NetcfgSubnetRangesOverlap",
                    f"Subnet '{part['name']}' is not valid because its IP address range overlaps with that of an existing subnet.",
                )
            if network.prefixlen > 29:
                raise Error(400, "NetcfgInvalidSubnet", f"Subnet '{part['name']}' is too small.")
            taken.append(network)
            inner["provisioningState"] = "Succeeded"
            inner.setdefault("privateEndpointNetworkPolicies", "Disabled")
            inner.setdefault("privateLinkServiceNetworkPolicies", "Enabled")
            inner.setdefault("delegations", [])
        have = {part["id"].lower(): part for part in properties.get("subnets") or ()}
        for part in (old or {"properties": {}})["properties"].get("subnets") or ():
            users = self._users(part["id"])
            now = have.get(part["id"].lower())
            moved = now is not None and now["properties"].get("addressPrefix") != part["properties"].get("addressPrefix")
            if users and (now is None or moved):
                raise Error(
                    400,
                    "InUseSubnetCannotBeDeleted" if now is None else "InUsePrefixCannotBeDeleted",
                    f"Subnet {part['name']} is in use by {users[0]} and cannot be deleted.",
                )

    def _check_rules(self, new: Document, _old: Document | None) -> None:
        seen: set[tuple[str, int]] = set()
        for rule in new["properties"].get("securityRules") or ():
            inner = rule["properties"]
            place = (inner["direction"].lower(), inner["priority"])
            if not 100 <= inner["priority"] <= 4096:
                raise Error(
                    400,
                    "SecurityRuleInvalidPriority",
                    f"Security rule has invalid priority {inner['priority']}. Value should be between 100 and 4096.",
                )
            if place in seen:
                raise Error(
                    400,
                    "SecurityRuleConflict",
                    f"Security rule {rule['name']} conflicts with another rule. Rules cannot have the same Priority and Direction.",
                )
            seen.add(place)
            for end in ("source", "destination"):
                _check_end(rule["name"], inner, end)
            inner["provisioningState"] = "Succeeded"

    def _check_nat(self, new: Document, _old: Document | None) -> None:
        if new["sku"].get("name") not in ("Standard", "StandardV2"):
            raise Error(400, "NatGatewaySkuInvalid", "A NAT gateway needs a SKU.")
        _check_zones(new)
        for part in new["properties"].get("publicIpAddresses") or ():
            address = self.state.things[part["id"].lower()]
            users = [user for user in self._users(part["id"]) if user.lower() != new["id"].lower()]
            if users:
                raise Error(400, "PublicIPAddressInUse", f"Resource {part['id']} is in use by {users[0]}.")
            if address["sku"]["name"] != "Standard":
                raise Error(400, "NatGatewayPublicIpSkuMismatch", "A NAT gateway takes Standard addresses only.")

    def _check_address(self, new: Document, old: Document | None) -> None:
        properties = new["properties"]
        properties.setdefault("publicIPAllocationMethod", "Dynamic")
        properties.setdefault("publicIPAddressVersion", "IPv4")
        properties.setdefault("idleTimeoutInMinutes", 4)
        if new["sku"].get("name") == "Standard" and properties["publicIPAllocationMethod"] != "Static":
            raise Error(400, "PublicIPAllocationMethodNotSupported", "Standard sku public IP addresses must be allocated statically.")
        if new["sku"].get("name") == "Basic":
            raise Error(400, "IPv4BasicSkuPublicIpCountLimitReached", "Cannot create more than 0 IPv4 Basic SKU public IP addresses.")
        if old and sorted(old.get("zones") or ()) != sorted(new.get("zones") or ()):
            raise Error(400, "ResourceAvailabilityZonesCannotBeModified", "Zones of an address can not be changed.")
        _check_zones(new)
        properties["ipAddress"] = old["properties"]["ipAddress"] if old else self._public_address()

    def _public_address(self) -> str:
        used = {doc["properties"].get("ipAddress") for doc in self.state.things.values() if doc["type"].lower() == PIP}
        return next(str(one) for one in ipaddress.ip_network("203.0.113.0/24").hosts() if str(one) not in used)

    def _check_balancer(self, new: Document, old: Document | None) -> None:
        properties = new["properties"]
        if new["sku"].get("name") != "Standard":
            raise Error(400, "LoadBalancerBasicSkuRetired", "Basic load balancers are retired.")
        if old and old["sku"] != new["sku"]:
            raise Error(400, "LoadBalancerSkuCannotBeChanged", "The SKU of a load balancer can not be changed.")
        for front in properties.get("frontendIPConfigurations") or ():
            inner = front["properties"]
            if bool(inner.get("subnet")) == bool(inner.get("publicIPAddress")):
                raise Error(400, "LoadBalancerFrontendInvalid", f"Frontend {front['name']} needs either a subnet or a public address.")
            before = next(
                (
                    part["properties"]
                    for part in (old or {"properties": {}})["properties"].get("frontendIPConfigurations") or ()
                    if part["name"] == front["name"]
                ),
                None,
            )
            if inner.get("subnet"):
                _check_zones({**front, "location": new["location"]})
                if before and before.get("privateIPAddress") and _same(before.get("subnet"), inner["subnet"]):
                    inner["privateIPAddress"] = before["privateIPAddress"]
                else:
                    inner["privateIPAddress"] = self._private_address(inner["subnet"]["id"], inner.get("privateIPAddress"))
                inner.setdefault("privateIPAllocationMethod", "Dynamic")
            elif self.state.things[inner["publicIPAddress"]["id"].lower()]["sku"]["name"] != "Standard":
                raise Error(400, "LoadBalancerPublicIpSkuMismatch", "A Standard load balancer takes Standard addresses only.")
            inner["provisioningState"] = "Succeeded"
        for probe in properties.get("probes") or ():
            inner = probe["properties"]
            if inner["protocol"].lower() in ("http", "https") and not inner.get("requestPath"):
                raise Error(400, "ProbeRequestPathMissing", f"Probe {probe['name']} needs a request path.")
            if inner["protocol"].lower() == "tcp" and inner.get("requestPath"):
                raise Error(400, "ProbeRequestPathNotAllowed", f"Probe {probe['name']} takes no request path.")
            _check_port(inner["port"], probe["name"])
            if inner.get("intervalInSeconds", 15) < 5:
                raise Error(400, "ProbeIntervalInvalid", "The interval of a probe is at least 5 seconds.")
            inner["provisioningState"] = "Succeeded"
        used = set()
        for rule in properties.get("loadBalancingRules") or ():
            inner = rule["properties"]
            if not inner.get("frontendIPConfiguration") or not inner.get("backendAddressPool"):
                raise Error(400, "LoadBalancingRuleIncomplete", f"Rule {rule['name']} needs a frontend and a pool.")
            _check_port(inner["frontendPort"], rule["name"])
            _check_port(inner.get("backendPort", 0), rule["name"])
            place = (inner["frontendIPConfiguration"]["id"].lower(), inner["frontendPort"], inner["protocol"].lower())
            if place in used:
                raise Error(400, "RulesUseSameFrontendPortProtocolAndVip", f"Rule {rule['name']} uses a port twice.")
            used.add(place)
            if not 4 <= inner.get("idleTimeoutInMinutes", 4) <= 100:
                raise Error(400, "LoadBalancingRuleIdleTimeoutInvalid", rule["name"])
            inner["provisioningState"] = "Succeeded"
        for pool in properties.get("backendAddressPools") or ():
            pool.setdefault("properties", {})["provisioningState"] = "Succeeded"
            pool["properties"].pop("backendIPConfigurations", None)

    def _check_interface(self, new: Document, old: Document | None) -> None:
        parts = new["properties"]["ipConfigurations"]
        if not parts:
            raise Error(400, "NetworkInterfaceMustHaveIpConfigurations", "A network interface needs an IP configuration.")
        for balancer in set(self._balancers(new)) ^ set(self._balancers(old) if old else ()):
            if self._busy(balancer):
                raise Error(
                    409, "AnotherOperationInProgress", f"Another operation on this or dependent resource is in progress: {balancer}."
                )
        for number, part in enumerate(parts):
            inner = part.setdefault("properties", {})
            if not inner.get("subnet"):
                raise Error(400, "NetworkInterfaceSubnetMissing", f"IP configuration {part['name']} needs a subnet.")
            before = next(
                (
                    one["properties"]
                    for one in (old or {"properties": {}})["properties"].get("ipConfigurations") or ()
                    if one["name"] == part["name"]
                ),
                None,
            )
            if before and _same(before.get("subnet"), inner["subnet"]):
                inner["privateIPAddress"] = before["privateIPAddress"]
            else:
                inner["privateIPAddress"] = self._private_address(inner["subnet"]["id"], inner.get("privateIPAddress"))
            inner.setdefault("privateIPAllocationMethod", "Dynamic")
            inner.setdefault("primary", number == 0)
            inner["provisioningState"] = "Succeeded"
            networks = {_resource(inner["subnet"]["id"])}
            for pool in inner.get("loadBalancerBackendAddressPools") or ():
                balancer = self.state.things[_resource(pool["id"])]
                for front in balancer["properties"].get("frontendIPConfigurations") or ():
                    if front["properties"].get("subnet"):
                        networks.add(_resource(front["properties"]["subnet"]["id"]))
            if len(networks) > 1:
                raise Error(
                    400, "NetworkInterfaceAndInternalLoadBalancerMustUseSameVnet", "Interface and load balancer are in two networks."
                )
        new["properties"].setdefault("dnsSettings", {"dnsServers": []})
        new["properties"].setdefault(
            "macAddress",
            (old or {"properties": {}})["properties"].get("macAddress")
            or f"00-0D-3A-{self.state.made // 65536 % 256:02X}-{self.state.made // 256 % 256:02X}-{self.state.made % 256:02X}",
        )

    def _private_address(self, subnet: str, wanted: str | None = None) -> str:
        network = self.state.things[_resource(subnet)]
        part = next(part for part in network["properties"]["subnets"] if part["id"].lower() == subnet.lower())
        hosts = list(_cidr(part["properties"]["addressPrefix"]).hosts())[3:]
        used = set()
        for doc in self.state.things.values():
            for name in ("ipConfigurations", "frontendIPConfigurations"):
                for one in doc["properties"].get(name) or ():
                    if (one.get("properties") or {}).get("subnet", {}).get("id", "").lower() == subnet.lower():
                        used.add(one["properties"].get("privateIPAddress"))
        free = [str(host) for host in hosts[:4096] if str(host) not in used]
        if wanted and wanted not in free:
            raise Error(
                400, "PrivateIPAddressIsAllocated", f"IP configuration is using the private IP address {wanted} which is already allocated."
            )
        if not free:
            raise Error(
                400,
                "SubnetIsFull",
                f"Subnet {part['name']} with address prefix {part['properties']['addressPrefix']} has no address left.",
            )
        return wanted or free[0]

    # ---- machines

    def _put_machine(self, new: Document, old: Document | None, base: str) -> Answer:
        properties, key = new["properties"], new["id"].lower()
        if old:
            for name in IMMUTABLE_VM:
                if (
                    name in properties
                    and name in old["properties"]
                    and name != "networkProfile"
                    and not _covers(old["properties"][name], properties[name], name)
                ):
                    raise Error(409, "PropertyChangeNotAllowed", f"Changing property '{name}' is not allowed.")
            old["tags"] = new.get("tags") or {}
            operation = self._begin(key, 3, lambda: None)
            return self._lro(200, self._view(old, {}), operation, base)
        self._check_machine(new)
        zone = (new.get("zones") or [""])[0]
        place = f"{new['location']}-{zone}" if zone else new["location"]
        failure = self._room(new, place)
        profile = properties["networkProfile"]
        interfaces = [copy.deepcopy(item) for item in profile.get("networkInterfaces") or ()]
        for configuration in profile.pop("networkInterfaceConfigurations", None) or ():
            interfaces.append(self._make_interface(new, configuration))
        profile["networkInterfaces"] = interfaces
        profile.pop("networkApiVersion", None)
        for item in interfaces:
            item.setdefault("properties", {}).setdefault("deleteOption", "Detach")
            item["properties"].setdefault("primary", True)
        self._make_disk(new)
        osprofile = properties["osProfile"]
        new["_customData"] = osprofile.pop("customData", None)
        osprofile.pop("adminPassword", None)
        osprofile.setdefault("secrets", [])
        osprofile.setdefault("allowExtensionOperations", True)
        properties["vmId"] = str(uuid.uuid4())
        properties["timeCreated"] = _moment(self.clock.time())
        properties["provisioningState"] = "Creating"
        new["_power"], new["_failure"] = "", None
        self.state.things[key] = new

        def done() -> None:
            properties["provisioningState"] = "Failed" if failure else "Succeeded"
            new["_power"] = "" if failure else "running"
            new["_failure"] = failure

        if not failure and self.state.capacity and place in self.state.capacity:
            self.state.capacity[place] -= 1
        operation = self._begin(key, 8 if failure else KINDS[VM][2], done, failure)
        return self._lro(201, self._view(new, {}), operation, base)

    def _check_machine(self, new: Document) -> None:
        properties = new["properties"]
        size, zones = properties["hardwareProfile"]["vmSize"], new.get("zones") or []
        if size not in SIZES:
            raise Error(
                400,
                "InvalidParameter",
                f"The value {size} provided for the VM size is not valid. The valid sizes in the current region are: {', '.join(SIZES)}.",
            )
        _check_zones(new)
        _cores, without, reason = SIZES[size]
        if reason or any(zone in without for zone in zones):
            raise Error(
                409,
                "SkuNotAvailable",
                f"Following SKUs have failed for Capacity Restrictions: {size}' is not available in {new['location']}.",
            )
        login = properties["osProfile"]
        linux = login.get("linuxConfiguration") or {}
        keys = (linux.get("ssh") or {}).get("publicKeys") or []
        if login["adminUsername"].lower() in RESERVED_LOGINS:
            raise Error(400, "InvalidParameter", "The Admin Username specified is not allowed.")
        if not login.get("adminPassword") and not (linux.get("disablePasswordAuthentication") and keys):
            raise Error(
                400, "InvalidParameter", "Authentication using either SSH or by user name and password must be enabled in Linux profile."
            )
        for one in keys:
            if one["path"] != f"/home/{login['adminUsername']}/.ssh/authorized_keys":
                raise Error(
                    400,
                    "InvalidParameter",
                    f"Destination path for SSH public keys is limited to /home/{login['adminUsername']}/.ssh/authorized_keys.",
                )
            if not SSH_KEYS.fullmatch(one["keyData"].strip()):
                raise Error(400, "InvalidParameter", "The value of parameter linuxConfiguration.ssh.publicKeys.keyData is invalid.")
        if not re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9.]{0,62}[A-Za-z0-9])?", login["computerName"]):
            raise Error(400, "InvalidParameter", f"Linux host name {login['computerName']} is not valid.")
        if login.get("customData") is not None:
            try:
                data = base64.b64decode(login["customData"], validate=True)
            except ValueError as error:
                raise Error(400, "InvalidParameter", "Custom data in OSProfile must be in Base64 encoding.") from error
            if len(data) > 65535:
                raise Error(400, "InvalidParameter", "Custom data in OSProfile is too large.")
        about = self._image(properties["storageProfile"].get("imageReference") or {}, new)
        disk = properties["storageProfile"]["osDisk"]
        if disk.get("diskSizeGB") is not None and not offers.DISK_GB <= disk["diskSizeGB"] <= 4095:
            raise Error(
                400,
                "InvalidParameter",
                f"The specified disk size {disk['diskSizeGB']} GB is smaller than the size of the corresponding disk in the VM image.",
            )
        if ("ps_" in size) != (about["architecture"] == "Arm64"):
            raise Error(
                400,
                "InvalidParameter",
                f"Cannot create a VM of size '{size}' because this VM size only supports a CPU Architecture of another kind.",
            )
        security = properties.get("securityProfile") or {}
        if security.get("securityType") == "TrustedLaunch" and about["hyperVGeneration"] != "V2":
            raise Error(
                400,
                "BadRequest",
                "Use of TrustedLaunch setting is not supported for the provided image.",
            )
        if security.get("uefiSettings") and security.get("securityType") != "TrustedLaunch":
            raise Error(400, "InvalidParameter", "UefiSettings need the security type TrustedLaunch.")
        spot = properties.get("priority") == "Spot"
        if not spot and (properties.get("evictionPolicy") or properties.get("billingProfile")):
            raise Error(409, "OperationNotAllowed", "Eviction policy can be set only on Azure Spot Virtual Machines.")
        profile = properties["networkProfile"]
        if not profile.get("networkInterfaces") and not profile.get("networkInterfaceConfigurations"):
            raise Error(400, "InvalidParameter", "Required parameter 'networkProfile' is missing (null).")
        if bool(profile.get("networkInterfaceConfigurations")) != bool(profile.get("networkApiVersion")):
            raise Error(400, "InvalidParameter", "The parameter networkProfile.networkApiVersion goes with networkInterfaceConfigurations.")
        for item in profile.get("networkInterfaces") or ():
            users = self._users(item["id"])
            if users:
                raise Error(400, "NicInUse", f"Network Interface {item['id']} is used by existing resource {users[0]}.")

    def _image(self, reference: Document, new: Document) -> Document:
        if reference.get("id"):
            return {"architecture": "x64", "hyperVGeneration": "V2"}
        key = tuple(str(reference.get(part) or "") for part in ("publisher", "offer", "sku"))
        versions = next(
            (item for name, item in IMAGES.items() if tuple(part.lower() for part in name) == tuple(part.lower() for part in key)), None
        )
        version = reference.get("version") or ""
        if versions and version == "latest":
            version = max(versions)
        if versions is None or version not in versions:
            raise Error(
                404,
                "PlatformImageNotFound",
                f"The platform image '{':'.join(key)}:{version}' is not available.",
            )
        reference["exactVersion"] = version
        name = next(name for name in IMAGES if tuple(part.lower() for part in name) == tuple(part.lower() for part in key))
        about = offers.image_document(new["location"], name, version, full=True)["properties"]
        plan = about.get("plan")
        given = {part: (new.get("plan") or {}).get(part) for part in ("publisher", "product", "name")}
        if plan and given != plan:
            raise Error(
                400,
                "VMMarketplaceInvalidInput",
                "Creating a virtual machine from Marketplace image requires Plan information in the request.",
            )
        if not plan and new.get("plan"):
            raise Error(400, "VMMarketplaceInvalidInput", "Plan information is given for an image that has no plan.")
        return about

    def _room(self, new: Document, place: str) -> dict[str, str] | None:
        """Return how the machine's operation will fail, or refuse it at once."""
        size = new["properties"]["hardwareProfile"]["vmSize"]
        used = sum(
            SIZES[doc["properties"]["hardwareProfile"]["vmSize"]][0] for doc in self.state.things.values() if doc["type"].lower() == VM
        )
        if self.state.cores is not None and used + SIZES[size][0] > self.state.cores:
            raise Error(
                409,
                "OperationNotAllowed",
                f"It results in exceeding approved Total Regional Cores quota, {self.state.cores}; in use are {used}.",
            )
        if self.state.capacity is None or self.state.capacity.get(place, 1) > 0:
            return None
        # Azure says it in one of three ways.
        self.state.made += 1
        way = sum(new["name"].encode()) % 3
        if way == 0:
            raise Error(
                409,
                "SkuNotAvailable",
                f"Following SKUs have failed for Capacity Restrictions: {size} in location '{new['location']}'.",
            )
        if way == 1 or not new.get("zones"):
            return {
                "code": "AllocationFailed",
                "message": "Allocation failed. We do not have sufficient capacity for the requested VM size in this region.",
            }
        return {
            "code": "ZonalAllocationFailed",
            "message": "Allocation failed. We do not have sufficient capacity for the requested VM size in this zone.",
        }

    def _make_interface(self, machine: Document, configuration: Document) -> Document:
        inner = configuration["properties"]
        name = f"{configuration['name']}-{uuid.uuid4().hex[:8]}"
        group = machine["id"].partition("/providers/")[0]
        parts = []
        for part in inner["ipConfigurations"]:
            wanted = copy.deepcopy(part["properties"])
            public = wanted.pop("publicIPAddressConfiguration", None)
            if public:
                wanted["publicIPAddress"] = {"id": self._make_address(machine, public)}
                wanted["_deleteAddress"] = (public.get("properties") or {}).get("deleteOption") == "Delete"
            parts.append({"name": part["name"], "properties": wanted})
        number = f"{group}/providers/{KINDS[NIC][0]}/{name}"
        nic = {
            "id": number,
            "name": name,
            "type": KINDS[NIC][0],
            "location": machine["location"],
            "tags": dict(configuration.get("tags") or {}),
            "etag": uuid.uuid4().hex,
            "properties": {
                "ipConfigurations": parts,
                **({"networkSecurityGroup": inner["networkSecurityGroup"]} if inner.get("networkSecurityGroup") else {}),
            },
        }
        _name_parts(nic)
        self._check_references(nic)
        self._check_interface(nic, None)
        nic["properties"].update(
            provisioningState="Succeeded", resourceGuid=str(uuid.uuid4()), enableAcceleratedNetworking=False, enableIPForwarding=False
        )
        self.state.things[number.lower()] = nic
        return {"id": number, "properties": {"primary": inner.get("primary", True), "deleteOption": inner.get("deleteOption", "Detach")}}

    def _make_address(self, machine: Document, public: Document) -> str:
        name = f"{public['name']}-{uuid.uuid4().hex[:8]}"
        inner = public.get("properties") or {}
        number = f"{machine['id'].partition('/providers/')[0]}/providers/{KINDS[PIP][0]}/{name}"
        address = {
            "id": number,
            "name": name,
            "type": KINDS[PIP][0],
            "location": machine["location"],
            "tags": dict(public.get("tags") or {}),
            "sku": {"name": "Basic", "tier": "Regional", **(public.get("sku") or {})},
            "etag": uuid.uuid4().hex,
            "zones": machine.get("zones") or [],
            "properties": {"publicIPAllocationMethod": inner.get("publicIPAllocationMethod", "Static"), "publicIPAddressVersion": "IPv4"},
        }
        self._check_address(address, None)
        address["properties"].update(provisioningState="Succeeded", resourceGuid=str(uuid.uuid4()))
        self.state.things[number.lower()] = address
        return number

    def _make_disk(self, machine: Document) -> None:
        disk = machine["properties"]["storageProfile"]["osDisk"]
        disk.setdefault("name", f"{machine['name']}_OsDisk_1_{uuid.uuid4().hex}")
        disk.setdefault("diskSizeGB", offers.DISK_GB)
        disk.setdefault("osType", "Linux")
        disk.setdefault("deleteOption", "Detach")
        machine["properties"]["storageProfile"].setdefault("dataDisks", [])
        managed = disk.setdefault("managedDisk", {})
        managed.setdefault("storageAccountType", "Premium_LRS")
        number = f"{machine['id'].partition('/providers/')[0]}/providers/{KINDS[DISK][0]}/{disk['name']}"
        managed["id"] = number
        if number.lower() in self.state.things:
            raise Error(409, "ConflictingUserInput", f"Disk {disk['name']} already exists in resource group.")
        self.state.things[number.lower()] = {
            "id": number,
            "name": disk["name"],
            "type": KINDS[DISK][0],
            "location": machine["location"],
            "tags": dict(machine.get("tags") or {}),
            "zones": machine.get("zones") or [],
            "sku": {"name": managed["storageAccountType"], "tier": "Premium"},
            "etag": uuid.uuid4().hex,
            "properties": {
                "diskSizeGB": disk["diskSizeGB"],
                "osType": "Linux",
                "provisioningState": "Succeeded",
                "encryption": {
                    "type": "EncryptionAtRestWithPlatformKey",
                    **({"diskEncryptionSetId": managed["diskEncryptionSet"]["id"]} if managed.get("diskEncryptionSet") else {}),
                },
                "creationData": {"createOption": "FromImage"},
            },
        }

    # ---- deletion

    def _users(self, number: str) -> list[str]:
        """Return the ids of resources that name this one or a part of it."""
        low = number.lower()
        found = []
        for doc in self.state.things.values():
            if doc["id"].lower() == _resource(low):
                continue
            if any(one.lower() == low or one.lower().startswith(f"{low}/") for one in references(doc["properties"])):
                found.append(str(doc["id"]))
        return sorted(found)

    def _delete(self, kind: str, number: str, base: str) -> Answer:
        thing = self.state.things.get(number.lower())
        if thing is None:
            return _json(204, None)
        key = number.lower()
        busy = self._busy(key)
        if busy and thing["properties"]["provisioningState"] == "Deleting":
            return self._lro(202, None, busy, base)
        if busy and kind != VM:
            raise Error(409, "AnotherOperationInProgress", f"Another operation on this or dependent resource is in progress: {number}.")
        users = [user for user in self._users(number) if kind != LB or self.state.things[user.lower()]["type"].lower() != NIC]
        if users:
            raise Error(
                409 if kind == DISK else 400, KINDS[kind][1], f"{thing['type']} {number} is in use by {users[0]} and cannot be deleted."
            )
        if busy:
            busy.done = True
        thing["properties"]["provisioningState"] = "Deleting"

        def gone() -> None:
            self.state.things.pop(key, None)
            if kind == VM:
                self._after_machine(thing)
            if kind == LB:
                self._leave_pools(key)

        return self._lro(202, None, self._begin(key, KINDS[kind][3], gone), base)

    def _after_machine(self, machine: Document) -> None:
        for item in machine["properties"]["networkProfile"]["networkInterfaces"]:
            interface = self.state.things.get(item["id"].lower())
            if interface is None or item["properties"].get("deleteOption") != "Delete":
                continue
            self.state.things.pop(item["id"].lower())
            for part in interface["properties"]["ipConfigurations"]:
                if part["properties"].get("_deleteAddress"):
                    self.state.things.pop(part["properties"]["publicIPAddress"]["id"].lower(), None)
        disk = machine["properties"]["storageProfile"]["osDisk"]
        if disk.get("deleteOption") == "Delete":
            self.state.things.pop(disk["managedDisk"]["id"].lower(), None)

    def _leave_pools(self, balancer: str) -> None:
        for doc in self.state.things.values():
            for part in doc["properties"].get("ipConfigurations") or ():
                inner = part.get("properties") or {}
                pools = inner.get("loadBalancerBackendAddressPools")
                if pools:
                    inner["loadBalancerBackendAddressPools"] = [pool for pool in pools if _resource(pool["id"]) != balancer]

    # ---- parts of resources, and what is done with machines

    def _inside(self, method: str, number: str, tail: list[str], query: dict[str, str], body: Any, base: str) -> Answer:
        thing = self._need(number)
        what = tail[0].lower()
        if thing["type"].lower() == VM:
            if method == "GET" and what == "instanceview":
                return _json(200, self._instance_view(thing))
            if method == "POST" and what in ("start", "poweroff", "deallocate"):
                return self._power(thing, what, base)
        if method == "POST" and what == "loadbalancingrules" and len(tail) == 3 and tail[2].lower() == "health":
            return self._member_health(thing, base)
        name = next((part for part in PARTS if part.lower() == what), "")
        if not name or method not in ("GET", "PUT", "DELETE"):
            raise Error(404, "InvalidResourceType", f"There is no such resource: {number}/{'/'.join(tail)}")
        parts = thing["properties"].setdefault(name, [])
        found = next((part for part in parts if len(tail) > 1 and part["name"].lower() == tail[1].lower()), None)
        if method == "GET":
            if len(tail) == 1:
                return _json(200, {"value": [self._view_part(part) for part in parts]})
            if found is None:
                raise Error(404, "NotFound", f"Resource {number}/{'/'.join(tail)} not found.")
            return _json(200, self._view_part(found))
        if self._busy(number):
            raise Error(409, "AnotherOperationInProgress", f"Another operation on this or dependent resource is in progress: {number}.")
        changed = copy.deepcopy(thing)
        kept = [part for part in changed["properties"][name] if part["name"].lower() != tail[1].lower()]
        if method == "PUT":
            wanted = schema.check(f"{thing['type'].lower()}/{what}", {"name": tail[1], **body})
            kept.append({**wanted, "name": found["name"] if found else tail[1]})
        elif found is None:
            return _json(204, None)
        changed["properties"][name] = kept
        _name_parts(changed)
        self._check_references(changed)
        {VNET: self._check_network, NSG: self._check_rules}[thing["type"].lower()](changed, thing)
        thing["properties"] = changed["properties"]
        operation = self._begin(number, 2, lambda: None)
        if method == "DELETE":
            return self._lro(202, None, operation, base)
        new = next(part for part in thing["properties"][name] if part["name"].lower() == tail[1].lower())
        return self._lro(200 if found else 201, self._view_part(new), operation, base)

    def _member_health(self, balancer: Document, base: str) -> Answer:
        found = []
        for pool in balancer["properties"]["backendAddressPools"]:
            for part in self._members(pool["id"]):
                address = part["properties"]["privateIPAddress"]
                ill = not self._answers(address)
                about = {"state": "Down" if ill else "Up", "reason": "the probe got no answer" if ill else "the probe was answered"}
                found.append({"ipAddress": address, "networkInterfaceIPConfigurationId": part["id"], **about})
        up = sum(one["state"] == "Up" for one in found)
        operation = self._begin(f"health {balancer['id']}", 2, lambda: None)
        operation.answer = {"up": up, "down": len(found) - up, "loadBalancerBackendAddresses": found}
        answer = self._lro(202, None, operation, base)
        answer.headers.pop("Azure-AsyncOperation")
        return answer

    def _answers(self, address: str) -> bool:
        """Tell whether a member answers the probe."""
        return address not in self.state.ill

    def _power(self, machine: Document, what: str, base: str) -> Answer:
        if self._busy(machine["id"]):
            raise Error(409, "OperationNotAllowed", "Another operation is in progress.")
        machine["_power"] = {"start": "starting", "poweroff": "stopping", "deallocate": "deallocating"}[what]

        def done() -> None:
            machine["_power"] = {"start": "running", "poweroff": "stopped", "deallocate": "deallocated"}[what]

        return self._lro(202, None, self._begin(machine["id"], 10, done), base)

    def _images(self, location: str, key: tuple[str, str, str], version: str | None, query: dict[str, str]) -> Answer:
        name = next((name for name in IMAGES if tuple(part.lower() for part in name) == tuple(part.lower() for part in key)), None)
        if location not in LOCATIONS:
            raise Error(400, "NoRegisteredProviderFound", f"No registered resource provider found for location '{location}'.")
        if name is None:
            raise Error(404, "NotFound", f"Artifact: VMImage was not found: {':'.join(key)}.")
        if version is not None:
            if version not in IMAGES[name]:
                raise Error(404, "NotFound", f"Artifact: VMImage was not found: {':'.join(key)}:{version}.")
            return _json(200, offers.image_document(location, name, version, full=True))
        versions = sorted(IMAGES[name], reverse=query.get("$orderby", "").lower() == "name desc")
        return _json(200, [offers.image_document(location, name, one, full=False) for one in versions[: int(query.get("$top") or 1000)]])

    # ---- what is shown

    def _view(self, doc: Document, query: dict[str, str]) -> Document:
        found = _public(doc)
        kind = doc["type"].lower()
        if kind in (VM, DISK):
            # The compute service writes the group's name in capitals.
            group = doc["id"].split("/")[4]
            found["id"] = doc["id"].replace(f"/resourceGroups/{group}/", f"/resourceGroups/{group.upper()}/", 1)
            found.pop("etag", None)
        if kind == VM and "instanceview" in query.get("$expand", "").lower():
            found["properties"]["instanceView"] = self._instance_view(doc)
        if kind == NIC:
            for machine in self.state.things.values():
                if machine["type"].lower() == VM and any(
                    item["id"].lower() == doc["id"].lower() for item in machine["properties"]["networkProfile"]["networkInterfaces"]
                ):
                    found["properties"]["virtualMachine"] = {"id": machine["id"]}
        if kind == DISK:
            owner = next(
                (
                    one["id"]
                    for one in self.state.things.values()
                    if one["type"].lower() == VM
                    and one["properties"]["storageProfile"]["osDisk"]["managedDisk"]["id"].lower() == doc["id"].lower()
                ),
                None,
            )
            found["properties"]["diskState"] = "Attached" if owner else "Unattached"
            if owner:
                found["managedBy"] = owner
        if kind == LB:
            for pool in found["properties"].get("backendAddressPools") or ():
                members = [{"id": part["id"]} for part in self._members(pool["id"])]
                if members:
                    pool["properties"]["backendIPConfigurations"] = members
        if kind == VNET:
            found["properties"]["subnets"] = [self._view_part(part) for part in doc["properties"].get("subnets") or ()]
        return found

    def _view_part(self, part: Document) -> Document:
        found = _public(part)
        users = [
            one["id"]
            for doc in self.state.things.values()
            if doc["type"].lower() == NIC
            for one in doc["properties"]["ipConfigurations"]
            if one["properties"]["subnet"]["id"].lower() == part["id"].lower()
        ]
        if users:
            found["properties"]["ipConfigurations"] = [{"id": user} for user in users]
        return found

    def _members(self, pool: str) -> list[Document]:
        return [
            part
            for doc in self.state.things.values()
            if doc["type"].lower() == NIC
            for part in doc["properties"]["ipConfigurations"]
            if any(one["id"].lower() == pool.lower() for one in part["properties"].get("loadBalancerBackendAddressPools") or ())
        ]

    def _instance_view(self, doc: Document) -> Document:
        state = doc["properties"]["provisioningState"]
        word = {"Succeeded": "succeeded", "Failed": "failed", "Creating": "creating", "Deleting": "deleting"}.get(state, "updating")
        failure = doc["_failure"]
        first = {"code": f"ProvisioningState/{word}", "level": "Info", "displayStatus": word.capitalize()}
        if failure:
            first = {
                "code": f"ProvisioningState/failed/{failure['code']}",
                "level": "Error",
                "displayStatus": "Provisioning failed",
                "message": failure["message"],
            }
        power = [{"code": f"PowerState/{doc['_power']}", "level": "Info", "displayStatus": f"VM {doc['_power']}"}] if doc["_power"] else []
        return {"statuses": [first, *power]}


def _group_of(doc: Document) -> str:
    return str(doc["id"]).split("/")[4].lower()


def _resource(number: str) -> str:
    """Return the id of the resource that a part belongs to, in lower case."""
    return "/".join(number.lower().split("/")[:9])


def _public(value: Any) -> Any:
    """Return a copy without what only this endpoint knows."""
    if isinstance(value, dict):
        return {key: _public(item) for key, item in value.items() if not key.startswith("_")}
    return [_public(item) for item in value] if isinstance(value, list) else value


def _name_parts(doc: Document) -> None:
    for name in PARTS:
        seen = set()
        for part in doc["properties"].get(name) or ():
            if not part.get("name"):
                raise Error(400, "InvalidRequestFormat", f"An entry of {name} has no name.")
            if part["name"].lower() in seen:
                raise Error(400, "InvalidRequestFormat", f"Two entries of {name} are called {part['name']}.")
            seen.add(part["name"].lower())
            part["id"] = f"{doc['id']}/{name}/{part['name']}"
            part["etag"] = doc.get("etag", "")
            part.setdefault("properties", {})


def _same(one: Document | None, other: Document | None) -> bool:
    return bool(one and other and str(one.get("id")).lower() == str(other.get("id")).lower())


def _covers(have: Any, wanted: Any, name: str) -> bool:
    """Whether what is asked for is what there is, as far as it is said."""
    if name in ("customData", "adminPassword"):
        return True
    if isinstance(wanted, dict):
        return isinstance(have, dict) and all(
            key in ("customData", "networkInterfaceConfigurations") or _covers(have.get(key), item, key) for key, item in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(have, list) and len(have) == len(wanted) and all(_covers(one, two, name) for one, two in zip(have, wanted))
    return bool(have == wanted)


def _cidr(text: str) -> Any:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise Error(400, "InvalidCIDRNotation", f"The address prefix {text} is not formatted correctly.") from error


def _check_tags(body: Document) -> None:
    tags = body.get("tags") or {}
    if len(tags) > 50:
        raise Error(400, "TooManyTags", f"The resource has '{len(tags)}' tags. The maximum is 50.")
    for key, value in tags.items():
        if not isinstance(value, str) or len(key) > 512 or len(value) > 256 or re.search(r"[<>%&\\?/]", key):
            raise Error(400, "InvalidTagNameCharacters", f"The tag '{key}' is not valid.")


def _check_location(body: Document) -> None:
    body["location"] = body["location"].replace(" ", "").lower()
    if body["location"] not in LOCATIONS:
        raise Error(
            400,
            "LocationNotAvailableForResourceType",
            f"The provided location '{body['location']}' is not available. List of available regions is '{','.join(LOCATIONS)}'.",
        )


def _check_zones(body: Document) -> None:
    for zone in body.get("zones") or ():
        if zone not in LOCATIONS[body["location"]]:
            raise Error(
                400,
                "InvalidAvailabilityZone",
                f"The zone(s) '{zone}' for resource is not supported. Those of '{body['location']}' are {LOCATIONS[body['location']]}.",
            )


def _check_port(port: int, name: str) -> None:
    if not 1 <= port <= 65534:
        raise Error(400, "PortOutOfRange", f"The port {port} of {name} is out of range.")


def _check_end(name: str, inner: Document, end: str) -> None:
    """Check one end of a firewall rule: exactly one way to say who, and ports that are ports."""
    who = [inner.get(f"{end}{form}") for form in ("AddressPrefix", "AddressPrefixes", "ApplicationSecurityGroups")]
    if sum(bool(one) for one in who) != 1:
        raise Error(
            400,
            "SecurityRuleParameterInvalid",
            f"Security rule {name} needs exactly one of {end}AddressPrefix, {end}AddressPrefixes and {end}ApplicationSecurityGroups.",
        )
    for text in [who[0]] if who[0] else who[1] or []:
        if text not in ("*", "VirtualNetwork", "AzureLoadBalancer", "Internet"):
            _cidr(text)
    ports = [inner.get(f"{end}PortRange")] if inner.get(f"{end}PortRange") else inner.get(f"{end}PortRanges") or []
    if not ports or (inner.get(f"{end}PortRange") and inner.get(f"{end}PortRanges")):
        raise Error(400, "SecurityRuleParameterInvalid", f"Security rule {name} needs either {end}PortRange or {end}PortRanges.")
    for text in ports:
        found = re.fullmatch(r"\*|(\d{1,5})(?:-(\d{1,5}))?", text)
        if not found or (found[1] and not 0 <= int(found[1]) <= int(found[2] or found[1]) <= 65535):
            raise Error(400, "SecurityRuleInvalidPortRange", f"Security rule {name} has invalid port range {text}.")


def _moment(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, tz=datetime.timezone.utc).isoformat().replace("+00:00", "Z")
