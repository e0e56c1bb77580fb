# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that AWX holds of a fleet, as parameters of the modules of awx.awx (private to flotilla.kubernetes). Pure.

One model, rendered twice: the role `awx_setup` hands each object to its module, and the lists have the names and the shape that
infra.aap_configuration reads. Secrets are no part of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .._errors import FlotillaError
from . import surveys

Object = dict[str, Any]

KINDS = (
    ("instance_group", "controller_instance_groups"),
    ("organization", "aap_organizations"),
    ("label", "controller_labels"),
    ("team", "aap_teams"),
    ("credential_type", "controller_credential_types"),
    ("credential", "controller_credentials"),
    ("execution_environment", "controller_execution_environments"),
    ("notification_template", "controller_notifications"),
    ("project", "controller_projects"),
    ("inventory", "controller_inventories"),
    ("inventory_source", "controller_inventory_sources"),
    ("job_template", "controller_templates"),
    ("workflow_job_template", "controller_workflows"),
    ("schedule", "controller_schedules"),
    ("role", "controller_roles"),
)
"""Module of awx.awx and list of infra.aap_configuration, in the order in which objects need each other."""

CONTROLLER_TYPE = "Red Hat Ansible Automation Platform"
"""The built-in credential type that lets a job call the controller that runs it: it sets ``CONTROLLER_*``."""

HOUR = 3600

# What a job template runs, for how long at most, and what is special about it. Each is a playbook of this collection.
_TEMPLATES: tuple[tuple[str, str, str, float, dict[str, Any]], ...] = (
    (
        "preflight",
        "awx_preflight",
        "Look at all clusters and plan; changes nothing. Leaves the plan to the jobs after it.",
        2,
        {"survey": (surveys.KUBERNETES_VERSION, surveys.CLUSTERS, surveys.CHANGE_TICKET)},
    ),
    (
        "upgrade",
        "awx_upgrade",
        "Upgrade one cluster as planned. Refuses without a plan.",
        8,
        {
            # A wave runs several at a time. That no two of them are at work in one cluster is the cluster's own fence.
            "allow_simultaneous": True,
            "survey": (surveys.CLUSTER, surveys.PLAN, surveys.MAX_UNAVAILABLE, surveys.DRAIN_MODE, surveys.CHANGE_TICKET),
        },
    ),
    ("backup", "cluster_backup", "Back up one cluster.", 1, {"allow_simultaneous": True, "survey": (surveys.CLUSTER,)}),
    (
        "certificates",
        "cluster_rotate_certificates",
        "Renew the certificates of one cluster that end soon.",
        4,
        {"allow_simultaneous": True, "survey": (surveys.CLUSTER,)},
    ),
    ("apply", "cluster_apply", "Bring one cluster to what its definition says; also to scale it.", 6, {"survey": (surveys.CLUSTER,)}),
    ("replace", "machine_replace", "Replace one machine, dead or alive.", 4, {"survey": (surveys.CLUSTER, surveys.MACHINE)}),
    (
        "recover",
        "cluster_recover",
        "Let nodes take pods again that a job which was cancelled left drained, and free the cluster for the next one.",
        1,
        {"survey": (surveys.CLUSTER, surveys.TAKEOVER)},
    ),
    ("wave", "awx_wave", "Launch one job per cluster of a wave, wait for them and sum up.", 48, {"launches": "upgrade"}),
    ("fleet backup", "awx_wave", "Back up every cluster, each by a job of its own.", 12, {"launches": "backup"}),
    (
        "fleet certificates",
        "awx_wave",
        "Renew the certificates of every cluster, each by a job of its own.",
        24,
        {"launches": "certificates"},
    ),
    ("verify", "awx_verify", "Watch the clusters of a wave for as long as it soaks.", 48, {}),
    ("report", "awx_report", "Tell what became of the plan. Fails unless every planned cluster is done.", 2, {}),
)


def objects(settings: Mapping[str, Any]) -> dict[str, list[Object]]:
    """Return all objects, under the names of infra.aap_configuration.

    :param settings: the variables of the role without their prefix.
    :raises FlotillaError: ``AWX_SETTINGS`` with everything that does not go together.
    """
    return _Model(settings).lists()


def foundation_id(source_path: str) -> str:
    """Return the foundation that the definitions in a folder belong to, as `foundation_name` of `_definition.load` calls it."""
    return re.sub(r"[^a-z0-9_-]+", "-", source_path.rstrip("/").rpartition("/")[2].lower()).strip("-_")[:63] or "default"


class _Model:
    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._prefix = str(settings["prefix"])
        self._organization = str(settings["organization"])
        self._credentials = {str(one["name"]): one for one in settings["credentials"]}
        self._foundations = [_Foundation(one, self) for one in settings["foundations"]]
        self._check()

    def name(self, *parts: object) -> str:
        """Return the name of an object."""
        return " ".join(str(part) for part in (self._prefix, *parts) if part != "")

    def lists(self) -> dict[str, list[Object]]:
        made = {
            "instance_group": [dict(one) for one in self._settings["instance_groups"]],
            "organization": [self._of_organization()],
            "label": [{"name": self._prefix, "organization": self._organization}],
            "team": [{"name": name, "organization": self._organization} for name in self._settings["teams"].values() if name],
            "credential_type": credential_types(self._prefix),
            "credential": [self._credential(one) for one in self._settings["credentials"]],
            "execution_environment": [self._execution_environment()],
            "notification_template": [self._notification(one) for one in self._settings["notifications"]],
            "project": [self._project()],
            "inventory": [self._inventory(one) for one in self._foundations],
            "inventory_source": [self._source(one) for one in self._foundations],
            "job_template": [self._template(*one) for one in _TEMPLATES],
            "workflow_job_template": [*(self._workflow(one) for one in self._foundations), *self._nested()],
            "schedule": [schedule for one in self._foundations for schedule in self._schedules(one)],
            "role": self._roles(),
        }
        return {listed: made[kind] for kind, listed in KINDS}

    def _check(self) -> None:
        settings, problems = self._settings, []
        if not self._foundations:
            problems.append("foundations is empty; AWX needs the folder of at least one, like {source_path: inventories/production}")
        ids = [one.id for one in self._foundations]
        problems += [
            f"two foundations are called {one}; their folders need different names" for one in sorted({*ids}) if ids.count(one) > 1
        ]
        control = settings["control_credential"]
        if control not in self._credentials:
            problems.append(f"control_credential is {control!r}, which is none of credentials; a wave calls the controller with it")
        elif self._credentials[control]["credential_type"] != CONTROLLER_TYPE:
            problems.append(f"the type of control_credential {control} is not {CONTROLLER_TYPE}")
        for one in self._foundations:
            unknown = [name for name in one.credentials if name not in self._credentials]
            problems += [f"the credential {name} of foundation {one.id} is none of credentials" for name in unknown]
            types = [self._credentials[name]["credential_type"] for name in one.credentials if name not in unknown]
            problems += [
                f"foundation {one.id} has two credentials of type {kind}, and AWX gives a job one per type: split it"
                for kind in sorted({*types})
                if types.count(kind) > 1
            ]
            if one.instance_group == settings["control_instance_group"]:
                problems.append(
                    f"instance_group of foundation {one.id} is that of the waves, {one.instance_group}: "
                    "a wave waits for its jobs, and they would wait for its place"
                )
        if not 1 <= int(settings["waves"]) <= 50:
            problems.append(f"waves is {settings['waves']}; a workflow has 1 to 50")
        if problems:
            raise FlotillaError(
                "AWX_SETTINGS", f"These variables of awx_setup do not go together: {'; '.join(problems)}.", details={"problems": problems}
            )

    def _of_organization(self) -> Object:
        galaxy = list(self._settings["galaxy_credentials"])
        more = {"galaxy_credentials": galaxy} if galaxy else {}
        return {"name": self._organization, "description": "Fleets of Kubernetes clusters", **more}

    def _credential(self, one: Mapping[str, Any]) -> Object:
        return {"description": "", **one, "organization": self._organization, "update_secrets": bool(self._settings["update_secrets"])}

    def _execution_environment(self) -> Object:
        wanted = self._settings["execution_environment"]
        return {"name": self._prefix, "image": wanted["image"], "pull": wanted.get("pull", "missing"), "organization": self._organization}

    def _notification(self, one: Mapping[str, Any]) -> Object:
        return {"description": "", **one, "organization": self._organization}

    def _project(self) -> Object:
        wanted = self._settings["project"]
        return {
            "scm_type": "git",
            "scm_branch": "",
            "scm_update_on_launch": True,
            "scm_clean": True,
            **wanted,
            "name": self._prefix,
            "organization": self._organization,
            # Its job templates can be made only when AWX has seen its playbooks.
            "update_project": True,
            "wait": True,
        }

    def _inventory(self, one: _Foundation) -> Object:
        return {
            "name": one.inventory,
            "organization": self._organization,
            "description": f"Clusters of {one.source_path}",
            "kind": "",
            # A limit on a group would hide clusters; a place in another group than the foundation's would not reach them.
            "prevent_instance_group_fallback": True,
            "instance_groups": [one.instance_group],
        }

    def _source(self, one: _Foundation) -> Object:
        cloud = [name for name in one.credentials if self._credentials[name]["credential_type"] in SOURCE_TYPES]
        return {
            "name": one.source,
            "inventory": one.inventory,
            "organization": self._organization,
            "description": "",
            "source": "scm",
            "source_project": self._prefix,
            "source_path": one.source_path,
            "execution_environment": self._prefix,
            # What is not in the cloud any more has to go, and a cloud that does not answer fails the sync (it never shows fewer machines).
            "overwrite": True,
            "overwrite_vars": True,
            "update_on_launch": True,
            "update_cache_timeout": 0,
            # A text would arrive wrapped from ansible-core 2.19 on, equal nothing, and disable every host.
            "enabled_var": "flotilla_enabled",
            "enabled_value": "True",
            # Ansible only warns of a source that it could not read, and AWX would then delete its hosts.
            "source_vars": {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"},
            "verbosity": 1,
            **({"credential": cloud[0]} if cloud else {}),
        }

    def _template(self, name: str, playbook: str, description: str, hours: float, special: Mapping[str, Any]) -> Object:
        launches = special.get("launches")
        questions = special.get("survey", ())
        settings = self._settings
        return {
            "name": self.name(name),
            "organization": self._organization,
            "description": description,
            "job_type": "run",
            "project": self._prefix,
            "playbook": f"{settings['playbooks']}/{playbook}.yml".lstrip("/"),
            "inventory": self._foundations[0].inventory,
            "execution_environment": self._prefix,
            "credentials": [settings["control_credential"]] if launches else [],
            "instance_groups": [settings["control_instance_group"]] if launches else [],
            # Else AWX would run a wave in the inventory's group when its own is full.
            "prevent_instance_group_fallback": bool(launches),
            "labels": [self._prefix],
            "timeout": int(hours * HOUR),
            "allow_simultaneous": bool(special.get("allow_simultaneous", False)),
            # A slice is some of the hosts, dealt out one by one: it tears clusters apart.
            "job_slice_count": 1,
            "ask_job_slice_count_on_launch": False,
            # A limit can hide a cluster's own host, and its gates with it.
            "limit": "",
            "ask_limit_on_launch": False,
            "ask_tags_on_launch": False,
            "ask_skip_tags_on_launch": False,
            "ask_job_type_on_launch": True,
            "ask_diff_mode_on_launch": True,
            "ask_inventory_on_launch": True,
            "ask_credential_on_launch": True,
            "ask_instance_groups_on_launch": not launches,
            "ask_variables_on_launch": True,
            # Facts of the controller hold its environment, and that holds the secrets of clouds.
            "use_fact_cache": False,
            "become_enabled": False,
            "extra_vars": self._launches(launches) if launches else {},
            "survey_enabled": bool(questions),
            **({"survey_spec": surveys.survey(questions)} if questions else {}),
            **self._told("error"),
        }

    def _launches(self, name: str) -> dict[str, Any]:
        """Return what a wave launches, and with what: each foundation's jobs run with its own inventory, credentials and place."""
        return {
            "flotilla_job_template": self.name(name),
            "flotilla_plan_required": name == "upgrade",
            "flotilla_organization": self._organization,
            "flotilla_launch_with": {one.id: one.launch_with() for one in self._foundations},
        }

    def _told(self, *events: str) -> dict[str, list[str]]:
        names = [str(one["name"]) for one in self._settings["notifications"]]
        return {f"notification_templates_{event}": names for event in events} if names else {}

    def _workflow(self, one: _Foundation) -> Object:
        return {
            **self._workflow_terms(),
            "name": one.workflow,
            "description": f"Upgrade the clusters of {one.source_path}, wave by wave",
            "inventory": one.inventory,
            "simplified_workflow_nodes": self._nodes(one),
        }

    def _nested(self) -> list[Object]:
        """Return the workflow over all foundations, in their order; none if there is one foundation only."""
        if len(self._foundations) == 1:
            return []
        nodes: list[Object] = []
        for one in reversed(self._foundations):
            following = {"success_nodes": [nodes[-1]["identifier"]]} if nodes else {}
            what = {"unified_job_template": one.workflow, "lookup_organization": self._organization}
            nodes.append(_node(one.id, what, **following))
        return [
            {
                **self._workflow_terms(),
                "name": self.name("upgrade"),
                "description": f"Upgrade {', then '.join(one.id for one in self._foundations)}",
                "simplified_workflow_nodes": nodes,
            }
        ]

    def _workflow_terms(self) -> Object:
        questions = (
            surveys.KUBERNETES_VERSION,
            surveys.CLUSTERS,
            surveys.MAX_UNAVAILABLE,
            surveys.DRAIN_MODE,
            surveys.SOAK_MINUTES,
            surveys.MAX_FAILED,
            surveys.CHANGE_TICKET,
            surveys.WINDOW_END,
        )
        return {
            "organization": self._organization,
            "labels": [self._prefix],
            "allow_simultaneous": False,
            "ask_limit_on_launch": False,
            "ask_inventory_on_launch": False,
            "ask_variables_on_launch": False,
            "survey_enabled": True,
            "survey_spec": surveys.survey(questions),
            **self._told("error", "approvals"),
        }

    def _nodes(self, one: _Foundation) -> list[Object]:
        """Return the nodes of a rolling upgrade, the last one first: each names only nodes that are there before it.

        Whatever fails, the report follows. It looks at the clusters, and fails by itself unless the plan is fulfilled: a workflow is as
        green as its last node.
        """
        waves = int(self._settings["waves"])
        chain: list[tuple[str, Object]] = [
            ("sync", {"unified_job_template": one.source}),
            ("preflight", self._job(one, "preflight")),
            ("approve", self._question("approve", one, "Upgrade as the preflight planned?")),
            ("backup", self._wave(one, stage="all", flotilla_job_template=self.name("backup"))),
            ("canary", self._wave(one, stage="canary")),
            ("verify canary", self._job(one, "verify", flotilla_stage="canary", flotilla_stages=waves)),
        ]
        if self._settings["approve_waves"]:
            chain.append(("approve waves", self._question("approve waves", one, "The canaries are upgraded. Go on with the others?")))
        for number in range(1, waves + 1):
            chain.append((f"wave {number}", self._wave(one, stage=str(number))))
            chain.append((f"verify {number}", self._job(one, "verify", flotilla_stage=str(number), flotilla_stages=waves)))
        nodes = [_node("report", self._job(one, "report"))]
        # AWX has one kind of line between two nodes, so the last one leads to the report always.
        ends: Object = {"always_nodes": ["report"]}
        for identifier, what in reversed(chain):
            nodes.append(_node(identifier, what, **ends))
            ends = {"success_nodes": [identifier], "failure_nodes": ["report"]}
        return [{"lookup_organization": self._organization, **node} for node in nodes]

    def _question(self, name: str, one: _Foundation, text: str) -> Object:
        return {"approval_node": {"name": self.name(name, one.id), "description": text, "timeout": int(self._settings["approval_timeout"])}}

    def _job(self, one: _Foundation, template: str, **variables: Any) -> Object:
        return {
            "unified_job_template": self.name(template),
            "inventory": one.inventory,
            "credentials": list(one.credentials),
            "instance_groups": [one.instance_group],
            **({"extra_data": variables} if variables else {}),
        }

    def _wave(self, one: _Foundation, stage: str, **variables: Any) -> Object:
        return {
            "unified_job_template": self.name("wave"),
            "inventory": one.inventory,
            # The template's own credential comes on top: AWX refuses a node that names it again.
            "credentials": list(one.credentials),
            "extra_data": {"flotilla_stage": stage, "flotilla_stages": int(self._settings["waves"]), **variables},
        }

    def _schedules(self, one: _Foundation) -> list[Object]:
        version = {"kubernetes_version": surveys.LATEST_PATCH}
        job = {"inventory": one.inventory, "credentials": list(one.credentials)}
        checks = {**job, "job_type": "check", "extra_data": version}
        fleet = {**job, "extra_data": {"flotilla_stage": "all"}}
        wanted: list[tuple[str, str, str, Object]] = [
            ("monthly patch window", one.workflow, "20260106T220000 MONTHLY;INTERVAL=1;BYDAY=TU;BYSETPOS=1", {"extra_data": version}),
            ("nightly preflight", self.name("preflight"), "20260101T030000 DAILY;INTERVAL=1", checks),
            ("weekly certificates", self.name("fleet certificates"), "20260104T020000 WEEKLY;INTERVAL=1;BYDAY=SU", fleet),
            ("weekly backup", self.name("fleet backup"), "20260103T020000 WEEKLY;INTERVAL=1;BYDAY=SA", fleet),
            ("hourly inventory", one.source, "20260101T000000 HOURLY;INTERVAL=1", {}),
        ]
        zone = self._settings["time_zone"]
        changed = self._settings["schedules"]
        made = []
        for name, template, times, more in wanted:
            own = dict(changed.get(name, {}))
            made.append(
                {
                    "name": self.name(name, one.id),
                    "organization": self._organization,
                    "unified_job_template": template,
                    "description": "",
                    "rrule": f"DTSTART;TZID={zone}:{times.replace(' ', ' RRULE:FREQ=')}",
                    "enabled": False,
                    **more,
                    **own,
                }
            )
        return made

    def _roles(self) -> list[Object]:
        teams = self._settings["teams"]
        workflows = [one["name"] for one in (*map(self._workflow, self._foundations), *self._nested())]
        templates = [self.name(one[0]) for one in _TEMPLATES]
        wanted: tuple[tuple[str, str, Object], ...] = (
            ("operator", "execute", {"workflows": workflows, "job_templates": templates}),
            ("operator", "use", {"inventories": [one.inventory for one in self._foundations]}),
            ("approver", "approval", {"workflows": workflows}),
            ("approver", "read", {"job_templates": templates}),
            ("auditor", "auditor", {"organizations": [self._organization]}),
        )
        return [{"team": teams[team], "role": role, **of} for team, role, of in wanted if teams.get(team)]


SOURCE_TYPES = (
    "Amazon Web Services",
    "Google Compute Engine",
    "Microsoft Azure Resource Manager",
    "VMware vCenter",
)
"""The built-in types of clouds: an inventory source takes one of them and nothing else."""


class _Foundation:
    def __init__(self, data: Mapping[str, Any], model: _Model) -> None:
        self.source_path = str(data["source_path"]).rstrip("/")
        self.id = foundation_id(self.source_path)
        self.credentials = tuple(str(name) for name in data.get("credentials") or ())
        self.instance_group = str(data.get("instance_group") or "default")
        self.inventory = model.name(self.id)
        self.source = model.name(self.id, "definitions")
        self.workflow = model.name("upgrade", self.id)

    def launch_with(self) -> dict[str, Any]:
        return {"inventory": self.inventory, "credentials": list(self.credentials), "instance_groups": [self.instance_group]}


def _node(identifier: str, what: Object, **ends: Sequence[str]) -> Object:
    return {
        "identifier": identifier,
        **what,
        **{kind: list(ends.get(kind, ())) for kind in ("success_nodes", "failure_nodes", "always_nodes")},
    }


def credential_types(prefix: str) -> list[Object]:
    """Return the credential types that AWX has not: how machines are reached, and the keys of a store of backups that speaks S3."""
    return [
        {
            "name": f"{prefix} cluster access",
            "description": "SSH key of the machines of clusters",
            "kind": "cloud",
            "inputs": {
                "fields": [{"id": "ssh_private_key", "type": "string", "label": "SSH private key", "secret": True, "multiline": True}],
                "required": ["ssh_private_key"],
            },
            "injectors": {
                "file": {"template.key": "{{ ssh_private_key }}\n"},
                "extra_vars": {"ansible_ssh_private_key_file": "{{ tower.filename.key }}"},
            },
        },
        {
            "name": f"{prefix} snapshot store",
            "description": "Keys of the bucket in which backups are kept",
            "kind": "cloud",
            "inputs": {
                "fields": [
                    {"id": "access_key", "type": "string", "label": "Access key"},
                    {"id": "secret_key", "type": "string", "label": "Secret key", "secret": True},
                ],
                "required": ["access_key", "secret_key"],
            },
            "injectors": {
                "file": {"template.store": "[default]\naws_access_key_id={{ access_key }}\naws_secret_access_key={{ secret_key }}\n"},
                "env": {"AWS_SHARED_CREDENTIALS_FILE": "{{ tower.filename.store }}"},
            },
        },
    ]
