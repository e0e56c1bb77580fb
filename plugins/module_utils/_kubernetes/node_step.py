# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command that changes a node as one step in slices, which can be repeated (private to flotilla.kubernetes).

The command runs as a process of its own that holds the node's lock until it ends; a slice only starts it or looks at it. So a step outlives
a lost connection and a killed run: the next run finds the lock held and attaches, or finds out what the step left and does the rest.
Python 3.9, standard library only.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._command import node_environment
from .._errors import FlotillaError
from .._files import write_atomically
from .._locks import try_lock
from .membership import STATE_DIR

LOG_DIR = Path("/var/log/flotilla")
# A tmpfs: what is written there for a moment never reaches a disk.
RUN_DIR = Path("/run")
FOLDER_PREFIX = "flotilla-kubeadm-"
POLL = 0.1  # seconds between looks at the lock
SLICE = 10.0  # seconds
TIMED_OUT = 124  # exit code of timeout(1)
MARK = "kubeadm.started"
"""File that says that a machine is about to become a node, until it is one."""

# The shell, not the module, writes down the end: it is there when the connection or the run is not. timeout(1) ends a command that nobody
# watches any more.
_BEGIN = """
mark=$1 folder=$2 ended=$3 run=$4 limit=$5; shift 5
stage=step code=0
"""
RUN_COMMAND = """
if [ "$code" -eq 0 ]; then stage=step; timeout --kill-after=10 "$limit" "$@" || code=$?; fi
"""
_END = """
rm -rf "$folder"
echo "$run $stage $code" >"$ended.new" && mv "$ended.new" "$ended"
if [ "$code" -eq 0 ]; then rm -f "$mark"; fi
"""

# What kubeadm's phases mean to somebody who waits; the names are those in its output. A phase that is not here is not shown.
_PHASES = {
    "restore": "restoring etcd from the backup",
    "reset": "taking back what an interrupted step left",
    "preflight": "checking the machine and reading the cluster's settings",
    "download-certs": "fetching the certificates of the control plane",
    "certs": "making certificates",
    "kubeconfig": "writing kubeconfigs",
    "control-plane": "writing the manifests of the control plane",
    "check-etcd": "checking etcd",
    "etcd": "writing the manifest of etcd",
    "kubelet-start": "starting the kubelet",
    "kubelet-check": "waiting for the kubelet",
    "wait-control-plane": "waiting for the control plane",
    "control-plane-check": "waiting for API server, controller manager and scheduler",
    "upload-config": "recording the configuration in the cluster",
    "mark-control-plane": "labelling the node",
    "bootstrap-token": "preparing how nodes join",
    "kubelet-finalize": "making the kubelet's certificate rotate",
    "addons": "installing CoreDNS and kube-proxy",
    "upgrade/preflight": "checking the machine and the cluster",
    "upgrade/etcd": "exchanging etcd",
    "upgrade/staticpods": "exchanging the static pods",
    "upgrade/kubelet-config": "writing the kubelet's configuration",
    "upgrade/addon": "upgrading CoreDNS and kube-proxy",
}
_PHASE_LINE = re.compile(r"^\[([a-z/-]+)\] ", re.MULTILINE)
# kubeadm lists some thirty kernel settings, good or bad, before it says what is wrong.
_SYSTEM_VERIFICATION = re.compile(r"^(CONFIG_|CGROUPS_|OS: |KERNEL_VERSION: )")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class NodeStep(ABC):
    """What is to be done on this node; the attributes are those of its kinds.

    `name` is kubeadm's command (``init``, ``join``, ``upgrade``), `title` the node in lines for people, e.g.
    ``control plane demo-control-plane-0a1b2c3d``, `timeout` how many seconds the command may take.
    """

    name: str
    title: str
    timeout: int
    mark = MARK

    @property
    def log(self) -> Path:
        return LOG_DIR / f"kubeadm-{self.name}.log"

    @abstractmethod
    def state(self) -> str:
        """Return what this node is, in one word."""

    @abstractmethod
    def done(self, state: str) -> bool:
        """Return whether nothing is left to do in this state."""

    @abstractmethod
    def start(self, folder: Path) -> tuple[str, Sequence[str]]:
        """Prepare the command while nobody else is at work.

        :param folder: for files that go when the command has ended; of mode 0700 and in memory.
        :return: the lines of the shell that run the command (`RUN_COMMAND` among them, for the words in ``"$@"``), and the command.
        :raises FlotillaError: it must not be started.
        """

    def meanwhile(self, notes: dict[str, Any]) -> None:  # noqa: B027 - most steps need no help
        """Do what helps the command, about once a second while it works.

        :param notes: what this method wants to find again in the next slice; JSON.
        """

    def phase(self, known: Sequence[str]) -> str:
        """Return what kubeadm does, for people.

        :param known: the phases that its output named so far, as far as they are in the table.
        """
        return _PHASES[known[-1]] if known else f"kubeadm {self.name} begins"


def advance(step: NodeStep, token: str | None, seconds: float) -> dict[str, Any]:
    """Do one slice: start the step or attach to one that runs, and look at it until it ends, at most for ``seconds``.

    :param token: ``progress_token`` of the slice before; None for the first one.
    :return: ``finished``, with ``changed`` and ``found`` (the state before anything was done), or else with ``progress`` and
        ``progress_token``.
    :raises FlotillaError: the command failed; the message has its last lines, the log on the node has all of them.
    """
    # `run` is the one that is looked at, `mine` whether this task started it.
    seen = json.loads(token) if token else {"found": step.state(), "run": None, "mine": False, "since": time.monotonic(), "notes": {}}
    until = time.monotonic() + seconds
    helped = time.monotonic()
    while True:
        lock = _take_lock()
        if lock is not None:
            try:
                # Nobody is at work, and nobody can begin while the lock is held here.
                if seen["mine"]:
                    _require_success(step, seen["run"])
                if step.done(step.state()):
                    return {"finished": True, "changed": not step.done(seen["found"]), "found": seen["found"]}
                if seen["mine"]:
                    raise _ended_without_result(step)
                seen.update(run=_start(step, lock), mine=True)
            finally:
                os.close(lock)
        now = time.monotonic()
        if not seen["mine"] and now - seen["since"] > 3 * step.timeout:
            raise FlotillaError(
                "KUBEADM_BUSY",
                f"Another kubeadm step still runs on this node after {3 * step.timeout:g} s.",
                "Look for it with 'ps -ef', wait for it or end it, then run again.",
            )
        if now - helped >= 1.0:
            helped = now
            step.meanwhile(seen["notes"])
        if now >= until:
            return {"finished": False, "progress": [_progress(step, seen["mine"])], "progress_token": json.dumps(seen)}
        time.sleep(POLL)


def _take_lock() -> int | None:
    """Return the descriptor of the node's lock, or nothing while a step works; a kubeadm that inherits it holds it until it ends."""
    STATE_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    return try_lock(STATE_DIR / "kubeadm.lock")


def _start(step: NodeStep, lock: int) -> str:
    """Start the command and return the id of the run."""
    for left in RUN_DIR.glob(f"{FOLDER_PREFIX}*"):
        # Of a run that was killed: it may hold join secrets, and nobody else is at work while we hold the lock.
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(dir=RUN_DIR, prefix=FOLDER_PREFIX))
    try:
        script, command = step.start(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    run = secrets.token_hex(8)
    mark = STATE_DIR / step.mark
    write_atomically(mark, json.dumps({"step": step.name, "run": run, "since": time.monotonic()}).encode(), 0o600)
    LOG_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    values = [str(mark), str(folder), str(STATE_DIR / "kubeadm.ended"), run, str(step.timeout)]
    with open(step.log, "w", encoding="utf-8", opener=_private) as output:
        # Its own session, so that it survives the end of the connection.
        subprocess.Popen(
            ["sh", "-c", f"{_BEGIN}{script}{_END}", "kubeadm-step", *values, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            env=node_environment(),
            pass_fds=(lock,),
        )
    return run


def _require_success(step: NodeStep, run: str) -> None:
    """:raises FlotillaError: the run ended badly. One without an end on record is left to the caller."""
    try:
        found, stage, code = (STATE_DIR / "kubeadm.ended").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return
    if found != run or code == "0":
        return
    command = {"step": f"kubeadm {step.name}", "undo": "kubeadm reset"}.get(stage, stage)
    if int(code) == TIMED_OUT:
        raise FlotillaError(
            "KUBEADM_TIMEOUT",
            f"{command} did not end within {step.timeout:g} s: {_tail(step.log)}",
            f"Read {step.log} on the node, mend the cause and run again.",
        )
    raise FlotillaError(
        {"step": "KUBEADM_FAILED", "undo": "KUBEADM_RESET_FAILED"}.get(stage, f"{stage.upper()}_FAILED"),
        f"{command} failed (exit code {code}): {_tail(step.log)}",
        f"Read {step.log} on the node, mend the cause and run again.",
    )


def _ended_without_result(step: NodeStep) -> FlotillaError:
    return FlotillaError(
        "KUBEADM_KILLED",
        f"kubeadm {step.name} ended without a result, as if it had been killed: {_tail(step.log)}",
        "Run again: it begins with what was left half done.",
    )


def _progress(step: NodeStep, mine: bool) -> str:
    """Return one line: which machine, what kubeadm does there, and since when."""
    try:
        mark = json.loads((STATE_DIR / step.mark).read_text(encoding="utf-8"))
        spent = f" ({time.monotonic() - mark['since']:.0f} s)"
        log = LOG_DIR / f"kubeadm-{mark['step']}.log"
    except (OSError, ValueError, KeyError):
        spent, log = "", step.log
    known = [phase for phase in _PHASE_LINE.findall(read_log(log)) if phase in _PHASES]
    return f"{step.title}: {'' if mine else 'a step of an earlier run goes on: '}{step.phase(known)}{spent}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def read_log(log: Path) -> str:
    """Return what kubeadm printed so far, without colours."""
    try:
        return _COLOURS.sub("", log.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""


def _tail(log: Path, lines: int = 12) -> str:
    kept = [line for line in read_log(log).strip().splitlines() if not _SYSTEM_VERIFICATION.match(line)]
    return "\n".join(kept[-lines:])
