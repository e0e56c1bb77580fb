# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the file of known hosts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.action.known_hosts import ActionModule

MACHINE = {"addresses": {"private": "172.30.86.10", "public": None}, "host_key": "ssh-ed25519 AAAA"}
LINE = "172.30.86.10 ssh-ed25519 AAAA\n"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLOTILLA_CACHE", str(tmp_path))
    return tmp_path / "known_hosts/demo"


def run(check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
    task = SimpleNamespace(
        args={"cluster": "demo", **arguments}, check_mode=check_mode, async_val=0, action="known_hosts", diff=False, environment=None
    )
    return ActionModule(task, SimpleNamespace(_shell=SimpleNamespace(tmpdir=None)), None, None, None, None).run(task_vars={})


def test_the_file_is_written_once_and_is_private(path: Path) -> None:
    predicted = run(check_mode=True, machines=[MACHINE])
    assert predicted["changed"] and not path.exists()
    made = run(machines=[MACHINE])
    assert (made["changed"], made["diff"]) == (True, predicted["diff"])
    assert path.read_text() == LINE and path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not run(machines=[MACHINE])["changed"]


def test_a_file_that_others_may_read_is_closed(path: Path) -> None:
    run(machines=[MACHINE])
    path.chmod(0o644)
    assert run(machines=[MACHINE])["changed"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_file_is_removed_once(path: Path) -> None:
    run(machines=[MACHINE])
    assert run(check_mode=True, state="absent")["changed"] and path.exists()
    assert run(state="absent")["changed"] and not path.exists()
    assert not run(state="absent")["changed"]


def test_a_folder_in_its_place_is_one_clear_error(path: Path) -> None:
    path.mkdir(parents=True)
    failed = run(machines=[MACHINE])
    assert failed["failed"] and str(path) in failed["msg"]
