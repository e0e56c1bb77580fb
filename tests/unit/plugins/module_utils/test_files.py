# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of files that are whole or not there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible_collections.flotilla.kubernetes.plugins.module_utils import _files


def test_a_write_is_atomic_and_keeps_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "deep/file"
    _files.write_atomically(path, b"one", 0o600)
    _files.write_atomically(path, b"two", 0o640)
    assert path.read_bytes() == b"two" and path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_write_uses_up_what_a_killed_one_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    left = tmp_path / ".file.flotilla"
    left.write_bytes(b"much longer than what is to be written")
    left.chmod(0o644)
    _files.write_atomically(path, b"new", 0o600)
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_writers_at_the_same_time_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([letter]) * 200_000 for letter in b"abcdefgh"]
    with ThreadPoolExecutor(len(contents)) as pool:
        for _round in range(5):
            list(pool.map(lambda content: _files.write_atomically(path, content, 0o600), contents))
            assert path.read_bytes() in contents
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_scratch_folder_goes_with_the_block_and_those_of_killed_processes_with_the_next(tmp_path: Path) -> None:
    left, other = tmp_path / "render-old", tmp_path / "else-old"
    left.mkdir()
    (left / "file").touch()
    other.mkdir()
    with _files.scratch(tmp_path, "render") as first:
        assert not left.exists() and other.exists()
        assert first.stat().st_mode & 0o777 == 0o700
        with _files.scratch(tmp_path, "render") as second:
            assert first.exists() and second != first, "one that is in use stays"
    assert [entry.name for entry in tmp_path.iterdir()] == ["else-old"]


def test_many_scratch_folders_at_once_are_never_mixed_up(tmp_path: Path) -> None:
    def work(number: int) -> bool:
        with _files.scratch(tmp_path, "render") as folder:
            (folder / "mine").write_text(str(number))
            return (folder / "mine").read_text() == str(number) and len(list(folder.iterdir())) == 1

    with ThreadPoolExecutor(16) as executor:
        assert all(executor.map(work, range(200)))
    assert list(tmp_path.iterdir()) == []
