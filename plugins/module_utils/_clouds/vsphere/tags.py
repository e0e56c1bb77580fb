# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags of machines, for people and what they run: backup, showback, firewalls (private to flotilla.kubernetes).

Whose a machine is, is never read from them. Which tags it was given here, is in a mark of its own: those of other people stay as they are.
A category or a tag that is not there is made, and goes again when nothing has it any more; those of other people are used, not changed.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ..._errors import FlotillaError
from ..._machines.cloud import NotFound, Transient
from ..._machines.retry import Caller
from ..result import Result
from . import layout as names
from . import tasks
from .errors import AlreadyExists
from .layout import Place
from .session import Session, moid

MADE_HERE = "Made by flotilla.kubernetes for machines of Kubernetes clusters."
"""Description of what is made here, by which it is known again."""
_CATEGORY, _TAG = "/com/vmware/cis/tagging/category", "/com/vmware/cis/tagging/tag"
_ASSOCIATION = "/com/vmware/cis/tagging/tag-association"
_AT_ONCE = 500


@dataclass(frozen=True, order=True)
class Tag:
    """A tag of the vCenter.

    :param id: what the vCenter knows it by, also when people rename it.
    """

    category: str
    name: str
    id: str

    @property
    def title(self) -> str:
        return f"{self.category}: {self.name}"


@dataclass(frozen=True)
class Bearer:
    """A machine, as far as tags have to do with it.

    :param given: the tags that it was given here, as its mark says.
    """

    name: str
    ref: Any
    given: frozenset[Tag]

    @property
    def id(self) -> str:
        return moid(self.ref)


def written(given: Iterable[Tag]) -> str:
    """Return the mark that says which tags a machine was given; empty for none."""
    found = [[tag.category, tag.name, tag.id] for tag in sorted(given)]
    return json.dumps(found) if found else ""


def read_mark(mark: str) -> frozenset[Tag]:
    """Return what a mark says; nothing where somebody has broken it."""
    try:
        return frozenset(Tag(str(category), str(name), str(number)) for category, name, number in json.loads(mark or "[]"))
    except (TypeError, ValueError):
        return frozenset()


class Tags:
    """The tags of a cluster's machines.

    :param where: has those that the definition wants.
    :ivar wanted: category -> name.
    :ivar known: those of them that the vCenter has, once `prepare` has looked.
    :ivar missing: what of them has to be made: ``category`` and ``tag``, either or both.
    """

    def __init__(self, session: Session, where: Place) -> None:
        self.session = session
        self.wanted = dict(where.tags)
        self.known: frozenset[Tag] = frozenset()
        self.missing: set[str] = set()

    # ---- categories and tags

    def prepare(self, planning: bool) -> None:
        """Find what is wanted by its names, and make what is missing.

        :param planning: whether nothing is made.
        :raises FlotillaError: ``VSPHERE_TAG``: a category of other people has no such tag, or is not for virtual machines.
        """
        there = self._categories()
        self.missing = set()
        self.known = frozenset(tag for category in self.wanted if (tag := self._prepared(category, there.get(category), planning)))

    def _prepared(self, category: str, there: Mapping[str, Any] | None, planning: bool) -> Tag | None:
        name = self.wanted[category]
        if there is None:
            self.missing |= {"category", "tag"}
            if planning:
                return None
            number = self._make(_CATEGORY, category, {"cardinality": "SINGLE", "associable_types": ["VirtualMachine"]})
            return Tag(category, name, self._make(_TAG, name, {"category_id": number}))
        kinds = there.get("associable_types") or ["VirtualMachine"]
        if "VirtualMachine" not in kinds:
            raise FlotillaError(
                "VSPHERE_TAG",
                f"vsphere.tags has the category '{category}', whose tags are for {', '.join(kinds)} and not for virtual machines.",
                "Name another category, or have its associable object types extended in the vSphere Client.",
            )
        tags = {str(one["name"]): str(one["id"]) for one in map(self._tag, self._tags_of(there["id"])) if one}
        if name in tags:
            return Tag(category, name, tags[name])
        if there.get("description") != MADE_HERE:
            raise FlotillaError(
                "VSPHERE_TAG",
                f"The category '{category}' is somebody else's, and has no tag '{name}' that vsphere.tags could mean.",
                f"It has {', '.join(sorted(tags)) or 'none'}: correct vsphere.tags, or have the tag made in the vSphere Client.",
                details={"candidates": sorted(tags)},
            )
        self.missing.add("tag")
        return None if planning else Tag(category, name, self._make(_TAG, name, {"category_id": there["id"]}))

    def _categories(self) -> dict[str, Mapping[str, Any]]:
        """Return the wanted categories that there are, by name. The vCenter lists no more than ids, so each is asked for."""
        left, found = set(self.wanted), dict[str, Mapping[str, Any]]()
        for number in self.session.rest.call("GET", _CATEGORY) or () if left else ():
            one = self._get(_CATEGORY, number)
            if one.get("name") in left:
                left.discard(one["name"])
                found[one["name"]] = one
            if not left:
                break
        return found

    def _get(self, path: str, number: str) -> Mapping[str, Any]:
        """Return a category or a tag; empty when it is gone."""
        try:
            return dict(self.session.rest.call("GET", f"{path}/id:{number}"))
        except NotFound:
            return {}

    def _tag(self, number: str) -> Mapping[str, Any]:
        return self._get(_TAG, number)

    def _tags_of(self, category: str) -> list[str]:
        return list(self.session.rest.call("POST", f"{_TAG}/id:{category}", action="list-tags-for-category") or ())

    def _make(self, path: str, name: str, more: Mapping[str, Any]) -> str:
        try:
            return str(self.session.rest.call("POST", path, {"create_spec": {"name": name, "description": MADE_HERE, **more}}))
        except (AlreadyExists, NotFound) as error:
            # Somebody was faster, or a call before this one was done and its answer lost: the next look shows it.
            raise Transient(error.code, error.message, error.remedy, error) from error

    # ---- machines

    def attached(self, bearers: Sequence[Bearer]) -> dict[str, set[str]]:
        """Return the ids of all tags that machines have, whoever gave them: id of the machine -> ids."""
        found: dict[str, set[str]] = {bearer.id: set() for bearer in bearers}
        things = [_thing(bearer.ref) for bearer in bearers]
        for start in range(0, len(things), _AT_ONCE):
            body = {"object_ids": things[start : start + _AT_ONCE]}
            for one in self.session.rest.call("POST", _ASSOCIATION, body, action="list-attached-tags-on-objects") or ():
                found[str(one["object_id"]["id"])] = {str(number) for number in one.get("tag_ids") or ()}
        return found

    def look(self, bearers: Iterable[Bearer]) -> dict[str, set[str]]:
        """Return what `attached` returns, of machines that were given tags or are to have some: no call where there is none."""
        return self.attached([bearer for bearer in bearers if bearer.given or self.wanted])

    def differing(self, bearers: Iterable[Bearer], have: Mapping[str, set[str]]) -> list[Bearer]:
        """Return the machines that do not have just what they are to have of the tags that are given here."""
        return [
            bearer
            for bearer in bearers
            if Counter((tag.category, tag.name) for tag in bearer.given) != Counter(self.wanted.items())
            or not {tag.id for tag in bearer.given} <= have.get(bearer.id, set())
        ]

    def apply(self, bearers: Sequence[Bearer], have: Mapping[str, set[str]]) -> None:
        """Give machines the tags that they are to have, and take those away that they were given here and are not to have any more.

        A mark names a tag as long as the machine may have it, so that a run that is killed anywhere leaves none that nobody knows of.
        """
        self.prepare(planning=False)
        self._write({bearer: bearer.given | self.known for bearer in bearers if not self.known <= bearer.given})
        for tag in sorted(self.known):
            things = [_thing(bearer.ref) for bearer in bearers if tag.id not in have[bearer.id]]
            if things:
                body, action = {"object_ids": things}, "attach-tag-to-multiple-objects"
                self._checked(self.session.rest.call("POST", f"{_ASSOCIATION}/id:{tag.id}", body, action=action), tag)
        kept, dropped = {tag.id for tag in self.known}, set[str]()
        for bearer in bearers:
            late = {tag.id for tag in bearer.given} - kept
            detach(self.session, bearer.ref, late)
            dropped |= late
        self.reap(dropped)
        self._write({bearer: self.known for bearer in bearers if bearer.given - self.known})

    def _checked(self, answer: Any, tag: Tag) -> None:
        """Fail where the answer to a call about many machines names some for which it was not done."""
        wrong = answer.get("error_messages") if isinstance(answer, dict) and not answer.get("success", True) else ()
        if wrong:
            said = "; ".join(str(one.get("default_message") or one.get("message") or "") for one in wrong)
            raise Transient("VSPHERE_TAG", f"Not all machines got the tag {tag.title}: {said}.", "Run again.")

    def _write(self, marks: Mapping[Bearer, Collection[Tag]]) -> None:
        vim = self.session.vim
        for text in sorted({written(given) for given in marks.values()}):
            refs = {bearer.name: bearer.ref for bearer, given in marks.items() if written(given) == text}
            spec = vim.vm.ConfigSpec(extraConfig=[vim.option.OptionValue(key=names.option(names.TAG_TAGS), value=text)])
            tasks.raise_first(tasks.do(self.session, "ReconfigVM_Task", refs, spec=spec), but=("ManagedObjectNotFound",))

    # ---- what nobody needs any more

    def unused(self, numbers: Collection[str], wanted_too: bool = False) -> list[tuple[str, str]]:
        """Return what was made here and nothing has any more: path and id, tags before their categories.

        :param numbers: ids of the tags in question.
        :param wanted_too: whether all tags of the wanted categories are.
        """
        categories: dict[str, set[str]] = {}
        candidates = set(numbers)
        if wanted_too:
            categories = {str(one["id"]): set() for one in self._categories().values() if one.get("description") == MADE_HERE}
            candidates |= {tag for category in categories for tag in self._tags_of(category)}
        found: list[tuple[str, str]] = []
        for number in sorted(candidates):
            tag = self._tag(number)
            if tag.get("description") != MADE_HERE:
                continue
            if not self.session.rest.call("POST", f"{_ASSOCIATION}/id:{number}", {}, action="list-attached-objects"):
                found.append((_TAG, number))
                categories.setdefault(str(tag["category_id"]), set()).add(number)
        for category, leaving in sorted(categories.items()):
            ours = self._get(_CATEGORY, category).get("description") == MADE_HERE
            if ours and set(self._tags_of(category)) <= leaving:
                found.append((_CATEGORY, category))
        return found

    def reap(self, numbers: Collection[str], wanted_too: bool = False) -> bool:
        """Remove what `unused` finds; returns whether there was any."""
        found = self.unused(numbers, wanted_too) if numbers or (wanted_too and self.wanted) else []
        for path, number in found:
            try:
                self.session.rest.call("DELETE", f"{path}/id:{number}")
            except NotFound:
                # Another run was faster.
                continue
        return bool(found)


def detach(session: Session, ref: Any, numbers: Iterable[str]) -> None:
    """Take tags away from a machine. One that is gone is no error."""
    call = Caller(session.clock)

    def once(number: str) -> None:
        session.rest.call("POST", f"{_ASSOCIATION}/id:{number}", {"object_id": _thing(ref)}, action="detach")

    # Each is patient by itself: many that have to succeed in a row would wait for a sunny day.
    for number in sorted(numbers):
        with contextlib.suppress(NotFound):
            call(once, number)


def _thing(ref: Any) -> dict[str, str]:
    return {"id": moid(ref), "type": "VirtualMachine"}


def _shown(pairs: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(pairs).items()))


def follow(
    tags: Tags, result: Result, bearers: Callable[[bool], Sequence[Bearer]], before: Mapping[str, frozenset[Tag]], check_mode: bool
) -> Result:
    """Have machines carry their tags, or say that they would; returns the result with what that adds to it.

    :param bearers: returns the machines as they are; ``True``: as they are now, and not when they were last looked at.
    :param before: the tags that machines had been given when the run began: name -> tags.
    """
    call = Caller(tags.session.clock)
    now = call(bearers, False)
    have = call(tags.look, now)
    there = {bearer.name: have.get(bearer.id, set()) for bearer in now}
    result.before["tags"] = _shown(
        tag.title for name, given in before.items() for tag in given if name not in there or tag.id in there[name]
    )
    count = len(result.after["machines"])
    result.after["tags"] = _shown(f"{category}: {name}" for category, name in tags.wanted.items() for _machine in range(count))
    late = tags.differing(now, have)
    result.changed = result.changed or bool(late)

    def once() -> None:
        fresh = bearers(True)
        holding = tags.look(fresh)
        wrong = tags.differing(fresh, holding)
        if wrong:
            tags.apply(wrong, holding)

    if late and not check_mode:
        call(once)
    return result


def leave(tags: Tags, result: Result, numbers: Collection[str], check_mode: bool) -> Result:
    """Remove what was made here for the tags of machines that have all gone, or say that it would be."""
    call = Caller(tags.session.clock)
    if not check_mode:
        result.changed = call(tags.reap, numbers, True) or result.changed
    elif tags.wanted:
        result.changed = bool(call(tags.unused, numbers, True)) or result.changed
    return result
