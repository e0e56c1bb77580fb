# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many storms, several at once, each in a process of its own with its own endpoint; and which of them are known to have passed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from clouds import cloud as clouds
from clouds.judge import Thing
from clouds.story import Story, steps_for

ROOT = Path(__file__).resolve().parents[3]
Kill = tuple[str, int, int, int]


@dataclass(frozen=True)
class Knowledge:
    """What a calm story has found out, without which there is no storm."""

    references: dict[clouds.Wanted, list[Thing]]
    moments: dict[tuple[str, int], list[int]]


@dataclass(frozen=True)
class Report:
    """How a storm went. Seconds are real ones."""

    seed: int
    wrong: list[str]
    lines: list[str]
    kills: list[Kill]
    spent: dict[str, float]
    seconds: float

    def __str__(self) -> str:
        spent = {**self.spent, "modules": self.spent["modules"] - self.spent["endpoint"]}
        parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in sorted(spent.items()))
        return "\n".join([*self.lines, f"seed {self.seed}: {self.seconds:.1f} s ({parts})"])


def tell(cloud: str, speed: float, seed: int, knowledge: Knowledge, until: float | None) -> Report | None:
    """Return how a storm went.

    :param until: the moment (`time.monotonic`) after which it is not begun any more, and None is returned.
    """
    if until is not None and time.monotonic() > until:
        return None
    began, lines = time.perf_counter(), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        with clouds.started(clouds.load(cloud), Path(folder), speed) as place:
            story = Story(place, lines.append, knowledge.references, knowledge.moments)
            wrong = story.storm(seed, steps_for(place.cloud))
            return Report(seed, wrong, lines, story.kills, dict(story.spent), time.perf_counter() - began)


@dataclass
class Storms:
    """:param futures: seed -> how its storm went, or None if there was no time for it."""

    futures: dict[int, Future[Report | None]]

    def summary(self, knowledge: Knowledge) -> str:
        """Return in words what was tried."""
        done = [future for future in self.futures.values() if future.done() and not future.cancelled() and not future.exception()]
        reports = [report for report in (future.result() for future in done) if report]
        kills = [kill for report in reports for kill in report.kills]
        moments = sum(sum(counts) for counts in knowledge.moments.values())
        seconds = sorted(report.seconds for report in reports) or [0.0]
        real = sum(report.seed % 10 == 0 for report in reports)
        return (
            f"{len(reports)} storms, {real} of them with real processes, {seconds[0]:.0f} to {seconds[-1]:.0f} s each; "
            f"{len(kills)} kills at {len(set(kills))} of the {moments} moments that there are in good weather"
        )


@contextlib.contextmanager
def storms(cloud: str, speed: float, seeds: Iterable[int], jobs: int, knowledge: Knowledge, until: float | None) -> Iterator[Storms]:
    """Begin the storms of these seeds, ``jobs`` at once."""
    # A process that begins anew, because this one has threads.
    executor = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
    try:
        yield Storms({seed: executor.submit(tell, cloud, speed, seed, knowledge, until) for seed in seeds})
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


class Passed:
    """The seeds that passed with the files as they are now.

    :param path: where that is written down.
    """

    def __init__(self, path: Path, cloud: str) -> None:
        self.path = path
        self._tree = _digest(ROOT / "plugins", ROOT / "tests/support/clouds", ROOT / "requirements-dev.txt")
        self._cloud = cloud
        self.seeds: set[int] = set()
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(path.read_text(encoding="utf-8"))
            if (known["tree"], known["cloud"]) == (self._tree, cloud):
                self.seeds = set(known["passed"])

    def add(self, seed: int) -> None:
        self.seeds.add(seed)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"cloud": self._cloud, "tree": self._tree, "passed": sorted(self.seeds)})
        new = self.path.with_suffix(f".{os.getpid()}")
        new.write_text(text, encoding="utf-8")
        new.replace(self.path)


def _digest(*places: Path) -> str:
    files = sorted(path for place in places for path in (place.rglob("*.py") if place.is_dir() else [place]))
    digest = hashlib.sha256()
    for path in files:
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
