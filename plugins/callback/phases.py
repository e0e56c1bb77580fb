# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: phases
type: stdout
short_description: A run as a list of phases, with what changed and how long each took
version_added: 0.1.0
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Shows each play of a run as a phase, with its number, the time since the start, and one line for each task that changed something.
  - Tasks that were ok or skipped are not shown. Failures and warnings are shown in full, a message of several lines as lines.
    What P(ansible.builtin.debug#module) prints is shown as text.
  - Ends with the time of each phase and the number of changes.
  - Results of tasks with C(no_log) are never shown.
  - With C(-v) and more it shows what P(ansible.builtin.default#callback) shows, under the same headers.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout callback in configuration
"""

EXAMPLES = r"""
# In ansible.cfg, or ANSIBLE_STDOUT_CALLBACK=flotilla.kubernetes.phases in the environment.
# [defaults]
# stdout_callback = flotilla.kubernetes.phases
"""

import time
from typing import Any

from ansible import constants as C
from ansible import context
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as DefaultCallback
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._results import fields_of, host_of, is_hidden, task_of

# How much of a command's output is shown when it failed; its end is what tells why.
_OUTPUT_LINES = 30


def _host_name(result: Any) -> str:
    """Return the name of the host of a result, with the one that it was delegated to."""
    host = host_of(result).get_name()
    delegated = fields_of(result).get("_ansible_delegated_vars") or {}
    target = delegated.get("ansible_delegated_host") or task_of(result).delegate_to
    return f"{host} -> {target}" if target and target != host else host


def _duration(seconds: float) -> str:
    """Return a duration for people: ``4.2 s``, ``3 min 07 s``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds:02d} s"


def _clock(seconds: float) -> str:
    """Return the time since the start: ``00:03:07``."""
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _lines(value: Any) -> list[str]:
    """Return a message as lines: text is split, the items of a list are a line each."""
    values = value if isinstance(value, list) else [value]
    return [line for item in values for line in str(item).rstrip().splitlines()]


def failure_lines(fields: dict[str, Any]) -> list[str]:
    """Return what a failed task's result says, as lines without indentation.

    The message first, then the cause that an error of this collection carries, then the end of a failed command's output.
    """
    lines = _lines(fields.get("msg") or "The task failed without a message.")
    if fields.get("cause") and str(fields["cause"]) not in str(fields.get("msg")):
        lines += ["cause:", *(f"  {line}" for line in _lines(fields["cause"])[-_OUTPUT_LINES:])]
    for name in ("cmd", "rc"):
        if fields.get(name) not in (None, "", []):
            value = " ".join(map(str, fields[name])) if isinstance(fields[name], list) else fields[name]
            lines.append(f"{name}: {value}")
    for name in ("stdout", "stderr", "module_stdout", "module_stderr"):
        if str(fields.get(name) or "").strip():
            lines += [f"{name}:", *(f"  {line}" for line in _lines(fields[name])[-_OUTPUT_LINES:])]
    return lines


def cause_lines(exception: Any) -> list[str]:
    """Return the messages of the errors that led to a failure, the nearest first.

    Since ansible-core 2.19 a failed task's ``msg`` is the outermost message only; the others hang on its ``exception``. That class is
    private to ansible-core, so anything of another shape gives no lines.
    """
    messages: list[str] = []
    chain = getattr(getattr(exception, "event", None), "chain", None)
    while chain is not None:
        event = getattr(chain, "event", None)
        messages.append(str(getattr(event, "msg", "") or ""))
        chain = getattr(event, "chain", None)
    return [line for message in messages if message != "Module failed." for line in _lines(message)]


class _Phase:
    """One play: its number, name, and how long it ran (all its batches together)."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.seconds = 0.0


class CallbackModule(DefaultCallback):
    """Print a run as phases."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "flotilla.kubernetes.phases"

    def __init__(self) -> None:
        super().__init__()
        self._started = time.monotonic()
        self._total = 0
        self._phases: dict[str, _Phase] = {}
        self._phase: _Phase | None = None
        self._phase_started = self._started
        # The task that runs, and the hosts that it changed, until the next one begins.
        self._task_id: str | None = None
        self._task_title = ""
        self._changed: list[str] = []
        # The last failure that was printed in full: many hosts often fail alike.
        self._last_failure: tuple[str, str, list[str]] | None = None

    # What the run consists of

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Count the phases."""
        self._total += len(playbook.get_plays())
        if self._display.verbosity:
            super().v2_playbook_on_start(playbook)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Print the header of a phase; a further batch of a play with ``serial`` is the same phase."""
        self._flush()
        self._end_phase()
        self._play = play
        phase = self._phases.get(play._uuid)
        if phase is None:
            phase = _Phase(len(self._phases) + 1, play.get_name().strip() or "Play")
            self._phases[play._uuid] = phase
            clock = _clock(time.monotonic() - self._started)
            total = max(self._total, phase.number)
            mode = " (check mode)" if play.check_mode else ""
            self._display.display(f"[{phase.number:{len(str(total)) + 1}d}/{total}  {clock} ] {phase.name}{mode}", color=C.COLOR_HIGHLIGHT)
        self._phase = phase
        self._phase_started = time.monotonic()

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Say that a phase has nobody to work on."""
        self._display.display("  nothing to do: no host matches", color=C.COLOR_SKIP)

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        """Say why a phase ends early."""
        self._flush()
        self._display.display("  no host is left to go on with", color=C.COLOR_ERROR)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Remember the task; it is shown when it changes or fails."""
        self._begin(task)
        if self._display.verbosity:
            super().v2_playbook_on_task_start(task, is_conditional)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Remember the handler; it is shown when it changes or fails."""
        self._begin(task)
        if self._display.verbosity:
            super().v2_playbook_on_handler_task_start(task)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """Show nothing: included tasks are tasks as all others."""
        if self._display.verbosity:
            super().v2_playbook_on_include(included_file)

    # What tasks return

    def v2_runner_on_ok(self, result: Any) -> None:
        """Collect a changed host; print what a debug task says."""
        if self._display.verbosity:
            super().v2_runner_on_ok(result)
            return
        task = task_of(result)
        if isinstance(task, TaskInclude):
            return
        fields = fields_of(result)
        if not is_hidden(result):
            self._warn(fields)
            if task.action in C._ACTION_DEBUG and not task.loop:
                self._print_debug(fields)
        if fields.get("changed"):
            self._follow(task)
            self._changed.append(_host_name(result))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Print a failure in full, or in one line when the play says to ignore it."""
        if self._display.verbosity:
            super().v2_runner_on_failed(result, ignore_errors)
            return
        fields = fields_of(result)
        # Each failed item of a loop was printed when it failed.
        items = fields.get("results", []) if task_of(result).loop and not ignore_errors else []
        if any(isinstance(item, dict) and item.get("failed") for item in items):
            return
        self._print_failure("ignored" if ignore_errors else "FAILED", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Print that a host could not be reached, and why."""
        if self._display.verbosity:
            super().v2_runner_on_unreachable(result)
            return
        self._print_failure("ignored" if task_of(result).ignore_unreachable else "UNREACHABLE", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Show nothing."""
        if self._display.verbosity:
            super().v2_runner_on_skipped(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Print what a debug task says of an item; a changed item shows with its task."""
        if self._display.verbosity:
            super().v2_runner_item_on_ok(result)
            return
        if not is_hidden(result) and task_of(result).action in C._ACTION_DEBUG:
            self._print_debug(fields_of(result))

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """Print the failure of one item of a loop."""
        if self._display.verbosity:
            super().v2_runner_item_on_failed(result)
            return
        if not task_of(result).ignore_errors:
            item = "" if is_hidden(result) else f", item {self._get_item_label(fields_of(result))}"
            self._print_failure("FAILED", result, item)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        """Show nothing."""
        if self._display.verbosity:
            super().v2_runner_item_on_skipped(result)

    def v2_runner_retry(self, result: Any) -> None:
        """Show nothing: a wait that ends well is no news, one that does not is a failure."""
        if self._display.verbosity:
            super().v2_runner_retry(result)

    def v2_runner_on_async_poll(self, result: Any) -> None:
        """Show nothing."""
        if self._display.verbosity:
            super().v2_runner_on_async_poll(result)

    def v2_runner_on_async_ok(self, result: Any) -> None:
        """Show nothing."""
        if self._display.verbosity:
            super().v2_runner_on_async_ok(result)

    def v2_on_file_diff(self, result: Any) -> None:
        """Print the differences (``--diff``) under the name of their task and host."""
        if self._display.verbosity:
            super().v2_on_file_diff(result)
            return
        if is_hidden(result):
            return
        fields = fields_of(result)
        for item in fields.get("results", [fields]) if task_of(result).loop else [fields]:
            hidden = not isinstance(item, dict) or item.get("_ansible_no_log") or "censored" in item
            if not hidden and item.get("diff") and item.get("changed"):
                difference = self._get_diff(item["diff"])
                if difference:
                    self._display.display(f"  difference: {self._title(task_of(result))} ({_host_name(result)})", color=C.COLOR_CHANGED)
                    self._display.display(difference)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the time of each phase, the hosts that failed, and the number of changes."""
        self._flush()
        self._end_phase()
        summaries = {host: stats.summarize(host) for host in sorted(stats.processed)}
        show = self._display.display

        width = max([len(phase.name) for phase in self._phases.values()] + [len("total")])
        show("")
        for phase in self._phases.values():
            show(f"  {phase.number:2d}  {phase.name:{width}}  {_duration(phase.seconds):>12}")
        show(f"      {'total':{width}}  {_duration(time.monotonic() - self._started):>12}")
        show("")

        failed = False
        for host, summary in summaries.items():
            problems = [
                f"{summary[key]} {name}" for key, name in (("failures", "failed"), ("unreachable", "unreachable")) if summary.get(key)
            ]
            if problems:
                failed = True
                show(f"{host}: {', '.join(problems)}", color=C.COLOR_ERROR)
        changed = sum(summary["changed"] for summary in summaries.values())
        if failed:
            show(f"Not finished (changed={changed}). What failed is shown above; the next run goes on from here.", color=C.COLOR_ERROR)
        elif not changed:
            show("No changes (changed=0).", color=C.COLOR_OK)
        elif context.CLIARGS.get("check"):
            show(f"changed={changed} would change; this was check mode, so nothing did.", color=C.COLOR_CHANGED)
        else:
            show(f"changed={changed}", color=C.COLOR_CHANGED)

    # Helpers

    def _title(self, task: Any) -> str:
        """Return the name of a task as it is shown: ``containerd | Install the configuration``."""
        title = self._task_title if task._uuid == self._task_id else task.get_name().strip()
        return title.replace("flotilla.kubernetes.", "", 1).replace(" : ", " | ", 1)

    def _begin(self, task: Any) -> None:
        """Make a task the current one; its name is templated now, for its variables may be gone later."""
        if task._uuid == self._task_id:
            return
        self._flush()
        self._task_id = task._uuid
        self._task_title = task.get_name().strip()
        self._current = task

    def _follow(self, task: Any) -> None:
        """Make the task of a result the current one (with strategy free, results of several tasks arrive mixed)."""
        if task._uuid != self._task_id:
            self._begin(task)

    def _flush(self) -> None:
        """Print the line of the current task when it changed something."""
        if self._changed and not self._display.verbosity:
            hosts = self._changed[0] if len(self._changed) == 1 else f"{len(self._changed)} hosts"
            self._display.display(f"  changed: {self._title(self._current)} ({hosts})", color=C.COLOR_CHANGED)
        self._changed = []

    def _end_phase(self) -> None:
        if self._phase is not None:
            self._phase.seconds += time.monotonic() - self._phase_started
            self._phase = None

    def _warn(self, fields: dict[str, Any]) -> None:
        """Print the warnings of a result."""
        for warning in fields.pop("warnings", None) or []:
            self._display.warning(str(warning))

    def _print_debug(self, fields: dict[str, Any]) -> None:
        """Print what a debug task says: its message as text, or its variable as data."""
        self._clean_results(fields, "ansible.builtin.debug")
        if "msg" in fields:
            for line in _lines(fields["msg"]):
                self._display.display(f"  {line}")
            return
        for name, value in fields.items():
            if not name.startswith("_") and name not in ("changed", "failed"):
                shown = value if isinstance(value, str) else self._dump_results({name: value}).strip()
                self._display.display(f"  {name}: {shown}" if isinstance(value, str) else f"  {shown}")

    def _print_failure(self, kind: str, result: Any, addition: str = "") -> None:
        """Print that a task failed on a host, with all that it said unless it must not be logged."""
        task, fields = task_of(result), fields_of(result)
        self._follow(task)
        color = C.COLOR_SKIP if kind == "ignored" else C.COLOR_UNREACHABLE if kind == "UNREACHABLE" else C.COLOR_ERROR
        stderr = kind != "ignored" and self.get_option("display_failed_stderr")
        head = f"  {kind}: {self._title(task)} ({_host_name(result)}{addition})"
        if is_hidden(result):
            self._display.display(head, color=color, stderr=stderr)
            self._display.display("    its result is hidden, because it may hold secrets (no_log)", color=color, stderr=stderr)
            return
        self._warn(fields)
        if kind == "ignored":
            lines = failure_lines(fields)
            self._display.display(f"{head}: {lines[0]}", color=color)
            return
        lines = failure_lines(fields)
        # The base class keeps the result as it came; what `fields` has under `exception` is text.
        current = getattr(self, "_current_task_result", None)
        known = "\n".join(lines)
        lines += [f"because: {line}" for line in cause_lines(getattr(current, "exception", None)) if line.rstrip(".") not in known]
        if (kind, task._uuid, lines) == self._last_failure:
            self._display.display(f"{head}: the same", color=color, stderr=stderr)
            return
        self._last_failure = (kind, task._uuid, lines)
        self._display.display(head, color=color, stderr=stderr)
        for line in lines:
            self._display.display(f"    {line}", color=color, stderr=stderr)
