# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker tells those who wait for it, through a file of JSON lines (private to flotilla.kubernetes).

The first line is ``{"run": id}``, the last one ``{"result": {...}}`` or ``{"error": {...}}``, those between ``{"line": text}``.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Callable


class Report:
    """Progress of a run of numbered steps.

    :param emit: takes one event.
    :param title: begins every line, e.g. ``bundle 1.36.3``.
    """

    # Long enough not to flood a log, short enough that nobody believes it hangs.
    INTERVAL = 15.0

    def __init__(self, emit: Callable[[dict[str, Any]], None], title: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._emit, self._title, self._clock = emit, title, clock
        self._step, self._total, self._name = 0, 0, ""
        self._started = self._told = clock()
        self.begun = clock()

    def steps(self, total: int) -> None:
        """Say how many steps there are."""
        self._total = total

    def step(self, name: str) -> None:
        """Begin the next step."""
        self._step += 1
        self._name, self._started, self._told = name, self._clock(), self._clock()

    def line(self, text: str) -> None:
        """Tell something about the present step."""
        self._told = self._clock()
        prefix = f"{self._step}/{self._total} {self._name}: " if self._step else ""
        self._emit({"line": f"{self._title}: {prefix}{text}"})

    def working(self, text: Callable[[], str]) -> None:
        """Tell that the step goes on, with its time so far, unless something was told a moment ago."""
        if self._clock() - self._told >= self.INTERVAL:
            self.line(f"{text()} ({self.elapsed()})")

    def done(self, text: str = "done") -> None:
        """End the present step."""
        self.line(f"{text} ({self.elapsed()})")

    def elapsed(self) -> str:
        """Return the time of the present step, e.g. ``2m10s``."""
        return duration(self._clock() - self._started)

    def total(self) -> str:
        """Return the time since the beginning."""
        return duration(self._clock() - self.begun)


def duration(seconds: float) -> str:
    """Return a time as Kubernetes writes it: ``45s``, ``2m10s``, ``1h0m5s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"


class Journal:
    """The writing end of the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def start(cls, path: Path, run: str) -> Journal:
        """Begin a new file, in place of an older run's."""
        temporary = path.with_name(f"{path.name}.tmp")
        temporary.write_text(json.dumps({"run": run}) + "\n", encoding="utf-8")
        temporary.replace(path)
        return cls(path)

    def emit(self, event: dict[str, Any]) -> None:
        """Append one event."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event) + "\n")


def read(path: Path, run: str | None, offset: int) -> tuple[str | None, int, list[dict[str, Any]]]:
    """Return the run in the file, the offset behind its last whole line, and the events since `offset`; all of them if it is not `run`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None, 0, []
    end = data.rfind(b"\n") + 1
    first, _newline, _rest = data.partition(b"\n")
    found = json.loads(first)["run"]
    start = offset if found == run else len(first) + 1
    return found, end, [json.loads(line) for line in data[start:end].splitlines()]
