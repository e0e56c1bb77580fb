# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Things of Google Cloud that have a name of their own, and how they become what is wanted (private to flotilla.kubernetes).

Names are unique, so nothing is made twice: a thing that an interrupted run made is found by its name, or refuses to be made again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Callable

from ..._errors import FlotillaError
from ..._machines.cloud import CloudError, NotFound
from ..patience import CONSISTENCY
from . import layout as names
from .errors import AlreadyExists
from .layout import Place
from .session import Entry, Session

_AT_ONCE = 8
_ROUNDS = 6


@dataclass(frozen=True)
class Kind:
    """:param service: as the SDK calls it.

    :param argument: of its methods, the thing's name.
    :param scope: ``zone``, ``region`` or nothing.
    :param guarded: whether a change has to show the fingerprint of what it changes.
    """

    words: str
    service: str
    argument: str
    scope: str = ""
    guarded: bool = False


NETWORK = Kind("network", "networks", "network")
SUBNETWORK = Kind("subnetwork", "subnetworks", "subnetwork", "region", guarded=True)
ROUTER = Kind("router", "routers", "router", "region")
ADDRESS = Kind("address", "addresses", "address", "region")
FIREWALL = Kind("firewall rule", "firewalls", "firewall")
HEALTH_CHECK = Kind("health check", "region_health_checks", "health_check", "region")
BACKEND = Kind("backend service", "region_backend_services", "backend_service", "region", guarded=True)
FORWARDING = Kind("forwarding rule", "forwarding_rules", "forwarding_rule", "region")
GROUP = Kind("instance group", "instance_groups", "instance_group", "zone")


@dataclass(frozen=True)
class Key:
    """Which thing: ``zone`` for what is in one."""

    kind: Kind
    name: str
    zone: str = ""

    def __str__(self) -> str:
        return f"{self.kind.words} {self.name}{f' in {self.zone}' if self.zone else ''}"


@dataclass(frozen=True)
class Wanted:
    """What a thing is to be like.

    :param role: what it is for, in its mark.
    :param body: its fields but name and description.
    :param fixed: those of them that Google can not change.
    """

    key: Key
    role: str
    body: Entry
    fixed: tuple[str, ...] = ()
    reason: str = ""


@dataclass
class Stock:
    """What there is of a cluster, under the names that the cluster gives.

    :param project: of these things.
    """

    session: Session
    where: Place
    project: str
    items: dict[Key, Entry] = field(default_factory=dict)

    def place(self, key: Key) -> Entry:
        """Return the parameters that say where a thing is."""
        scope = {"zone": key.zone, "region": self.where.region}
        return {"project": self.project, **({key.kind.scope: scope[key.kind.scope]} if key.kind.scope else {})}

    def look(self, *keys: Key) -> None:
        """Read things, several at once."""

        def read(key: Key) -> Entry | None:
            return self.session.get(key.kind.service, **self.place(key), **{key.kind.argument: key.name})

        for key, found in zip(keys, _at_once(read, keys)):
            self.put(key, found)

    def put(self, key: Key, found: Entry | None) -> None:
        self.items.pop(key, None)
        if found:
            self.items[key] = found

    def check(self, uid: str = "") -> None:
        """Fail when something under one of the cluster's names belongs to somebody else."""
        for key, entry in self.items.items():
            names.check_owner(names.marks(entry.get("description")), self.where, uid, f"The {key}")

    def uids(self) -> list[str]:
        return sorted({names.marks(entry.get("description")).get(names.TAG_UID, "") for entry in self.items.values()} - {""})

    def insert(self, wanted: Wanted, uid: str) -> Entry:
        """Begin to make a thing, and return the operation."""
        marks = self.where.own_tags(wanted.role, uid)
        body = {"name": wanted.key.name, "description": names.describe(marks, wanted.reason), **wanted.body}
        return self.session.change(wanted.key.kind.service, "insert", body, **self.place(wanted.key))

    def patch(self, wanted: Wanted) -> Entry:
        """Begin to change a thing, and return the operation. When somebody else has changed it meanwhile, it is read again before."""
        key = wanted.key
        place = {**self.place(key), key.kind.argument: key.name}
        body = {name: value for name, value in wanted.body.items() if name not in wanted.fixed}
        if key.kind is FIREWALL:
            body["name"] = key.name
        tries = 0
        while True:
            guard = {"fingerprint": self.items[key]["fingerprint"]} if key.kind.guarded else {}
            try:
                return self.session.change(key.kind.service, "patch", {**body, **guard}, **place)
            except CloudError as error:
                tries += 1
                if error.details.get("gcp_reason") != "conditionNotMet" or tries == _ROUNDS:
                    raise
            self.session.clock.sleep(CONSISTENCY)
            self.items[key] = self.session.repeat(key.kind.service, "get", **place)

    def delete(self, key: Key) -> Entry | None:
        """Begin to delete a thing, and return the operation; nothing for one that is gone."""
        try:
            return self.session.change(key.kind.service, "delete", **self.place(key), **{key.kind.argument: key.name})
        except NotFound:
            return None

    def link(self, key: Key) -> str:
        """Return the URL of a thing, there or not, without its beginning."""
        collection = re.sub(r"_(.)", lambda found: found.group(1).upper(), key.kind.service.removeprefix("region_"))
        scope = {"zone": f"zones/{key.zone}", "region": f"regions/{self.where.region}", "": "global"}[key.kind.scope]
        return f"projects/{self.project}/{scope}/{collection}/{key.name}"


def plain(value: Any) -> Any:
    """Return a value such that equal ones are equal, however Google writes them: links without their beginning, lists in order."""
    if isinstance(value, str):
        return re.sub(r"^https?://[^/]+/compute/[a-z0-9]+/", "", value)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return sorted((plain(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def _within(wanted: Any, have: Any) -> Any:
    """Return of what there is the part that something is wanted of."""
    if isinstance(wanted, dict) and isinstance(have, dict):
        return {name: _within(item, have.get(name)) for name, item in wanted.items()}
    if isinstance(wanted, list) and isinstance(have, list) and len(wanted) == len(have) and all(isinstance(item, dict) for item in wanted):
        first, second = (sorted(items, key=lambda item: str(item.get("name") or plain(item))) for items in (wanted, have))
        return [_within(one, other) for one, other in zip(first, second)]
    return have


def differences(wanted: Wanted, have: Entry) -> list[str]:
    """Return the names of the fields that are not as wanted."""
    return [name for name, value in wanted.body.items() if plain(_within(value, have.get(name))) != plain(value)]


def state(wanted: Wanted, have: Entry | None = None) -> Entry:
    """Return what a diff shows of a thing: as it is wanted, or as it is."""
    if have is None:
        return dict(plain(wanted.body))
    return {name: plain(_within(value, have.get(name))) for name, value in wanted.body.items()}


@dataclass
class Changes:
    """The changes of one run, in waves: those of one wave need nothing of each other.

    :param fixed_remedy: what to do when something differs that can not change.
    """

    stock: Stock
    uid: str
    fixed_remedy: str
    waves: list[list[tuple[str, Callable[[], Entry | None]]]] = field(default_factory=list)
    before: Entry = field(default_factory=dict)
    after: Entry = field(default_factory=dict)
    creates: bool = False

    def __bool__(self) -> bool:
        return any(self.waves)

    def wave(self, things: Iterable[Wanted], surplus: Iterable[Key] = ()) -> None:
        """Plan that things are as wanted, and others not there."""
        actions: list[tuple[str, Callable[[], Entry | None]]] = []
        for wanted in things:
            have, title = self.stock.items.get(wanted.key), str(wanted.key)
            self.after[title] = state(wanted)
            if have is None:
                self.creates = True
                actions.append((f"make the {title}", lambda wanted=wanted: self.stock.insert(wanted, self.uid)))
                continue
            self.before[title] = state(wanted, have)
            differing = differences(wanted, have)
            fixed = [name for name in differing if name in wanted.fixed]
            if fixed:
                raise FlotillaError(
                    "GCP_FIXED",
                    f"The {title} has {', '.join(f'{name} {plain(have.get(name))}' for name in fixed)}, and the definition asks for"
                    f" {', '.join(str(plain(wanted.body[name])) for name in fixed)}: Google Cloud can not change that.",
                    self.fixed_remedy,
                )
            if differing:
                actions.append((f"set {', '.join(differing)} of the {title}", lambda wanted=wanted: self.stock.patch(wanted)))
        for key in surplus:
            if key in self.stock.items:
                self.before[str(key)] = {}
                actions.append((f"delete the {key}", lambda key=key: self.stock.delete(key)))
        self.waves.append(actions)

    def make(self) -> bool:
        """Do everything; returns False when something was there already that was not seen, so that it is to be planned anew."""
        for wave in self.waves:
            try:
                operations = _at_once(lambda action: action[1](), wave)
                self.stock.session.finish(operation for operation in operations if operation)
            except (AlreadyExists, NotFound):
                return False
        return True


def remove(stock: Stock, waves: Sequence[Sequence[Key]]) -> None:
    """Delete things, those of one wave at once."""
    for wave in waves:
        operations = _at_once(stock.delete, [key for key in wave if key in stock.items])
        for operation in operations:
            try:
                stock.session.finish([operation] if operation else [])
            except NotFound:
                continue


def converge(first: Changes, again: Callable[[], Changes], check_mode: bool) -> bool:
    """Do a plan, or with ``check_mode`` nothing, and return whether there was something to do.

    :param again: reads and plans anew: a read may lag, so that a plan may want to make what is there.
    """
    changes, clock = first, first.stock.session.clock
    for _number in range(_ROUNDS):
        if check_mode or changes.make():
            return bool(first)
        clock.sleep(CONSISTENCY)
        changes = again()
    raise FlotillaError(
        "GCP_UNSETTLED",
        f"Things of cluster '{changes.stock.where.cluster}' come and go while this runs.",
        "See that nothing else changes them, and run again.",
    )


def _at_once(do: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Return what ``do`` returns for each item; all of them have ended when this raises what the first one raised."""
    if len(items) <= 1:
        return [do(item) for item in items]
    with ThreadPoolExecutor(min(_AT_ONCE, len(items))) as executor:
        futures = [executor.submit(do, item) for item in items]
    return [future.result() for future in futures]
