# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the repeatable kubeadm steps, with a kubeadm that is a shell script."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import kubeadm

DOCUMENTS = [{"kind": "InitConfiguration", "secret": "s3cret"}]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose kubeadm notes how it was called; the file `fails` makes it fail, `slow` makes it take a second."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (tmp_path / "run").mkdir()
    script = f"""#!/bin/sh
echo "$@" >> {tmp_path}/calls
case $1 in
  reset) rm -f {tmp_path}/kubelet.conf; exit 0 ;;
esac
case $2 in --config=*) cp "${{2#--config=}}" {tmp_path}/config; stat -c %a "${{2#--config=}}" > {tmp_path}/mode ;; esac
[ -e {tmp_path}/slow ] && sleep 1
[ -e {tmp_path}/fails ] && {{ echo "error: the reason"; exit 3; }}
touch {tmp_path}/kubelet.conf
"""
    (binaries / "kubeadm").write_text(script)
    (binaries / "kubeadm").chmod(0o755)
    path = f"{binaries}:/usr/bin:/bin"
    monkeypatch.setattr(kubeadm, "SEARCH_PATH", path)
    monkeypatch.setattr(kubeadm.run.__globals__["os"], "environ", {"PATH": path})
    monkeypatch.setitem(kubeadm.run.__globals__, "SEARCH_PATH", path)
    monkeypatch.setattr(kubeadm, "STATE_DIR", tmp_path / "state")
    monkeypatch.setattr(kubeadm, "LOG_DIR", tmp_path / "log")
    monkeypatch.setattr(kubeadm, "KUBELET_KUBECONFIG", tmp_path / "kubelet.conf")
    monkeypatch.setattr(kubeadm, "RUN_DIR", str(tmp_path / "run"))
    return tmp_path


def calls(machine: Path) -> list[str]:
    return [line.split()[0] for line in (machine / "calls").read_text().splitlines()] if (machine / "calls").exists() else []


def test_a_step_is_done_once(machine: Path) -> None:
    assert kubeadm.membership() == "none"
    assert kubeadm.bring_up("init", DOCUMENTS, [], 30) is True
    assert kubeadm.membership() == "member"
    assert kubeadm.bring_up("init", DOCUMENTS, [], 30) is False
    assert calls(machine) == ["init"]


def test_the_configuration_is_private_and_gone_afterwards(machine: Path) -> None:
    kubeadm.bring_up("join", DOCUMENTS, ["SystemVerification"], 30)
    assert "s3cret" in (machine / "config").read_text()
    assert (machine / "mode").read_text().strip() == "600"
    assert "s3cret" not in (machine / "calls").read_text()
    assert list((machine / "run").iterdir()) == []
    assert (machine / "log/kubeadm-join.log").stat().st_mode & 0o777 == 0o600


def test_the_configuration_of_a_killed_run_does_not_stay(machine: Path) -> None:
    left = machine / "run/flotilla-kubeadm-old"
    left.mkdir()
    (left / "kubeadm.json").write_text("s3cret")
    kubeadm.bring_up("join", DOCUMENTS, [], 30)
    assert list((machine / "run").iterdir()) == []


def test_a_failed_step_says_why_and_is_undone_before_the_next_try(machine: Path) -> None:
    (machine / "fails").touch()
    with pytest.raises(FlotillaError) as caught:
        kubeadm.bring_up("init", DOCUMENTS, [], 30)
    assert caught.value.code == "KUBEADM_FAILED" and "error: the reason" in str(caught.value)
    assert kubeadm.membership() == "unfinished"
    (machine / "fails").unlink()
    assert kubeadm.bring_up("init", DOCUMENTS, [], 30) is True
    assert calls(machine) == ["init", "reset", "init"]
    assert kubeadm.membership() == "member"


def test_a_step_that_does_not_end_is_stopped(machine: Path) -> None:
    (machine / "slow").touch()
    with pytest.raises(FlotillaError) as caught:
        kubeadm.bring_up("init", DOCUMENTS, [], 0.2)
    assert caught.value.code == "KUBEADM_TIMEOUT"
    assert kubeadm.membership() == "unfinished"


def _bring_up() -> None:
    kubeadm.bring_up("init", DOCUMENTS, [], 30)


def test_a_run_attaches_to_the_step_of_a_killed_run(machine: Path) -> None:
    (machine / "slow").touch()
    first = multiprocessing.get_context("fork").Process(target=_bring_up)
    first.start()
    deadline = time.monotonic() + 20
    while not calls(machine) and time.monotonic() < deadline:
        time.sleep(0.02)
    first.kill()
    first.join()
    # kubeadm itself lives on, holds the lock and ends well, so there is nothing to undo and nothing to do again.
    assert kubeadm.bring_up("init", DOCUMENTS, [], 30) is False
    assert calls(machine) == ["init"]
    assert kubeadm.membership() == "member"
