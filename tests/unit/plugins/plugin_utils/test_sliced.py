# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long work in slices: the module is run again until it is finished, and what it tells is shown at once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils import _sliced


@pytest.fixture
def action(monkeypatch):
    """Return a function that runs the action on answers of the module and gives result, the module's arguments and the lines shown."""

    def run(answers, async_val=0):
        shown, given = [], []
        monkeypatch.setattr(_sliced.Display, "display", lambda self, line, *args, **kwargs: shown.append((len(given), line)))
        task = SimpleNamespace(args={"version": "1"}, action="flotilla.kubernetes.x", async_val=async_val)
        made = object.__new__(_sliced.SlicedAction)
        made._task = task
        made.internal_arguments = lambda: {"worker": "w"}
        remaining = iter(answers)

        def execute(module_args, task_vars):
            given.append(module_args)
            return next(remaining)

        made._execute_module = execute
        monkeypatch.setattr(_sliced.ActionBase, "run", lambda self, tmp=None, task_vars=None: {"base": True})
        return made.run(None, {}), given, shown

    return run


def test_runs_until_finished_and_hands_the_token_on(action):
    result, given, shown = action(
        [
            {"changed": True, "finished": False, "progress": ["a", "b"], "progress_token": "1"},
            {"changed": True, "finished": False, "progress": [], "progress_token": "2"},
            {"changed": True, "finished": True, "progress": ["c"], "directory": "/d", "invocation": {}, "progress_token": "3"},
        ]
    )
    assert [arguments["progress_token"] for arguments in given] == [None, "1", "2"]
    assert all(arguments["version"] == "1" and arguments["worker"] == "w" for arguments in given)
    assert shown == [(1, "a"), (1, "b"), (3, "c")], "each line comes right after the slice that told it"
    assert result == {"base": True, "changed": True, "directory": "/d"}


@pytest.mark.parametrize("answer", [{"failed": True, "msg": "no", "progress": ["x"]}, {"unreachable": True, "msg": "no"}])
def test_a_failure_ends_it(action, answer):
    result, given, shown = action([answer])
    assert result["msg"] == "no" and len(given) == 1
    assert [line for _slice, line in shown] == answer.get("progress", [])


def test_async_is_refused(action):
    with pytest.raises(AnsibleActionFail, match="flotilla.kubernetes.x"):
        action([], async_val=60)
