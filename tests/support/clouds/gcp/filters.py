# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of Compute Engine's lists: https://cloud.google.com/compute/docs/reference/rest/v1/instances/list."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from clouds.gcp.schema import Refusal

Test = Callable[[dict[str, Any]], bool]
_TOKEN = re.compile(r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<mark>\(|\)|!=|>=|<=|=|<|>|:)|(?P<word>[^\s()=!<>:"]+))')


@functools.lru_cache(maxsize=1024)
def compiled(expression: str) -> Test:
    """Return what tells of an object whether a filter lets it through: comparisons, AND, OR, NOT and brackets."""
    tokens, position = list[str](), 0
    text = expression.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise _wrong(expression)
        tokens.append(match.group().strip())
        position = match.end()
    test, left = _either(tokens, expression)
    if left:
        raise _wrong(expression)
    return test


def _wrong(expression: str) -> Refusal:
    return Refusal(400, "invalid", f"Invalid value for field 'filter': '{expression}'. Invalid list filter expression.")


def _either(tokens: list[str], whole: str) -> tuple[Test, list[str]]:
    test, tokens = _both(tokens, whole)
    tests = [test]
    while tokens and tokens[0] == "OR":
        test, tokens = _both(tokens[1:], whole)
        tests.append(test)
    return (lambda item: any(one(item) for one in tests)), tokens


def _both(tokens: list[str], whole: str) -> tuple[Test, list[str]]:
    test, tokens = _one(tokens, whole)
    tests = [test]
    while tokens and tokens[0] not in ("OR", ")"):
        test, tokens = _one(tokens[1:] if tokens[0] == "AND" else tokens, whole)
        tests.append(test)
    return (lambda item: all(one(item) for one in tests)), tokens


def _one(tokens: list[str], whole: str) -> tuple[Test, list[str]]:
    if tokens[:1] == ["("]:
        test, tokens = _either(tokens[1:], whole)
        if tokens[:1] != [")"]:
            raise _wrong(whole)
        return test, tokens[1:]
    if tokens[:1] == ["NOT"]:
        test, tokens = _one(tokens[1:], whole)
        return (lambda item: not test(item)), tokens
    if len(tokens) < 3:
        raise _wrong(whole)
    name, mark, wanted = tokens[0], tokens[1], tokens[2].strip('"').replace('\\"', '"')

    def value(item: dict[str, Any]) -> str | None:
        found: Any = item
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if found is None:
            return None
        return str(found).lower() if isinstance(found, bool) else str(found)

    tests: dict[str, Test] = {
        "=": lambda item: value(item) == wanted,
        "!=": lambda item: value(item) != wanted,
        ":": lambda item: value(item) is not None if wanted == "*" else wanted in (value(item) or ""),
        "eq": lambda item: re.fullmatch(wanted, value(item) or "") is not None,
        "ne": lambda item: re.fullmatch(wanted, value(item) or "") is None,
    }
    if mark not in tests:
        raise _wrong(whole)
    return tests[mark], tokens[3:]
