# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema of `policies` (private to flotilla.kubernetes)."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.schema_parts import (
    DNS_LABEL,
    LABEL_VALUE,
    QUALIFIED_NAME,
    mapping,
    pattern,
)

LEVELS = ["privileged", "baseline", "restricted"]
MODES = {
    "enforce": "that pods must meet",
    "warn": "whose violations people are warned of",
    "audit": "whose violations the audit record marks",
}
NAMESPACE = {"type": "string", "maxLength": 63, "pattern": pattern(DNS_LABEL), "x-allowed": "the name of a namespace"}

# Names of RBAC may hold what no other name does: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#restrictions-on-role-creation-or-update
_OWN_NAME = {
    "type": "string",
    "maxLength": 253,
    "pattern": pattern("(?!system:|kubeadm:)[A-Za-z0-9][-A-Za-z0-9_.:]*"),
    "x-allowed": "a name of letters, digits, '-', '_', '.' and ':' that does not begin with system: or kubeadm:",
}
_ROLE_NAME = {
    "type": "string",
    "maxLength": 253,
    "pattern": pattern("[A-Za-z0-9][-A-Za-z0-9_.:]*"),
    "x-allowed": "the name of a role",
}
_PERSON = {"type": "string", "minLength": 1, "maxLength": 253, "pattern": pattern("[^\\n]+"), "x-allowed": "a name such as oidc:jane"}


def _labels(description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "x-entries": "label keys and label values",
        "propertyNames": {
            "pattern": pattern(QUALIFIED_NAME),
            "maxLength": 317,
            "x-allowed": "a Kubernetes label key such as team or example.com/team",
        },
        "additionalProperties": {
            "type": "string",
            "maxLength": 63,
            "pattern": pattern(f"({LABEL_VALUE})?"),
            "x-allowed": "a Kubernetes label value: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends",
        },
        "default": {},
    }


def _texts(description: str, allowed: str, inner: str = "[^\\s]+", **more: Any) -> dict[str, Any]:
    item = {"type": "string", "pattern": pattern(inner), "x-allowed": allowed}
    return {"type": "array", "items": item, "minItems": 1, "uniqueItems": True, "description": description, **more}


_RULE = {
    "api_groups": _texts('API groups, such as `apps`; `""` is the core group.', "an API group such as apps", "[^\\s]*"),
    "resources": _texts("Resources, such as `pods` or `pods/log`; `*` for all.", "a resource such as pods"),
    "resource_names": _texts("Names of objects; all without it.", "the name of an object"),
}
_VERBS = _texts("What may be done, such as `get`, `list`, `watch`; `*` for all.", "a verb such as get")


def _rules(more: dict[str, Any]) -> dict[str, Any]:
    rule = mapping({**_RULE, **more, "verbs": _VERBS}, "One rule.", required=("verbs",))
    return {"type": "array", "items": rule, "description": "What it grants.", "minItems": 1}


def _subjects() -> dict[str, Any]:
    def people(what: str, item: dict[str, Any]) -> dict[str, Any]:
        return {"type": "array", "items": item, "uniqueItems": True, "description": what, "default": []}

    account = {
        "type": "string",
        "maxLength": 317,
        "pattern": pattern(f"{DNS_LABEL}/{DNS_LABEL}(\\.{DNS_LABEL})*"),
        "x-allowed": "a service account such as shop/robot",
    }
    return {
        "users": people("Users; of an issuer with its prefix, such as `oidc:jane@example.com`.", _PERSON),
        "groups": people("Groups; of an issuer with its prefix, such as `oidc:ops`.", _PERSON),
        "service_accounts": people("Service accounts, each as namespace/name.", account),
    }


def _named(
    properties: dict[str, Any], description: str, required: tuple[str, ...] = (), name: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Describe a list of things that inherit by name."""
    item = mapping({"name": {**(name or _OWN_NAME), "description": "Its name."}, **properties}, "One.", required=("name", *required))
    return {"type": "array", "items": item, "description": description, "default": []}


_NON_RESOURCE = {"non_resource_urls": _texts("Paths that are no resources, such as `/metrics`.", "a path such as /metrics", "/[^\\s]*|\\*")}
_CLUSTER_ROLE = {"cluster_role": {**_ROLE_NAME, "description": "A cluster role, of these or another one that the cluster has."}}

_POD_SECURITY: dict[str, Any] = {}
for _mode, _what in MODES.items():
    _POD_SECURITY[_mode] = {"type": "string", "enum": LEVELS, "description": f"Pod security standard {_what}."}
    _POD_SECURITY[f"{_mode}_version"] = {
        "type": "string",
        "pattern": pattern("latest|1\\.[0-9]+"),
        "x-allowed": 'latest or a minor version such as "1.36"',
        "description": f"As of which version of Kubernetes, for `{_mode}`; `latest` when left out.",
    }

POLICIES = mapping(
    {
        "profile": {
            "type": "string",
            "pattern": pattern("[a-z0-9-]+"),
            "x-allowed": "the name of a file in policy_profiles/, without .yml",
            "description": "Policy profile that is inherited: `policy_profiles/<profile>.yml` of the foundation, or of the folder above.",
        },
        "namespaces": _named(
            {
                "labels": _labels("Labels of the namespace."),
                "pod_security": mapping(
                    _POD_SECURITY, "What its pods may do to their nodes; what is not here follows `security.pod_security`.", default={}
                ),
                "roles": _named({"rules": _rules({})}, "Roles in the namespace.", ("rules",)),
                "role_bindings": _named(
                    {
                        "role": {**_ROLE_NAME, "description": "A role of the namespace. Either this or `cluster_role`."},
                        "cluster_role": {**_ROLE_NAME, "description": "A cluster role, whose rules hold in this namespace only."},
                        **_subjects(),
                    },
                    "Who has which role in the namespace.",
                ),
            },
            "Namespaces. One that exists gets what is said here and keeps the rest; one that is not said any more stays.",
            name=NAMESPACE,
        ),
        "cluster_roles": _named(
            {
                "labels": _labels("Labels, such as `rbac.authorization.k8s.io/aggregate-to-view`, which adds its rules to `view`."),
                "rules": _rules(_NON_RESOURCE),
            },
            "Cluster roles.",
            ("rules",),
        ),
        "cluster_role_bindings": _named({**_CLUSTER_ROLE, **_subjects()}, "Who has which cluster role everywhere.", ("cluster_role",)),
    },
    "Who may do what, and what pods may do, in each namespace ([policies](policies.md)). All its lists inherit by name.",
    default={},
)
