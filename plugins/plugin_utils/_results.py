# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of tasks as callback plugins get them, which ansible-core 2.19 gave other names (private to flotilla.kubernetes)."""

from __future__ import annotations

from typing import Any


def task_of(result: Any) -> Any:
    """Return the task of a result (``_task`` before ansible-core 2.19)."""
    return getattr(result, "task", None) or result._task


def fields_of(result: Any) -> dict[str, Any]:
    """Return what the task returned (``_result`` before ansible-core 2.19)."""
    fields = getattr(result, "result", None)
    return result._result if fields is None else fields


def host_of(result: Any) -> Any:
    """Return the host that the task was done for (``_host`` before ansible-core 2.19)."""
    return getattr(result, "host", None) or result._host


def is_hidden(result: Any) -> bool:
    """Tell whether a result belongs to a task that must not be logged."""
    fields = fields_of(result)
    return bool(task_of(result).no_log is True or "censored" in fields or fields.get("_ansible_no_log"))
