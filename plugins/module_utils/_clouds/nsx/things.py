# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The things of a cluster in NSX: read, written and removed (private to flotilla.kubernetes)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..._errors import FlotillaError
from ..patience import CONSISTENCY
from ..result import Result
from . import intent, layout
from .errors import Stale
from .layout import Entry, Place
from .session import Session

_ROUNDS = 6
_DECISIONS = 5
"""How often it is decided anew because somebody else changed the same things meanwhile."""
# What refers to others goes before them.
_ORDER = tuple(
    re.compile(part)
    for part in (
        r"/lb-virtual-servers/",
        r"/lb-pools/",
        r"/lb-(app|monitor)-profiles/",
        r"/lb-services/",
        r"/security-policies/",
        r"/groups/",
        r"/nat/",
        r"^/infra/segments/",
        r"/dhcp-server-configs/",
        r"/ip-allocations/",
        r"/locale-services/",
        r"^/infra/tier-1s/[^/]+$",
        r"/ip-subnets/",
        r"/ip-pools/[^/]+$",
    )
)
# Of these nobody says that they are made before something uses them.
_NOT_AWAITED = re.compile(r"/(lb-(app|monitor)-profiles|dhcp-server-configs|locale-services)/|/ip-pools/[^/]+$")


@dataclass(frozen=True)
class Wanted:
    """A thing that is to be there.

    :param body: what is decided about it; None where that hangs on what is not made yet.
    :param fixed: what can not change -> the definition's key and why.
    """

    path: str
    body: Entry | None
    fixed: dict[str, str] = field(default_factory=dict)


class Stock:
    """What there is of a cluster's things of one role.

    :param role: `layout.NETWORK` or `layout.LOAD_BALANCER`.
    :ivar entries: path -> document.
    :ivar uid: the cluster's identity, new where there is nothing of it.
    """

    def __init__(self, session: Session, where: Place, role: str) -> None:
        self.session = session
        self.where = where
        self.role = role
        self.entries: dict[str, Entry] = {}
        self._fresh = secrets.token_hex(8)

    def look(self, paths: Iterable[str], search: bool = True) -> None:
        """Read what has these paths, and what else carries the cluster's tags.

        :raises FlotillaError: a path is taken by what is not the cluster's.
        """
        self.entries = {path: found for path in dict.fromkeys(paths) if (found := self.session.find(path))}
        if search:
            self._search()
        for path, entry in self.entries.items():
            layout.check_owner(entry, self.where, self._known_uid, path)

    def _search(self) -> None:
        terms = {"tags__scope": layout.TAG_CLUSTER, "tags__tag": self.where.cluster}
        for hint in self.session.search(**terms):
            path = str(hint.get("path") or "")
            if path in self.entries or not self._is_mine(hint):
                continue
            # The index lags, and finds tags whose scope and value are of different ones.
            found = self.session.find(path)
            if found and self._is_mine(found):
                self.entries[path] = found

    def _is_mine(self, entry: Entry) -> bool:
        return layout.is_own(entry, self.where) and layout.tags_of(entry).get(layout.TAG_ROLE) == self.role

    @property
    def _known_uid(self) -> str:
        return next((uid for entry in self.entries.values() if (uid := layout.tags_of(entry).get(layout.TAG_UID, ""))), "")

    @property
    def uid(self) -> str:
        return self._known_uid or self._fresh

    def tagged(self, path: str, body: Entry) -> Entry:
        """Return what is wanted of a thing with its marks, which every thing carries."""
        tags = layout.write_tags(self.where.own_tags(self.role, self.uid))
        return {"display_name": path.rsplit("/", 1)[-1], "tags": tags, **body} if not path.endswith("/default") else {"tags": tags, **body}

    def differs(self, wanted: Wanted) -> bool:
        have = self.entries.get(wanted.path)
        return not have or (wanted.body is not None and not intent.holds(have, self.tagged(wanted.path, wanted.body)))

    def check_fixed(self, wanted: Wanted) -> None:
        """Fail where a change can not be made, with the key of the definition that asks for it."""
        have = self.entries.get(wanted.path)
        if not have or wanted.body is None:
            return
        for key, why in wanted.fixed.items():
            there, asked = _at(have, key), _at(wanted.body, key)
            if not intent.holds(there, asked):
                raise FlotillaError(
                    "NSX_FIXED",
                    f"{wanted.path} of cluster '{self.where.cluster}' has {key} {_text(there)},"
                    f" and the definition asks for {_text(asked)}: {why}.",
                    "Set it back, or delete the cluster and make it anew.",
                    details={"path": wanted.path, "field": key},
                )

    def write(self, wanted: Wanted) -> None:
        """Make a thing, or change it if nobody else did since it was read."""
        if wanted.body is None:
            raise FlotillaError("NSX_NOT_REALIZED", f"{wanted.path} hangs on what NSX has not made.", "Run again.")
        body, have = self.tagged(wanted.path, wanted.body), self.entries.get(wanted.path)
        if have:
            self.session.repeat("PUT", wanted.path, intent.merged(have, body))
        else:
            self.session.repeat("PATCH", wanted.path, intent.merged({}, body))

    def state(self, wanted: Iterable[Wanted], after: bool) -> dict[str, Any]:
        """Return what a diff shows, before or after the change."""
        found: dict[str, Any] = {}
        for one in wanted:
            have = self.entries.get(one.path, {})
            body = self.tagged(one.path, one.body or {})
            if after:
                found[one.path] = intent.shown(intent.merged(have, body), body)
            elif have:
                found[one.path] = intent.shown(have, body)
        if not after:
            found.update({path: {"tags": layout.tags_of(self.entries[path])} for path in self.surplus(wanted)})
        return found

    def surplus(self, wanted: Iterable[Wanted]) -> list[str]:
        """Return the paths of own things that nobody wants any more, in the order in which they can go."""
        kept = {one.path for one in wanted}
        return in_order(path for path in self.entries if path not in kept)


class Plan:
    """What there is and what is wanted; a module's own one fills it when it is made.

    :ivar wanted: everything, in the order in which it can be made.
    """

    stock: Stock
    wanted: list[Wanted]

    @property
    def changes(self) -> bool:
        return any(self.stock.differs(one) for one in self.wanted) or bool(self.stock.surplus(self.wanted))

    def check(self) -> None:
        for one in self.wanted:
            self.stock.check_fixed(one)

    def work(self) -> None:
        """Make the changes, and wait until they are real."""
        raise NotImplementedError

    def bring(self, wanted: list[Wanted]) -> None:
        """Write what differs and wait until all of it is real: an earlier run may have been ended before that."""
        for one in wanted:
            self.stock.check_fixed(one)
            if self.stock.differs(one):
                self.stock.write(one)
        self.stock.session.await_realized(awaited(wanted))

    def clear(self) -> None:
        """Remove what nobody wants any more."""
        for path in self.stock.surplus(self.wanted):
            self.stock.session.remove(path)


Made = TypeVar("Made", bound=Plan)


def converge(session: Session, make: Callable[[], Made], check_mode: bool) -> tuple[Result, Made]:
    """Bring what there is to what is wanted, and return what that came to with the last plan."""
    plan = make()
    plan.check()
    result = Result(plan.changes, plan.stock.state(plan.wanted, after=False), plan.stock.state(plan.wanted, after=True))
    if check_mode:
        there = [one for one in plan.wanted if not plan.stock.differs(one)]
        session.await_realized(awaited(there), look_only=True)
        return result, plan
    for number in range(_DECISIONS):
        try:
            plan.work()
            break
        except Stale:
            if number + 1 == _DECISIONS:
                raise
            session.pause(number)
            plan = make()
            plan.check()
    return result, plan


def removed(session: Session, where: Place, role: str, paths: Iterable[str], refuse: Callable[[Stock], None], check_mode: bool) -> Result:
    """Remove everything of a role that carries the cluster's tags. Two looks, apart by the lag of reads, have to see nothing.

    :param refuse: raises what is in the way, before anything is removed.
    """
    paths = list(paths)
    result, clean = Result(), False
    for number in range(_ROUNDS):
        stock = Stock(session, where, role)
        stock.look(paths)
        if number == 0:
            result = Result(bool(stock.entries), stock.state((), after=False), {})
            refuse(stock)
            if check_mode:
                return result
        elif clean and not stock.entries:
            return result
        result.changed = result.changed or bool(stock.entries)
        clean = not stock.entries
        for path in stock.surplus(()):
            session.remove(path)
        session.clock.sleep(CONSISTENCY)
    return result


def awaited(wanted: Iterable[Wanted]) -> list[str]:
    return [one.path for one in wanted if not _NOT_AWAITED.search(one.path)]


def in_order(paths: Iterable[str]) -> list[str]:
    """Return paths in the order in which what has them can be removed."""
    return sorted(paths, key=lambda path: (next((number for number, part in enumerate(_ORDER) if part.search(path)), len(_ORDER)), path))


def named(session: Session, what: str, folder: str, name: str) -> Entry:
    """Return the thing that a name, an id or a path means.

    :param what: the definition's key, for the message.
    :param folder: the path of the list that it is in.
    :raises FlotillaError: there is none, or the name means several.
    """
    if name.startswith("/"):
        found = session.find(name)
        if found:
            return found
    there = session.pages(folder)
    meant = [one for one in there if name in (one.get("id"), one.get("path"))] or [one for one in there if one.get("display_name") == name]
    if len(meant) == 1:
        return meant[0]
    if meant:
        paths = ", ".join(sorted(str(one["path"]) for one in meant))
        raise FlotillaError(
            "NSX_AMBIGUOUS", f"{what} '{name}' is the name of several: {paths}.", "Write the path of the one that is meant."
        )
    names = ", ".join(sorted(str(one.get("display_name") or one["id"]) for one in there)) or "none"
    raise FlotillaError("NSX_UNKNOWN", f"NSX has no {what} '{name}'.", f"There is: {names}.")


def _at(document: Entry, key: str) -> Any:
    found: Any = document
    for part in key.split("."):
        found = (
            found[int(part)] if isinstance(found, list) and int(part) < len(found) else found.get(part) if isinstance(found, dict) else None
        )
    return found


def _text(value: Any) -> str:
    return ", ".join(str(part) for part in value) if isinstance(value, list) else "none" if value in (None, "") else str(value)
