# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of the role `awx_setup` for tests: made by the role, with awx.awx as it is published, or put on the controller without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import outside
import peers
import yaml
from ansible_collections.flotilla.kubernetes.plugins.module_utils._awx.objects import KINDS, objects

from .store import EDGES, Store

SECRETS = {
    "aws": "planted-secret-of-aws",
    "token": "planted-token-of-the-controller",
    "key": "planted-key-of-machines",
    "store": "planted-secret-of-the-store",
    "mail": "planted-password-of-mail",
}
VARIABLES: dict[str, Any] = {
    "awx_setup_project": {"scm_url": "https://git.example.com/fleet.git", "scm_branch": "main"},
    "awx_setup_execution_environment": {"image": "registry.example.com/flotilla-ee:1.0"},
    "awx_setup_foundations": [
        {"source_path": "inventories/production", "credentials": ["aws production", "machines", "backups"], "instance_group": "default"},
    ],
    "awx_setup_credentials": [
        {"name": "aws production", "credential_type": "Amazon Web Services"},
        {"name": "machines", "credential_type": "flotilla cluster access"},
        {"name": "backups", "credential_type": "flotilla snapshot store"},
        {"name": "flotilla controller", "credential_type": "Red Hat Ansible Automation Platform"},
    ],
    "awx_setup_credential_inputs": {
        "aws production": {"username": "AKIA", "password": SECRETS["aws"]},
        "machines": {"ssh_private_key": SECRETS["key"]},
        "backups": {"access_key": "store", "secret_key": SECRETS["store"]},
        "flotilla controller": {"host": "https://awx.example.com", "oauth_token": SECRETS["token"], "verify_ssl": True},
    },
    "awx_setup_waves": 1,
    "awx_setup_time_zone": "Europe/Berlin",
}


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a playbook that uses awx.awx."""
    clean = {key: value for key, value in outside.playbook_environment().items() if not key.startswith(("CONTROLLER_", "TOWER_"))}
    paths = os.pathsep.join(map(str, [outside.ROOT / "collection", *peers.collections()]))
    return {**clean, "ANSIBLE_COLLECTIONS_PATH": paths, "ANSIBLE_PIPELINING": "true", **more}


def setup(
    folder: Path,
    address: Mapping[str, str],
    *options: str,
    tasks_from: str = "main",
    variables: Mapping[str, Any] | None = None,
    python: str = sys.executable,
    **changes: Any,
) -> outside.Run:
    """Run the role with ``variables`` and ``changes``, as a play of a person does.

    :param variables: `VARIABLES` when left out.
    :param python: of an environment with Ansible.
    """
    role = {"name": "flotilla.kubernetes.awx_setup", "tasks_from": tasks_from}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": role}]}
    playbook = folder / "setup.yml"
    playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
    given = folder / "variables.json"
    given.write_text(
        json.dumps({**(VARIABLES if variables is None else variables), "ansible_python_interpreter": python, **changes}), encoding="utf-8"
    )
    began = time.monotonic()
    done = subprocess.run(
        [str(Path(python).with_name("ansible-playbook")), "-i", "localhost,", "-e", f"@{given}", str(playbook), *options],
        cwd=folder,
        env=environment(**address),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1200,
        check=False,
    )
    return outside.Run(done.returncode, done.stdout, time.monotonic() - began)


def objects_of(**changes: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the objects of the role, with `VARIABLES` and ``changes``."""
    defaults = yaml.safe_load((outside.ROOT / "roles/awx_setup/defaults/main.yml").read_text())
    settings = {key.removeprefix("awx_setup_"): value for key, value in {**defaults, **VARIABLES, **changes}.items()}
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


def endpoint(kind: str) -> str:
    """Return the endpoint of a kind of object."""
    return _ENDPOINTS.get(kind, f"{kind}s")


def _put(store: Store, kind: str, one: dict[str, Any]) -> dict[str, Any]:
    where = endpoint(kind)
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
    made = store.create(where, fields)
    if kind == "project":
        store.sync_project(made["id"])
    if survey:
        store.set_survey(where, made["id"], survey)
    if approval:
        store.approval(made["id"], approval)
    for name, others in listed.items():
        for other in others:
            of = _LISTS.get(name, "workflow_job_template_nodes")
            store.associate(where, made["id"], name, store.named(of, other)["id"], False)
    for node in nodes:
        _put(store, "workflow_job_template_node", {**node, "workflow_job_template": made["id"]})
    return made
