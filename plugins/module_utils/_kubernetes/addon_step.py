# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the add-ons of a cluster to what is wanted, through one API server (private to flotilla.kubernetes).

`apply_set` decides what belongs where. Each add-on is a set with a parent, the ConfigMap ``flotilla-addon-<name>`` in ``kube-system``: it
is written before anything of the set and deleted after all of it, so a run that is killed leaves nothing that the next one does not know.
Python 3.9, standard library only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._errors import FlotillaError
from .apply_set import (
    DEFINITION,
    NAMESPACE,
    PART_OF,
    Key,
    differs,
    in_removal_order,
    in_stages,
    is_awaited,
    key_of,
    kinds_of,
    member,
    parent,
    set_id,
    set_of,
    unready,
    visible,
)
from .client import ApiError, Client
from .discovery import Discovery, Resource

LABEL = "flotilla.kubernetes/addon"
MANAGER = "flotilla-addons"
_PREFIX = "flotilla-addon-"
_CONFIG_MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
_POLL = 1.0  # seconds
_STORAGE_CLASS, _CLAIM = "StorageClass", "PersistentVolumeClaim"
_USED_BY_OTHERS = (_STORAGE_CLASS, DEFINITION)
CREATE, CHANGE, DELETE = "create", "change", "delete"
# What people put into a namespace; anything else there is made by what runs.
_WORK = (
    ("v1", _CLAIM),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "StatefulSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
)


@dataclass(frozen=True)
class Wanted:
    """An add-on that the cluster is to have."""

    name: str
    version: str
    objects: Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Change:
    """One object that is not as it should be.

    :param before: what people are shown of it as it is, nothing for `CREATE`.
    :param after: the same as it will be, nothing for `DELETE`.
    """

    addon: str
    key: Key
    action: str
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, str]:
        """Return what a module says of it."""
        return {"addon": self.addon, "object": str(self.key), "action": self.action}


class Addons:
    """The add-ons of one cluster: what is there, and what is wanted."""

    def __init__(self, client: Client, wanted: Sequence[Wanted], adopt: Collection[str] = (), give_up: Collection[str] = ()) -> None:
        """Prepare; nothing is asked yet.

        :param adopt: objects of others, as `Key` is shown, that become part of an add-on.
        :param give_up: add-ons that are removed although something of the users needs them.
        """
        self._client, self._wanted, self._adopt, self._give_up = client, list(wanted), frozenset(adopt), frozenset(give_up)
        self._discovery = Discovery(client)

    def look(self) -> list[Change]:
        """Return everything that differs. Nothing is written.

        :raises FlotillaError: ``ADDON_OBJECT_FOREIGN``, ``ADDON_IN_USE``, or the server refuses an object.
        """
        live, removed, gone = self._examine()
        found = []
        for addon in gone:
            found += self._deletions(addon, removed[addon], live)
            found.append(Change(addon, _parent_key(addon), DELETE, before=visible(live.parents[addon])))
        for wanted in self._wanted:
            change = self._parent_change(wanted, live)
            found += [change] if change else []
            found += self._differences(wanted, live)
            found += self._deletions(wanted.name, removed.get(wanted.name, ()), live)
        return found

    def advance(self, until: float) -> tuple[list[Change], str]:
        """Make changes until nothing is left to do or the time is over; return what was changed, and what is waited for, if anything is.

        :param until: of `time.monotonic`.
        :raises FlotillaError: what `look` raises, or something of an add-on fails for good.
        """
        live, removed, gone = self._examine()
        made: list[Change] = []
        # What goes makes room: the address or the class that the next one takes.
        for addon in gone:
            waits = self._remove(addon, removed[addon], live, until, made)
            if waits:
                return made, f"{addon}: {waits}"
            if self._client.delete(_parent_path(addon)):
                made.append(Change(addon, _parent_key(addon), DELETE, before=visible(live.parents[addon])))
        for wanted in self._wanted:
            old = removed.get(wanted.name, [])
            # What it had is on record until it is gone.
            self._write_parent(wanted, live, old, made)
            waits = self._install(wanted, live, until, made) or self._remove(wanted.name, old, live, until, made)
            if waits:
                return made, f"{wanted.name}: {waits}"
            # Without what is gone, and with what only became known: the namespace of an object of its own kinds.
            self._write_parent(wanted, live, (), [])
        return made, ""

    # Reading.

    def _examine(self) -> tuple[_Live, dict[str, list[Key]], list[str]]:
        """Return what is there, which objects of each add-on are to go, and the add-ons that go as a whole, in their order."""
        live = self._read()
        self._refuse_foreign(live)
        removed = self._to_remove(live)
        self._refuse_in_use(removed, live)
        kept = {wanted.name for wanted in self._wanted}
        gone = [name for name in reversed(removed) if name not in kept]
        # What others of them may still use goes last.
        return live, removed, sorted(gone, key=lambda name: any(key.kind in _USED_BY_OTHERS for key in removed[name]))

    def _read(self) -> _Live:
        """Return all objects of all sets, by one list for each kind, and what is there under the names that are wanted."""
        parents = _parents(self._client)
        kinds: dict[tuple[str, str], Resource | None] = {}
        for found in parents.values():
            for group, kind in kinds_of(found):
                kinds[group, kind] = self._discovery.preferred(group, kind)
        for wanted in self._wanted:
            for item in wanted.objects:
                key = key_of(item)
                kinds[key.group, key.kind] = self._discovery.resource(item["apiVersion"], item["kind"])
        names = {*parents, *(wanted.name for wanted in self._wanted)}
        selector = f"{PART_OF} in ({','.join(sorted(_identity(name) for name in names))})"
        objects: dict[Key, dict[str, Any]] = {}
        for (group, kind), resource in kinds.items():
            for item in self._client.items(resource.list_path(selector)) if resource and names else ():
                metadata = item["metadata"]
                key = Key(group, kind, metadata.get("namespace", ""), metadata["name"])
                objects[key] = {**item, "kind": kind, "apiVersion": resource.base.partition("/apis/")[2] or "v1"}
        live = _Live(parents, objects, kinds)
        for wanted in self._wanted:
            for item in wanted.objects:
                key = self._key(item, live)
                if key not in live.objects:
                    found = self._find(key, live)
                    if found:
                        live.objects[key] = found
        return live

    def _key(self, item: Mapping[str, Any], live: _Live) -> Key:
        """Return the key of an object, with the namespace that the server would take where it names none."""
        key = key_of(item)
        resource = live.kinds.get((key.group, key.kind))
        if resource and resource.namespaced and not key.namespace:
            return Key(key.group, key.kind, "default", key.name)
        return key

    def _find(self, key: Key, live: _Live) -> dict[str, Any] | None:
        resource = live.kinds.get((key.group, key.kind))
        return self._client.find(resource.path(key.namespace, key.name)) if resource else None

    # Deciding.

    def _mine(self, item: Mapping[str, Any], addon: str) -> bool:
        return set_of(item) == _identity(addon)

    def _lent(self, key: Key, addon: str, live: _Live) -> bool:
        """Tell whether an object is a namespace of somebody else's, in which an add-on may be but which stays."""
        return key.kind == "Namespace" and key in live.objects and not self._mine(live.objects[key], addon)

    def _refuse_foreign(self, live: _Live) -> None:
        others = []
        for wanted in self._wanted:
            for item in wanted.objects:
                key = self._key(item, live)
                found = live.objects.get(key)
                if found and not self._mine(found, wanted.name) and key.kind != "Namespace" and str(key) not in self._adopt:
                    others.append(f"{key} ({wanted.name})")
        if others:
            raise FlotillaError(
                "ADDON_OBJECT_FOREIGN",
                f"Somebody else made {', '.join(others)}, which an add-on would replace.",
                "Remove what was installed by other means, or take the add-on out of the definition; to take the objects over, name them: "
                "-e flotilla_addons_adopt=<object>.",
                details={"foreign": others},
            )

    def _to_remove(self, live: _Live) -> dict[str, list[Key]]:
        """Return the objects that are part of a set and not wanted there, by add-on."""
        by_id = {_identity(name): name for name in live.parents}
        wanted = {wanted.name: {self._key(item, live) for item in wanted.objects} for wanted in self._wanted}
        found: dict[str, list[Key]] = {name: [] for name in live.parents if name not in wanted}
        for key, item in live.objects.items():
            addon = by_id.get(set_of(item))
            if addon is not None and key not in wanted.get(addon, ()):
                found.setdefault(addon, []).append(key)
        return found

    def _refuse_in_use(self, removed: Mapping[str, Sequence[Key]], live: _Live) -> None:
        leaving = {key for keys in removed.values() for key in keys}
        for addon, keys in removed.items():
            used = [] if addon in self._give_up else sorted(text for key in keys for text in self._users(key, leaving, live))
            if used:
                raise FlotillaError(
                    "ADDON_IN_USE",
                    f"The add-on {addon} is to be removed, and without it {', '.join(used[:10])}{' and more' if len(used) > 10 else ''} "
                    "would be lost or of no use.",
                    f"Delete them first, or put the add-on back; to remove it all the same: -e flotilla_addons_give_up={addon}.",
                    details={"addon": addon, "used_by": used},
                )

    def _users(self, key: Key, leaving: Collection[Key], live: _Live) -> Iterator[str]:
        """Yield what users have that an object of an add-on is needed for.

        :param leaving: objects of add-ons that go with it.
        """
        if key.kind == _STORAGE_CLASS:
            for volume in self._volumes(key.name):
                if not self._goes(volume, leaving):
                    yield f"PersistentVolume/{volume['metadata']['name']}"
        elif key.kind == DEFINITION:
            spec = live.objects[key]["spec"]
            resource = self._discovery.preferred(spec["group"], spec["names"]["kind"])
            yield from self._not_of_sets(resource, spec["names"]["kind"]) if resource else ()
        elif key.kind == "Namespace":
            for version, kind in _WORK:
                resource = self._discovery.resource(version, kind)
                if resource:
                    inside = Resource(f"{resource.base}/namespaces/{key.name}", resource.plural, resource.namespaced)
                    yield from self._not_of_sets(inside, kind)

    def _volumes(self, storage_class: str) -> list[dict[str, Any]]:
        return [one for one in self._client.items("/api/v1/persistentvolumes") if one["spec"].get("storageClassName") == storage_class]

    def _goes(self, volume: Mapping[str, Any], leaving: Collection[Key] = ()) -> bool:
        """Tell whether what made a volume deletes it, too, because its claim goes or is gone.

        https://kubernetes.io/docs/concepts/storage/persistent-volumes/#delete
        """
        spec, claim = volume["spec"], volume["spec"].get("claimRef")
        if not claim or spec["persistentVolumeReclaimPolicy"] != "Delete" or volume["status"].get("phase") == "Failed":
            return False
        if Key("", _CLAIM, claim["namespace"], claim["name"]) in leaving:
            return True
        return self._client.find(f"/api/v1/namespaces/{claim['namespace']}/persistentvolumeclaims/{claim['name']}") is None

    def _not_of_sets(self, resource: Resource, kind: str) -> Iterator[str]:
        for item in self._client.items(resource.list_path(f"!{PART_OF}")):
            if not item["metadata"].get("ownerReferences"):
                yield str(Key("", kind, item["metadata"].get("namespace", ""), item["metadata"]["name"]))

    def _differences(self, wanted: Wanted, live: _Live) -> list[Change]:
        found = []
        for stage in in_stages(wanted.objects):
            found += [change for item in stage if (change := self._difference(wanted.name, item, live))]
        return found

    def _difference(self, addon: str, item: Mapping[str, Any], live: _Live) -> Change | None:
        key = self._key(item, live)
        if self._lent(key, addon, live):
            return None
        content, before = member(item, _identity(addon)), live.objects.get(key)
        if before is None:
            return Change(addon, key, CREATE, after=visible(content))
        resource = live.kinds[key.group, key.kind]
        tried = _tell(addon, key, lambda: self._client.tried(resource.path(key.namespace, key.name), content, MANAGER))
        return Change(addon, key, CHANGE, visible(before), visible(tried)) if differs(before, tried) else None

    def _deletions(self, addon: str, keys: Sequence[Key], live: _Live) -> list[Change]:
        definitions = [live.objects[key] for key in keys if key.kind == DEFINITION]
        ordered = [key for stage in in_removal_order(keys, definitions) for key in stage]
        return [self._deletion(addon, key, live) for key in ordered]

    def _deletion(self, addon: str, key: Key, live: _Live) -> Change:
        return Change(addon, key, DELETE, before=visible(live.objects[key]))

    def _parent_content(self, wanted: Wanted, live: _Live, old: Sequence[Key]) -> dict[str, Any]:
        """Return what says which kinds a set has, and those that it had and that are not gone yet."""
        keys = [*(self._key(item, live) for item in wanted.objects), *old]
        return parent(
            _PREFIX + wanted.name,
            {LABEL: wanted.name},
            {"version": wanted.version},
            (key.group_kind for key in keys),
            (key.namespace for key in keys),
        )

    def _parent_change(self, wanted: Wanted, live: _Live, old: Sequence[Key] = ()) -> Change | None:
        content, found = self._parent_content(wanted, live, old), self._client.find(_parent_path(wanted.name))
        if found is None:
            return Change(wanted.name, _parent_key(wanted.name), CREATE, after=visible(content))
        tried = self._client.tried(_parent_path(wanted.name), content, MANAGER)
        if not differs(found, tried):
            return None
        return Change(wanted.name, _parent_key(wanted.name), CHANGE, visible({**found, "kind": "ConfigMap"}), visible(tried))

    # Changing.

    def _install(self, wanted: Wanted, live: _Live, until: float, made: list[Change]) -> str:
        """Apply what differs, one stage after another; return what is waited for."""
        for stage in in_stages(wanted.objects):
            if any(live.kinds.get((key.group, key.kind)) is None for key in map(key_of, stage)):
                self._discovery.forget()
                for item in stage:
                    key = key_of(item)
                    live.kinds[key.group, key.kind] = self._discovery.resource(item["apiVersion"], item["kind"])
            for item in stage:
                change = self._difference(wanted.name, item, live)
                if change:
                    path = self._path(wanted.name, change.key, live)
                    content = member(item, _identity(wanted.name))
                    _tell(wanted.name, change.key, lambda path=path, content=content: self._client.apply(path, content, MANAGER))
                    made.append(change)
            waits = self._wait([self._key(item, live) for item in stage], live, until)
            if waits:
                return waits
        return ""

    def _write_parent(self, wanted: Wanted, live: _Live, old: Sequence[Key], made: list[Change]) -> None:
        change = self._parent_change(wanted, live, old)
        if change:
            self._client.apply(_parent_path(wanted.name), self._parent_content(wanted, live, old), MANAGER)
            made.append(change)

    def _path(self, addon: str, key: Key, live: _Live) -> str:
        resource = live.kinds.get((key.group, key.kind))
        if resource is None:
            raise FlotillaError(
                "ADDON_KIND_UNKNOWN",
                f"The API server does not know the kind {key.group_kind} of {key}, which the add-on {addon} has.",
                "Take a version of the add-on that fits this version of Kubernetes, or install what defines the kind.",
            )
        return resource.path(key.namespace, key.name)

    def _wait(self, keys: Sequence[Key], live: _Live, until: float) -> str:
        """Wait until objects do their work; return which one does not yet when the time is over."""
        for key in keys:
            if not is_awaited(key.kind):
                continue
            while True:
                found = self._find(key, live)
                why = unready(found) if found else "it is gone"
                if not why:
                    break
                if time.monotonic() >= until:
                    return f"{key}: {why}"
                time.sleep(_POLL)
        return ""

    def _remove(self, addon: str, keys: Sequence[Key], live: _Live, until: float, made: list[Change]) -> str:
        """Delete objects, one stage after another; return what is waited for."""
        for key in (key for key in keys if key.kind == _STORAGE_CLASS):
            while volumes := [volume for volume in self._volumes(key.name) if self._goes(volume)]:
                if time.monotonic() >= until:
                    return f"PersistentVolume/{volumes[0]['metadata']['name']} is being deleted"
                time.sleep(_POLL)
        definitions = [live.objects[key] for key in keys if key.kind == DEFINITION]
        for stage in in_removal_order(keys, definitions):
            for key in stage:
                if not live.objects[key]["metadata"].get("deletionTimestamp"):
                    path = self._path(addon, key, live)
                    if _tell(addon, key, lambda path=path: self._client.delete(path)):
                        made.append(self._deletion(addon, key, live))
            for key in stage:
                while self._find(key, live):
                    if time.monotonic() >= until:
                        return f"{key} is being deleted"
                    time.sleep(_POLL)
        return ""


@dataclass(frozen=True)
class _Live:
    """What a look found.

    :param parents: add-on -> the object that stands for its set.
    :param objects: those of all sets, and those of others under the names that are wanted.
    :param kinds: group and kind -> how it is served; None where it is not.
    """

    parents: dict[str, dict[str, Any]]
    objects: dict[Key, dict[str, Any]]
    kinds: dict[tuple[str, str], Resource | None]


def installed(client: Client) -> dict[str, str]:
    """Return the add-ons that a cluster has, with their versions."""
    return {name: found.get("data", {}).get("version", "") for name, found in sorted(_parents(client).items())}


def _parents(client: Client) -> dict[str, dict[str, Any]]:
    found = client.items(f"{_CONFIG_MAPS}?labelSelector={LABEL}")
    return {item["metadata"]["labels"][LABEL]: {**item, "kind": "ConfigMap"} for item in found}


def _identity(addon: str) -> str:
    return set_id(_PREFIX + addon)


def _parent_path(addon: str) -> str:
    return f"{_CONFIG_MAPS}/{_PREFIX}{addon}"


def _parent_key(addon: str) -> Key:
    return Key("", "ConfigMap", NAMESPACE, _PREFIX + addon)


def _tell(addon: str, key: Key, act: Any) -> Any:
    try:
        return act()
    except ApiError as error:
        raise FlotillaError(  # pylint: disable=bad-exception-cause
            "ADDON_REFUSED",
            f"The API server refuses {key} of the add-on {addon}: {'; '.join(error.reasons)}",
            "Change the add-on's values; a field that can not be changed needs the object deleted first.",
            error,
        ) from error


def as_diff(changes: Sequence[Change]) -> list[dict[str, str]]:
    """Return changes in Ansible's form of a diff."""
    return [
        {
            "before_header": str(change.key),
            "after_header": str(change.key),
            "before": _text(change.before),
            "after": _text(change.after),
        }
        for change in changes
    ]


def _text(shown: Mapping[str, Any]) -> str:
    return json.dumps(shown, indent=2, sort_keys=True) + "\n" if shown else ""
