# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the controller runs jobs and workflows: no playbook runs, the test says what becomes of a job.

Variables and the end of a workflow follow `WorkflowNode.get_job_kwargs`, `WorkflowDAG` and `_update_unified_job_kwargs` of AWX.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from typing import Any

from . import rules
from .rules import Refused
from .store import API, EDGES, Outcome, Store

RUNNING = ("pending", "waiting", "running")
ENDPOINTS = {
    "job_templates": "jobs",
    "workflow_job_templates": "workflow_jobs",
    "projects": "project_updates",
    "inventory_sources": "inventory_updates",
    "workflow_approval_templates": "workflow_approvals",
}


class Jobs:
    """All jobs, newest last."""

    def __init__(self, store: Store, outcome: Outcome) -> None:
        self._store = store
        self.outcome = outcome
        self.jobs: dict[int, dict[str, Any]] = {}

    def get(self, endpoint: str, number: int) -> dict[str, Any]:
        """:raises Refused: with 404."""
        if number not in self.jobs or self.jobs[number]["_endpoint"] != endpoint:
            raise Refused({"detail": "Not found."}, 404)
        return self.jobs[number]

    def of(self, endpoint: str) -> list[dict[str, Any]]:
        return [job for job in self.jobs.values() if job["_endpoint"] == endpoint]

    def launch(self, endpoint: str, number: int, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Begin a job, as the endpoint ``launch`` does.

        :raises Refused: with what AWX says of the prompts.
        """
        template = self._store.get(endpoint, number)
        own = set(template["_has"].get("credentials", []))
        left_out = own - set(wanted.get("credentials", own))
        taken, errors = rules.accepted(template, wanted)
        if endpoint == "job_templates":
            # What is not promptable is passed over in silence; only answers and missing things count.
            errors = {field: value for field, value in errors.items() if field in ("variables_needed_to_start", "extra_vars")}
            if left_out:
                errors["credentials"] = ["Removing credentials at launch time without replacement is not supported."]
        if errors:
            raise Refused(errors)
        return self._begin(endpoint, template, taken)

    def scheduled(self, number: int) -> list[dict[str, Any]]:
        """Return the jobs that a schedule has begun."""
        return [job for job in self.jobs.values() if job.get("schedule") == number]

    def _keep_schedules(self) -> bool:
        """Begin what is due once, as AWX's scheduler does; rules that come again are nobody's business here."""
        began = False
        for one in list(self._store.all("schedules")):
            once = re.fullmatch(r"DTSTART:(\d{8}T\d{6}Z) RRULE:.*;COUNT=1", one["rrule"])
            if not one["enabled"] or not once or one.get("_begun") == one["rrule"]:
                continue
            due = dt.datetime.strptime(f"{once.group(1)}+0000", "%Y%m%dT%H%M%SZ%z")
            if dt.datetime.now(dt.timezone.utc) >= due:
                one["_begun"] = one["rrule"]
                template = self._store.get("unified_job_templates", one["unified_job_template"])
                prompts = {field: one.get(field) for field in ("inventory", "job_type", "limit") if one.get(field)}
                prompts.update(credentials=one["_has"]["credentials"], extra_vars=one.get("extra_data") or {})
                job = self._begin(template["url"].split("/")[3], template, prompts)
                job.update(launch_type="scheduled", schedule=one["id"])
                began = True
        return began

    def update(self, endpoint: str, number: int) -> dict[str, Any]:
        return self._begin(endpoint, self._store.get(endpoint, number), {})

    def _begin(
        self, endpoint: str, template: Mapping[str, Any], taken: Mapping[str, Any], inherited: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        number = len(self.jobs) + 1
        kind = ENDPOINTS[endpoint]
        url = f"{API}/{kind}/{number}/"
        survey = template.get("survey_spec", {}).get("spec", []) if template.get("survey_enabled") else []
        defaults = {}
        for one in survey:
            if one.get("default") is not None and not rules.survey_errors(
                {**template, "survey_spec": {"spec": [one]}}, {one["variable"]: one["default"]}
            ):
                defaults[one["variable"]] = one["default"]
        variables = {**json.loads(template.get("extra_vars") or "{}"), **defaults, **(taken.get("extra_vars") or {}), **(inherited or {})}
        job = {
            "id": number,
            "type": kind[:-1],
            "url": url,
            "name": template["name"],
            "status": "running",
            "failed": False,
            "finished": None,
            "started": "2026-11-23T00:00:00Z",
            "elapsed": 0.0,
            "event_processing_finished": False,
            "job_template": template["id"],
            "launch_type": "manual",
            "schedule": None,
            "inventory": taken.get("inventory") or template.get("inventory"),
            "credentials": sorted({*template.get("_has", {}).get("credentials", []), *(taken.get("credentials") or [])}),
            "instance_groups": taken.get("instance_groups") or template.get("_has", {}).get("instance_groups", []),
            "job_type": taken.get("job_type") or template.get("job_type", "run"),
            "limit": taken.get("limit") or "",
            "playbook": template.get("playbook", ""),
            "extra_vars": json.dumps(variables),
            "artifacts": {},
            "related": {"cancel": f"{url}cancel/", "relaunch": f"{url}relaunch/"},
            "summary_fields": {},
            "_endpoint": kind,
            "_from": (endpoint, dict(taken)),
        }
        if kind == "project_updates":
            job["scm_revision"] = ""
        self.jobs[number] = job
        if kind == "workflow_jobs":
            nodes = [one for one in self._store.all("workflow_job_template_nodes") if one["workflow_job_template"] == template["id"]]
            job["_nodes"] = {one["id"]: {"of": one, "job": None, "skipped": False, "artifacts": {}} for one in nodes}
        return job

    def cancel(self, job: dict[str, Any]) -> None:
        if job["status"] not in RUNNING:
            raise Refused({"detail": "Not running."}, 405)
        for node in job.get("_nodes", {}).values():
            if node["job"] and self.jobs[node["job"]]["status"] in RUNNING:
                self._end(self.jobs[node["job"]], "canceled", {})
        self._end(job, "canceled", {})

    def relaunch(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Begin a job anew. A workflow begins at its first node: AWX has no resume."""
        endpoint, taken = job["_from"]
        return self._begin(endpoint, self._store.get(endpoint, job["job_template"]), taken)

    def decide(self, number: int, approve: bool) -> None:
        """:raises Refused: unless the question is open."""
        job = self.get("workflow_approvals", number)
        if job["status"] != "running":
            raise Refused({"error": "This workflow step has already been approved or denied."})
        self._end(job, "successful" if approve else "failed", {})

    def go_on(self) -> None:
        """End jobs of which the test says that they end, and begin what follows in workflows."""
        moved = True
        while moved:
            moved = self._keep_schedules()
            for job in list(self.jobs.values()):
                if job["status"] not in RUNNING:
                    continue
                if job["_endpoint"] == "workflow_jobs":
                    moved |= self._step(job)
                elif job["_endpoint"] == "project_updates":
                    fine = self._store.sync_project(job["job_template"])
                    job["scm_revision"] = self._store.get("projects", job["job_template"])["scm_revision"]
                    self._end(job, "successful" if fine else "failed", {})
                    moved = True
                elif job["_endpoint"] != "workflow_approvals":
                    ended = self.outcome(job)
                    if ended:
                        self._end(job, *ended)
                        moved = True

    def _end(self, job: dict[str, Any], status: str, artifacts: dict[str, Any]) -> None:
        job.update(
            status=status,
            failed=status != "successful",
            finished="2026-11-23T00:01:00Z",
            event_processing_finished=True,
            artifacts=artifacts,
        )

    def _parents(self, nodes: Mapping[int, Any], number: int) -> list[tuple[dict[str, Any], str]]:
        return [(node, edge) for node in nodes.values() for edge in EDGES if number in node["of"]["_has"][edge]]

    def _leads(self, node: Mapping[str, Any], edge: str) -> bool:
        if node["job"] is None:
            return False
        job = self.jobs[node["job"]]
        return job["status"] not in RUNNING and (edge == "always_nodes" or (edge == "success_nodes") == (job["status"] == "successful"))

    def _step(self, workflow: dict[str, Any]) -> bool:
        nodes, moved = workflow["_nodes"], False
        for number, node in nodes.items():
            if node["job"] or node["skipped"]:
                continue
            parents = self._parents(nodes, number)
            decided = all(one["skipped"] or (one["job"] and self.jobs[one["job"]]["status"] not in RUNNING) for one, _edge in parents)
            leading = [one for one, edge in parents if self._leads(one, edge)]
            # Several lines into a node: it begins with the first that leads to it once all before it are decided.
            if not parents or (leading and decided):
                self._run(workflow, node, [one for one, _edge in parents])
                moved = True
            elif decided:
                node["skipped"] = moved = True
        if all(one["skipped"] or (one["job"] and self.jobs[one["job"]]["status"] not in RUNNING) for one in nodes.values()):
            bad = [one for one in nodes.values() if one["job"] and self.jobs[one["job"]]["failed"]]
            unhandled = any(not one["of"]["_has"]["failure_nodes"] and not one["of"]["_has"]["always_nodes"] for one in bad)
            self._end(workflow, "failed" if unhandled else "successful", {})
            moved = True
        return moved

    def _run(self, workflow: Mapping[str, Any], node: dict[str, Any], parents: list[dict[str, Any]]) -> None:
        one = node["of"]
        for parent in parents:
            node["artifacts"].update(parent["artifacts"])
            if parent["job"]:
                node["artifacts"].update(self.jobs[parent["job"]]["artifacts"])
        template = self._store.get("unified_job_templates", one["unified_job_template"])
        endpoint = template["url"].split("/")[3]
        taken = {
            **{field: one.get(field) for field in ("inventory", "job_type", "limit") if one.get(field)},
            "credentials": one["_has"]["credentials"],
            "instance_groups": one["_has"]["instance_groups"],
            "extra_vars": one.get("extra_data") or {},
        }
        # Answers of the workflow's survey come last, artifacts before them.
        inherited = (
            {**node["artifacts"], **json.loads(workflow["extra_vars"])} if endpoint in ("job_templates", "workflow_job_templates") else {}
        )
        node["job"] = self._begin(endpoint, template, taken, inherited)["id"]
