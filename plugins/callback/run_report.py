# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: run_report
type: notification
short_description: A report of each run, as JSON, JUnit XML and one HTML page
version_added: 0.1.0
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Writes what a run did to each node of a cluster, what was found, evicted, asked and waited for, and where it stopped and why. It adds
    no task to the run, and works whether the run ends well, fails or is killed. A run that goes on with one that did not end well tells of
    both.
  - The playbooks of this collection that change a cluster bring it along. It has to be enabled for playbooks of your own.
  - Of results only fields that are known to hold no secrets are kept, and nothing of tasks with C(no_log).
  - The folder is that of the variable C(flotilla_report_dir), or of C(FLOTILLA_REPORT_DIR) in the environment, or C(reports) in the cache
    of the collection; V(none) means no report. The variable C(flotilla_report_keep) is how many reports of a cluster are kept (V(50)).
  - The variable C(flotilla_telemetry_endpoint), or C(FLOTILLA_TELEMETRY_ENDPOINT) in the environment, is the URL of a collector that takes
    OpenTelemetry over HTTP; it gets a trace of the run and its numbers when it ends. The variable C(flotilla_events_file), or
    C(FLOTILLA_EVENTS_FILE), is a file that gets a line of JSON for each event as it happens. Without them nothing is sent or written.
  - In check mode there is only a report when C(flotilla_report_dir) is given.
requirements:
  - enable in configuration, for playbooks of your own
"""

EXAMPLES = r"""
# In ansible.cfg, for playbooks of your own:
# [defaults]
# callbacks_enabled = flotilla.kubernetes.run_report
"""

import atexit
import getpass
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.release import __version__ as ansible_version
from ansible.template import Templar
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._results import fields_of, host_of, is_hidden, task_of
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._run_report import folder, record
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._telemetry import endpoint_of, send_run

# The one that writes, also where somebody enables for all playbooks what the playbooks of this collection bring along.
_writer: list[Any] = []
_KEEP = 50
# What AWX and its like say of a job: https://docs.ansible.com/projects/awx/en/latest/userguide/jobs.html
_JOB = ("job_id", "job_template_name", "schedule_name", "user_name", "workflow_job_id", "project_revision")


class CallbackModule(CallbackBase):
    """Keep the journal of a run, and write its report at the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "flotilla.kubernetes.run_report"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._play: Any = None
        self._phase = ""
        self._journal: folder.Journal | None = None
        # Nothing is to be written, or everything was.
        self._over = False
        self._playbook = Path()
        self._keep = _KEEP
        self._process = os.getpid()
        self._began: dict[tuple[str, str], float] = {}
        self._kubelets: dict[str, str] = {}
        self._endpoint = ""

    def reports(self, playbook: Path) -> bool:
        """Return whether there is a report of a run that begins with this playbook."""
        return True

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Remember the phase."""
        self._play, self._phase = play, play.get_name().strip()
        # It is a path and the number of a line.
        self._playbook = Path(str(play.get_path()).rsplit(":", 1)[0])
        if self._journal:
            self._note("phase", name=record.title_of(self._phase))

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """Remember when a task began on a host; what changes the cluster is written down at once."""
        if self._over:
            return
        if self._journal is None and not self._open(host):
            return
        self._began[host.get_name(), task._uuid] = time.time()
        action = str(task.action)
        if self._journal and action.startswith(record.COLLECTION) and record.kind_of(action) != "other":
            self._note("begin", **self._about(host, task))

    def v2_runner_on_ok(self, result: Any) -> None:
        """Write down what a task did."""
        self._write("changed" if fields_of(result).get("changed") else "ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Write down why a task failed."""
        self._write("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Write down that a host was out of reach."""
        self._write("ignored" if task_of(result).ignore_unreachable else "unreachable", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Forget when it began."""
        self._began.pop((host_of(result).get_name(), task_of(result)._uuid), None)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Write the report."""
        self._finish(failed=sorted(stats.failures), unreachable=sorted(stats.dark))

    def _open(self, host: Any) -> bool:
        """Begin the journal, once it is known whose run it is; return whether there is one."""
        if not self.reports(self._playbook):
            return False
        # Until it works: a callback plugin that fails is called again.
        self._over = True
        if _writer:
            return False
        variables = self._play.get_variable_manager().get_vars(play=self._play, host=host)
        templar = Templar(loader=self._play.get_loader(), variables=variables)
        given = variables.get("flotilla_report_dir")
        directory = folder.directory_of(None if given is None else templar.template(given))
        if directory is None or (self._play.check_mode and given is None):
            return False
        self._keep = int(templar.template(variables.get("flotilla_report_keep", _KEEP)))
        cluster = variables.get("flotilla_cluster") or {}
        playbook = self._playbook.stem
        name = str(cluster.get("name") or playbook)
        given = {key: variables.get(f"flotilla_{key}") for key in ("telemetry_endpoint", "events_file")}
        given = {key: None if value is None else templar.template(value) for key, value in given.items()}
        try:
            self._endpoint = endpoint_of(given["telemetry_endpoint"])
        except FlotillaError as error:
            self._display.warning(str(error))
        self._journal = folder.Journal(directory, name, playbook, folder.events_file_of(given["events_file"]))
        self._over = False
        _writer.append(self)
        atexit.register(self._finish)
        job = {name: variables.get(f"awx_{name}", variables.get(f"tower_{name}")) for name in _JOB}
        self._journal.write(
            "run",
            cluster=name,
            playbook=playbook,
            wanted=str(cluster.get("kubernetes_version") or ""),
            check_mode=bool(self._play.check_mode),
            by=record.clean({"user": _user(), **{name: value for name, value in job.items() if value}}),
            made_with={"ansible_core": ansible_version},
        )
        self._journal.write("phase", name=record.title_of(self._phase))
        return True

    def _about(self, host: Any, task: Any) -> dict[str, Any]:
        """Return what every record says of a task and the node that it is about, which is none where it is about the whole cluster."""
        variables = host.get_vars()
        machine = variables.get("flotilla_machine") or {}
        whole = bool(task.run_once) or ("flotilla_cluster" in variables and "flotilla_machine" not in variables)
        return {
            "host": host.get_name(),
            "task": task._uuid,
            "title": record.title_of(task.get_name()),
            "action": record.short(str(task.action)),
            "step_kind": record.kind_of(str(task.action)),
            "phase": record.title_of(self._phase),
            "node": "" if whole else str(variables.get("flotilla_node_name") or host.get_name()),
            "role": "" if whole else str(machine.get("role", "")),
            "pool": "" if whole else str(machine.get("pool", "")),
        }

    def _write(self, status: str, result: Any) -> None:
        if self._over or self._journal is None:
            return
        host, task, fields = host_of(result), task_of(result), fields_of(result)
        action, now = str(task.action), time.time()
        began = self._began.pop((host.get_name(), task._uuid), now)
        hidden = is_hidden(result)
        fence = (fields.get("ansible_facts") or {}).get("flotilla_fence") if record.short(action) == "set_fact" and not hidden else None
        if fence:
            self._note("fence", run=str(fence["run"]), generation=int(fence["generation"]))
        detail = {} if hidden else record.detail_of(action, fields)
        if detail.get("kubelets") == self._kubelets:
            del detail["kubelets"]
        self._kubelets = detail.get("kubelets", self._kubelets)
        told = record.is_told(action, status, now - began)
        if told or detail:
            error = {"error": record.error_of(fields, hidden)} if status in ("failed", "unreachable", "ignored") else {}
            self._note("result", began=began, status=status, told=told, detail=detail, **error, **self._about(host, task))

    def _note(self, kind: str, **fields: Any) -> None:
        """Write a record down, as long as that is possible."""
        if self._over or self._journal is None:
            return
        try:
            self._journal.write(kind, **fields)
        except OSError as error:
            self._over = True
            self._display.warning(f"There is no report of the rest of this run: {self._journal.folder}: {error}")

    def _finish(self, **end: Any) -> None:
        """Write the report, at the end of the run or, without the word of Ansible, at that of the process."""
        if self._over or self._journal is None or os.getpid() != self._process:
            return
        self._over = True
        if end:
            self._journal.write("end", **end)
        report = self._journal.finish(self._keep)
        if self._journal.events_problem:
            self._display.warning(f"The file of events lacks the rest of this run: {self._journal.events_problem}")
        if self._endpoint:
            try:
                send_run(report, self._endpoint)
            except FlotillaError as error:
                self._display.warning(str(error))
        self._display.display(f"Report: {self._journal.folder / folder.PAGE}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container whose user has no name.
        return str(os.getuid())
