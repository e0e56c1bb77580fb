# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A compiler that does nothing is told from one that works silently."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.components import COMPONENTS
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.gomodule import Compiler, Watch
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.progress import Report
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.toolchain import Toolchain
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError


@contextmanager
def group(program: str) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.write_text("go: downloading\n", encoding="utf-8")
    return path


def test_one_that_sleeps_is_stalled_after_its_time_only(log: Path) -> None:
    clock = Clock()
    with group("import time; time.sleep(600)") as pid:
        time.sleep(0.5)
        watch = Watch(pid, log, clock)
        clock.now = Watch.PATIENCE - 1
        assert not watch.stalled()
        clock.now = Watch.PATIENCE
        assert watch.stalled()


def test_one_that_writes_is_not(log: Path) -> None:
    clock = Clock()
    with group("import time; time.sleep(600)") as pid:
        watch = Watch(pid, log, clock)
        with log.open("a", encoding="utf-8") as stream:
            stream.write("k8s.io/api\n")
        clock.now = Watch.PATIENCE
        assert not watch.stalled()
        clock.now = 2 * Watch.PATIENCE
        assert watch.stalled(), "but for that time only"


def test_one_that_computes_silently_is_not(log: Path) -> None:
    clock = Clock()
    with group("while True: pass") as pid:
        watch = Watch(pid, log, clock)
        until = time.monotonic() + 120
        while cpu_seconds(pid) < 3:
            assert time.monotonic() < until
            time.sleep(0.1)
        clock.now = Watch.PATIENCE
        assert not watch.stalled()


def test_a_proxy_that_never_answers_ends_with_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watch, "PATIENCE", 1.0)
    go = tmp_path / "go"
    go.write_text(f"#!/bin/sh\nsleep 600 & echo $! > {tmp_path}/child\nwait\n", encoding="utf-8")
    go.chmod(0o755)
    wrapper = tmp_path / "modules/runc/1.3.6"
    wrapper.mkdir(parents=True)
    for name in ("go.mod", "go.sum"):
        (wrapper / name).touch()
    report = Report(lambda event: None, "")
    compiler = Compiler(tmp_path, tmp_path / "modules", "amd64", lambda: Toolchain(str(go), "go1"), tmp_path / "log", report)
    with pytest.raises(FlotillaError, match="Go has done nothing for runc 1.3.6") as caught:
        compiler.source(COMPONENTS["runc"], "1.3.6")
    assert caught.value.code == "BUNDLE_COMPILE_STALLED" and "GOPROXY" in caught.value.remedy
    child = (tmp_path / "child").read_text(encoding="ascii").strip()
    until = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and " Z " not in Path(f"/proc/{child}/stat").read_text(encoding="ascii"):
        assert time.monotonic() < until, "what Go started is ended, too"
        time.sleep(0.05)
