# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which run may change a node."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.filter.run_fence import run_fence
from ansible_collections.flotilla.kubernetes.plugins.module_utils import _fence
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_fence, "STATE_DIR", tmp_path)
    monkeypatch.setattr(_fence, "FENCE", tmp_path / "fence")
    monkeypatch.setattr(_fence, "_LOCK", tmp_path / "fence.lock")
    monkeypatch.setattr(_fence, "_PATIENCE", 0.3)
    return tmp_path


def fence(run: str, generation: int) -> dict[str, Any]:
    return {"run": run, "generation": generation}


def work(run: str, generation: int, check_mode: bool = False) -> None:
    descriptor = _fence.hold(fence(run, generation), check_mode)
    if descriptor is not None:
        os.close(descriptor)


def test_a_later_run_shuts_out_the_earlier_one(node: Path) -> None:
    _fence.take("old", 1)
    work("old", 1)
    _fence.take("new", 2)
    work("new", 2)
    for check_mode in (False, True):
        with pytest.raises(FlotillaError, match="the run new took over") as caught:
            work("old", 1, check_mode)
        assert caught.value.code == "RUN_FENCED"
    with pytest.raises(FlotillaError, match="the run new took over"):
        _fence.take("old", 1)
    assert _fence.look().run == "new"
    assert stat.S_IMODE((node / "fence").stat().st_mode) == 0o600


def test_of_two_runs_that_begin_at_the_same_moment_one_gets_the_node() -> None:
    _fence.take("one", 1)
    with pytest.raises(FlotillaError, match="took over"):
        _fence.take("two", 1)


def test_a_node_that_was_away_when_the_run_took_the_others_is_taken_by_its_first_task() -> None:
    _fence.take("old", 1)
    work("new", 3)
    assert (_fence.look().run, _fence.look().generation) == ("new", 3)
    with pytest.raises(FlotillaError, match="took over"):
        work("old", 1)


def test_without_a_run_nothing_is_checked_nor_written(node: Path) -> None:
    _fence.take("old", 1)
    before = (node / "fence").stat().st_mtime_ns
    assert _fence.hold(fence("", 0)) is None
    work("later", 9, check_mode=True)
    assert (node / "fence").stat().st_mtime_ns == before


def test_a_task_that_is_at_work_is_a_sign_and_is_waited_for() -> None:
    _fence.take("old", 1)
    os.utime(_fence.FENCE, (0, 0))
    assert _fence.look().age > 1000
    descriptor = _fence.hold(fence("old", 1))
    assert descriptor is not None
    os.utime(_fence.FENCE, (0, 0))
    assert _fence.look().age == 0
    with pytest.raises(FlotillaError) as caught:
        _fence.take("new", 2)
    assert caught.value.code == "NODE_BUSY"
    taken = threading.Thread(target=_fence.take, args=("new", 2))
    taken.start()
    os.close(descriptor)
    taken.join()
    assert _fence.look().run == "new"


def test_what_a_task_starts_does_not_hold_the_node() -> None:
    descriptor = _fence.hold(fence("old", 1))
    assert descriptor is not None
    with subprocess.Popen(["sleep", "60"], close_fds=False) as process:
        os.close(descriptor)
        _fence.take("new", 2)
        process.kill()


def test_a_run_that_ended_is_not_at_work_and_still_shuts_out_earlier_ones() -> None:
    _fence.take("new", 2)
    _fence.release("stranger")
    assert not _fence.look().ended
    _fence.release("new")
    assert _fence.look().ended
    with pytest.raises(FlotillaError, match="took over"):
        work("old", 1)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run": "x"}', '{"run": "x", "generation": "many", "ended": false}'])
def test_a_damaged_mark_counts_as_none(node: Path, content: str) -> None:
    (node / "fence").write_text(content)
    assert _fence.look() == _fence.Sign()
    _fence.take("new", 1)
    assert json.loads((node / "fence").read_text()) == {"run": "new", "generation": 1, "ended": False}


def sign(run: str = "old", generation: int = 4, ended: bool = False, age: float = 10.0) -> dict[str, Any]:
    return {"run": run, "generation": generation, "ended": ended, "age": age}


NEVER = sign("", 0, True, 0.0)


def test_a_run_that_is_at_work_on_one_node_has_the_whole_cluster() -> None:
    judged = run_fence({"a": sign(age=500), "b": sign(age=12.3), "c": NEVER}, "new")
    assert judged == {"fence": fence("new", 5), "busy": ["the run old was at work on b 12 s ago"], "wait": 48}


@pytest.mark.parametrize(
    "signs",
    [{}, {"a": NEVER}, {"a": sign(age=60.0)}, {"a": sign(ended=True)}, {"a": sign("new", 4)}, {"a": sign("dead")}],
    ids=["no node", "never", "silent", "ended", "its own", "taken over"],
)
def test_what_is_not_waited_for(signs: dict[str, Any]) -> None:
    judged = run_fence(signs, "new", "dead")
    assert (judged["busy"], judged["wait"]) == ([], 0)


def test_a_run_that_takes_again_keeps_its_generation() -> None:
    assert run_fence({"a": sign("new", 7), "b": sign(generation=3, ended=True)}, "new")["fence"] == fence("new", 7)


@given(
    st.dictionaries(
        st.text(min_size=1), st.builds(sign, st.sampled_from(["", "x", "y"]), st.integers(0, 9), st.booleans(), st.floats(0, 200))
    )
)
def test_a_new_generation_is_above_all_that_any_node_knows(signs: dict[str, Any]) -> None:
    judged = run_fence(signs, "new")
    assert all(judged["fence"]["generation"] > one["generation"] for one in signs.values())
    assert bool(judged["busy"]) == (judged["wait"] > 0)
