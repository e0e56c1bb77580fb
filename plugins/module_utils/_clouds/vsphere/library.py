# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Items of content libraries, and templates that are made from them (private to flotilla.kubernetes).

An item can not be cloned, and to deploy one for each machine would copy it from the library each time. So each version of an item is
deployed once for a cluster, as a template that carries the cluster's marks, and goes when none of its machines is made from it any more.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._errors import FlotillaError
from ..._machines.cloud import CloudError, NoCapacity, NotFound, Refused, Transient
from . import layout as names
from . import tasks
from .layout import Place
from .session import Entry, Session, moid
from .stock import Site

_LIBRARY, _ITEM = "/com/vmware/content/library", "/com/vmware/content/library/item"
_OVF, _TEMPLATE = "/com/vmware/vcenter/ovf/library-item", "/vcenter/vm-template/library-items"
OVF, VM_TEMPLATE = "ovf", "vm-template"
_DEPLOYMENT = 900.0
"""Seconds for which a deployment is waited for in one call. One that takes longer goes on, and is found by its name."""
_ALL_MACHINES = ("name", "parent", "config.instanceUuid", names.path(names.TAG_ITEM))
_UNFINISHED = ("config.template", "config.instanceUuid", "snapshot.currentSnapshot", "recentTask", names.path(names.TAG_ITEM))


@dataclass(frozen=True)
class Item:
    """An item of a content library.

    :param kind: ``ovf``, ``vm-template``, or that of something else, such as ``iso``.
    :param version: of its content, raised when somebody puts another one in its place.
    """

    id: str
    name: str
    library: str
    kind: str
    version: str
    bytes: int = 0

    @property
    def path(self) -> str:
        """As ``govc`` writes it."""
        return f"/{self.library}/{self.name}"

    @property
    def problems(self) -> tuple[str, ...]:
        if self.kind in (OVF, VM_TEMPLATE):
            return ()
        return (f"it is of the type {self.kind}, and machines are made from OVF templates and VM templates",)

    @property
    def mark(self) -> str:
        return f"{self.id} {self.version}"

    def template(self, where: Place, uid: str) -> str:
        """Return the name of the template that a cluster has of this version."""
        digest = hashlib.sha256(f"{self.mark} {where.linked}".encode()).hexdigest()
        return prefix(where, uid) + digest[:8]


def prefix(where: Place, uid: str) -> str:
    """Return how the names of a cluster's templates begin. No other cluster's begin so, here or in another foundation."""
    return f"flotilla-{where.cluster}-{uid[:8]}-"


# ---- what there is


def items(session: Session, wanted: str | None) -> list[Item]:
    """Return the items of a content library, or of all that the account sees, ordered by path.

    :param wanted: name or id of a library.
    """
    libraries = [_library(session, wanted)] if wanted else list(_libraries(session))
    found = []
    for number, name in libraries:
        ids = session.rest.call("POST", _ITEM, {"spec": {"library_id": number}}, action="find") or ()
        found += [_item(session, one, name) for one in ids]
    return sorted(found, key=lambda item: item.path)


def find(session: Session, library: str, wanted: str, setting: str = "image.id") -> Item:
    """Return the item of a content library that a name or an id means.

    :raises FlotillaError: ``VSPHERE_UNKNOWN``, ``VSPHERE_AMBIGUOUS``, with the candidates.
    """
    number, name = _library(session, library)
    ids = session.rest.call("POST", _ITEM, {"spec": {"library_id": number, "name": wanted}}, action="find") or ()
    if len(ids) == 1:
        return _item(session, ids[0], name)
    if ids:
        raise _ambiguous(setting, wanted, f"items of that name in the content library {name}", ids)
    there = items(session, number)
    of_id = [item for item in there if item.id == wanted]
    if of_id:
        return of_id[0]
    raise _unknown(setting, wanted, f"item in the content library {name}", [item.name for item in there])


def _library(session: Session, wanted: str) -> tuple[str, str]:
    """Return id and name of a library."""
    ids = session.rest.call("POST", _LIBRARY, {"spec": {"name": wanted}}, action="find") or ()
    if len(ids) == 1:
        return str(ids[0]), wanted
    if ids:
        raise _ambiguous("content_library", wanted, "content libraries of that name", ids)
    there = dict(_libraries(session))
    if wanted in there:
        return wanted, there[wanted]
    raise _unknown("content_library", wanted, "content library", list(there.values()))


def _libraries(session: Session) -> Iterable[tuple[str, str]]:
    for number in session.rest.call("GET", _LIBRARY) or ():
        try:
            yield str(number), str(session.rest.call("GET", f"{_LIBRARY}/id:{number}")["name"])
        except NotFound:
            continue


def _item(session: Session, number: str, library: str) -> Item:
    found = session.rest.call("GET", f"{_ITEM}/id:{number}")
    return Item(
        id=str(found["id"]),
        name=str(found["name"]),
        library=library,
        kind=str(found.get("type") or ""),
        version=str(found.get("content_version") or found.get("version") or ""),
        bytes=int(found.get("size") or 0),
    )


def _unknown(setting: str, wanted: str, what: str, there: Sequence[str]) -> FlotillaError:
    close = difflib.get_close_matches(wanted, there, 3, 0.6) or sorted(there)[:5]
    return FlotillaError(
        "VSPHERE_UNKNOWN",
        f"{setting} is '{wanted}', and the account sees no {what} of that name.",
        f"It sees {', '.join(close)}: correct {setting}, or give the account the right to see it."
        if close
        else "It sees none at all: give it Read-only as a global permission, which content libraries are under.",
        details={"candidates": close},
    )


def _ambiguous(setting: str, wanted: str, what: str, ids: Sequence[str]) -> FlotillaError:
    listed = sorted(map(str, ids))
    return FlotillaError(
        "VSPHERE_AMBIGUOUS",
        f"{setting} is '{wanted}', and there are {len(listed)} {what}: {', '.join(listed)}.",
        "Write the id of the one that is meant.",
        details={"candidates": listed},
    )


# ---- templates


def wanted(definition: Mapping[str, Any]) -> bool:
    """Tell whether machines of a cluster are made from items of content libraries."""
    groups = [definition, definition.get("control_plane") or {}, *(definition.get("pools") or ())]
    return any((group.get("image") or {}).get("content_library") for group in groups)


def prepare(session: Session, where: Place, uid: str, item: Item, site: Site, store: Entry | None) -> Entry:
    """Return the template that a cluster has of an item, and make it, or go on where a run before this one was cut off.

    :param store: datastore of its disks; None: the vCenter chooses.
    :raises CloudError: what asks for patience, while the vCenter is at it.
    """
    name = item.template(where, uid)
    found = _named(session, name, site)
    if found is None:
        deploy(session, item, name, where, site, store)
        found = _named(session, name, site)
    if found is None:
        raise Transient("VSPHERE_TEMPLATE_UNDER_WAY", f"The vCenter does not show {name} yet, which it deploys.", "Run again.")
    _finish(session, where, uid, item, found, site)
    return found


def _named(session: Session, name: str, site: Site) -> Entry | None:
    machines = session.read(session.all({session.vim.VirtualMachine: _ALL_MACHINES}))
    home = site.folder.id
    for entry in machines:
        parent = entry.values.get("parent")
        if entry.values.get("name") == name and parent is not None and moid(parent) == home:
            return entry
    return None


def deploy(session: Session, item: Item, name: str, where: Place, site: Site, store: Entry | None) -> None:
    """Deploy an item as a virtual machine that does not run.

    :raises CloudError: why not. What was begun and not answered goes on: the next look finds it by its name.
    """
    call = session.rest.call
    note = f"Template of the Kubernetes cluster {where.cluster} from {item.path}, version {item.version}. Made by flotilla.kubernetes."
    if item.kind == VM_TEMPLATE:
        storage: dict[str, Any] = {"datastore": store.id} if store else {}
        if site.policy:
            storage["storage_policy"] = {"type": "USE_SPECIFIED_POLICY", "policy": site.policy}
        spec: dict[str, Any] = {
            "name": name,
            "description": note,
            "powered_on": False,
            "placement": {"folder": site.folder.id, "resource_pool": site.pool.id},
        }
        if storage:
            spec.update(disk_storage=storage, vm_home_storage=storage)
        call("POST", f"{_TEMPLATE}/{item.id}", {"spec": spec}, action="deploy", timeout=_DEPLOYMENT)
        return
    target = {"resource_pool_id": site.pool.id, "folder_id": site.folder.id}
    asked = call("POST", f"{_OVF}/id:{item.id}", {"target": target}, action="filter") or {}
    about = {str(key).lower(): value for key, value in asked.items()}
    if about.get("eulas"):
        raise Refused(
            "VSPHERE_TEMPLATE",
            f"The item {item.path} has a licence agreement, which nobody but you can accept.",
            "Deploy it in the vSphere Client, convert it to a template, and name that in image.id without content_library.",
        )
    told: dict[str, Any] = {"name": name, "annotation": note, "accept_all_EULA": False, "storage_provisioning": "thin"}
    if site.network:
        told["network_mappings"] = [{"key": network, "value": site.network.id} for network in about.get("networks") or ()]
    if store:
        told["default_datastore_id"] = store.id
    if site.policy:
        told["storage_profile_id"] = site.policy
    body = {"deployment_spec": told, "target": target}
    answer = call("POST", f"{_OVF}/id:{item.id}", body, action="deploy", timeout=_DEPLOYMENT) or {}
    if not answer.get("succeeded"):
        raise _not_deployed(item, answer)


def _not_deployed(item: Item, answer: Any) -> CloudError:
    """Return why an item was not deployed; a name that is taken is that of a deployment before this one."""
    said, kinds = [], []
    for one in (answer.get("error") or {}).get("errors") or ():
        error = one.get("error") or {}
        kinds.append(str(error.get("@class") or "").rpartition(".")[2])
        messages = [*(error.get("messages") or ()), *([one["message"]] if one.get("message") else [])]
        said += [str(message.get("default_message") or "").strip().rstrip(".") for message in messages]
    text = f"The item {item.path} could not be deployed: {'; '.join(filter(None, said)) or 'the vCenter does not say why'}."
    if "already_exists" in kinds or any("already exists" in one or "DuplicateName" in one for one in said):
        return Transient("VSPHERE_TEMPLATE_UNDER_WAY", text, "Run again.")
    if kinds and set(kinds) <= {"unable_to_allocate_resource"}:
        return NoCapacity("VSPHERE_NO_CAPACITY", text, "Free space, or name another datastore in the section vsphere.")
    if kinds and set(kinds) <= {"timed_out", "service_unavailable", "concurrent_change", "resource_busy"}:
        return Transient("VSPHERE_BUSY", text, "Run again.")
    return Refused("VSPHERE_TEMPLATE", text, "Deploy it in the vSphere Client to see more, and correct the item or the section vsphere.")


def _finish(session: Session, where: Place, uid: str, item: Item, entry: Entry, site: Site) -> None:
    """Give a deployed machine its marks, and make it a template. Each step is done once, whichever run it was."""
    vim = session.vim
    values = session.read(session.objects([entry.ref], _UNFINISHED))[0].values
    running = session.read(session.objects(list(values["recentTask"]), ("info.state",))) if values.get("recentTask") else []
    if any(task.values.get("info.state") in ("queued", "running") for task in running):
        raise Transient("VSPHERE_TEMPLATE_UNDER_WAY", f"The vCenter is not done with the template of {item.path}.", "Run again.")
    name = item.template(where, uid)
    number = names.machine_id(uid, name)
    refs = {name: entry.ref}
    mark = values.get(names.path(names.TAG_ITEM))
    unmarked = values.get("config.instanceUuid") != number or mark is None or mark.value != item.mark
    bare = where.linked and values.get("snapshot.currentSnapshot") is None
    is_template = bool(values.get("config.template"))
    if is_template and (unmarked or bare):
        # No template is changed. Somebody has made it one already.
        session.call(entry.ref, "MarkAsVirtualMachine", pool=site.pool.ref)
        is_template = False
    if unmarked:
        tags = {
            names.TAG_CLUSTER: where.cluster,
            names.TAG_FOUNDATION: where.foundation,
            names.TAG_UID: uid,
            names.TAG_ITEM: item.mark,
        }
        options = [vim.option.OptionValue(key=names.option(tag), value=value) for tag, value in tags.items()]
        tasks.raise_first(tasks.do(session, "ReconfigVM_Task", refs, spec=vim.vm.ConfigSpec(instanceUuid=number, extraConfig=options)))
    if bare:
        about = {"name": "flotilla", "description": "Linked clones build on it.", "memory": False, "quiesce": False}
        tasks.raise_first(tasks.do(session, "CreateSnapshot_Task", refs, **about))
    if not is_template:
        session.call(entry.ref, "MarkAsTemplate")


def left_over(session: Session, where: Place, uid: str) -> list[Entry]:
    """Return what a run that was killed has deployed for a cluster and not given its marks."""
    begin = prefix(where, uid)
    machines = session.read(session.all({session.vim.VirtualMachine: _ALL_MACHINES}))
    return [
        entry
        for entry in machines
        if str(entry.values.get("name") or "").startswith(begin) and entry.values.get(names.path(names.TAG_ITEM)) is None
    ]


def remove(session: Session, entries: Iterable[Entry]) -> None:
    """Destroy templates of a cluster with their disks."""
    refs = {entry.id: entry.ref for entry in entries}
    tasks.raise_first(tasks.do(session, "Destroy_Task", refs), but=("ManagedObjectNotFound",))
