# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a run over a fleet: JSON lines, one for each thing that happened (private to flotilla.kubernetes).

It is the run's memory, too: whoever goes on with a run reads from it what became of each cluster. Several processes append to it.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...module_utils._fleet.rollout import DONE, FAILED, LEFT_OUT, RUNNING, State
from ...module_utils._kubernetes.duration import format_duration
from ...module_utils._moments import parse, precise

ATTEMPT, BEGUN, PHASE, WAITING, STOPPING, PROGRESS, END = "attempt", "begun", "phase", "waiting", "stopping", "progress", "end"


class Journal:
    """Appends to a journal.

    :param path: the file; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            # A killed machine leaves half a line: it shall not swallow the next one.
            os.write(self._descriptor, b"\n")

    def write(self, event: str, **fields: Any) -> None:
        """Append an event. What decides how a run is gone on with is on the disk when this returns.

        :param event: what happened, one of the names of this file or the phase of a `State`.
        """
        at = precise()
        # One write: the kernel keeps the appends of several processes apart.
        os.write(self._descriptor, f"{json.dumps({'at': at, 'event': event, **fields})}\n".encode())
        if event in (BEGUN, DONE, FAILED, END):
            os.fsync(self._descriptor)


def read(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Return the events from a byte on, and the byte after the last whole one. Half a line waits for its end; what is no event is none."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return [], offset
    whole = content[: content.rfind(b"\n") + 1]
    return list(_events(whole.splitlines())), offset + len(whole)


def _events(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            yield event


@dataclass
class Memory:
    """What a journal says.

    :param states: of each cluster that something became of.
    :param attempts: how often each was begun.
    :param attempt: how many drivers the run had.
    :param end: the event at its end, if the last driver came to it.
    """

    states: dict[str, State] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    attempt: int = 0
    end: dict[str, Any] | None = None

    def again(self) -> None:
        """Forget what a run that came to its end did not do: whoever starts it again wants that tried again."""
        if self.end:
            self.states = {name: state for name, state in self.states.items() if state.phase == DONE}


def remember(events: Iterable[Mapping[str, Any]]) -> Memory:
    """Return what the events of a journal say."""
    memory = Memory()
    for event in events:
        kind, name = event["event"], event.get("cluster", "")
        if kind == ATTEMPT:
            memory.again()
            memory.attempt, memory.end = memory.attempt + 1, None
        elif kind == END:
            memory.end = dict(event)
        elif kind == BEGUN:
            memory.attempts[name] = int(event["attempt"])
            memory.states[name] = State(RUNNING)
        elif kind in (DONE, FAILED, LEFT_OUT):
            ended = parse(event["ended"]) if event.get("ended") else None
            memory.states[name] = State(kind, ended, str(event.get("why", "")))
    return memory


def lines(events: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines that people see of events; clusters that are left out for the same reason are one line."""
    for _key, group in itertools.groupby(events, key=lambda event: event.get("why") if event["event"] == LEFT_OUT else id(event)):
        alike = list(group)
        others = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        line = _shown({**alike[0], "cluster": f"{alike[0].get('cluster', '')}{others}"})
        if line:
            yield line


def _shown(event: Mapping[str, Any]) -> str:
    """Return the line that people see of an event, by the clock of their machine; empty if there is none."""
    kind, name = event["event"], event.get("cluster", "")
    why = f": {event['why']}" if event.get("why") else ""
    text = {
        ATTEMPT: lambda: f"Run {event['run']} is gone on with" if event["number"] > 1 else f"Run {event['run']} begins",
        BEGUN: lambda: f"{name}  begun in wave {event['wave']}{' again' if event['attempt'] > 1 else ''}",
        PHASE: lambda: f"{name}  {event['phase']}",
        DONE: lambda: f"{name}  done{_took(event)}" if event.get("ended") else "",
        FAILED: lambda: f"{name}  FAILED{_took(event)}{why}",
        LEFT_OUT: lambda: f"{name}  left out{why}",
        WAITING: lambda: f"Waits until {event['until']}{why}",
        STOPPING: lambda: f"Stops{why}",
        PROGRESS: lambda: _progress(event),
        END: lambda: f"Over{why}",
    }.get(kind, lambda: "")()
    return f"{parse(event['at']).astimezone():%H:%M:%S}  {text}" if text else ""


def _took(event: Mapping[str, Any]) -> str:
    return f" after {format_duration(max(1, round(event['seconds'])))}" if event.get("seconds") is not None else ""


def _progress(event: Mapping[str, Any]) -> str:
    counts = [f"{event[key]} {word}" for key, word in ((FAILED, "failed"), (LEFT_OUT, "left out"), (RUNNING, "running")) if event[key]]
    left = event.get("seconds_left")
    rest = f"; about {format_duration(max(60, round(left / 60) * 60))} left, without waiting for windows" if left else ""
    return f"{', '.join([f'''{event[DONE]} of {event['clusters']} clusters done''', *counts])}{rest}"
