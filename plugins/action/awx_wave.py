# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of `awx_wave`: launches one job per cluster on the controller that runs it, as the rollout says, and waits for them."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._awx.plan import ALL, CANARY, carried, clusters_of, is_expired, settled, stage_of
from ..module_utils._definition import hosts
from ..module_utils._errors import FlotillaError
from ..module_utils._fleet.plan import NOTHING, fleets_of, make_plan
from ..module_utils._fleet.rollout import DONE, FAILED, LEFT_OUT, Rollout, states_of, waves_of
from ..module_utils._fleet.waves import STOP, Wave
from ..module_utils._fleet.windows import Windows
from ..module_utils._moments import parse
from ..plugin_utils import _fleet
from ..plugin_utils._controller import CONNECTION, Controller
from ..plugin_utils._fleet_seen import seen_of
from ..plugin_utils._table import table

display = Display()

ACTIVE = ("new", "pending", "waiting", "running")
_DAY = dt.timedelta(days=1)


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(
        (
            "plan", "stage", "stages", "job_template", "organization", "launch_with", "variables", "max_failed", "window_end", "freezes",
            "interval", *CONNECTION,
        )
    )  # fmt: skip

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        try:
            with Controller(self, task_vars or {}, self._task.args) as controller:
                result.update(_Stage(controller, task_vars or {}, self._task.args).go(self._task.check_mode))
        except FlotillaError as error:
            raise AnsibleActionFail(str(error), result=error.as_result()) from error
        return result


class _Stage:
    """What one node of a workflow does."""

    def __init__(self, controller: Controller, task_vars: dict[str, Any], arguments: Mapping[str, Any]) -> None:
        self._arguments = arguments
        self._controller = controller
        self._interval = float(arguments.get("interval") or 10)
        self._end = _moment(arguments.get("window_end"))
        self._freezes = [_freeze(one) for one in arguments.get("freezes") or ()]
        now = dt.datetime.now(dt.timezone.utc)
        checked = _fleet.fleet_of_play(task_vars)
        there = set((task_vars.get("groups") or {}).get(hosts.CLUSTERS_GROUP, []))
        self._definitions = {one["name"]: one for one in checked.definitions if hosts.cluster_host_name(one["name"]) in there}
        fleets = fleets_of(checked.fleets, self._definitions.values())
        stage, stages = str(arguments["stage"]), int(arguments["stages"])
        self._is_planned = bool(arguments.get("plan"))
        if self._is_planned:
            plan = carried(str(arguments["plan"]))
            if stage in (ALL, CANARY) and is_expired(plan, now):
                raise FlotillaError(
                    "FLEET_PLAN_EXPIRED", f"The plan {plan['plan_id']} was good until {plan['expires']}.", "Launch the workflow again."
                )
            waves = stage_of(plan, stage, stages)
            names = [one["name"] for one in clusters_of(waves)]
            seen = {name: seen_of(task_vars["hostvars"], hosts.cluster_host_name(name)) for name in names if name in self._definitions}
            present = make_plan(fleets, self._definitions, seen, now, _DAY)
            shown = {one["name"]: {**one, "interrupted": _interrupted(seen.get(one["name"], {}))} for one in clusters_of(present["waves"])}
            waves, refused = settled(waves, shown)
        else:
            plan = make_plan(fleets, self._definitions, None, now, _DAY)
            waves, refused = stage_of(plan, stage, stages), {}
        self._planned = {"waves": waves}
        self._launch_with = arguments.get("launch_with") or {}
        needed = {self._definitions[one["name"]]["foundation"] for one in clusters_of(waves) if one["name"] in self._definitions}
        if needed - set(self._launch_with):
            raise FlotillaError(
                "AWX_FOUNDATION_UNKNOWN",
                f"flotilla_launch_with does not say with what jobs of {', '.join(sorted(needed - set(self._launch_with)))} are launched.",
                "Add the foundation to awx_setup_foundations and run the role awx_setup again.",
            )
        self._waves = [self._terms(wave) for wave in waves_of(self._planned)]
        windows = {name: self._windows(one) for _name, fleet in fleets for name, one in fleet.windows.items()}
        self._rollout = Rollout(self._waves, windows, states_of(self._planned, {}))
        for name, why in refused.items():
            self._rollout.leave_out(name, why)
        self._jobs: dict[str, int] = {}
        self._stopped = ""

    def _terms(self, wave: Wave) -> Wave:
        most = self._arguments.get("max_failed")
        given = not wave.canary and str(most if most is not None else "") != ""
        return Wave(**{**wave.__dict__, "budget": int(str(most))}) if given else wave

    def _windows(self, windows: Windows) -> Windows:
        return Windows(windows.maintenance, (*windows.freezes, *self._freezes))

    def go(self, check_mode: bool) -> dict[str, Any]:
        if check_mode:
            return self._predict()
        running = self._at_work() if self._rollout.pending else {}
        told = ""
        while True:
            now = dt.datetime.now(dt.timezone.utc)
            if self._end and now >= self._end and not self._stopped:
                self._stopped = f"the window ended at {self._end.isoformat(timespec='minutes')}"
                self._rollout.stop(self._stopped)
            decision = self._rollout.next(now)
            for name, why in decision.left_out.items():
                _tell(f"{name}  left out: {why}")
            for name in decision.start:
                self._launch(name, running.get(name))
            if decision.over:
                break
            if decision.waits_for and decision.waits_for != told:
                told = decision.waits_for
                _tell(f"waits until {decision.until:%Y-%m-%dT%H:%M:%SZ}: {told}")
            time.sleep(self._interval)
            self._collect()
        return self._outcome()

    def _at_work(self) -> dict[str, int]:
        """Return jobs that an earlier wave has launched: AWX does not end them together with it."""
        found = {}
        # The newest one of a cluster counts.
        for job in self._listed({"name": self._arguments["job_template"], "status__in": ",".join(ACTIVE), "order_by": "id"}):
            try:
                name = json.loads(job.get("extra_vars") or "{}").get("flotilla_cluster_name")
            except ValueError:
                continue
            found[str(name)] = int(job["id"])
        return found

    def _launch(self, name: str, at_work: int | None) -> None:
        if at_work:
            self._jobs[name] = at_work
            _tell(f"{name}  job {at_work} is at work already")
            return
        launch_with = self._launch_with[str(self._definitions[name]["foundation"])]
        variables = {key: value for key, value in (self._arguments.get("variables") or {}).items() if value not in ("", None)}
        if self._is_planned:
            variables["flotilla_carried_plan"] = str(self._arguments["plan"])
        try:
            launched = self._controller.call(
                "job_launch",
                {
                    "name": self._arguments["job_template"],
                    "organization": self._arguments.get("organization"),
                    "inventory": launch_with["inventory"],
                    "credentials": list(launch_with.get("credentials") or []) or None,
                    "instance_groups": list(launch_with.get("instance_groups") or []) or None,
                    "extra_vars": {**variables, "flotilla_cluster_name": name},
                },
            )
        except FlotillaError as error:
            if error.code != "AWX_REFUSED":
                raise
            self._over(name, str(error))
        else:
            self._jobs[name] = int(launched["id"])
            _tell(f"{name}  job {launched['id']}")

    def _collect(self) -> None:
        waited = {number: name for name, number in self._jobs.items() if name in self._rollout.running}
        if not waited:
            return
        listed = {int(job["id"]): job for job in self._listed({"id__in": ",".join(map(str, sorted(waited)))})}
        for number, name in waited.items():
            status = listed.get(number, {}).get("status", "gone")
            if status not in ACTIVE:
                self._over(name, "" if status == "successful" else f"job {number} {'was ' if status == 'canceled' else ''}{status}")

    def _over(self, name: str, why: str) -> None:
        self._rollout.ended(name, dt.datetime.now(dt.timezone.utc), why)
        _tell(f"{name}  {'FAILED: ' + why if why else 'done'}")

    def _listed(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        answer = self._controller.call("job_list", {"query": {**query, "page_size": 200}, "all_pages": True})
        return list(answer.get("results", ()))

    def _clusters(self) -> list[dict[str, Any]]:
        states = self._rollout.states
        return [
            {
                "name": name,
                "wave": wave.name,
                "result": states[name].phase if name in states else "wait",
                "why": states[name].why if name in states else "",
                "job": self._jobs.get(name, 0),
            }
            for wave in self._waves
            for name in wave.clusters
        ]

    def _outcome(self) -> dict[str, Any]:
        clusters = self._clusters()
        _show(clusters)
        result = {"clusters": clusters, "changed": bool(self._jobs)}
        red = self._stopped or next((why for wave in self._waves for why in [_halt(wave, self._rollout)] if why), "")
        if not red:
            return result
        bad = [one["name"] for one in clusters if one["result"] != DONE]
        error = FlotillaError(
            "FLEET_INCOMPLETE",
            f"{len(clusters) - len(bad)} of {len(clusters)} clusters are done, and {red}. Not done: {', '.join(bad)}.",
            "Read the jobs of those that failed, mend what they say, and launch the workflow again: what is done stays done.",
        )
        return {**result, **error.as_result(), "failed": True}

    def _predict(self) -> dict[str, Any]:
        decision = self._rollout.next(dt.datetime.now(dt.timezone.utc))
        clusters = [{**one, "result": "start" if one["name"] in decision.start else one["result"]} for one in self._clusters()]
        _show(clusters)
        actions = {one["name"]: one["action"] for one in clusters_of(self._planned["waves"])}
        return {
            "clusters": clusters,
            "changed": any(one["result"] in ("start", "wait") and actions[one["name"]] != NOTHING for one in clusters),
        }


def _halt(wave: Wave, rollout: Rollout) -> str:
    """Return why nothing may follow a wave."""
    phases = [rollout.states[name].phase for name in wave.clusters]
    if wave.canary and (FAILED in phases or LEFT_OUT in phases):
        return f"a canary of {wave.name} is not"
    if phases.count(FAILED) > wave.budget and wave.on_failure == STOP:
        return f"{phases.count(FAILED)} of {wave.name} failed, and {wave.budget or 'none'} may"
    return ""


def _interrupted(seen: Mapping[str, Any]) -> bool:
    return bool(seen.get("versions", {}).get("interrupted"))


def _moment(text: Any) -> dt.datetime | None:
    """:raises FlotillaError: ``AWX_WINDOW_END_INVALID``."""
    if not text:
        return None
    try:
        moment = parse(str(text).strip())
    except ValueError as error:
        raise FlotillaError(
            "AWX_WINDOW_END_INVALID", f"flotilla_window_end is {str(text)!r}.", "Write a moment like 2026-12-01T06:00:00+01:00.", error
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.timezone.utc)


def _freeze(given: Mapping[str, Any]) -> dict[str, Any]:
    """:raises FlotillaError: ``AWX_FREEZE_INVALID``."""
    freeze = {"time_zone": "UTC", "reason": "flotilla_freeze_windows", **given}
    try:
        Windows((), (freeze,)).at(dt.datetime.now(dt.timezone.utc))
    except (KeyError, ValueError, TypeError) as error:
        raise FlotillaError(
            "AWX_FREEZE_INVALID", f"flotilla_freeze_windows holds {dict(given)}.", "Write it as freeze_windows of a fleet file.", error
        ) from error
    return freeze


def _tell(line: str) -> None:
    display.display(f"{dt.datetime.now(dt.timezone.utc):%H:%M:%SZ}  {line}")


def _show(clusters: list[dict[str, Any]]) -> None:
    if not clusters:
        display.display("No cluster is in this wave.")
        return
    rows = [(one["name"], one["wave"], one["result"].replace("_", " "), str(one["job"] or ""), one["why"]) for one in clusters]
    for line in ("", *table(("CLUSTER", "WAVE", "RESULT", "JOB", "WHY"), rows), ""):
        display.display(line)
