# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm init and join as one step in slices, which can be repeated (private to flotilla.kubernetes).

kubeadm runs as a process of its own that holds the node's lock until it ends; a slice only starts it or looks at it. So a step outlives
a lost connection and a killed run: the next run finds the lock held and attaches, or finds the mark of a step that did not end and undoes
it first. Python 3.9, standard library only.
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._command import node_environment
from .._errors import FlotillaError
from .._files import write_atomically
from .._locks import try_lock
from .client import as_json_documents
from .membership import STATE_DIR, membership

LOG_DIR = Path("/var/log/flotilla")
# A tmpfs: what is written there for a moment never reaches a disk.
RUN_DIR = Path("/run")
ETCD_DATA = Path("/var/lib/etcd")
CONFIG_PREFIX = "flotilla-kubeadm-"
POLL = 0.1  # seconds between looks at the lock
SLICE = 10.0  # seconds
TIMED_OUT = 124  # exit code of timeout(1)

# The shell, not the module, writes down the end: it is there when the connection or the run is not. timeout(1) ends a kubeadm that nobody
# watches any more.
_RUNNER = """
mark=$1 folder=$2 ended=$3 run=$4 limit=$5 undo=$6 restart=$7; shift 7
stage=undo code=0
vip=/etc/kubernetes/manifests/kube-vip.yaml
if [ "$undo" = yes ]; then
    # It is not kubeadm's, but kubeadm takes it away, and without it nobody has the API's address.
    if [ -e "$vip" ]; then cp -p "$vip" "$folder/"; fi
    timeout --kill-after=10 "$limit" kubeadm reset --force || code=$?
    if [ -e "$folder/kube-vip.yaml" ]; then cp -p "$folder/kube-vip.yaml" "$vip"; fi
fi
if [ "$code" -eq 0 ]; then stage=step; timeout --kill-after=10 "$limit" "$@" || code=$?; fi
rm -rf "$folder"
if [ "$code" -eq 0 ] && [ "$restart" = yes ]; then systemctl restart kubelet || true; fi
echo "$run $stage $code" >"$ended.new" && mv "$ended.new" "$ended"
if [ "$code" -eq 0 ]; then rm -f "$mark"; fi
"""

# What kubeadm's phases mean to somebody who waits; the names are those in its output. A phase that is not here is not shown.
_PHASES = {
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
}
_PHASE_LINE = re.compile(r"^\[([a-z-]+)\] ", re.MULTILINE)
# kubeadm lists some thirty kernel settings, good or bad, before it says what is wrong.
_SYSTEM_VERIFICATION = re.compile(r"^(CONFIG_|CGROUPS_|OS: |KERNEL_VERSION: )")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Step:
    """What kubeadm is to do on this node.

    :param name: ``init`` or ``join``.
    :param title: the node in lines for people, e.g. ``control plane demo-control-plane-0a1b2c3d``.
    :param timeout: seconds that kubeadm may take; undoing an interrupted step may take as long again.
    :param prepare: called each time before kubeadm is started, while nobody else is at work.
    :param before_undo: called before a step that did not end is undone.
    :param restart_kubelet: whether to start the kubelet anew at the end. That of a control plane that joins runs long before the API server
        next to it, the only one that it asks, and would look for its pods in pauses that have grown to half a minute:
        https://pkg.go.dev/k8s.io/client-go/tools/cache#NewReflectorWithOptions.
    """

    name: str
    title: str
    documents: Sequence[dict[str, Any]]
    ignore_preflight_errors: Sequence[str]
    timeout: int
    prepare: Callable[[], object] | None = None
    before_undo: Callable[[], object] | None = None
    restart_kubelet: bool = False

    @property
    def log(self) -> Path:
        return LOG_DIR / f"kubeadm-{self.name}.log"

    def command(self, config: Path) -> list[str]:
        words = ["kubeadm", self.name, f"--config={config}"]
        if self.ignore_preflight_errors:
            words.append(f"--ignore-preflight-errors={','.join(self.ignore_preflight_errors)}")
        if self.name == "init":
            words.append("--skip-token-print")
        return words


def run(step: Step, token: str | None, check_mode: bool) -> dict[str, Any]:
    """Return the result of a module that does the step: a prediction, or that of one slice.

    :param token: ``progress_token`` of the slice before; None for the first one.
    :raises FlotillaError: see `advance`.
    """
    if check_mode:
        found = membership()
        result: dict[str, Any] = {"changed": found != "member", "membership": found}
    else:
        result = advance(step, token, SLICE)
    if result.get("changed"):
        result["diff"] = {"before": {"membership": result["membership"]}, "after": {"membership": "member"}}
    return result


def advance(step: Step, token: str | None, seconds: float) -> dict[str, Any]:
    """Do one slice: start the step or attach to one that runs, and look at it until it ends, at most for ``seconds``.

    :param token: ``progress_token`` of the slice before; None for the first one.
    :return: ``finished``, with ``changed`` and ``membership`` (as first found), or else with ``progress`` and ``progress_token``.
    :raises FlotillaError: kubeadm failed; the message has its last lines, the log on the node has all of them.
    """
    # `run` is the one that is looked at, `mine` whether this task started it.
    seen = json.loads(token) if token else {"found": membership(), "run": None, "mine": False, "since": time.monotonic()}
    until = time.monotonic() + seconds
    while True:
        lock = _take_lock()
        if lock is not None:
            try:
                # Nobody is at work, and nobody can begin while the lock is held here.
                if seen["mine"]:
                    _require_success(step, seen["run"])
                if membership() == "member":
                    return {"finished": True, "changed": seen["found"] != "member", "membership": seen["found"]}
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
        if now >= until:
            return {"finished": False, "progress": [_progress(step, seen["mine"])], "progress_token": json.dumps(seen)}
        time.sleep(POLL)


def _take_lock() -> int | None:
    """Return the descriptor of the node's lock, or nothing while a step works; a kubeadm that inherits it holds it until it ends."""
    STATE_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    return try_lock(STATE_DIR / "kubeadm.lock")


def _start(step: Step, lock: int) -> str:
    """Start kubeadm, after an undo when a step did not end, and return the id of the run."""
    for left in RUN_DIR.glob(f"{CONFIG_PREFIX}*"):
        # Of a run that was killed: it holds join secrets, and nobody else is at work while we hold the lock.
        shutil.rmtree(left, ignore_errors=True)
    if step.prepare:
        step.prepare()
    if ETCD_DATA.exists():
        # kubeadm makes it so, but leaves one that is there already, such as the root of a disk of its own.
        ETCD_DATA.chmod(0o700)
    undo = membership() == "unfinished"
    if undo and step.before_undo:
        step.before_undo()
    run = secrets.token_hex(8)
    mark, ended = STATE_DIR / "kubeadm.started", STATE_DIR / "kubeadm.ended"
    folder = Path(tempfile.mkdtemp(dir=RUN_DIR, prefix=CONFIG_PREFIX))
    config = folder / "kubeadm.json"
    config.touch(mode=0o600)
    config.write_text(as_json_documents(list(step.documents)), encoding="utf-8")
    write_atomically(mark, json.dumps({"step": step.name, "run": run, "since": time.monotonic()}).encode(), 0o600)
    LOG_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    answers = ["yes" if wanted else "no" for wanted in (undo, step.restart_kubelet)]
    values = [str(mark), str(folder), str(ended), run, str(step.timeout), *answers]
    with open(step.log, "w", encoding="utf-8", opener=_private) as output:
        # Its own session, so that it survives the end of the connection.
        subprocess.Popen(
            ["sh", "-c", _RUNNER, "kubeadm-step", *values, *step.command(config)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            env=node_environment(),
            pass_fds=(lock,),
        )
    return run


def _require_success(step: Step, run: str) -> None:
    """:raises FlotillaError: the run ended badly. One without an end on record is left to the caller."""
    try:
        found, stage, code = (STATE_DIR / "kubeadm.ended").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return
    if found != run or code == "0":
        return
    command = f"kubeadm {step.name if stage == 'step' else 'reset'}"
    if int(code) == TIMED_OUT:
        raise FlotillaError(
            "KUBEADM_TIMEOUT",
            f"{command} did not end within {step.timeout:g} s: {_tail(step.log)}",
            f"Read {step.log} on the node, mend the cause and run again.",
        )
    raise FlotillaError(
        "KUBEADM_FAILED" if stage == "step" else "KUBEADM_RESET_FAILED",
        f"{command} failed (exit code {code}): {_tail(step.log)}",
        f"Read {step.log} on the node, mend the cause and run again.",
    )


def _ended_without_result(step: Step) -> FlotillaError:
    return FlotillaError(
        "KUBEADM_KILLED",
        f"kubeadm {step.name} ended without a result, as if it had been killed: {_tail(step.log)}",
        "Run again: what it left half done is undone first.",
    )


def _progress(step: Step, mine: bool) -> str:
    """Return one line: which machine, what kubeadm does there, and since when."""
    try:
        mark = json.loads((STATE_DIR / "kubeadm.started").read_text(encoding="utf-8"))
        spent = f" ({time.monotonic() - mark['since']:.0f} s)"
        log = LOG_DIR / f"kubeadm-{mark['step']}.log"
    except (OSError, ValueError, KeyError):
        spent, log = "", step.log
    known = [phase for phase in _PHASE_LINE.findall(_read(log)) if phase in _PHASES]
    what = _PHASES[known[-1]] if known else f"kubeadm {step.name} begins"
    if known[-1:] == ["etcd"] and step.name == "join":
        what = "joining etcd"
    return f"{step.title}: {'' if mine else 'a step of an earlier run goes on: '}{what}{spent}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read(log: Path) -> str:
    try:
        return _COLOURS.sub("", log.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""


def _tail(log: Path, lines: int = 12) -> str:
    kept = [line for line in _read(log).strip().splitlines() if not _SYSTEM_VERIFICATION.match(line)]
    return "\n".join(kept[-lines:])
