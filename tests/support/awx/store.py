# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller keeps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import rules
from .rules import HIDDEN, Refused

API = "/api/v2"
# Endpoint, and the type that its objects have.
TYPES = {
    "credential_types": "credential_type",
    "credentials": "credential",
    "execution_environments": "execution_environment",
    "instance_groups": "instance_group",
    "inventories": "inventory",
    "inventory_sources": "inventory_source",
    "job_templates": "job_template",
    "labels": "label",
    "notification_templates": "notification_template",
    "organizations": "organization",
    "projects": "project",
    "schedules": "schedule",
    "teams": "team",
    "workflow_job_template_nodes": "workflow_job_template_node",
    "workflow_job_templates": "workflow_job_template",
}
UNIFIED = ("projects", "inventory_sources", "job_templates", "workflow_job_templates", "workflow_approval_templates")
NOTIFIED = ("notification_templates_started", "notification_templates_success", "notification_templates_error")
EDGES = ("success_nodes", "failure_nodes", "always_nodes")
# Lists of other objects that an object has, and the endpoint that these are of.
HAS: dict[str, dict[str, str]] = {
    "organizations": {
        "instance_groups": "instance_groups",
        "galaxy_credentials": "credentials",
        **dict.fromkeys((*NOTIFIED, "notification_templates_approvals"), "notification_templates"),
    },
    "inventories": {"instance_groups": "instance_groups"},
    "inventory_sources": dict.fromkeys(NOTIFIED, "notification_templates"),
    "projects": dict.fromkeys(NOTIFIED, "notification_templates"),
    "job_templates": {
        "credentials": "credentials",
        "labels": "labels",
        "instance_groups": "instance_groups",
        **dict.fromkeys(NOTIFIED, "notification_templates"),
    },
    "workflow_job_templates": {
        "labels": "labels",
        **dict.fromkeys((*NOTIFIED, "notification_templates_approvals"), "notification_templates"),
    },
    "workflow_job_template_nodes": {
        **dict.fromkeys(EDGES, "workflow_job_template_nodes"),
        "credentials": "credentials",
        "labels": "labels",
        "instance_groups": "instance_groups",
    },
    "schedules": {"credentials": "credentials", "labels": "labels", "instance_groups": "instance_groups"},
    "instance_groups": {"instances": "instances"},
}
ROLES: dict[str, tuple[str, ...]] = {
    "organizations": ("admin", "auditor", "member", "read", "execute", "approval"),
    "job_templates": ("admin", "execute", "read"),
    "workflow_job_templates": ("admin", "execute", "read", "approval"),
    "inventories": ("admin", "use", "adhoc", "update", "read"),
    "projects": ("admin", "use", "update", "read"),
    "credentials": ("admin", "use", "read"),
    "instance_groups": ("admin", "use", "read"),
    "teams": ("admin", "member", "read"),
}
# Of the built-in credential types: the inputs, with those that are secret.
BUILT_IN: dict[str, tuple[str, str, set[str], set[str]]] = {
    "Machine": (
        "ssh",
        "ssh",
        {"username", "become_method", "become_username"},
        {"password", "ssh_key_data", "ssh_key_unlock", "become_password"},
    ),
    "Source Control": ("scm", "scm", {"username"}, {"password", "ssh_key_data", "ssh_key_unlock"}),
    "Amazon Web Services": ("cloud", "aws", {"username"}, {"password", "security_token"}),
    "Google Compute Engine": ("cloud", "gce", {"username", "project"}, {"ssh_key_data"}),
    "Microsoft Azure Resource Manager": (
        "cloud",
        "azure_rm",
        {"subscription", "username", "client", "tenant", "cloud_environment"},
        {"password", "secret"},
    ),
    "VMware vCenter": ("cloud", "vmware", {"host", "username"}, {"password"}),
    "Red Hat Ansible Automation Platform": ("cloud", "controller", {"host", "username", "verify_ssl"}, {"password", "oauth_token"}),
    "Ansible Galaxy/Automation Hub API Token": ("galaxy", "galaxy_api_token", {"url", "auth_url"}, {"token"}),
}
PLAYBOOK = re.compile(r"^\s*?-?\s*?(?:hosts|(ansible\.builtin\.)?import_playbook|(ansible\.builtin\.)?include):\s*?.*?$", re.M)


class Store:
    """Objects by endpoint and id, with the rules that need more than one of them.

    :param projects: the folder that stands behind every ``scm_url``.
    """

    def __init__(self, projects: Path) -> None:
        self._projects = projects
        self.objects: dict[str, dict[int, dict[str, Any]]] = {
            endpoint: {} for endpoint in (*TYPES, "workflow_approval_templates", "instances")
        }
        self.roles: dict[int, dict[str, Any]] = {}
        self._last = 0
        for name, (kind, namespace, plain, secret) in BUILT_IN.items():
            fields = [{"id": one, "secret": one in secret} for one in sorted(plain | secret)]
            self._add(
                "credential_types", {"name": name, "kind": kind, "namespace": namespace, "managed": True, "inputs": {"fields": fields}}
            )
        for name in ("default", "controlplane"):
            self._add("instance_groups", {"name": name})
        self._add("organizations", {"name": "Default"})

    # Reading

    def get(self, endpoint: str, number: int) -> dict[str, Any]:
        """:raises Refused: with 404."""
        for where in UNIFIED if endpoint == "unified_job_templates" else (endpoint,):
            if number in self.objects.get(where, {}):
                return self.objects[where][number]
        raise Refused({"detail": "Not found."}, 404)

    def has(self, endpoint: str, number: int) -> bool:
        try:
            self.get(endpoint, number)
        except Refused:
            return False
        return True

    def all(self, endpoint: str) -> Iterator[dict[str, Any]]:
        for where in UNIFIED if endpoint == "unified_job_templates" else (endpoint,):
            yield from self.objects[where].values()

    def named(self, endpoint: str, name: str) -> dict[str, Any]:
        """Return the one object of a name, for tests."""
        (found,) = [one for one in self.all(endpoint) if name in (one.get("name"), one.get("identifier"))]
        return found

    def shown(self, one: Mapping[str, Any]) -> dict[str, Any]:
        """Return an object as the API shows it: without the secrets."""
        made = {key: value for key, value in one.items() if not key.startswith("_")}
        if one["type"] == "credential":
            secret = {
                field["id"]
                for field in self.get("credential_types", one["credential_type"])["inputs"].get("fields", [])
                if field.get("secret")
            }
            made["inputs"] = {key: HIDDEN if key in secret and value else value for key, value in one["inputs"].items()}
        if one["type"] == "notification_template":
            secret = rules.NOTIFICATION_FIELDS.get(one["notification_type"], (set(), set()))[1]
            made["notification_configuration"] = {
                key: HIDDEN if key in secret and value else value for key, value in one["notification_configuration"].items()
            }
        made.pop("survey_spec", None)
        return made

    # Writing

    def create(self, endpoint: str, given: Mapping[str, Any]) -> dict[str, Any]:
        fields = rules.checked(endpoint, given, self.has)
        whole = {**_defaults(endpoint), **fields}
        self._check(endpoint, whole, fields, None)
        return self._add(endpoint, {**whole, "_sent": dict(given)})

    def change(self, endpoint: str, number: int, given: Mapping[str, Any]) -> dict[str, Any]:
        one = self.get(endpoint, number)
        fields = rules.checked(endpoint, given, self.has, partly=True)
        if endpoint == "credentials":
            fields["inputs"] = {
                key: one["inputs"].get(key) if value == HIDDEN else value for key, value in fields.get("inputs", one["inputs"]).items()
            }
        self._check(endpoint, {**one, **fields}, fields, number)
        one.update(fields)
        return one

    def set_survey(self, endpoint: str, number: int, spec: dict[str, Any]) -> None:
        rules.check_survey(spec)
        self.get(endpoint, number)["survey_spec"] = spec

    def approval(self, node: int, given: Mapping[str, Any]) -> dict[str, Any]:
        unknown = set(given) - {"name", "description", "timeout"}
        if unknown or not given.get("name"):
            raise Refused({field: ["AWX 24.6.1 has no such field."] for field in unknown} or {"name": ["This field is required."]})
        made = self._add("workflow_approval_templates", {"description": "", "timeout": 0, "organization": None, **given})
        one = self.get("workflow_job_template_nodes", node)
        one["unified_job_template"] = made["id"]
        one["related"]["unified_job_template"] = made["url"]
        return made

    def associate(self, endpoint: str, number: int, kind: str, other: int, away: bool) -> None:
        """Put an object into a list of another one, or take it away.

        :raises Refused: if AWX would.
        """
        one = self.get(endpoint, number)
        self.get(HAS[endpoint][kind], other)
        listed = one["_has"][kind]
        if away:
            one["_has"][kind] = [item for item in listed if item != other]
            return
        if kind in EDGES:
            self._check_edge(one, kind, other)
        if kind == "credentials":
            self._check_credential(endpoint, one, other)
        if kind == "instance_groups" and "unified_job_template" in one and not self._prompts(one, "ask_instance_groups_on_launch"):
            raise Refused({"msg": "Related template is not configured to accept instance_groups on launch."})
        if other not in listed:
            listed.append(other)

    def _prompts(self, one: Mapping[str, Any], ask: str) -> bool:
        template = one["unified_job_template"] and self.get("unified_job_templates", one["unified_job_template"])
        return bool(template and template.get(ask))

    def _check_edge(self, one: Mapping[str, Any], kind: str, other: int) -> None:
        if any(other in one["_has"][edge] for edge in EDGES if edge != kind):
            raise Refused({"Error": "Relationship not allowed."})
        seen, ahead = set(), [other]
        while ahead:
            node = ahead.pop()
            if node == one["id"]:
                raise Refused({"Error": "Cycle detected."})
            if node not in seen:
                seen.add(node)
                ahead += [after for edge in EDGES for after in self.get("workflow_job_template_nodes", node)["_has"][edge]]

    def _check_credential(self, endpoint: str, one: Mapping[str, Any], other: int) -> None:
        kind = self.get("credentials", other)["credential_type"]
        title = self.get("credential_types", kind)["name"]
        if kind in [self.get("credentials", each)["credential_type"] for each in one["_has"]["credentials"]]:
            raise Refused({"error": f"Cannot assign multiple {title} credentials."})
        if endpoint in ("schedules", "workflow_job_template_nodes"):
            if not self._prompts(one, "ask_credential_on_launch"):
                raise Refused({"msg": "Related template is not configured to accept credentials on launch."})
            if other in self.get("unified_job_templates", one["unified_job_template"])["_has"]["credentials"]:
                raise Refused({"msg": f"Related template already uses {title} credential."})

    def _check(self, endpoint: str, whole: Mapping[str, Any], fields: Mapping[str, Any], number: int | None) -> None:
        scope = [field for field in ("organization", "inventory", "unified_job_template") if field in rules.OPTIONS[endpoint]]
        for other in self.objects[endpoint].values():
            same = other["id"] != number and "name" in whole and other.get("name") == whole["name"]
            if same and endpoint != "workflow_job_template_nodes" and all(other.get(field) == whole.get(field) for field in scope):
                raise Refused({"__all__": [f"{TYPES[endpoint]} with this name already exists."]})
        if endpoint == "credentials":
            known = {field["id"] for field in self.get("credential_types", whole["credential_type"])["inputs"].get("fields", [])}
            if set(whole["inputs"]) - known:
                raise Refused({"inputs": [f"{', '.join(sorted(set(whole['inputs']) - known))} are no inputs of this credential type."]})
        elif endpoint == "notification_templates":
            known, _secret = rules.NOTIFICATION_FIELDS[whole["notification_type"]]
            if set(whole["notification_configuration"]) - known:
                raise Refused({"notification_configuration": ["It has fields that this type does not know."]})
        elif endpoint == "job_templates" and ("playbook" in fields or "project" in fields):
            if whole["playbook"] not in self.get("projects", whole["project"])["_playbooks"]:
                raise Refused({"playbook": ["Playbook not found for project."]})
        elif endpoint == "schedules":
            rules.check_rrule(whole["rrule"])
            self._check_prompts(whole, required=True)
        elif endpoint == "workflow_job_template_nodes" and whole.get("unified_job_template"):
            self._check_prompts(whole, required=False)

    def _check_prompts(self, whole: Mapping[str, Any], required: bool) -> None:
        template = self.get("unified_job_templates", whole["unified_job_template"])
        wanted = {**{field: whole.get(field) for field in rules.ASKS if field not in ("credentials", "labels", "instance_groups")}}
        if "survey_spec" not in template:
            errors = {field: ["Field is not configured to prompt on launch."] for field, value in wanted.items() if value not in (None, "")}
        else:
            _taken, errors = rules.accepted(template, {**wanted, "extra_vars": whole.get("extra_data")}, required)
        if errors:
            raise Refused(errors)

    def _add(self, endpoint: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        self._last += 1
        number = self._last
        url = f"{API}/{endpoint}/{number}/"
        one: dict[str, Any] = {
            **fields,
            "id": number,
            "url": url,
            "type": TYPES.get(endpoint, endpoint[:-1]),
            "related": {},
            "summary_fields": {},
        }
        one["_has"] = {kind: [] for kind in HAS.get(endpoint, {})}
        if endpoint in ("job_templates", "workflow_job_templates"):
            one["survey_spec"] = {}
            one["related"] = {"survey_spec": f"{url}survey_spec/", "launch": f"{url}launch/"}
        if endpoint == "credential_types":
            one.setdefault("managed", False)
        if endpoint == "job_templates":
            one["organization"] = self.get("projects", fields["project"])["organization"] if fields.get("project") else None
        if endpoint == "inventory_sources":
            one["organization"] = self.get("inventories", fields["inventory"])["organization"]
        if endpoint in ("projects", "inventory_sources"):
            one["related"]["update"] = f"{url}update/"
        if endpoint == "projects":
            one.update(scm_revision="", _playbooks=())
        for role in ROLES.get(endpoint, ()):
            self._last += 1
            self.roles[self._last] = {"id": self._last, "of": url, "role": role, "teams": []}
            one["summary_fields"].setdefault("object_roles", {})[f"{role}_role"] = {"id": self._last, "name": role}
        self.objects[endpoint][number] = one
        return one

    def sync_project(self, number: int) -> bool:
        """Look at the files of a project; return whether there are any."""
        one = self.get("projects", number)
        files = sorted(
            path for path in self._projects.rglob("*.yml") if not {"roles", "tasks"} & set(path.relative_to(self._projects).parts)
        )
        one["_playbooks"] = tuple(
            str(path.relative_to(self._projects)) for path in files if PLAYBOOK.search(path.read_text(encoding="utf-8", errors="replace"))
        )
        one["scm_revision"] = "0" * 40
        return bool(files)


def _defaults(endpoint: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, option in rules.OPTIONS[endpoint].items():
        default = option.get("default")
        made[name] = type(default)(default) if isinstance(default, (dict, list)) else default
    return made


Outcome = Callable[[Mapping[str, Any]], "tuple[str, dict[str, Any]] | None"]
"""What becomes of a job: its status and artifacts; None while it runs."""
