# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our module of a cloud's machines and one of another collection on the same task: that one looped over the machines, and with `async`.

The other collection is that of the package `ansible`. What is timed is a whole `ansible-playbook`, so start and imports count for both,
once for each task that runs; whatever is installed or compiled once is so before. The network is there before, and not timed either.
All make machines of the same size, image, disks, interfaces and zone, each marked: what the endpoint holds in the end decides.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peers
from report import Figure

LOOP_RATIO, ASYNC_RATIO = 1 / 8, 1.0


@dataclass(frozen=True)
class Task:
    """What makes machines.

    :param python: that runs the module.
    """

    module: str
    options: dict[str, Any]
    python: str = sys.executable


@dataclass(frozen=True)
class Ground:
    """Where machines are made.

    :param empty: leaves nothing at the endpoint but a network.
    :param machines: returns what machines there are, each described by what has to be the same whoever made it.
    :param counted: returns how many calls there were since it was last asked.
    :param environment: of the playbooks.
    """

    empty: Callable[[], None]
    machines: Callable[[], list[dict[str, Any]]]
    counted: Callable[[], int]
    environment: dict[str, str]


def compare(cloud: str, ours: Task, theirs: Task, count: int, folder: Path, ground: Ground) -> list[Figure]:
    """Compare whole playbook runs that make machines.

    :param theirs: of one machine, whose number is ``item``.
    :param folder: keeps playbooks and logs.
    :raises RuntimeError: a run failed, or did not leave ``count`` machines, the same as the others'.
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
    made: dict[str, list[str]] = {}
    for form, (python, tasks) in forms.items():
        ground.empty()
        if ground.machines():
            raise RuntimeError(f"{cloud}: there are machines before {form} makes any")
        ground.counted()
        started = time.monotonic()
        peers.play(folder / f"{form}.yml", tasks, {**ground.environment, "ANSIBLE_ASYNC_DIR": str(folder / "jobs")}, python)
        seconds[form] = time.monotonic() - started
        calls[form] = ground.counted()
        made[form] = sorted(json.dumps(machine, sort_keys=True) for machine in ground.machines())
        if len(made[form]) != count:
            raise RuntimeError(f"{cloud}: {form} made {len(made[form])} machines, not {count}")
        for own, other in zip(made["ours"], made[form]):
            if own != other:
                raise RuntimeError(f"{cloud}: {form} made other machines: {other} instead of {own}")
    figures = []
    for form, limit in (("loop", LOOP_RATIO), ("async", ASYNC_RATIO)):
        we, they = seconds["ours"], seconds[form]
        reference = f"{we:.1f} s to {they:.1f} s of {theirs.module.rpartition('.')[2]}, {form}, over {count}"
        details = {"seconds": seconds, "calls": calls, "machine": json.loads(made["ours"][0])}
        figures.append(Figure(f"{cloud}-create-to-{form}", we / they, limit, reference=reference, details=details))
    return figures
