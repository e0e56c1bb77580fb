# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two sets of changes are only worth comparing when they tell objects apart."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from journal import Entry
from prediction import changes


def objects(result: dict[str, Any], changed: bool = True, items: list[dict[str, Any]] | None = None) -> set[str]:
    return {change.object for change in changes([Entry("play", "task", "action", "host", "ok", changed, 0, 1, result, items or [])])}


def test_what_did_not_change_has_no_objects() -> None:
    assert objects({"written": ["/etc/x"]}, changed=False) == set()


def test_return_values_that_name_objects() -> None:
    assert objects({"written": ["/a", "/b"], "service_steps": ["restarted"], "removed": []}) == {
        "written /a",
        "written /b",
        "service_steps restarted",
    }


def test_otherwise_each_leaf_that_differs() -> None:
    diff = {
        "before": {"machines": {"m": {"state": "stopped", "pool": "p"}}},
        "after": {"machines": {"m": {"state": "running", "pool": "p"}}},
    }
    assert objects({"diff": diff}) == {"machines.m.state: 'stopped' -> 'running'"}
    assert objects({"diff": [{"before_header": "/a", "after_header": "/a", "before": "", "after": "x"}]}) == {"/a"}


def test_items_of_a_loop_and_tasks_that_say_nothing() -> None:
    assert objects({}, items=[{"written": ["/a"], "changed": True}, {"written": ["/b"], "changed": False}]) == {"written /a"}
    assert objects({}) == {""}
