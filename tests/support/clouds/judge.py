# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an endpoint holds, and what of it should not be there. Imports nothing of plugins/: it judges them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Thing:
    """One object at an endpoint.

    :param kind: the cloud's word for what it is.
    :param owner: name of the cluster whose tags it carries, or empty.
    :param attributes: what must be the same whenever the same was asked for: no address that the cloud chose, no time. Ids of other
        things may be in it.
    :param bare: whether only its existence is known.
    """

    kind: str
    id: str
    owner: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    bare: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.id

    def __str__(self) -> str:
        return f"{self.kind} {self.id} ({self.owner or 'nobody'})"


@dataclass(frozen=True)
class Machine:
    """A machine that lives at the endpoint, as the judge needs it."""

    id: str
    pool: str
    zone: str


def disturbed(before: Iterable[Thing], after: Iterable[Thing]) -> list[str]:
    """Return what is wrong with things that were there before anybody did anything, and must be as they were."""
    found, wrong = {thing.key: thing for thing in after}, []
    for thing in before:
        other = found.get(thing.key)
        if other is None:
            wrong.append(f"{thing} is gone, and was never ours")
        elif (other.tags, other.attributes) != (thing.tags, thing.attributes):
            wrong.append(f"{thing} was never ours and has changed: {thing.tags} {thing.attributes} -> {other.tags} {other.attributes}")
    return wrong


def added(before: Iterable[Thing], after: Iterable[Thing]) -> list[Thing]:
    """Return what has come: after a destroy all of it is orphans, whatever tags it carries."""
    old = {thing.key for thing in before}
    return [thing for thing in after if thing.key not in old]


def shapes(things: Iterable[Thing], volatile: Iterable[str], ignored: Iterable[str] = ()) -> Counter[str]:
    """Return what things are, without who they are, and how often there is one like it.

    :param volatile: tags whose values are drawn at random, and may be part of names.
    :param ignored: attributes that may differ.
    """
    things = list(things)
    words = {thing.id: f"<{thing.kind}>" for thing in things}
    for thing in things:
        words.update({thing.tags[tag]: f"<{tag}>" for tag in volatile if len(thing.tags.get(tag, "")) > 3})
    longest = sorted(words, key=len, reverse=True)

    def mask(value: Any) -> Any:
        if isinstance(value, str):
            for word in longest:
                value = value.replace(word, words[word])
            return value
        if isinstance(value, dict):
            return {mask(key): mask(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return sorted((mask(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
        return value

    def shape(thing: Thing) -> str:
        if thing.bare:
            return thing.kind
        attributes = {key: value for key, value in thing.attributes.items() if key not in ignored}
        return f"{thing.kind} {json.dumps(mask({'tags': thing.tags, **attributes}), sort_keys=True)}"

    return Counter(shape(thing) for thing in things)


def compare(wanted: Counter[str], found: Counter[str]) -> list[str]:
    """Return what is there too often (orphans and duplicates) and what is missing, in words."""
    extra = [f"{number} too many: {shape}" for shape, number in sorted((found - wanted).items())]
    return extra + [f"{number} missing: {shape}" for shape, number in sorted((wanted - found).items())]


def check_machines(wanted: dict[str, int], found: Iterable[Machine]) -> list[str]:
    """Return what is wrong with the number of machines per pool."""
    counts = Counter(machine.pool for machine in found)
    pools = sorted({*wanted, *counts})
    return [
        f"pool {pool} has {counts[pool]} machines and wants {wanted.get(pool, 0)}" for pool in pools if counts[pool] != wanted.get(pool, 0)
    ]
