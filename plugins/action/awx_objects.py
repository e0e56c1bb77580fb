# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of `awx_objects`: makes objects on a controller, in the order in which they need each other, each by its module of awx.awx."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._awx.objects import KINDS
from ..module_utils._errors import FlotillaError
from ..plugin_utils._controller import CONNECTION, Controller

display = Display()

# Where an object names others, by the option of its module: what kinds these are of.
_NAMED: Mapping[str, tuple[str, ...]] = {
    "organization": ("organization",),
    "lookup_organization": ("organization",),
    "organizations": ("organization",),
    "credential": ("credential",),
    "credentials": ("credential",),
    "galaxy_credentials": ("credential",),
    "credential_type": ("credential_type",),
    "execution_environment": ("execution_environment",),
    "inventory": ("inventory",),
    "inventories": ("inventory",),
    "instance_groups": ("instance_group",),
    "labels": ("label",),
    "project": ("project",),
    "source_project": ("project",),
    "unified_job_template": ("job_template", "workflow_job_template", "inventory_source"),
    "workflow_job_template": ("workflow_job_template",),
    "job_templates": ("job_template",),
    "workflows": ("workflow_job_template",),
    "success_nodes": ("workflow_job_template_node",),
    "failure_nodes": ("workflow_job_template_node",),
    "always_nodes": ("workflow_job_template_node",),
    "team": ("team",),
    "notification_templates_error": ("notification_template",),
    "notification_templates_approvals": ("notification_template",),
}
# What AWX says of a playbook that its last update of the project did not bring.
_UNSEEN = "Playbook not found"
_SECRET = {"credential": "inputs", "notification_template": "notification_configuration"}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(("objects", "secrets", "kinds", "new", *CONNECTION))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        arguments = self._task.args
        kinds = list(arguments.get("kinds") or [kind for kind, _listed in KINDS])
        self._project: dict[str, Any] | None = None
        # What is not there yet, in check mode: modules that look for it would fail.
        new: set[tuple[str, str]] = {(kind, name) for kind, names in (arguments.get("new") or {}).items() for name in names}
        made: list[dict[str, Any]] = []
        try:
            with Controller(self, task_vars or {}, arguments) as controller:
                for kind, one, shown in _single(arguments["objects"], arguments.get("secrets") or {}, kinds):
                    made.append(self._make(controller, kind, one, shown, new))
        except FlotillaError as error:
            # A task with no_log hides what it says; this is free of secrets.
            display.error(str(error), wrap_text=False)
            raise AnsibleActionFail(str(error), result=error.as_result()) from error
        left: dict[str, list[str]] = {}
        for kind, name in sorted(new):
            left.setdefault(kind, []).append(name)
        result.update(changed=any(one["changed"] for one in made), objects=made, new=left)
        return result

    def _make(self, controller: Controller, kind: str, one: dict[str, Any], shown: str, new: set[tuple[str, str]]) -> dict[str, Any]:
        if self._task.check_mode and any(name in new for name in _names(kind, one)):
            changed, is_new = True, kind != "role"
        else:
            answer, changed = {}, False
            for call in _calls(kind, one):
                answer = self._call(controller, kind, call, _texts(one.get(_SECRET.get(kind, "")))) | answer
                changed |= bool(answer.get("changed"))
                if self._task.check_mode and changed:
                    break
            if kind == "project":
                self._project = one
                # Its job templates can be made only when AWX has seen its playbooks.
                if changed and not self._task.check_mode:
                    controller.call(kind, one)
            # Modules of awx.awx tell the name of what they made; in check mode they end before, with the id only of what is there.
            is_new = changed and kind != "role" and ("id" not in answer if self._task.check_mode else "name" in answer)
        if is_new and self._task.check_mode:
            new.add((kind, _key(kind, one)))
        if changed:
            display.display(f"{kind} {shown}: {'would be ' if self._task.check_mode else ''}{'made' if is_new else 'brought up to date'}")
        return {"kind": kind, "name": shown, "changed": changed}

    def _call(self, controller: Controller, kind: str, options: dict[str, Any], secrets: tuple[str, ...]) -> dict[str, Any]:
        try:
            return controller.call(kind, options, secrets)
        except FlotillaError as error:
            if kind != "job_template" or not self._project or _UNSEEN not in str(error):
                raise
        # It has come into the project since AWX last looked there.
        project, self._project = self._project, None
        controller.call("project", project)
        return controller.call(kind, options, secrets)


def _single(objects: Mapping[str, Any], secrets: Mapping[str, Any], kinds: list[str]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield each object with its kind and what people call it; a workflow before its nodes."""
    for kind, listed in KINDS:
        for item in objects.get(listed, []) if kind in kinds else ():
            one = dict(item)
            nodes = one.pop("simplified_workflow_nodes", [])
            if kind in _SECRET and one["name"] in secrets:
                one[_SECRET[kind]] = secrets[one["name"]]
            elif kind == "credential":
                continue  # it is on the controller already, and somebody else keeps it
            yield kind, one, str(one.get("name") or f"{one.get('team')} {one.get('role')}")
            for node in nodes:
                yield "workflow_job_template_node", {**node, **_of(one)}, f"{one['name']}: {node['identifier']}"


def _calls(kind: str, one: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the calls of its module that an object takes.

    That of a project would update it each time. That of a node would ask for the lines of a question where AWX
    has none: at the question, instead of at its node.
    """
    if kind == "project":
        return [{**one, "update_project": False}]
    if "approval_node" not in one:
        return [one]
    lines = ("success_nodes", "failure_nodes", "always_nodes")
    return [
        {key: value for key, value in one.items() if key not in lines},
        {key: value for key, value in one.items() if key != "approval_node"},
    ]


def _of(workflow: Mapping[str, Any]) -> dict[str, str]:
    return {"workflow_job_template": workflow["name"], "organization": workflow["organization"]}


def _key(kind: str, one: Mapping[str, Any]) -> str:
    return f"{one['workflow_job_template']}\n{one['identifier']}" if kind == "workflow_job_template_node" else str(one.get("name", ""))


def _names(kind: str, one: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the kinds and keys of all objects that one needs."""
    for option, of in _NAMED.items():
        value = one.get(option)
        for name in value if isinstance(value, list) else [value] if value else ():
            for needed in of:
                yield needed, f"{one['workflow_job_template']}\n{name}" if needed == "workflow_job_template_node" else str(name)


def _texts(value: Any) -> tuple[str, ...]:
    """Return every text in a secret; short ones would hide half of any message."""
    if isinstance(value, Mapping):
        return tuple(text for item in value.values() for text in _texts(item))
    if isinstance(value, (list, tuple)):
        return tuple(text for item in value for text in _texts(item))
    # What comes from a vault is no text yet; what is no text is no secret.
    text = "" if value is None or isinstance(value, (bool, int, float)) else str(value)
    return (text,) if len(text) > 3 else ()
