# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what a run did, a line of JSON per task result and host, for tests and benchmarks.

The file is ``$FLOTILLA_TEST_JOURNAL``; `tests/support/journal.py` reads it. What a task with ``no_log`` returned is left out.
"""

from __future__ import annotations

DOCUMENTATION = r"""
name: journal
type: aggregate
short_description: Task results of a run as lines of JSON
description: [For the tests of flotilla.kubernetes.]
requirements: [The environment variable FLOTILLA_TEST_JOURNAL.]
"""

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

# What names the objects that a task changed, see `tests/support/prediction.py`.
KEPT = (
    "diff",
    "item",
    "written",
    "removed",
    "installed",
    "imported",
    "service_steps",
    "objects",
    "loaded",
    "set",
    "renewed",
    "members",
    "nodes",
)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "journal"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._file = open(os.environ["FLOTILLA_TEST_JOURNAL"], "w", encoding="utf-8", buffering=1)  # noqa: SIM115
        self._play = ""
        self._began: dict[tuple[str, str], float] = {}

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play.get_name()

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._began[host.get_name(), task._uuid] = time.time()

    def v2_runner_on_ok(self, result: Any) -> None:
        self._write("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._write("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._write("skipped", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._write("unreachable", result)

    def _write(self, status: str, result: Any) -> None:
        host, task, fields = result._host.get_name(), result._task, result._result
        hidden = bool(fields.get("_ansible_no_log") or task.no_log)
        entry = {
            "play": self._play,
            "task": task.get_name(),
            "action": task.action,
            "host": host,
            "status": status,
            "changed": bool(fields.get("changed")),
            "began": self._began.get((host, task._uuid), time.time()),
            "ended": time.time(),
            "result": {} if hidden else _kept(fields),
            "items": [] if hidden else [_item(item) for item in fields.get("results") or [] if isinstance(item, dict)],
        }
        self._file.write(json.dumps(entry, default=str) + "\n")


def _kept(fields: Any) -> dict[str, Any]:
    return {name: fields[name] for name in KEPT if name in fields}


def _item(fields: dict[str, Any]) -> dict[str, Any]:
    return {**_kept(fields), "changed": bool(fields.get("changed"))}
