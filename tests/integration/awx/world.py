# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of the role `awx_setup` on the controller of the tests, without the role."""

from __future__ import annotations

import json
from typing import Any

import conftest as site
import outside
import yaml
from ansible_collections.flotilla.kubernetes.plugins.module_utils._awx.objects import KINDS, objects
from awx.store import EDGES, Store


def objects_of(**changes: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the objects of the role, with `VARIABLES` and ``changes``."""
    defaults = yaml.safe_load((outside.ROOT / "roles/awx_setup/defaults/main.yml").read_text())
    settings = {key.removeprefix("awx_setup_"): value for key, value in {**defaults, **site.VARIABLES, **changes}.items()}
    # What the defaults of the role say by templates.
    said = {
        "control_credential": "flotilla controller",
        "control_instance_group": "flotilla waves",
        "instance_groups": [{"name": "flotilla waves", "policy_instance_percentage": 100}],
        "teams": {"operator": "flotilla operators", "approver": "flotilla approvers", "auditor": "flotilla auditors"},
    }
    settings.update({key: value for key, value in said.items() if f"awx_setup_{key}" not in changes})
    return objects(settings)


def fill(store: Store, **changes: Any) -> None:
    """Put the objects of the role on a controller without a playbook: that the role does it is tested elsewhere."""
    made = objects_of(**changes)
    for kind, listed in KINDS:
        for one in made[listed] if kind != "role" else ():
            _put(store, kind, dict(one))


_ENDPOINTS = {"inventory": "inventories"}
_IDS = {
    "organization": "organizations",
    "credential": "credentials",
    "credential_type": "credential_types",
    "inventory": "inventories",
    "project": "projects",
    "source_project": "projects",
    "execution_environment": "execution_environments",
    "unified_job_template": "unified_job_templates",
}
_LISTS = {"credentials": "credentials", "instance_groups": "instance_groups", "labels": "labels"}


def _put(store: Store, kind: str, one: dict[str, Any]) -> dict[str, Any]:
    endpoint = _ENDPOINTS.get(kind, f"{kind}s")
    nodes, survey = one.pop("simplified_workflow_nodes", []), one.pop("survey_spec", None)
    approval = one.pop("approval_node", None)
    listed = {name: one.pop(name, []) for name in (*_LISTS, *EDGES)}
    for name in ("update_project", "wait", "update_secrets", "lookup_organization"):
        one.pop(name, None)
    fields = {name: store.named(_IDS[name], value)["id"] if name in _IDS else value for name, value in one.items()}
    for name in ("extra_vars", "source_vars"):
        if name in fields:
            fields[name] = json.dumps(fields[name])
    if kind in ("inventory_source", "schedule"):
        fields.pop("organization", None)
    made = store.create(endpoint, fields)
    if kind == "project":
        store.sync_project(made["id"])
    if survey:
        store.set_survey(endpoint, made["id"], survey)
    if approval:
        store.approval(made["id"], approval)
    for name, others in listed.items():
        for other in others:
            where = _LISTS.get(name, "workflow_job_template_nodes")
            store.associate(endpoint, made["id"], name, store.named(where, other)["id"], False)
    for node in nodes:
        _put(store, "workflow_job_template_node", {**node, "workflow_job_template": made["id"]})
    return made
