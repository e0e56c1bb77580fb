# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the board on which the tasks of one run agree who gets which file."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._board import Board

SERVER = {"url": "https://10.0.0.1:1"}


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path, "task")


def claim(folder: Path, host: str, queue: Any) -> None:
    queue.put(sorted(Board(folder, "task").claim({"a", "b", "c"}, host)))
    time.sleep(600)  # until it is killed


def test_each_file_is_claimed_once_by_processes_that_run_at_the_same_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    answers = [context.Queue() for _number in range(6)]
    processes = [context.Process(target=claim, args=(tmp_path, f"node-{number}", queue)) for number, queue in enumerate(answers)]
    for process in processes:
        process.start()
    claimed = [queue.get(timeout=30) for queue in answers]
    for process in processes:
        process.kill()
        process.join()
    assert sorted(digest for found in claimed for digest in found) == ["a", "b", "c"]
    # All of them are dead now and had published nothing.
    assert Board(tmp_path, "task").look({"a"}) == ({}, {})
    assert Board(tmp_path, "task").claim({"a", "b", "c"}, "late") == {"a", "b", "c"}


def test_what_is_served_is_not_claimed_until_it_is_forgotten(board: Board) -> None:
    assert board.claim({"a"}, "one") == {"a"} and board.look({"a"}) == ({"a": "one"}, {})
    board.publish({"a"}, SERVER)
    assert board.look({"a", "b"}) == ({}, {"a": SERVER}) and board.claim({"a"}, "two") == set()
    board.forget({"a"}, [{"url": "https://10.0.0.9:9"}])
    assert board.claim({"a"}, "two") == set()
    board.forget({"a"}, [SERVER])
    assert board.claim({"a"}, "two") == {"a"}
    board.forget({"a"})
    assert board.look({"a"}) == ({}, {})


def test_the_last_to_leave_gets_every_server_once_and_the_board_begins_anew(board: Board) -> None:
    board.claim({"a", "b"}, "one")
    board.publish({"a", "b"}, SERVER)
    assert board.leave("one", ["one", "two"]) == [] and board.leave("one", ["one", "two"]) == []
    assert board.leave("two", ["one", "two"]) == [SERVER]
    assert board.claim({"a"}, "two") == {"a"} and board.leave("one", ["one", "two"]) == []


def test_nobody_else_reads_the_board(board: Board, tmp_path: Path) -> None:
    board.claim({"a"}, "one")
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600 and path.stat().st_uid == os.getuid()
