# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a body of NSX's Policy API may hold, by the bindings of the package vcf-nsx.

The package takes ten seconds and much memory to import, so its sources are read as text: each binding lists the fields of a document with
their types, each class says in its documentation which values a field takes, its bounds and whether it is the manager's own, and each stub
says which routes there are. What all of that leaves open and a manager refuses all the same is in `REQUIRED`.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIX = "/policy/api/v1"
# struct -> fields that a manager demands although the bindings have none that are required.
REQUIRED = {
    "Tag": (),
    "SegmentSubnet": ("gateway_address",),
    "SegmentDhcpV4Config": ("resource_type",),
    "IpAddressPoolBlockSubnet": ("resource_type", "ip_block_path", "size"),
    "IpAddressPoolStaticSubnet": ("resource_type", "cidr", "allocation_ranges"),
    "IpPoolRange": ("start", "end"),
    "PolicyNatRule": ("action",),
    "LBHttpsMonitorProfile": ("resource_type",),
    "LBFastTcpProfile": ("resource_type",),
    "LBSnatAutoMap": ("type",),
    "LBPoolMember": ("ip_address",),
    "LBVirtualServer": ("ip_address", "ports", "application_profile_path"),
    "LBAccessListControl": ("action", "group_path"),
    "Rule": ("id", "action", "source_groups", "destination_groups", "services", "scope"),
    "L4PortSetServiceEntry": ("resource_type", "l4_protocol"),
    "PathExpression": ("resource_type", "paths"),
    "IPAddressExpression": ("resource_type", "ip_addresses"),
    "IpAddressBlock": ("cidr",),
}
# Where the bindings know only the general struct: how its kinds are told apart.
_KINDS = {"LBSnatTranslation": "type"}
_COMMON = ("_create_user", "_create_time", "_last_modified_user", "_last_modified_time", "_system_owned", "_protection", "_self", "_links")


class Refused(Exception):
    """A request that a manager answers with an error."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Field:
    """:param kind: the binding's words for the type, without what makes it optional."""

    kind: str
    values: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    longest: int | None = None
    own: bool = False


@dataclass(frozen=True)
class Route:
    """:param body: the struct of the request's body; empty where it has none."""

    method: str
    template: str
    pattern: re.Pattern[str]
    query: frozenset[str]
    body: str
    answer: str


def _root() -> Path:
    found = importlib.util.find_spec("vcf")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("The package vcf-nsx is not there; tools/setup installs it.")
    return Path(next(iter(found.submodule_search_locations))) / "nsx"


@functools.cache
def _text() -> str:
    return (_root() / "model_client.py").read_text()


@functools.cache
def _classes() -> dict[str, tuple[int, int]]:
    """Return of each class where its text begins and ends."""
    starts = [(found.group(1), found.start()) for found in re.finditer(r"^class (\w+)\(", _text(), re.M)]
    ends = [start for _name, start in starts[1:]] + [len(_text())]
    return {name: (start, end) for (name, start), end in zip(starts, ends)}


def _class(name: str) -> str:
    start, end = _classes()[name]
    return _text()[start:end]


@functools.cache
def fields(struct: str) -> dict[str, Field]:
    """Return the fields of a struct by their names on the wire."""
    text = _class(struct)
    body = re.search(r"_set_binding_type\(type\.(?:Struct|Error)Type\(\n\s+'[^']+', \{\n(.*?)\n    \},", text, re.S)
    found = re.findall(r"^\s+'([^']+)': (.*),$", body.group(1), re.M) if body else []
    return {name: _field(text, name, kind) for name, kind in found}


def _field(text: str, name: str, kind: str) -> Field:
    optional = re.fullmatch(r"type\.OptionalType\((.*)\)", kind)
    kind = optional.group(1) if optional else kind
    said = re.search(rf"\n        :type  {re.escape(name.lstrip('_'))}_?:.*?(?=\n        :type  |\n        \"\"\")", text, re.S)
    words = said.group(0) if said else ""
    constants = re.findall(r"\*\s+vcf\.nsx\.model\.(\w+)\.(\w+)", words)
    bounds = {end: re.search(rf"{end} allowable value must be [<>]= (-?\d+)", words) for end in ("minimum", "maximum")}
    length = re.search(r"maximum length of the string must be (\d+)", words)
    return Field(
        kind,
        tuple(value for owner, constant in constants for value in _constants(owner).get(constant, ())),
        *(float(bounds[end].group(1)) if bounds[end] else None for end in ("minimum", "maximum")),  # type: ignore[union-attr]
        int(length.group(1)) if length else None,
        own="Property is read-only" in words or name in _COMMON,
    )


@functools.cache
def _constants(struct: str) -> dict[str, tuple[str, ...]]:
    if struct not in _classes():
        return {}
    return {name: (value,) for name, value in re.findall(r'^    ([A-Z][A-Z0-9_]*) = "([^"]*)"$', _class(struct), re.M)}


@functools.cache
def routes() -> tuple[Route, ...]:
    """Return the routes of what is local to one manager."""
    folder = _root() / "policy" / "api" / "v1"
    files = [folder / "infra_client.py", folder / "search_client.py", *sorted((folder / "infra").rglob("*_client.py"))]
    return tuple(route for file in files for route in _routes(file.read_text()))


def _routes(text: str) -> Iterator[Route]:
    answers = dict(re.findall(r"^\s+'(\w+)': \{\n\s+'input_type': .*\n\s+'output_type': (.*),$", text, re.M))
    # One part for each operation: a stub's text is long.
    for part in text.split("        # properties for ")[1:]:
        name = part.partition(" ")[0]
        method, template = (re.search(rf"{key}='([^']+)'", part) for key in ("http_method", "url_template"))
        if not method or not template:
            continue
        parameter = re.search(r"request_body_parameter='(\w+)'", part)
        given = re.search(rf"^            '{parameter.group(1)}': (.*),$", part, re.M) if parameter else None
        pattern = re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template.group(1))))
        query = frozenset(re.findall(r"'(\w+)': 'form'", part))
        body = _struct(given.group(1)) if given else ""
        yield Route(method.group(1), template.group(1), pattern, query, body, _struct(answers.get(name, "")))


@functools.cache
def _struct(kind: str) -> str:
    """Return the struct that a type in the bindings' words refers to."""
    found = re.findall(r"ReferenceType\((?:__name__|'[^']+'), '(\w+)'\)", kind)
    return found[-1] if found else ""


@functools.cache
def _by_shape() -> dict[tuple[str, int], list[Route]]:
    found: dict[tuple[str, int], list[Route]] = {}
    for one in routes():
        found.setdefault((one.method, one.template.count("/")), []).append(one)
    return found


@functools.cache
def route(method: str, path: str) -> Route:
    """Return the route of a request.

    :raises Refused: there is none.
    """
    for one in _by_shape().get((method, path.count("/")), ()):
        if one.pattern.fullmatch(path):
            return one
    raise Refused(404, 258, f"The requested URI: {path} could not be found")


def check(struct: str, value: Any, *, partial: bool = False, where: str = "") -> dict[str, Any]:
    """Return a body without what is the manager's own, which it ignores.

    :param partial: whether what is required may be there already.
    :raises Refused: a field that is unknown, missing, of another type, out of bounds or not among its values.
    """
    if not isinstance(value, dict):
        raise Refused(400, 287, f"Json de-serialization error: cannot deserialize {where or struct}, an object is expected.")
    struct = kind_of(struct, value)
    known = fields(struct)
    found = {}
    for name, item in value.items():
        if name not in known:
            raise Refused(400, 287, f"Json de-serialization error: property {name} is unrecognized.")
        place = f"{where}.{name}".lstrip(".")
        checked = _value(known[name], item, place)
        if item is None:
            continue
        if not known[name].own:
            found[name] = checked
    missing = [name for name in REQUIRED.get(struct, ()) if found.get(name) in (None, "")]
    if missing and not partial:
        raise Refused(400, 255, f"Field level validation errors: {{{where + '.' if where else ''}{missing[0]} is a required property}}")
    return found


def kind_of(struct: str, value: dict[str, Any]) -> str:
    """Return the struct that a document is of: one that says which kind of a general one it is."""
    said = value.get(_KINDS.get(struct, "resource_type"))
    if said is None or said == struct:
        return struct
    if isinstance(said, str) and _is_kind(said, struct):
        return said
    raise Refused(400, 287, f"Json de-serialization error: {said!r} is no kind of {struct}.")


@functools.cache
def _is_kind(said: str, struct: str) -> bool:
    return said in _classes() and set(fields(struct)) - set(_COMMON) <= set(fields(said))


def _value(field: Field, value: Any, where: str) -> Any:
    if value is None:
        return None
    kind = field.kind
    inner = re.fullmatch(r"type\.ListType\((.*)\)", kind)
    if inner:
        if not isinstance(value, list):
            raise Refused(400, 287, f"Json de-serialization error: {where} is not a list.")
        one = Field(inner.group(1), field.values, field.low, field.high)
        return [_value(one, item, f"{where}[{number}]") for number, item in enumerate(value)]
    if _struct(kind):
        return check(_struct(kind), value, where=where)
    kinds: dict[str, Any] = {"String": str, "Integer": int, "Boolean": bool, "Double": (int, float)}
    plain = re.fullmatch(r"type\.(\w+)Type\(\)", kind)
    wanted = kinds.get(plain.group(1)) if plain else dict
    if not isinstance(value, wanted) or (wanted is not bool and isinstance(value, bool)):
        raise Refused(400, 287, f"Json de-serialization error: {value!r} at {where} is of another type.")
    if field.values and value not in field.values:
        raise Refused(400, 255, f"Field level validation errors: {{value {value} of property {where} is not one of the allowed values}}")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and not (field.low if field.low is not None else value) <= value <= (field.high if field.high is not None else value):
        raise Refused(400, 255, f"Field level validation errors: {{value {value} of property {where} is out of its bounds}}")
    if field.longest is not None and isinstance(value, str) and len(value) > field.longest:
        raise Refused(400, 255, f"Field level validation errors: {{value of property {where} is longer than {field.longest}}}")
    return value


def everything(struct: str, value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Field | None]]:
    """Yield path, value and field of everything in a good body: for those who break one thing at a time."""
    known = fields(kind_of(struct, value))
    for name, item in value.items():
        yield (*path, name), item, known[name]
        inner = _struct(known[name].kind)
        if inner:
            parts = [(str(number), part) for number, part in enumerate(item)] if isinstance(item, list) else [("", item)]
            for number, part in parts:
                yield from everything(inner, part, (*path, name, *([number] if number else [])))
