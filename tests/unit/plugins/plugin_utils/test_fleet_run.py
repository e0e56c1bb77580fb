# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._fleet.rollout import DONE, FAILED, LEFT_OUT, RUNNING
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._fleet_run import driver, journal, place

DEFINITION = "plugin: flotilla.kubernetes.cluster\nschema: 1\nname: a\n"


def test_a_journal_is_read_from_where_one_was_and_half_a_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert journal.read(path) == ([], 0)
    writer = journal.Journal(path)
    writer.write(journal.BEGUN, cluster="a", attempt=1, wave="all")
    events, offset = journal.read(path)
    assert [one["cluster"] for one in events] == ["a"] and path.stat().st_mode & 0o777 == 0o600
    with path.open("ab") as file:
        file.write(b'{"event": "do')
    assert journal.read(path, offset) == ([], offset)
    # The next driver ends the half line, and what it writes is whole.
    journal.Journal(path).write(DONE, cluster="a", ended="2026-11-23T12:00:00+00:00", seconds=3.0, why="")
    events, _offset = journal.read(path, offset)
    assert [one["event"] for one in events] == [DONE]


def test_what_a_run_remembers_of_one_that_was_killed_and_of_one_that_ended(tmp_path: Path) -> None:
    writer = journal.Journal(tmp_path / "events.jsonl")
    writer.write(journal.ATTEMPT, number=1, run="x", pid=1)
    for name in "abcd":
        writer.write(journal.BEGUN, cluster=name, attempt=1, wave="all")
    writer.write(DONE, cluster="a", ended="2026-11-23T12:00:00+00:00", why="")
    writer.write(FAILED, cluster="b", ended="2026-11-23T12:00:00+00:00", why="it broke")
    writer.write(LEFT_OUT, cluster="e", why="b broke")
    killed = journal.remember(journal.read(tmp_path / "events.jsonl")[0])
    killed.again()
    assert {name: state.phase for name, state in killed.states.items()} == {
        "a": DONE,
        "b": FAILED,
        "c": RUNNING,
        "d": RUNNING,
        "e": LEFT_OUT,
    }
    writer.write(journal.END, why="", stopped=False)
    ended = journal.remember(journal.read(tmp_path / "events.jsonl")[0])
    assert ended.end and ended.states["b"].why == "it broke"
    ended.again()
    assert set(ended.states) == {"a"} and ended.attempts["b"] == 1


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"event": "begun", "cluster": "a", "wave": "lab/all", "attempt": 1}, "a  begun in wave lab/all"),
        ({"event": "begun", "cluster": "a", "wave": "lab/all", "attempt": 2}, "a  begun in wave lab/all again"),
        ({"event": "done", "cluster": "a", "ended": "x", "seconds": 61.2, "why": ""}, "a  done after 1m1s"),
        ({"event": "done", "cluster": "a", "why": "every part of it runs 1.36.3"}, None),
        ({"event": "failed", "cluster": "a", "ended": "x", "seconds": 1, "why": "it broke"}, "a  FAILED after 1s: it broke"),
        (
            {"event": "progress", "clusters": 9, "done": 3, "failed": 1, "left_out": 0, "running": 2, "seconds_left": 600.0},
            "3 of 9 clusters done, 1 failed, 2 running; about 10m left, without waiting for windows",
        ),
        ({"event": "of a later release"}, None),
    ],
)
def test_what_people_see(event, said) -> None:
    lines = list(journal.lines([{"at": "2026-11-23T12:00:00.000Z", **event}]))
    assert [line.partition("  ")[2] for line in lines] == ([said] if said else [])


def test_clusters_left_out_for_the_same_reason_are_one_line() -> None:
    names = [("a", "x failed"), ("b", "x failed"), ("c", "x failed"), ("d", "its definition is another one")]
    events = [{"at": "2026-11-23T12:00:00.000Z", "event": LEFT_OUT, "cluster": name, "why": why} for name, why in names]
    said = [line.partition("  ")[2] for line in journal.lines(events)]
    assert said == ["a and 2 more  left out: x failed", "d  left out: its definition is another one"]


def test_a_lock_says_who_has_it_as_long_as_its_process_lives(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    descriptor = place.take(lock, {"run": "one"})
    code = f"import fcntl, os; os.set_blocking(0, True); fcntl.flock(os.open({str(lock)!r}, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    assert subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode != 0
    assert place.holder(lock) == {"run": "one"} and place.take(lock, {"run": "two"}) is None
    os.close(descriptor)
    assert place.holder(lock) is None


def test_what_a_killed_run_left_in_a_cluster_keeps_others_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOTILLA_CACHE", str(tmp_path))
    file = str(tmp_path / "lab/clusters/a.yml")
    left = place.take(place.playbook_lock(file), {"pid": 1})
    assert place.take_cluster(file, {}) is None
    assert place.holder(place.cluster_lock(file)) is None, "whoever did not get it keeps nothing"
    os.close(left)
    assert place.take_cluster(file, {}) is not None


def test_the_oldest_runs_go_and_none_that_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOTILLA_CACHE", str(tmp_path / "cache"))
    files = {}
    for number in range(5):
        files[number] = str(tmp_path / f"f{number}/clusters/a.yml")
        run = tmp_path / f"runs/r{number}"
        run.mkdir(parents=True)
        (run / place.ORDER).write_text(json.dumps({"clusters": {"a": {"file": files[number]}}}))
        os.utime(run / place.ORDER, (1000 + number, 1000 + number))
    place.take(place.fleet_locks([files[0]])[0], {"run": str(tmp_path / "runs/r0")})
    (tmp_path / "runs/notes").mkdir()
    place.rotate(tmp_path / "runs", 2, tmp_path / "runs/r2")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["notes", "r0", "r2", "r4"]


def test_a_cluster_has_its_own_definition_as_inventory_and_the_variables_of_the_others_folders(tmp_path: Path) -> None:
    lab, more, plain = tmp_path / "lab", tmp_path / "more", tmp_path / "plain"
    for folder in (lab / "clusters", lab / "group_vars", more / "clusters", plain):
        folder.mkdir(parents=True)
    (lab / "clusters/a.yml").write_text(DEFINITION)
    (more / "clusters/b.yml").write_text(DEFINITION)
    (plain / "hosts.yml").write_text("all: {}\n")
    sources = [str(lab), str(more), str(plain), str(plain / "hosts.yml"), "x,y", str(more / "clusters/b.yml")]
    taken = driver.sources_of(sources, str(lab / "clusters/a.yml"), tmp_path / "run")
    assert taken == [str(tmp_path / "run/0/none.yml"), str(plain), str(plain / "hosts.yml"), "x,y", str(lab / "clusters/a.yml")]
    assert (tmp_path / "run/0/group_vars").resolve() == lab / "group_vars"
    assert driver.sources_of(sources, str(lab / "clusters/a.yml"), tmp_path / "run") == taken, "a second attempt"


def test_a_run_is_followed_as_long_as_anybody_does(tmp_path: Path) -> None:
    assert driver.followers(tmp_path) == (0, False)
    first, second = driver.follow(tmp_path), driver.follow(tmp_path)
    os.close(first)
    assert driver.followers(tmp_path) == (2, True)
    os.close(second)
    assert driver.followers(tmp_path) == (2, False)
    # One that came and went between two looks is seen, too.
    os.close(driver.follow(tmp_path))
    assert driver.followers(tmp_path) == (3, False)
