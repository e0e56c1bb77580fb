# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what in a cluster, and what its pods may do (private to flotilla.kubernetes).

What is wanted, what there is, and the changes between. Pure: no I/O. `policy_step` reads and writes. Python 3.9, standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

# Objects of ours carry it; what loses it is nobody's business of ours any more.
LABEL = "flotilla.kubernetes/policies"
LABEL_VALUE = "managed"
MANAGER = "flotilla-policies"

RBAC = "rbac.authorization.k8s.io"
# https://kubernetes.io/docs/concepts/security/pod-security-admission/#pod-security-admission-labels-for-namespaces
POD_SECURITY = "pod-security.kubernetes.io"
MODES = ("enforce", "warn", "audit")

_API = {
    "Namespace": ("v1", "/api/v1", "namespaces"),
    **{
        kind: (f"{RBAC}/v1", f"/apis/{RBAC}/v1", f"{kind.lower()}s")
        for kind in ("ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding")
    },
}
KINDS = tuple(_API)
"""In the order in which they are made; they are taken away in the opposite one."""

CREATE, CHANGE, REPLACE, DELETE, RELEASE = "create", "change", "replace", "delete", "release"


@dataclass(frozen=True)
class Key:
    """Which object: ``namespace`` is empty for those of the cluster."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind.lower(), self.namespace, self.name) if part)

    @property
    def path(self) -> str:
        """The object's path in the API."""
        _version, base, plural = _API[self.kind]
        inside = f"/namespaces/{self.namespace}" if self.namespace else ""
        return f"{base}{inside}/{plural}/{quote(self.name, safe='')}"


def list_path(kind: str) -> str:
    """Return where all objects of a kind that carry our label are listed."""
    _version, base, plural = _API[kind]
    return f"{base}/{plural}?labelSelector={quote(LABEL, safe='')}"


def key_of(kind: str, found: Mapping[str, Any]) -> Key:
    """Return the key of an object as the API shows it."""
    metadata = found["metadata"]
    return Key(kind, metadata.get("namespace", ""), metadata["name"])


@dataclass(frozen=True)
class Change:
    """One object that is not as it should be.

    :param action: `CREATE`, `CHANGE`, `REPLACE` (what it grants can not be changed in place), `DELETE`, or `RELEASE`: it stays as it is
        and is not ours any more.
    :param wanted: what is applied; nothing for `DELETE` and `RELEASE`.
    :param live: the object as it was read; nothing for `CREATE`.
    :param before: the fields that differ, as they are; None where there is none.
    :param after: the same, as they will be.
    """

    key: Key
    action: str
    wanted: dict[str, Any] = field(default_factory=dict)
    live: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return what a module says of it."""
        return {"object": str(self.key), "action": self.action, "fields": sorted({*self.before, *self.after})}


def wanted_objects(
    namespaces: Iterable[Mapping[str, Any]], cluster_roles: Iterable[Mapping[str, Any]], cluster_role_bindings: Iterable[Mapping[str, Any]]
) -> dict[Key, dict[str, Any]]:
    """Return what is to be in the cluster, as it is applied, from data as definitions have it (`policies`)."""
    found: dict[Key, dict[str, Any]] = {}
    for namespace in namespaces:
        name = namespace["name"]
        _add(found, Key("Namespace", "", name), {**(namespace.get("labels") or {}), **_pod_security(namespace.get("pod_security") or {})})
        for role in namespace.get("roles") or ():
            _add(found, Key("Role", name, role["name"]), {}, rules=_rules(role))
        for binding in namespace.get("role_bindings") or ():
            _add(found, Key("RoleBinding", name, binding["name"]), {}, **_binding(binding))
    for role in cluster_roles:
        _add(found, Key("ClusterRole", "", role["name"]), role.get("labels") or {}, rules=_rules(role))
    for binding in cluster_role_bindings:
        _add(found, Key("ClusterRoleBinding", "", binding["name"]), {}, **_binding(binding))
    return found


def _add(found: dict[Key, dict[str, Any]], key: Key, labels: Mapping[str, str], **content: Any) -> None:
    metadata = {"name": key.name, "labels": {**labels, LABEL: LABEL_VALUE}}
    if key.namespace:
        metadata["namespace"] = key.namespace
    found[key] = {"apiVersion": _API[key.kind][0], "kind": key.kind, "metadata": metadata, **content}


def _pod_security(levels: Mapping[str, Any]) -> dict[str, str]:
    labels = {}
    for mode in MODES:
        level, version = levels.get(mode), levels.get(f"{mode}_version")
        if level:
            labels[f"{POD_SECURITY}/{mode}"] = level
            labels[f"{POD_SECURITY}/{mode}-version"] = f"v{version}" if version and version != "latest" else "latest"
    return labels


_RULE_FIELDS = {
    "api_groups": "apiGroups",
    "resources": "resources",
    "resource_names": "resourceNames",
    "non_resource_urls": "nonResourceURLs",
    "verbs": "verbs",
}


def _rules(role: Mapping[str, Any]) -> list[dict[str, list[str]]]:
    return [{name: list(rule[key]) for key, name in _RULE_FIELDS.items() if rule.get(key)} for rule in role.get("rules") or ()]


def _binding(binding: Mapping[str, Any]) -> dict[str, Any]:
    kind = "Role" if binding.get("role") else "ClusterRole"
    subjects: list[dict[str, str]] = [{"kind": "User", "apiGroup": RBAC, "name": name} for name in binding.get("users") or ()]
    subjects += [{"kind": "Group", "apiGroup": RBAC, "name": name} for name in binding.get("groups") or ()]
    for account in binding.get("service_accounts") or ():
        namespace, _slash, name = account.partition("/")
        subjects.append({"kind": "ServiceAccount", "namespace": namespace, "name": name})
    return {"subjects": subjects, "roleRef": {"apiGroup": RBAC, "kind": kind, "name": binding.get("role") or binding["cluster_role"]}}


def is_ours(found: Mapping[str, Any]) -> bool:
    """Tell whether an object was made by us, also when somebody took its label away."""
    return LABEL in (found["metadata"].get("labels") or {}) or any(_is_applied(entry) for entry in _managed(found))


def applied_labels(found: Mapping[str, Any]) -> set[str]:
    """Return the labels of an object that are there because we applied them and nobody else has set them.

    Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
    """
    ours, others = set(), set()
    for entry in _managed(found):
        names = ((entry.get("fieldsV1") or {}).get("f:metadata") or {}).get("f:labels") or {}
        (ours if _is_applied(entry) else others).update(name[2:] for name in names if name.startswith("f:"))
    return ours - others


def _managed(found: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return found["metadata"].get("managedFields") or ()


def _is_applied(entry: Mapping[str, Any]) -> bool:
    return entry.get("manager") == MANAGER and entry.get("operation") == "Apply"


def foreign(wanted: Mapping[Key, dict[str, Any]], live: Mapping[Key, dict[str, Any]]) -> list[Key]:
    """Return roles and bindings that somebody else made under a name that is wanted.

    A Namespace is not among them: of it we only own labels, so it may have another owner.
    """
    return [key for key in wanted if key.kind != "Namespace" and key in live and not is_ours(live[key])]


def changes(wanted: Mapping[Key, dict[str, Any]], live: Mapping[Key, dict[str, Any]]) -> list[Change]:
    """Return what has to be done, in its order.

    :param live: every object that carries our label, and those that are wanted and exist without it.
    """
    made, gone = [], []
    for key in sorted(wanted, key=_order):
        change = _difference(key, wanted[key], live.get(key))
        if change:
            made.append(change)
    for key in sorted(live, key=_order, reverse=True):
        found = live[key]
        if key in wanted or LABEL not in (found["metadata"].get("labels") or {}) or found["metadata"].get("deletionTimestamp"):
            continue
        action = RELEASE if key.kind == "Namespace" else DELETE
        before = {f"labels.{LABEL}": LABEL_VALUE} if action == RELEASE else _content(found)
        gone.append(Change(key, action, live=found, before=before, after=dict.fromkeys(before)))
    return made + gone


def _order(key: Key) -> tuple[int, str, str]:
    return KINDS.index(key.kind), key.namespace, key.name


def _difference(key: Key, wanted: dict[str, Any], live: dict[str, Any] | None) -> Change | None:
    after = {**{f"labels.{name}": value for name, value in wanted["metadata"]["labels"].items()}, **_content(wanted)}
    if live is None:
        return Change(key, CREATE, wanted, before=dict.fromkeys(after), after=after)
    labels = live["metadata"].get("labels") or {}
    before: dict[str, Any] = {f"labels.{name}": labels.get(name) for name in wanted["metadata"]["labels"]}
    before.update(_content(live) if key.kind != "Namespace" else {})
    for name in sorted((applied_labels(live) & set(labels)) - set(wanted["metadata"]["labels"])):
        before[f"labels.{name}"] = labels[name]
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if not names:
        return None
    replaced = {"roleRef", "aggregationRule"} & set(names)
    before, after = ({name: side.get(name) for name in names} for side in (before, after))
    return Change(key, REPLACE if replaced else CHANGE, wanted, live, before, after)


def _content(thing: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a role or binding grants, the same for what is wanted and for what the API shows."""
    found: dict[str, Any] = {}
    if thing.get("kind") == "Namespace":
        return found
    if "roleRef" in thing:
        found["roleRef"] = dict(thing["roleRef"])
        found["subjects"] = [{name: value for name, value in subject.items() if value} for subject in thing.get("subjects") or ()]
    else:
        found["rules"] = [{name: list(value) for name, value in rule.items() if value} for rule in thing.get("rules") or ()]
        # A controller would write the rules of such a role again and again.
        if thing.get("aggregationRule"):
            found["aggregationRule"] = thing["aggregationRule"]
    return found


@dataclass(frozen=True)
class Refusal:
    """Pods of a namespace that its new level would refuse: they go on running, and are not made again after a restart or a drain."""

    namespace: str
    level: str
    workloads: tuple[str, ...]
    complete: bool

    def as_dict(self) -> dict[str, Any]:
        """Return what a module says of it."""
        return {"namespace": self.namespace, "level": self.level, "workloads": list(self.workloads), "complete": self.complete}


def refusal(namespace: str, warnings: Sequence[str]) -> Refusal | None:
    """Return what the API server warned of when a namespace's labels were tried, or nothing.

    Source of the texts: k8s.io/pod-security-admission/admission/admission.go, EvaluatePodsInNamespace: a headline, then one warning for
    each workload with what is wrong; it looks at 3,000 pods for at most a second, and the server shortens what is longer than 4 KiB.
    """
    violations, level, complete = [], "", True
    for warning in warnings:
        if warning.startswith("existing pods in namespace"):
            level = warning.rsplit('"', 2)[-2] if warning.count('"') >= 2 else ""
        elif warning.startswith("new PodSecurity enforce level only checked against"):
            complete = False
        elif level:
            violations.append(warning)
    # What the server has not looked at all through it can not have cleared.
    if not level and complete:
        return None
    return Refusal(namespace, level, tuple(violations), complete)
