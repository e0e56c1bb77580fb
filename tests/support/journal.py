# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what `callback_plugins/journal.py` wrote about a run: one entry per task result and host."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PLUGINS = Path(__file__).resolve().parent / "callback_plugins"


@dataclass(frozen=True)
class Entry:
    """A task's result on one host; ``status`` is ok, skipped, failed, ignored or unreachable, times are seconds since the epoch."""

    play: str
    task: str
    action: str
    host: str
    status: str
    changed: bool
    began: float
    ended: float
    result: dict[str, Any] = field(default_factory=dict)
    items: list[dict[str, Any]] = field(default_factory=list)


def environment(path: Path) -> dict[str, str]:
    """Return what a run of Ansible needs in its environment to keep a journal at ``path``."""
    return {"FLOTILLA_TEST_JOURNAL": str(path), "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS), "ANSIBLE_CALLBACKS_ENABLED": "journal"}


def read(path: Path) -> list[Entry]:
    """Return the entries of a journal in the order in which the results came."""
    return [Entry(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True)
class Count:
    """How many task results a host had; skipped ones are not among ``results``."""

    results: int
    skipped: int


def counts(entries: Iterable[Entry]) -> dict[str, Count]:
    """Return the count of each host. A delegated task counts for the host that it was done for, as in Ansible's own recap."""
    done: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    for entry in entries:
        (skipped if entry.status == "skipped" else done)[entry.host] += 1
    return {host: Count(done[host], skipped[host]) for host in sorted({*done, *skipped})}
