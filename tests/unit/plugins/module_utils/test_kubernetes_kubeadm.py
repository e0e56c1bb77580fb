# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the repeatable kubeadm steps, with a kubeadm that is a shell script."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils import _command
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import kubeadm_step, membership, node_step

DOCUMENTS = [{"kind": "InitConfiguration", "secret": "s3cret"}]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose kubeadm notes how it was called.

    The file `fails` makes it fail, `dies` makes the shell around it vanish, and it works for as long as `slow` is there.
    """
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (tmp_path / "run").mkdir()
    script = f"""#!/bin/sh
echo "$@" >> {tmp_path}/calls
case $1 in
  reset) rm -f {tmp_path}/kubelet.conf; exit 0 ;;
esac
case $2 in --config=*) cp "${{2#--config=}}" {tmp_path}/config; stat -c %a "${{2#--config=}}" > {tmp_path}/mode ;; esac
echo "[preflight] Running pre-flight checks"
echo "[etcd] Adding etcd member"
echo "[unheard-of] A phase that nobody knows"
while [ -e {tmp_path}/slow ]; do sleep 0.02; done
[ -e {tmp_path}/dies ] && {{ pid=$$; kill -9 $(ps -o pgid= -p $pid) $(ps -o ppid= -p $(ps -o ppid= -p $pid)); exit 1; }}
[ -e {tmp_path}/fails ] && {{ printf "error: \\033[0;37mthe reason\\033[0m\\n"; exit 3; }}
touch {tmp_path}/kubelet.conf
"""
    (binaries / "kubeadm").write_text(script)
    (binaries / "systemctl").write_text(f'#!/bin/sh\necho "systemctl $*" >> {tmp_path}/calls\n')
    for command in binaries.iterdir():
        command.chmod(0o755)
    monkeypatch.setattr(_command, "SEARCH_PATH", f"{binaries}:/usr/bin:/bin")
    monkeypatch.setattr(node_step, "POLL", 0.01)
    for module in (membership, node_step):
        monkeypatch.setattr(module, "STATE_DIR", tmp_path / "state")
    monkeypatch.setattr(node_step, "LOG_DIR", tmp_path / "log")
    monkeypatch.setattr(node_step, "RUN_DIR", tmp_path / "run")
    monkeypatch.setattr(membership, "KUBELET_KUBECONFIG", tmp_path / "kubelet.conf")
    return tmp_path


def step(name: str = "init", timeout: int = 30, **more) -> kubeadm_step.Step:
    return kubeadm_step.Step(
        name, "control plane m1", DOCUMENTS, more.get("ignore", []), timeout, restart_kubelet=more.get("restart_kubelet", False)
    )


def bring_up(one: kubeadm_step.Step, token: str | None = None) -> dict:
    """Do slices until the step is finished."""
    while True:
        answer = node_step.advance(one, token, 20)
        if answer["finished"]:
            return answer
        token = answer["progress_token"]


def calls(machine: Path) -> list[str]:
    return [line.split()[0] for line in (machine / "calls").read_text().splitlines()] if (machine / "calls").exists() else []


def start(machine: Path, name: str = "init", **more) -> dict:
    """Do a first slice that ends while kubeadm works."""
    (machine / "slow").touch()
    answer = node_step.advance(step(name, **more), None, 0)
    deadline = time.monotonic() + 20
    while "unheard-of" not in node_step.read_log(step(name).log) and time.monotonic() < deadline:
        time.sleep(0.01)
    return answer


def test_a_step_is_done_once(machine: Path) -> None:
    assert membership.membership() == "none"
    assert bring_up(step()) == {"finished": True, "changed": True, "found": "none"}
    assert membership.membership() == "member"
    assert bring_up(step()) == {"finished": True, "changed": False, "found": "member"}
    assert calls(machine) == ["init"]


def test_check_mode_predicts_and_starts_nothing(machine: Path) -> None:
    assert kubeadm_step.run(step(), None, check_mode=True)["changed"] is True
    assert calls(machine) == []
    bring_up(step())
    assert kubeadm_step.run(step(), None, check_mode=True) == {"changed": False, "membership": "member"}


def test_the_configuration_is_private_and_gone_afterwards(machine: Path) -> None:
    bring_up(step("join", ignore=["SystemVerification"]))
    assert "s3cret" in (machine / "config").read_text()
    assert (machine / "mode").read_text().strip() == "600"
    assert "s3cret" not in (machine / "calls").read_text()
    assert "--ignore-preflight-errors=SystemVerification" in (machine / "calls").read_text()
    assert list((machine / "run").iterdir()) == []
    assert (machine / "log/kubeadm-join.log").stat().st_mode & 0o777 == 0o600


def test_the_configuration_of_a_killed_run_does_not_stay(machine: Path) -> None:
    left = machine / "run/flotilla-kubeadm-old"
    left.mkdir()
    (left / "kubeadm.json").write_text("s3cret")
    bring_up(step("join"))
    assert list((machine / "run").iterdir()) == []


def test_a_failed_step_says_why_and_is_undone_before_the_next_try(machine: Path) -> None:
    (machine / "fails").touch()
    with pytest.raises(FlotillaError) as caught:
        bring_up(step())
    assert caught.value.code == "KUBEADM_FAILED" and "error: the reason" in str(caught.value)
    assert membership.membership() == "unfinished"
    assert list((machine / "run").iterdir()) == [], "a failed kubeadm leaves no configuration either"
    (machine / "fails").unlink()
    assert bring_up(step()) == {"finished": True, "changed": True, "found": "unfinished"}
    assert calls(machine) == ["init", "reset", "init"]
    assert membership.membership() == "member"


def test_what_has_to_go_before_an_undo_goes_before_it_and_only_then(machine: Path) -> None:
    done: list[int] = []
    one = kubeadm_step.Step("join", "control plane m1", DOCUMENTS, [], 30, before_undo=lambda: done.append(len(calls(machine))))
    (machine / "fails").touch()
    with pytest.raises(FlotillaError):
        bring_up(one)
    assert (done, calls(machine)) == ([], ["join"])
    (machine / "fails").unlink()
    bring_up(one)
    assert (done, calls(machine)) == ([1], ["join", "reset", "join"])


def test_an_undo_that_must_not_be_is_not_begun(machine: Path) -> None:
    def refuse() -> None:
        raise FlotillaError("ETCD_MEMBER_NEEDED", "It is needed.")

    (machine / "fails").touch()
    one = kubeadm_step.Step("join", "control plane m1", DOCUMENTS, [], 30, before_undo=refuse)
    for code in ("KUBEADM_FAILED", "ETCD_MEMBER_NEEDED", "ETCD_MEMBER_NEEDED"):
        with pytest.raises(FlotillaError) as caught:
            bring_up(one)
        assert caught.value.code == code
    assert calls(machine) == ["join"] and membership.membership() == "unfinished"


def test_the_kubelet_starts_anew_at_a_good_end_only(machine: Path) -> None:
    (machine / "fails").touch()
    with pytest.raises(FlotillaError):
        bring_up(step("join", restart_kubelet=True))
    assert calls(machine) == ["join"]
    (machine / "fails").unlink()
    bring_up(step("join", restart_kubelet=True))
    assert (machine / "calls").read_text().splitlines()[-1] == "systemctl restart kubelet"
    assert calls(machine) == ["join", "reset", "join", "systemctl"]


def test_a_step_that_does_not_end_is_stopped_without_anybody_watching(machine: Path) -> None:
    token = start(machine, timeout=1)["progress_token"]
    with pytest.raises(FlotillaError) as caught:
        bring_up(step(timeout=1), token)
    assert caught.value.code == "KUBEADM_TIMEOUT" and "did not end within 1 s" in str(caught.value)
    assert membership.membership() == "unfinished"


def test_a_slice_tells_what_kubeadm_does_and_the_next_one_goes_on(machine: Path) -> None:
    start(machine, "join")
    answer = node_step.advance(step("join"), None, 0)
    assert answer["progress"][0].startswith("control plane m1: a step of an earlier run goes on: joining etcd (")
    token = start_token = answer["progress_token"]
    assert "s3cret" not in token
    (machine / "slow").unlink()
    assert bring_up(step("join"), start_token)["finished"]
    assert calls(machine) == ["join"]


def test_a_run_attaches_to_the_step_of_a_killed_run(machine: Path) -> None:
    first = start(machine)
    assert first["finished"] is False and "earlier run" not in first["progress"][0]
    # The token is lost with the run. kubeadm lives on and ends well, so there is nothing to undo and nothing to do again.
    second = node_step.advance(step(), None, 0)
    assert second["finished"] is False
    (machine / "slow").unlink()
    assert bring_up(step(), second["progress_token"]) == {"finished": True, "changed": True, "found": "unfinished"}
    assert calls(machine) == ["init"]


def test_a_run_that_attached_to_a_step_that_fails_does_it_again(machine: Path) -> None:
    (machine / "fails").touch()
    start(machine)
    token = node_step.advance(step(), None, 0)["progress_token"]
    (machine / "slow").unlink()
    deadline = time.monotonic() + 20
    while not (machine / "state/kubeadm.ended").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    (machine / "fails").unlink()
    assert bring_up(step(), token)["finished"]
    assert calls(machine) == ["init", "reset", "init"]


def test_a_kubeadm_that_vanished_is_said_to_have(machine: Path) -> None:
    token = start(machine)["progress_token"]
    (machine / "dies").touch()
    (machine / "slow").unlink()
    with pytest.raises(FlotillaError) as caught:
        bring_up(step(), token)
    assert caught.value.code == "KUBEADM_KILLED"
    (machine / "dies").unlink()
    assert bring_up(step())["changed"] is True
    assert calls(machine) == ["init", "reset", "init"]


def test_somebody_who_never_ends_is_not_waited_for_without_end(machine: Path) -> None:
    (machine / "state").mkdir()
    lock = os.open(machine / "state/kubeadm.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(FlotillaError) as caught:
        node_step.advance(step(timeout=0), None, 5)
    assert caught.value.code == "KUBEADM_BUSY"
    os.close(lock)


def test_what_kubeadm_needs_is_prepared_each_time_and_only_then(machine: Path) -> None:
    prepared = []
    one = kubeadm_step.Step("init", "control plane m1", DOCUMENTS, [], 30, lambda: prepared.append(len(calls(machine))))
    (machine / "fails").touch()
    with pytest.raises(FlotillaError):
        bring_up(one)
    (machine / "fails").unlink()
    bring_up(one)
    bring_up(one)
    assert prepared == [0, 1]
    assert calls(machine) == ["init", "reset", "init"]


def test_whether_a_step_is_at_work_is_seen_without_disturbing_it(machine: Path) -> None:
    assert membership.step_at_work() is False, "nothing was ever begun here"
    token = start(machine)["progress_token"]
    assert membership.step_at_work() is True and membership.membership() == "unfinished"
    (machine / "slow").unlink()
    bring_up(step(), token)
    assert membership.step_at_work() is False and membership.membership() == "member"


def test_an_interrupted_step_is_not_at_work(machine: Path) -> None:
    (machine / "dies").touch()
    with pytest.raises(FlotillaError):
        bring_up(step())
    assert membership.step_at_work() is False and membership.membership() == "unfinished"
