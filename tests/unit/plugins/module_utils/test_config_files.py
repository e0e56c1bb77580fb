# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of small files with an owner."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils import _config_files
from ansible_collections.flotilla.kubernetes.plugins.module_utils._config_files import ConfigFile, ConfigFiles
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError


def apply(folder: Path, owner: str | None, **contents: str) -> list[str]:
    files = ConfigFiles(owner, [ConfigFile(folder / name, text) for name, text in contents.items()], folder / "state")
    changes = files.changes()
    files.apply(changes)
    return [change.path.name for change in changes]


def test_files_of_another_owner_and_of_nobody_stay(tmp_path: Path) -> None:
    assert apply(tmp_path, "one", a="1", b="2") == ["a", "b"]
    assert apply(tmp_path, "two", c="3") == ["c"]
    assert apply(tmp_path, None, d="4") == ["d"]
    assert apply(tmp_path, "one", a="1") == ["b"]
    assert apply(tmp_path, None) == []
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a", "c", "d"]
    assert apply(tmp_path, "one", a="1") == []


def test_what_a_killed_run_wrote_is_known_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, written = _config_files.write_atomically, []

    def killed(path: Path, content: bytes, mode: int) -> None:
        if path.name == "b":
            raise KeyboardInterrupt
        whole(path, content, mode)
        written.append(path.name)

    monkeypatch.setattr(_config_files, "write_atomically", killed)
    with pytest.raises(KeyboardInterrupt):
        apply(tmp_path, "one", a="1", b="2")
    monkeypatch.undo()
    assert "a" in written and apply(tmp_path, "one") == ["a"]


def test_a_file_that_somebody_else_made_after_ours_was_removed_is_theirs(tmp_path: Path) -> None:
    apply(tmp_path, "one", a="1")
    (tmp_path / "a").unlink()
    assert apply(tmp_path, "one") == []
    (tmp_path / "a").write_text("theirs")
    assert apply(tmp_path, "one") == [] and (tmp_path / "a").read_text() == "theirs"


@pytest.mark.parametrize(("text", "with_it"), [("", ""), ("a\n", "a\n"), ("a", "a\n")])
def test_a_block_comes_and_goes(text: str, with_it: str) -> None:
    once = _config_files.with_block(text, "ours\n")
    assert once == f"{with_it}{_config_files.BEGIN}\nours\n{_config_files.END}\n"
    assert _config_files.with_block(once, "new\n") == once.replace("ours", "new")
    assert _config_files.with_block(once + "after\n", "") == with_it + "after\n"


@pytest.mark.parametrize("kind", ["folder", "file as folder"])
def test_what_the_system_refuses_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    if kind == "folder":
        (tmp_path / "a").mkdir()
        path = tmp_path / "a"
    else:
        (tmp_path / "b").write_text("")
        path = tmp_path / "b/a"
    with pytest.raises(FlotillaError) as caught:
        files = ConfigFiles(None, [ConfigFile(path, "1")], tmp_path / "state")
        files.apply(files.changes())
    assert caught.value.code in ("FILE_UNREADABLE", "FILE_NOT_WRITTEN") and str(path) in str(caught.value) and caught.value.remedy
