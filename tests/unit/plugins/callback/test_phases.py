# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of ansible-playbook with the callback, judged by what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.flotilla.kubernetes.plugins.callback import phases

COLLECTIONS = Path(phases.__file__).absolute().parents[5]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")

pytestmark = pytest.mark.skipif(not PLAYBOOK.exists(), reason="ansible-core is not in the environment of this Python")


def play(*tasks, name="A phase", hosts="all", **keywords):
    return {"name": name, "hosts": hosts, "gather_facts": False, "tasks": list(tasks), **keywords}


def change(name="Change it", **keywords):
    return {"name": name, "ansible.builtin.command": "true", "changed_when": True, **keywords}


@pytest.fixture
def run(tmp_path):
    """Return a function that runs plays on the hosts a, b and c and gives the exit status and the output's lines."""

    def run_plays(*plays, arguments=()):
        playbook = tmp_path / "playbook.yml"
        playbook.write_text(yaml.safe_dump(list(plays), sort_keys=False), encoding="utf-8")
        variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        inventory = {"all": {"vars": variables, "hosts": {"a": {}, "b": {}, "c": {}}}}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "flotilla.kubernetes.phases",
            "ANSIBLE_LOCALHOST_WARNING": "false",
        }
        (tmp_path / "ansible.cfg").write_text("", encoding="utf-8")
        result = subprocess.run(
            [sys.executable, str(PLAYBOOK), "-i", "hosts.yml", "playbook.yml", *arguments],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return result.returncode, result.stdout.splitlines()

    return run_plays


def test_each_play_is_a_numbered_phase_and_the_end_has_their_times(run):
    status, lines = run(play(change(), name="First"), play(name="Second", hosts="nobody"), play(change(), name="Third", serial=1))
    assert status == 0
    headers = [line for line in lines if re.match(r"\[ \d/3  \d\d:\d\d:\d\d \] ", line)]
    assert [line.split("] ")[1] for line in headers] == ["First", "Second", "Third"]
    assert [line.split("/")[0] for line in headers] == ["[ 1", "[ 2", "[ 3"]
    assert "  nothing to do: no host matches" in lines
    table = [line.split()[:2] for line in lines if re.match(r"   [ \d]\d?  .* s$", line)]
    assert table[:3] == [["1", "First"], ["2", "Second"], ["3", "Third"]]
    assert any(re.match(r"      total +\d+\.\d s$", line) for line in lines)
    assert lines[-1] == "changed=6"


def test_a_changed_task_is_one_line_and_what_did_not_change_is_none(run):
    status, lines = run(
        play(
            change("Change all of {{ ansible_play_hosts | length }}"),
            change("Change one", when="inventory_hostname == 'b'"),
            {"name": "Quiet", "ansible.builtin.command": "true", "changed_when": False},
            change("Never", when=False),
        )
    )
    assert status == 0
    assert [line for line in lines if line.startswith("  changed")] == ["  changed: Change all of 3 (3 hosts)", "  changed: Change one (b)"]
    assert not [line for line in lines if "Quiet" in line or "Never" in line]
    assert lines[-1] == "changed=4"


def test_a_run_without_changes_says_so(run):
    status, lines = run(play({"ansible.builtin.command": "true", "changed_when": False}))
    assert (status, lines[-1]) == (0, "No changes (changed=0).")


def test_check_mode_does_not_claim_changes(run):
    status, lines = run(play(change(check_mode=True)), arguments=["--check"])
    assert status == 0
    assert lines[0].endswith("A phase (check mode)")
    assert lines[-1] in ("No changes (changed=0).", "changed=3 would change; this was check mode, so nothing did.")


def test_a_failure_shows_its_host_and_its_message_as_lines(run):
    failing = {"name": "Break", "ansible.builtin.fail": {"msg": 'first "line"\nsecond line'}}
    status, lines = run(play(failing))
    assert status != 0
    start = next(index for index, line in enumerate(lines) if line.startswith("  FAILED: Break ("))
    assert lines[start + 1 : start + 3] == ['    first "line"', "    second line"]
    # The same on the other two hosts is not repeated.
    assert len([line for line in lines if re.fullmatch(r"  FAILED: Break \([abc]\): the same", line)]) == 2
    assert [line for line in lines if line.endswith(": 1 failed")] == ["a: 1 failed", "b: 1 failed", "c: 1 failed"]
    assert lines[-1].startswith("Not finished (changed=0).")


def test_a_failed_command_shows_its_output(run):
    failing = {"name": "Break", "ansible.builtin.shell": "echo reason >&2; exit 3", "run_once": True}
    _status, lines = run(play(failing))
    assert [line for line in ("    rc: 3", "    stderr:", "      reason") if line not in lines] == []


def test_a_failed_item_of_a_loop_is_named(run):
    failing = {"name": "Break", "ansible.builtin.fail": {"msg": "no {{ item }}"}, "loop": ["x", "y"], "run_once": True}
    _status, lines = run(play(failing))
    assert "  FAILED: Break (a, item x)" in lines
    assert "    no y" in lines
    assert len([line for line in lines if "FAILED" in line]) == 2


def test_an_unreachable_host_is_told_from_a_failed_one(run):
    unreachable = {
        "name": "Reach",
        "ansible.builtin.ping": {},
        "vars": {"ansible_connection": "ssh", "ansible_port": 1, "ansible_host": "127.0.0.1"},
    }
    status, lines = run(play(unreachable, hosts="a"))
    assert status == 4
    assert "  UNREACHABLE: Reach (a)" in lines
    assert "a: 1 unreachable" in lines


def test_an_ignored_failure_is_one_line(run):
    status, lines = run(play({"name": "Try", "ansible.builtin.command": "false", "ignore_errors": True, "run_once": True}))
    assert status == 0
    assert [line for line in lines if "Try" in line] == ["  ignored: Try (a): non-zero return code"]


def test_a_rescued_failure_is_shown_and_the_run_ends_well(run):
    block = {"block": [{"name": "Break", "ansible.builtin.fail": {"msg": "why"}}], "rescue": [change("Mend")]}
    status, lines = run(play(block))
    assert (status, lines[-1]) == (0, "changed=3")
    assert "    why" in lines
    assert "  changed: Mend (3 hosts)" in lines


def test_messages_of_debug_are_text(run):
    status, lines = run(play({"ansible.builtin.debug": {"msg": 'NAME   "AGE"\nnode   1'}, "run_once": True}))
    assert status == 0
    assert lines[1:3] == ['  NAME   "AGE"', "  node   1"]


@pytest.mark.parametrize("arguments", [[], ["--diff"]])
def test_results_of_no_log_tasks_are_never_shown(run, tmp_path, arguments):
    secret = "hunter2hunter2"
    _status, lines = run(
        play(
            {"name": "Copy", "ansible.builtin.copy": {"content": secret, "dest": str(tmp_path / "f"), "mode": "0600"}, "no_log": True},
            {"name": "Fail", "ansible.builtin.fail": {"msg": secret}, "no_log": True, "ignore_errors": True},
            {"name": "Loop", "ansible.builtin.command": "sh -c 'echo {{ item }}; exit 1'", "loop": [secret], "no_log": True},
            hosts="a",
        ),
        arguments=arguments,
    )
    assert "  changed: Copy (a)" in lines
    assert any(line.startswith("  FAILED: Loop (a") for line in lines)
    assert not [line for line in lines if secret in line]


def test_differences_are_shown_when_asked_for(run, tmp_path):
    task = {"name": "Write", "ansible.builtin.copy": {"content": "new\n", "dest": str(tmp_path / "f"), "mode": "0600"}, "run_once": True}
    _status, lines = run(play(task), arguments=["--diff"])
    assert "  difference: Write (a)" in lines
    assert "+new" in lines


def test_output_to_a_pipe_has_no_colours(run):
    _status, lines = run(play(change(), {"ansible.builtin.fail": {"msg": "why"}}))
    assert not [line for line in lines if "\x1b" in line]


def test_verbose_shows_what_the_default_callback_shows(run):
    _status, lines = run(play(change()), arguments=["-v"])
    assert [line for line in lines if line.startswith("TASK [Change it]")]
    assert len([line for line in lines if line.startswith("changed: [")]) == 3
    assert lines[-1] == "changed=3"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (119.6, "2 min 00 s"), (187, "3 min 07 s")],
)
def test_durations(seconds, text):
    assert phases._duration(seconds) == text


def test_the_cause_of_an_error_of_ours_is_shown_once():
    assert phases.failure_lines({"msg": "It failed.", "cause": "disk full"}) == ["It failed.", "cause:", "  disk full"]
    assert phases.failure_lines({"msg": "It failed: disk full", "cause": "disk full"}) == ["It failed: disk full"]
