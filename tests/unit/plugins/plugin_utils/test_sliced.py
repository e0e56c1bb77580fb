# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long work in slices: the module is run again until it is finished, and what it tells is shown at once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
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
            answer = next(remaining)
            if isinstance(answer, Exception):
                raise answer
            return answer

        made._execute_module = execute
        monkeypatch.setattr(_sliced.ActionBase, "run", lambda self, tmp=None, task_vars=None: {"base": True})
        monkeypatch.setattr(_sliced, "_PAUSE", 0.0)
        return made.run(None, {"inventory_hostname": "m1"}), given, shown

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


def test_a_connection_lost_between_slices_is_tried_again(action):
    answers = [
        {"changed": True, "finished": False, "progress": ["a"], "progress_token": "1"},
        AnsibleConnectionFailure("gone"),
        {"changed": True, "finished": True},
    ]
    result, given, shown = action(answers)
    assert [arguments["progress_token"] for arguments in given] == [None, "1", "1"]
    assert result["changed"] and shown == [(1, "a"), (2, "m1: the connection was lost, trying again")]


def test_a_machine_that_never_answered_is_not_waited_for(action):
    with pytest.raises(AnsibleConnectionFailure):
        action([AnsibleConnectionFailure("gone"), {"finished": True}])


def test_a_connection_that_stays_away_ends_it(action, monkeypatch):
    monkeypatch.setattr(_sliced, "_PATIENCE", 0.0)
    with pytest.raises(AnsibleConnectionFailure):
        action([{"finished": False, "progress": [], "progress_token": "1"}, AnsibleConnectionFailure("gone"), {"finished": True}])


def test_async_is_refused(action):
    with pytest.raises(AnsibleActionFail, match="flotilla.kubernetes.x"):
        action([], async_val=60)
