# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of `policies` (private to flotilla.kubernetes)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import nearest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.policies_schema import MODES
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import tables
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.network_plugins import table

if TYPE_CHECKING:
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.rules import Report

Path = tuple["str | int", ...]

# https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles
_BUILT_IN = ("cluster-admin", "admin", "edit", "view")
# Who came without credentials.
_NAMELESS = ("system:anonymous", "system:unauthenticated")
_SUBJECTS = ("users", "groups", "service_accounts")
_RESERVED = {
    "pod-security.kubernetes.io": "is what pod_security sets; write the level there.",
    "flotilla.kubernetes": "has the prefix flotilla.kubernetes/, which the collection keeps for itself; choose another prefix.",
}


def policies(data: dict[str, Any], report: Report) -> None:
    """Names are unique, bindings grant something to somebody, and levels have an effect."""
    section, place = data.get("policies", {}), ("policies",)
    roles = _unique((*place, "cluster_roles"), section, report)
    for index, role in _entries(section, "cluster_roles"):
        here = (*place, "cluster_roles", index)
        if role.get("name") in _BUILT_IN:
            report((*here, "name"), f"is {role['name']}, a role of Kubernetes' own; take another name.")
        _labels((*here, "labels"), role, report)
        _rules(here, role, report)
    _unique((*place, "cluster_role_bindings"), section, report)
    for index, binding in _entries(section, "cluster_role_bindings"):
        _binding((*place, "cluster_role_bindings", index), binding, report)
    _unique((*place, "namespaces"), section, report)
    for index, namespace in _entries(section, "namespaces"):
        here = (*place, "namespaces", index)
        _labels((*here, "labels"), namespace, report)
        _levels((*here, "pod_security"), namespace, data, report)
        roles = _unique((*here, "roles"), namespace, report)
        for number, role in _entries(namespace, "roles"):
            _rules((*here, "roles", number), role, report)
        _unique((*here, "role_bindings"), namespace, report)
        for number, binding in _entries(namespace, "role_bindings"):
            _role(here, (*here, "role_bindings", number), binding, roles, report)
            _binding((*here, "role_bindings", number), binding, report)


def _entries(holder: dict[str, Any], key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    return ((index, entry) for index, entry in enumerate(holder.get(key, [])) if entry is not None)


def _unique(path: Path, holder: dict[str, Any], report: Report) -> list[str]:
    """Return the names of a list, of which each stands once."""
    seen: dict[str, int] = {}
    for index, entry in _entries(holder, str(path[-1])):
        name = entry.get("name")
        if name in seen:
            line = report.root.nearest((*path, seen[name], "name")).line
            report((*path, index, "name"), f"is {name}, as in line {line}; names are unique here.")
        elif name is not None:
            seen[name] = index
    return list(seen)


def _labels(path: Path, holder: dict[str, Any], report: Report) -> None:
    for key in holder.get("labels", {}):
        prefix, _slash, name = key.rpartition("/")
        if prefix in _RESERVED:
            report((*path, key), _RESERVED[prefix])
        elif key == "kubernetes.io/metadata.name":
            report((*path, key), "is what Kubernetes sets itself; remove it.")
        elif len(name) > 63 or len(prefix) > 253:
            report((*path, key), "is too long: at most 63 characters, after a prefix of at most 253 characters and '/'.")


def _levels(path: Path, namespace: dict[str, Any], data: dict[str, Any], report: Report) -> None:
    levels = namespace.get("pod_security", {})
    plugin = data.get("network", {}).get("plugin") or table.DEFAULT
    exempt = [*table.system_namespaces(plugin), *data.get("security", {}).get("pod_security", {}).get("exempt_namespaces", [])]
    if levels and namespace.get("name") in exempt:
        about = [("security", "pod_security", "exempt_namespaces")]
        report(path, f"has no effect: the namespace {namespace['name']} is exempt from pod security; remove it.", about=about)
    minor = tables.minor_of(str(data.get("kubernetes_version", "")))
    for mode in MODES:
        version = levels.get(f"{mode}_version")
        here = (*path, f"{mode}_version")
        if version and mode not in levels:
            report(here, f"has no effect without {mode}; add the level.", about=[(*path, mode)])
        if version and version != "latest" and minor.count(".") == 1 and int(version.split(".")[1]) > int(minor.split(".")[1]):
            message = f"is {version}, newer than the cluster, which has {minor}; take that, an older one or latest."
            report(here, message, suggestion=minor, about=[("kubernetes_version",)])


def _rules(path: Path, role: dict[str, Any], report: Report) -> None:
    for index, rule in _entries(role, "rules"):
        here = (*path, "rules", index)
        about = [(*here, key) for key in ("api_groups", "resources", "non_resource_urls")]
        if "non_resource_urls" in rule and {"api_groups", "resources", "resource_names"} & set(rule):
            report(here, "is about paths and about resources; make it two rules.", about=about)
        elif "non_resource_urls" not in rule and not {"api_groups", "resources"} <= set(rule):
            missing = " and ".join(key for key in ("api_groups", "resources") if key not in rule)
            report(here, f'needs {missing}; the core group is api_groups: [""].', about=about)


def _role(namespace: Path, path: Path, binding: dict[str, Any], roles: list[str], report: Report) -> None:
    both = [(*path, "role"), (*path, "cluster_role")]
    if ("role" in binding) == ("cluster_role" in binding):
        report(path, "grants one role: write either role or cluster_role.", about=both)
    elif "role" in binding and binding["role"] not in roles:
        guess = nearest(binding["role"], roles)
        hint = f' Did you mean "{guess}"?' if guess else (f" There are: {', '.join(roles)}." if roles else "")
        message = f"is {binding['role']}, which is none of the namespace's roles.{hint} Roles of the cluster go into cluster_role."
        report((*path, "role"), message, ", ".join(roles), guess, about=[(*namespace, "roles")])


def _binding(path: Path, binding: dict[str, Any], report: Report) -> None:
    about = [(*path, key) for key in _SUBJECTS]
    if not any(binding.get(key) for key in _SUBJECTS):
        report(path, f"grants nobody anything; name somebody in {', '.join(_SUBJECTS)}.", about=about)
    for key in ("users", "groups"):
        for index, name in enumerate(binding.get(key, [])):
            if name in _NAMELESS:
                report((*path, key, index), f"is {name}, anybody without credentials; name a group such as system:authenticated.")
