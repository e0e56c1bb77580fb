# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that was frozen is waited for, another one takes over, and what the frozen one asks for when it wakes up is refused."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import outside
import pytest
from conftest import NAME, Cluster, wait_for


def mark(machine: str) -> dict[str, Any]:
    return json.loads(outside.host("podman", "exec", machine, "sh", "-c", "cat /var/lib/flotilla/fence || echo '{}'"))


@contextlib.contextmanager
def frozen(cluster: Cluster, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a run and freeze it, with all its processes, as soon as it has the cluster."""
    options = ("-e", f"@{cluster.vault}", "-e", "flotilla_run=frozen")
    with log.open("wb") as output, outside.start("cluster_apply", cluster.foundation, *options, output=output) as process:
        try:
            machines = outside.machines(NAME)
            wait_for("the run to take the cluster", lambda: all(mark(machine).get("run") == "frozen" for machine in machines))
            os.killpg(process.pid, signal.SIGSTOP)
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.rotating
def test_a_frozen_run_loses_the_cluster_for_good(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "frozen.log"
    with frozen(cluster, log) as process:
        next_one = cluster.play("cluster_apply", "-e", "flotilla_run=next")
        assert next_one.status == 0, next_one.output[-6000:]
        assert "the run frozen was at work on" in next_one.output and "flotilla_takeover" in next_one.output
        assert {mark(machine)["run"] for machine in outside.machines(NAME)} == {"next"}
        os.killpg(process.pid, signal.SIGCONT)
        assert process.wait(timeout=600) != 0
    assert "the run next took over" in log.read_text(encoding="utf-8", errors="replace")
    assert {mark(machine)["run"] for machine in outside.machines(NAME)} == {"next"}
    # One that ended is not waited for.
    third = cluster.play("cluster_apply")
    assert third.status == 0 and "was at work on" not in third.output, third.output[-6000:]
