# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process of one cluster's run: ansible-runner with a private data folder of its own (private to flotilla.kubernetes).

Its driver starts it as a module, with the cluster's lock already held, and tells it everything through a pipe: extra variables may be
secrets. It outlives the driver; whoever drives the run next finds the lock, or the result.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...module_utils._files import write_atomically
from . import place
from .journal import PHASE, Journal

# Characters of a failure that people are told; the log has all.
_ENOUGH = 600


class _Run:
    """What is heard of the run."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._task = task
        self._folder = Path(task["run"]) / task["cluster"]
        self._journal = Journal(Path(task["run"]) / place.JOURNAL)
        self._lock = place.playbook_lock(task["file"])
        self.stopped = False
        self.why = ""

    def status(self, status: Mapping[str, Any], runner_config: Any) -> None:
        if status["status"] == "running":
            # ansible-runner writes the whole environment into it, and that holds the credentials of clouds.
            (Path(runner_config.artifact_dir) / "command").unlink(missing_ok=True)

    def event(self, event: Mapping[str, Any]) -> bool:
        """Tell the phase, keep why it failed. Events are not kept: the log tells the same, and there are thousands of a cluster."""
        data = event.get("event_data") or {}
        if event.get("event") == "playbook_on_play_start":
            self._journal.write(PHASE, cluster=self._task["cluster"], phase=str(data.get("name") or data.get("play") or ""))
        elif event.get("event") in ("runner_on_failed", "runner_on_unreachable") and not data.get("ignore_errors"):
            message = str((data.get("res") or {}).get("msg") or "it failed without a message")
            self.why = f"{data.get('task', '')}: {message}"[:_ENOUGH]
        return False

    def stop(self, *_signal: object) -> None:
        """Hand the wish to stop on to ansible-playbook, which takes its workers with it."""
        self.stopped = True
        pid = (place.holder(self._lock) or {}).get("pid")
        if pid:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)

    def go(self) -> None:
        # The action has looked whether it is there; sanity tests import this file without it.
        import ansible_runner

        task = self._task
        attempt = str(task["attempt"])
        extra_vars = place.extra_vars_file(Path(task["run"]), task["cluster"])
        write_atomically(extra_vars, json.dumps(task["extra_vars"]).encode(), 0o600)
        launch = [str(Path(__file__).with_name("launch.py")), str(self._lock), task["ansible_playbook"]]
        inventory = [argument for source in task["inventory"] for argument in ("-i", source)]
        try:
            # What a person interrupts is the driver; ansible-runner would kill its child at once.
            runner = ansible_runner.run(
                private_data_dir=str(self._folder),
                project_dir=task["cwd"],
                ident=attempt,
                binary=sys.executable,
                cmdline=shlex.join(["-I", *launch, *inventory, *task["arguments"], task["playbook"]]),
                envvars=task["environment"],
                event_handler=self.event,
                status_handler=self.status,
                cancel_callback=lambda: False,
                fact_cache_type="",
                quiet=True,
            )
            # A process that a signal ended has no exit code.
            ended = "was killed" if runner.rc is None else f"ended with {runner.rc}"
            result = {"rc": runner.rc, "why": "" if runner.rc == 0 else self.why or f"ansible-playbook {ended}"}
        finally:
            extra_vars.unlink(missing_ok=True)
        if self.stopped and runner.rc != 0:
            result["why"] = "it was stopped in its midst; the next run goes on with it"
        write_atomically(place.result_file(Path(task["run"]), task["cluster"], task["attempt"]), json.dumps(result).encode(), 0o600)


def main() -> None:
    """Run what the task on the standard input says."""
    os.umask(0o077)
    task = json.load(sys.stdin)
    # The lock is held already. Whoever wants this run to end finds it by this, also when its driver is gone.
    content = {"run": task["run"], "cluster": task["cluster"], "pid": os.getpid()}
    place.cluster_lock(task["file"]).write_text(json.dumps(content), encoding="utf-8")
    run = _Run(task)
    signal.signal(signal.SIGTERM, run.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if task["python_path"] is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = task["python_path"]
    run.go()


if __name__ == "__main__":
    main()
