# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories that appear whole, and locks between processes."""

from __future__ import annotations

import os
import signal
import time

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._files import appearing
from ansible_collections.flotilla.kubernetes.plugins.module_utils._locks import lock, try_lock


def test_a_directory_appears_whole_and_replaces_the_old_one(tmp_path):
    target = tmp_path / "1.36.3"
    target.mkdir()
    (target / "old").touch()
    with appearing(target) as staging:
        (staging / "new").touch()
        assert sorted(path.name for path in target.iterdir()) == ["old"]
    assert sorted(path.name for path in target.iterdir()) == ["new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.36.3"]


def test_a_failure_leaves_the_old_one(tmp_path):
    target = tmp_path / "1.36.3"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(RuntimeError), appearing(target) as staging:
        (staging / "new").touch()
        raise RuntimeError
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["1.36.3", "1.36.3/old"]


def test_the_room_of_a_killed_run_is_free_before_the_work_starts(tmp_path):
    (tmp_path / "1.36.3.tmp-dead").mkdir()
    (tmp_path / "1.36.30").mkdir()
    with appearing(tmp_path / "1.36.3"):
        assert not (tmp_path / "1.36.3.tmp-dead").exists()
    assert (tmp_path / "1.36.30").exists()


def test_a_lock_ends_with_a_killed_process(tmp_path):
    path = tmp_path / "x.lock"
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with lock(path):
            os.write(writer, b"1")
            time.sleep(60)
    os.read(reader, 1)
    assert try_lock(path) is None
    os.kill(child, signal.SIGKILL)
    waited = []
    with lock(path, lambda: waited.append(True)):
        assert try_lock(path) is None
    os.waitpid(child, 0)
    os.close(try_lock(path))
