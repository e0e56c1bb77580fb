# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of objects that belong together and are known by their labels (private to flotilla.kubernetes). Pure; Python 3.9.

The labels and annotations are those of Kubernetes' ApplySets, so ``kubectl apply --applyset`` and other tools know what is ours:
https://kubernetes.io/docs/reference/labels-annotations-taints/#applyset-kubernetes-io-id
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import FlotillaError

PART_OF = "applyset.kubernetes.io/part-of"
_ID = "applyset.kubernetes.io/id"
_TOOLING = "applyset.kubernetes.io/tooling"
_KINDS = "applyset.kubernetes.io/contains-group-kinds"
_NAMESPACES = "applyset.kubernetes.io/additional-namespaces"
NAMESPACE = "kube-system"
# A set that another tool's version wrote in another way would have another number.
_TOOL = "flotilla.kubernetes/v1"
# What the server itself writes into objects.
_WRITTEN_BY_THE_SERVER = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")
MASK = "(not shown)"

DEFINITION = "CustomResourceDefinition"
_FIRST = ("Namespace", DEFINITION)
# Those that others ask for what they may do: gone before what answers them is.
ASKED = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "APIService")


@dataclass(frozen=True, order=True)
class Key:
    """Which object; ``namespace`` is empty for those of the cluster."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)

    @property
    def group_kind(self) -> str:
        """The kind as ApplySets name it, such as ``Deployment.apps``."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


def key_of(item: Mapping[str, Any]) -> Key:
    """Return the key of an object."""
    metadata = item["metadata"]
    return Key(group_of(item["apiVersion"]), item["kind"], metadata.get("namespace", ""), metadata["name"])


def group_of(api_version: str) -> str:
    """Return the API group of an ``apiVersion``, empty for the core group."""
    return api_version.rpartition("/")[0]


def set_id(name: str, namespace: str = NAMESPACE) -> str:
    """Return the id of the set whose parent is the ConfigMap of a name."""
    digest = hashlib.sha256(f"{name}.{namespace}.ConfigMap.".encode()).digest()
    return f"applyset-{base64.urlsafe_b64encode(digest).decode().rstrip('=')}-v1"


def parent(
    name: str, labels: Mapping[str, str], data: Mapping[str, str], kinds: Iterable[str], namespaces: Iterable[str]
) -> dict[str, Any]:
    """Return the object that stands for a set.

    :param kinds: the kinds that the set has objects of, as `Key.group_kind`.
    :param namespaces: the namespaces that they are in.
    """
    annotations = {
        _TOOLING: _TOOL,
        _KINDS: ",".join(sorted(set(kinds))),
        _NAMESPACES: ",".join(sorted({*namespaces} - {NAMESPACE, ""})),
    }
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {**labels, _ID: set_id(name)}, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data)}


def kinds_of(found: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return group and kind of each kind that a parent says its set has."""
    text = (found["metadata"].get("annotations") or {}).get(_KINDS, "")
    return {(group, kind) for kind, _dot, group in (entry.partition(".") for entry in text.split(",") if entry)}


def member(item: Mapping[str, Any], identity: str) -> dict[str, Any]:
    """Return an object with the label that makes it part of a set."""
    metadata = dict(item["metadata"])
    metadata["labels"] = {**(metadata.get("labels") or {}), PART_OF: identity}
    return {**item, "metadata": metadata}


def set_of(item: Mapping[str, Any]) -> str:
    """Return the id of the set that an object is part of, empty for none."""
    return str((item["metadata"].get("labels") or {}).get(PART_OF, ""))


def in_stages(objects: Iterable[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return objects in the stages in which they are applied: namespaces and definitions of kinds, then what runs, then objects of these
    kinds, which what runs may have to admit. Each stage is in its own order. No stage is empty.
    """
    items = [dict(item) for item in objects]
    own = {(item["spec"]["group"], item["spec"]["names"]["kind"]) for item in items if item["kind"] == DEFINITION}
    stages: list[list[dict[str, Any]]] = [[], [], []]
    for item in items:
        key = key_of(item)
        stages[0 if key.kind in _FIRST else 2 if (key.group, key.kind) in own else 1].append(item)
    stages[0].sort(key=lambda item: _FIRST.index(item["kind"]))
    stages[1].sort(key=lambda item: item["kind"] in ASKED)
    return [stage for stage in stages if stage]


def in_removal_order(keys: Iterable[Key], definitions: Iterable[Mapping[str, Any]]) -> list[list[Key]]:
    """Return keys in the stages in which their objects are deleted: each is gone before the next begins.

    :param definitions: the definitions of kinds among them, as they are.
    """
    own = {(item["spec"]["group"], item["spec"]["names"]["kind"]) for item in definitions}
    stages: list[list[Key]] = [[], [], [], [], []]
    for key in sorted(keys):
        if (key.group, key.kind) in own:
            stages[0].append(key)
        elif key.kind in ASKED:
            stages[1].append(key)
        elif key.kind == DEFINITION:
            stages[3].append(key)
        else:
            stages[4 if key.kind == "Namespace" else 2].append(key)
    return [stage for stage in stages if stage]


def checked(objects: Sequence[Any], where: str) -> list[dict[str, Any]]:
    """Return objects as they are, lists among them opened.

    :param where: what they are of, for the message.
    :raises FlotillaError: ``OBJECTS_WRONG``: one is no object of Kubernetes, or two are the same.
    """
    found: dict[Key, dict[str, Any]] = {}
    for item in objects:
        for entry in item.get("items", []) if isinstance(item, dict) and str(item.get("kind", "")).endswith("List") else [item]:
            try:
                key = key_of(entry)
            except (KeyError, TypeError, AttributeError) as error:
                raise FlotillaError(
                    "OBJECTS_WRONG",
                    f"{where} has something that is no object of Kubernetes (apiVersion, kind, metadata.name): {json.dumps(entry)[:200]}.",
                    "Mend its manifest.",
                ) from error
            if key in found:
                raise FlotillaError("OBJECTS_WRONG", f"{where} has {key} twice.", "Remove one of the two from its manifest.")
            found[key] = entry
    return list(found.values())


def visible(item: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what people are shown of an object: not what the server writes, and nothing of a Secret's data."""
    if item is None:
        return {}
    shown = {name: value for name, value in item.items() if name != "status"}
    shown["metadata"] = {name: value for name, value in item["metadata"].items() if name not in _WRITTEN_BY_THE_SERVER}
    if item["kind"] == "Secret":
        for part in ("data", "stringData"):
            if item.get(part):
                shown[part] = dict.fromkeys(item[part], MASK)
    return shown


def differs(live: Mapping[str, Any], tried: Mapping[str, Any]) -> bool:
    """Tell whether an object would be another one after it is applied."""
    return _content(live) != _content(tried)


def _content(item: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {name: value for name, value in item["metadata"].items() if name not in _WRITTEN_BY_THE_SERVER}
    return {**{name: value for name, value in item.items() if name != "status"}, "metadata": metadata}


def is_awaited(kind: str) -> bool:
    """Tell whether objects of a kind do their work only some time after they are applied."""
    return kind in _READY


def unready(item: Mapping[str, Any]) -> str:
    """Return why an object does not do its work yet, or nothing.

    :raises FlotillaError: ``OBJECT_FAILED``: it never will.
    """
    status, spec = item.get("status") or {}, item.get("spec") or {}
    check = _READY.get(item["kind"])
    if check is None:
        return ""
    if item["metadata"].get("generation", 0) > status.get("observedGeneration", 0) and item["kind"] in _WORKLOADS:
        return "its controller has not seen it yet"
    return check(spec, status)


def _deployment(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    wanted, updated, ready = spec.get("replicas", 1), status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    old = status.get("replicas", 0) - updated
    if updated >= wanted and ready >= wanted and old <= 0:
        return ""
    return f"{min(updated, ready)} of {wanted} pods are up" + (f", {old} old ones are to go" if old > 0 else "")


def _daemon_set(_spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    wanted = status.get("desiredNumberScheduled", 0)
    ready = min(status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0))
    return "" if ready >= wanted else f"{ready} of {wanted} pods are up"


def _stateful_set(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    wanted = spec.get("replicas", 1)
    ready = min(status.get("updatedReplicas", status.get("currentReplicas", 0)), status.get("availableReplicas", 0))
    return "" if ready >= wanted else f"{ready} of {wanted} pods are up"


def _condition(name: str) -> Any:
    def check(_spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
        found = {entry["type"]: entry for entry in status.get("conditions") or ()}.get(name, {})
        return "" if found.get("status") == "True" else found.get("message") or f"it is not {name}"

    return check


def _job(_spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    conditions = {entry["type"]: entry for entry in status.get("conditions") or () if entry["status"] == "True"}
    if "Failed" in conditions:
        raise FlotillaError("OBJECT_FAILED", f"The job failed: {conditions['Failed'].get('message', '')}", "Read the log of its pods.")
    return "" if "Complete" in conditions else "it has not ended yet"


_WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet")
_READY = {
    "Deployment": _deployment,
    "DaemonSet": _daemon_set,
    "StatefulSet": _stateful_set,
    "Job": _job,
    DEFINITION: _condition("Established"),
    "APIService": _condition("Available"),
}
