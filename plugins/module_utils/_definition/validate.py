# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tree against the schema, with errors that people understand (private to flotilla.kubernetes).

The check itself is the library jsonschema's; here its errors get a place, a reason and a way out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import Problem, nearest, path_text, short
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.schema import SCHEMA_VERSION, cluster_schema, file_schema
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.tree import Node, plain
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError

_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "object": "keys and values",
    "array": "a list",
    "boolean": "true or false",
    "null": "null",
}


@cache
def _validator(kind: str) -> Any:
    """Return the compiled validator of one kind of file, or of the merged definition (``complete``)."""
    try:
        from jsonschema import Draft202012Validator, validators
    except ImportError as error:
        raise FlotillaError(
            "REQUIREMENT_MISSING",
            "Checking cluster definitions needs the Python library jsonschema (4.0 or newer) on the controller.",
            "Install it: pip install -r requirements.txt of the collection.",
            cause=error,
        ) from error
    # JSON Schema takes 3.0 for an integer; a definition that says 3.0 is a mistake.
    types = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _checker, value: isinstance(value, int) and not isinstance(value, bool)
    )
    schema = cluster_schema() if kind == "complete" else file_schema(kind)
    return validators.extend(Draft202012Validator, type_checker=types)(schema)


def check(node: Node, kind: str) -> tuple[list[Problem], list[tuple[str | int, ...]]]:
    """Check a tree against the schema of its kind.

    :param kind: ``cluster``, ``cluster_class``, ``network_profile``, ``policy_profile``, or ``complete`` for the merged definition.
    :return: the problems, and the paths whose values can not be used.
    """
    problems, invalid = [], []
    for error in _validator(kind).iter_errors(plain(node)):
        for path, found in _problems(node, error):
            invalid.append(path)
            if found is not None:
                problems.append(found)
    return problems, invalid


def _problems(root: Node, error: Any) -> Iterator[tuple[tuple[str | int, ...], Problem | None]]:
    """Translate one error of jsonschema."""
    path = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        for key in error.instance:
            if key not in known:
                yield (*path, key), _unknown_key(root, (*path, key), known)
        return
    if error.validator == "required":
        for key in error.validator_value:
            if key not in error.instance:
                yield (*path, key), _missing_key(root, (*path, key), error.schema)
        return
    if "propertyNames" in error.absolute_schema_path:
        path = (*path, error.instance)
    node = root.nearest(path)
    written = short(node.text) if node.text or not isinstance(node.value, (dict, list)) else _TYPES[_type(node.value)]
    allowed = _allowed(error)
    hint = _hint(path, error, node, allowed)
    message = hint[0] if hint else _message(error, node, written, allowed)
    suggestion = hint[1] if hint else _nearest_value(error)
    if suggestion and not hint:
        message += f' Did you mean "{suggestion}"?'
    yield path, Problem(node.file, node.line, path_text(path), message, written, allowed, suggestion)


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return {int: "integer", float: "number", str: "string", dict: "object", list: "array"}[type(value)]


def _allowed(error: Any) -> str:
    """Return what may stand in the place, in words."""
    schema, keyword, limit = error.schema, error.validator, error.validator_value
    if keyword == "enum":
        return _either([_yaml(value) for value in limit])
    if keyword == "const":
        return _yaml(limit)
    if keyword == "type" and "enum" in schema:
        return _either([_yaml(value) for value in schema["enum"]])
    if "x-allowed" in schema:
        return schema["x-allowed"]
    if keyword == "type":
        return _either([_TYPES[name] for name in ([limit] if isinstance(limit, str) else limit)])
    words = {
        "minimum": f"{limit} or more",
        "maximum": f"at most {limit}",
        "minItems": f"a list of at least {limit}",
        "maxItems": f"a list of at most {limit}",
        "maxLength": f"at most {limit} characters",
        "minLength": f"at least {limit} characters",
        "uniqueItems": "a list without repetitions",
    }
    return words.get(keyword, "")


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def _yaml(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def _message(error: Any, node: Node, written: str, allowed: str) -> str:
    if error.validator == "enum" and error.instance in error.schema.get("x-later", ()):
        return f"is {written}, which is not in this release yet; allowed: {allowed}."
    if node.value is None and error.instance is None:
        return f"is empty; must be {allowed}."
    if error.validator == "type":
        if isinstance(node.value, (dict, list)):
            return f"is {written}; must be {allowed}."
        wanted = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        quote = f' Quote it: "{node.text}".' if "string" in wanted and "array" not in wanted else ""
        return f"is {written} ({_TYPES[_type(node.value)]}); must be {allowed}.{quote}"
    if error.validator == "enum":
        return f"is {written or 'empty'}; allowed: {allowed}."
    if error.validator == "uniqueItems":
        return "holds a value twice; must be a list without repetitions."
    if error.validator in ("minItems", "maxItems"):
        return f"has {len(error.instance)} entries; must be {allowed}."
    if "propertyNames" in error.absolute_schema_path:
        return f"the key {short(str(error.instance))} must be {allowed}."
    return f"is {written or 'empty'}; must be {allowed}."


def _nearest_value(error: Any) -> str:
    if error.validator == "enum" and isinstance(error.instance, str) and error.instance not in error.schema.get("x-later", ()):
        return nearest(error.instance, [value for value in error.validator_value if isinstance(value, str)])
    return ""


def _hint(path: tuple[str | int, ...], error: Any, node: Node, allowed: str) -> tuple[str, str] | None:
    """Return message and suggestion where more can be said than the schema knows."""
    text, value = short(node.text), error.instance
    if path == ("kubernetes_version",):
        if error.validator == "type" and isinstance(value, (int, float)):
            return f'is {text}, which YAML reads as a number; write the exact version as a text of three parts: "{text}.<patch>".', ""
        plain_version = re.fullmatch(r"v(1\.[0-9]+\.[0-9]+)", str(value))
        if plain_version:
            return f"is {text}; write it without the leading v: {plain_version.group(1)}.", plain_version.group(1)
        if re.fullmatch(r"v?1\.[0-9]+", str(value)):
            return f"is {text}, a minor version; write an exact version of three parts: {text.lstrip('v')}.<patch>.", ""
    if path == ("control_plane", "count") and error.validator == "enum" and isinstance(value, int) and value > 0:
        if value % 2 == 0:
            why = f"etcd needs a majority, so {value} machines survive no more failures than {value - 1}"
            return f"is {value}; allowed: {allowed}, because {why}.", str(min(value + 1, 7))
        return f"is {value}; allowed: {allowed}, because more members make etcd slower, not safer.", "7"
    if path == ("schema",) and isinstance(value, int) and not isinstance(value, bool) and value > SCHEMA_VERSION:
        return f"is {value}, newer than this release of the collection knows ({SCHEMA_VERSION}); update the collection.", str(
            SCHEMA_VERSION
        )
    if len(path) > 1 and path[-2] == "taints" and isinstance(value, str):
        return f"is {text}; write a taint as {allowed}.", ""
    return None


def _unknown_key(root: Node, path: tuple[str | int, ...], known: list[str]) -> Problem:
    node, key = root.nearest(path), str(path[-1])
    allowed = ", ".join(sorted(known))
    guess = nearest(key, known)
    elsewhere = "" if guess else _elsewhere(key)
    message = "unknown key"
    if guess:
        message += f'; did you mean "{guess}"?'
    elif elsewhere:
        message += f"; it belongs to {elsewhere}."
    else:
        message += "."
    return Problem(node.file, node.line, path_text(path), f"{message} Known here: {allowed}.", key, allowed, guess or elsewhere)


def _elsewhere(key: str) -> str:
    """Return the only place in the schema that has such a key, e.g. ``local.network_cidr``; empty if there is none or several."""
    found = []

    def walk(schema: dict[str, Any], place: str) -> None:
        for name, part in schema.get("properties", {}).items():
            below = f"{place}.{name}" if place else name
            if name == key:
                found.append(below)
            walk(part, below)
            walk(part.get("items", {}), f"{below}[]")

    walk(cluster_schema(), "")
    return found[0] if len(found) == 1 else ""


def _missing_key(root: Node, path: tuple[str | int, ...], schema: dict[str, Any]) -> Problem:
    node = root.nearest(path)
    part = schema["properties"][path[-1]]
    example = {"plugin": f'; write as the first line "plugin: {part.get("const")}"', "schema": f"; write schema: {SCHEMA_VERSION}"}
    more = example.get(str(path[-1]), f": {part['description'][0].lower()}{part['description'][1:].rstrip('.')}")
    return Problem(node.file, node.line, path_text(path), f"is missing{more}.", "", part.get("x-allowed", ""))
