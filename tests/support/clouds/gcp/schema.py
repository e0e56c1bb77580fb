# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Compute Engine accepts, by its published description: `compute.v1.json` of the package google-api-python-client.

The description marks few fields as required and none as the server's own; those that matter here are added by hand.
"""

from __future__ import annotations

import base64
import binascii
import functools
import importlib.util
import json
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIX = "/compute/v1/"
_INTEGERS = {"int32": 32, "int64": 64, "uint32": 32, "uint64": 64}
# What the server sets; a client that sends one of these has mistaken something.
OUTPUT = {"creationTimestamp", "id", "selfLink", "selfLinkWithId", "status", "statusMessage", "labelFingerprint", "size"}
# schema -> fields without which an insert is refused, next to those that the description marks.
REQUIRED = {
    "Address": ("name",),
    "Backend": ("group",),
    "BackendService": ("name", "loadBalancingScheme"),
    "BulkInsertInstanceResource": ("count",),
    "Firewall": ("name",),
    "ForwardingRule": ("name", "loadBalancingScheme"),
    "HealthCheck": ("name", "type"),
    "Instance": ("name", "machineType", "disks", "networkInterfaces"),
    "InstanceGroup": ("name",),
    "InstanceProperties": ("machineType", "disks", "networkInterfaces"),
    "Network": ("name",),
    "Router": ("name", "network"),
    "RouterNat": ("name", "sourceSubnetworkIpRangesToNat"),
    "Subnetwork": ("name", "network", "ipCidrRange"),
}
CHANGES = ("patch", "update")


class Refusal(Exception):
    """An error as Google says it.

    :param reason: such as ``invalid``: https://cloud.google.com/compute/docs/troubleshooting/troubleshooting-using-the-api
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


@dataclass(frozen=True)
class Method:
    """A method of the description, such as ``compute.instances.insert``."""

    resource: str
    name: str
    verb: str
    pattern: re.Pattern[str]
    parameters: dict[str, Any]
    request: str


@functools.cache
def description() -> dict[str, Any]:
    """Return the description itself. The package is found and not imported, which would cost a second."""
    spec = importlib.util.find_spec("googleapiclient")
    assert spec and spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "discovery_cache/documents/compute.v1.json"
    return dict(json.loads(path.read_text(encoding="utf-8")))


@functools.cache
def _methods() -> dict[tuple[str, int], list[Method]]:
    found: dict[tuple[str, int], list[Method]] = {}
    for resource, content in description()["resources"].items():
        for name, method in content.get("methods", {}).items():
            path = method.get("flatPath", method["path"])
            pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))
            entry = Method(
                resource, name, method["httpMethod"], pattern, method.get("parameters", {}), method.get("request", {}).get("$ref", "")
            )
            found.setdefault((entry.verb, path.count("/")), []).append(entry)
    return found


@functools.lru_cache(maxsize=4096)
def _find(verb: str, path: str) -> tuple[Method, tuple[tuple[str, str], ...]]:
    for method in _methods().get((verb, path.count("/")), ()):
        match = method.pattern.fullmatch(path)
        if match:
            return method, tuple((name, urllib.parse.unquote(value)) for name, value in match.groupdict().items())
    raise Refusal(404, "notFound", f"The requested URL {PREFIX}{path} was not found on this server.")


def understand(verb: str, url: str, raw: bytes) -> tuple[Method, dict[str, str], dict[str, str], dict[str, Any]]:
    """Return method, path parameters, query and body of a request.

    :raises Refusal: for everything that the description does not allow.
    """
    parts = urllib.parse.urlsplit(url)
    if not parts.path.startswith(PREFIX):
        raise Refusal(404, "notFound", f"The requested URL {parts.path} was not found on this server.")
    method, found = _find(verb, parts.path.removeprefix(PREFIX))
    path = dict(found)
    for name, value in path.items():
        _scalar(name, method.parameters[name], value)
    query: dict[str, str] = {}
    for name, value in urllib.parse.parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)):
        if name.startswith("$"):
            continue
        parameter = method.parameters.get(name) or description()["parameters"].get(name)
        if parameter is None or parameter.get("location") != "query":
            raise Refusal(400, "badRequest", f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter.')
        _scalar(name, parameter, value)
        query[name] = value
    if "requestId" in query and not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", query["requestId"]):
        raise Refusal(400, "invalid", f"Invalid value for field 'requestId': '{query['requestId']}'. Must be a valid UUID.")
    return method, path, query, _body(method, raw)


def _body(method: Method, raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw) if raw.strip() else {}
    except ValueError as error:
        raise Refusal(400, "parseError", f"Invalid JSON payload received. {error}") from error
    if not method.request:
        if body:
            raise Refusal(400, "badRequest", "Invalid JSON payload received: this method takes none.")
        return {}
    check(method.request, body, f"compute.{method.resource}.{method.name}", partial=method.name in CHANGES)
    return dict(body)


def check(schema: str, body: Any, method: str = "", partial: bool = False) -> None:
    """Raise `Refusal` unless ``body`` is what a schema allows in a request.

    :param partial: whether what is not said stays as it is.
    """
    _check("resource", {"$ref": schema}, body, method, partial)


def _check(where: str, schema: dict[str, Any], value: Any, method: str, partial: bool) -> None:
    name = schema.get("$ref", "")
    if name:
        schema = description()["schemas"][name]
    kind = schema.get("type")
    if kind == "array":
        if not isinstance(value, list):
            raise Refusal(400, "invalid", f"Invalid value at '{where}' (list expected), {json.dumps(value)}")
        for number, item in enumerate(value):
            _check(f"{where}[{number}]", schema["items"], item, method, partial)
    elif kind == "object" or "properties" in schema:
        if not isinstance(value, dict):
            raise Refusal(400, "invalid", f"Invalid value at '{where}' (object expected), {json.dumps(value)}")
        _object(where, name, schema, value, method, partial)
    else:
        _scalar(where, schema, value)


def _object(where: str, name: str, schema: dict[str, Any], value: dict[str, Any], method: str, partial: bool) -> None:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    for key, item in value.items():
        if key in properties:
            if key in OUTPUT and where == "resource" and method.endswith((".insert", ".patch")):
                raise Refusal(400, "invalid", f"Invalid value for field '{where}.{key}': it is set by the server only.")
            _check(f"{where}.{key}", properties[key], item, method, partial)
        elif others:
            _check(f"{where}.{key}", others, item, method, partial)
        else:
            raise Refusal(400, "badRequest", f"Invalid JSON payload received. Unknown name \"{key}\" at '{where}': Cannot find field.")
    needed = [key for key, item in properties.items() if method in item.get("annotations", {}).get("required", ())]
    for key in {*needed, *(() if partial else REQUIRED.get(name, ()))}:
        if value.get(key) in (None, "", [], {}) and not (partial and key == "name"):
            raise Refusal(400, "required", f"Invalid value for field '{where}.{key}': ''. Required field '{key}' not specified.")


def _scalar(where: str, schema: dict[str, Any], value: Any) -> None:
    kind, form = schema.get("type"), schema.get("format")
    if form in _INTEGERS:
        low, high = (0, 2 ** _INTEGERS[form]) if form[0] == "u" else (-(2 ** (_INTEGERS[form] - 1)), 2 ** (_INTEGERS[form] - 1))
        text = isinstance(value, (int, str)) and not isinstance(value, bool) and re.fullmatch(r"-?\d+", str(value))
        if not text or not low <= int(value) < high:
            raise Refusal(400, "invalid", f"Invalid value at '{where}' (TYPE_{form.upper()}), {json.dumps(value)}")
    elif kind == "string" and not isinstance(value, str):
        raise Refusal(400, "invalid", f"Invalid value at '{where}' (TYPE_STRING), {json.dumps(value)}")
    elif kind == "integer" and not (isinstance(value, (int, str)) and not isinstance(value, bool) and re.fullmatch(r"-?\d+", str(value))):
        raise Refusal(400, "invalid", f"Invalid value at '{where}' (TYPE_INT32), {json.dumps(value)}")
    elif kind == "number" and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise Refusal(400, "invalid", f"Invalid value at '{where}' (TYPE_DOUBLE), {json.dumps(value)}")
    elif kind == "boolean" and value not in (True, False, "true", "false"):
        raise Refusal(400, "invalid", f"Invalid value at '{where}' (TYPE_BOOL), {json.dumps(value)}")
    if form == "byte":
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Refusal(400, "invalid", f"Invalid value at '{where}' (TYPE_BYTES), Base64 decoding failed for \"{value}\"") from error
    if "enum" in schema and value not in schema["enum"]:
        raise Refusal(400, "invalid", f"Invalid value for field '{where}': '{value}'. Must be one of {', '.join(schema['enum'][:8])}")
    if "pattern" in schema and not re.fullmatch(schema["pattern"], str(value)):
        raise Refusal(400, "invalid", f"Invalid value for field '{where}': '{value}'. Must be a match of regex '{schema['pattern']}'")


def fields(schema: str, value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, dict[str, Any]]]:
    """Yield path, value and schema of everything in a good body: for those who break one thing at a time."""
    yield from _fields({"$ref": schema}, value, path)


def _fields(schema: dict[str, Any], value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, dict[str, Any]]]:
    schema = description()["schemas"][schema["$ref"]] if "$ref" in schema else schema
    if path:
        yield path, value, schema
    if isinstance(value, dict):
        for key, item in value.items():
            inner = schema.get("properties", {}).get(key) or schema.get("additionalProperties")
            yield from _fields(inner, item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _fields(schema["items"], item, (*path, str(number)))
