# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our module of a cloud's machines and one of another collection on the same task: that one looped over the machines, and with `async`.

The other collection is that of the package `ansible`, in a Python environment of its own in the cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peers
from report import Figure

ROOT = Path(__file__).resolve().parents[2]
LOOP_RATIO, ASYNC_RATIO = 1 / 8, 1.0


@dataclass
class Task:
    """What makes and keeps machines.

    :param python: that runs the module.
    """

    module: str
    options: dict[str, Any]
    python: str = sys.executable


def compare(
    cloud: str,
    ours: Task,
    theirs: Task,
    count: int,
    folder: Path,
    empty: Callable[[], None],
    counted: Callable[[], int],
    environment: dict[str, str],
) -> list[Figure]:
    """Compare whole playbook runs that make and keep machines.

    :param theirs: of one machine, whose number is ``item``.
    :param folder: keeps playbooks and logs.
    :param empty: leaves nothing at the endpoint but a network.
    :param counted: returns how many calls there were since it was last asked.
    """
    one = {theirs.module: theirs.options, "loop": list(range(count)), "loop_control": {"label": "{{ item }}"}}
    jobs = {"ansible.builtin.async_status": {"jid": "{{ item.ansible_job_id }}"}, "loop": "{{ made.results }}", "register": "done"}
    waiting = {"until": "done is finished", "retries": 600, "delay": 1, "loop_control": {"label": "{{ item.item }}"}}
    forms = {
        "ours": (ours.python, [{ours.module: ours.options}]),
        "loop": (theirs.python, [one]),
        "async": (theirs.python, [{**one, "async": 900, "poll": 0, "register": "made"}, {**jobs, **waiting}]),
    }
    seconds: dict[str, float] = {}
    calls: dict[str, int] = {}
    for form, (python, tasks) in forms.items():
        empty()
        play = folder / f"{form}.yml"
        play.write_text(
            json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]), encoding="utf-8"
        )
        for what in ("create", "no-op"):
            counted()
            started = time.monotonic()
            _run(play, python, environment)
            seconds[f"{form} {what}"] = time.monotonic() - started
            calls[f"{form} {what}"] = counted()
    figures = []
    for form, limit in (("loop", LOOP_RATIO), ("async", ASYNC_RATIO)):
        we, they = seconds["ours create"], seconds[f"{form} create"]
        reference = f"{we:.1f} s to {they:.1f} s of {theirs.module.rpartition('.')[2]}, {form}, over {count}"
        figures.append(
            Figure(f"{cloud}-create-to-{form}", we / they, limit, reference=reference, details={"seconds": seconds, "calls": calls})
        )
    return figures


def _run(play: Path, python: str, environment: dict[str, str]) -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    settings = play.with_name("ansible.cfg")
    settings.touch()
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    done = subprocess.run(
        [program, "-i", "localhost,", "-e", f"ansible_python_interpreter={python}", str(play)],
        env={
            **clean,
            "ANSIBLE_CONFIG": str(settings),
            "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(map(str, [ROOT / "collection", *peers.collections()])),
            **environment,
        },
        cwd=play.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    play.with_suffix(".log").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"{play} failed: {done.stdout[-1500:]}{done.stderr[-500:]}")
