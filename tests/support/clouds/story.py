# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The story that every cloud has to tell: from nothing to a cluster, through what people do to it, and back to nothing.

`Story.calm` tells it in good weather and learns what each step leaves behind; `Story.storm` tells it in bad weather and demands the same.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from clouds import judge
from clouds.cloud import WORKERS, Cloud, Place, Wanted
from clouds.faults import Faults
from clouds.judge import Machine, Thing
from clouds.runner import CHILD, INSIDE, Outcome, Task, run

BASE = Wanted()
HOURS, MINUTE = 2 * 3600.0, 60.0
PLACED = ("machine_zone", "machine_subnet")
"""Attributes that follow from the way by which machines came to be, not only from what is wanted."""
PARTS = 12
RUNS = 2
"""So many runs a step has after one that was killed or ran into a limit; soft faults go on meanwhile."""


@dataclass(frozen=True)
class Step:
    """One thing that an operator does.

    :param by_hand: what somebody does in the cloud's console before.
    :param destroys: whether it takes everything away.
    :param gradual: whether clouds may take several runs, each a part of the way.
    :param changes: whether a run has something to do; None where clouds differ.
    """

    name: str
    wanted: Wanted = BASE
    by_hand: Callable[[Cloud, str, list[Thing], list[Machine]], None] | None = None
    destroys: bool = False
    replaces: bool = False
    gradual: bool = False
    changes: bool | None = True


def _worker(machines: list[Machine]) -> Machine:
    return min((machine for machine in machines if machine.pool == WORKERS), key=lambda machine: machine.id)


STEPS = (
    Step("create"),
    Step("no-op", changes=False),
    Step("machine deleted by hand", by_hand=lambda cloud, url, _things, machines: cloud.delete_machine(url, _worker(machines))),
    Step("tag changed by hand", by_hand=lambda cloud, url, _things, machines: cloud.change_tag(url, _worker(machines))),
    Step("rule opened by hand", by_hand=lambda cloud, url, things, _machines: cloud.open_rule(url, things)),
    Step("scale up", replace(BASE, workers=5)),
    Step("scale down", replace(BASE, workers=1)),
    Step("replace", replace(BASE, workers=1), replaces=True, gradual=True),
    Step("image change", replace(BASE, workers=1, image=1), gradual=True, changes=None),
    Step("destroy", replace(BASE, workers=1, image=1), destroys=True),
    Step("destroy again", replace(BASE, workers=1, image=1), destroys=True, changes=False),
)


WITHOUT_MACHINES = ("create", "no-op", "rule opened by hand", "destroy", "destroy again")


def steps_for(cloud: Cloud) -> tuple[Step, ...]:
    """Return the whole story, or what of it can be told without machines."""
    return STEPS if cloud.makes_machines else tuple(step for step in STEPS if step.name in WITHOUT_MACHINES)


@dataclass
class Story:
    """:param log: gets a line for each step.

    :param references: what there was of the cluster's when the calm story first had what is wanted.
    :param moments: step -> the moments of each of its tasks at which it can be killed.
    """

    place: Place
    log: Callable[[str], None] = print
    references: dict[Wanted, list[Thing]] = field(default_factory=dict)
    moments: dict[str, list[int]] = field(default_factory=dict)
    _before: list[Thing] = field(default_factory=list)

    def _tasks(self, step: Step, machines: list[Machine]) -> list[Task]:
        cloud = self.place.cloud
        if step.destroys:
            return cloud.destroy(step.wanted)
        return cloud.replace(step.wanted, _worker(machines)) if step.replaces else cloud.apply(step.wanted)

    def _look(self) -> tuple[list[Thing], list[Machine]]:
        # Nothing of a run may be under way any more.
        self.place.calls()
        things = self.place.cloud.dump(self.place.direct)
        return things, self.place.cloud.machines(things)

    def _run(self, tasks: list[Task], **options: Any) -> list[Outcome]:
        return list(run(tasks, self.place, **options))

    def _mutations(self) -> list[str]:
        return [call["action"] for call in self.place.calls() if call["mutates"]]

    def _judge(self, step: Step, cut: bool = False) -> list[str]:
        """Return what is wrong with what there is after a step.

        :param cut: whether full zones may have sent machines elsewhere.
        """
        # What a cloud goes on showing of the dead is no orphan.
        self.place.clock.advance(HOURS if step.destroys else MINUTE)
        things, machines = self._look()
        wrong = judge.disturbed(self._before, things)
        new = judge.added(self._before, things)
        if step.destroys:
            return wrong + [f"an orphan after the destroy: {thing}" for thing in new]
        wrong += judge.check_machines(step.wanted.machines if self.place.cloud.makes_machines else {}, machines)
        # What there is follows from what is wanted, whatever way led there.
        reference = self.references.setdefault(step.wanted, new)
        volatile, ignored = self.place.cloud.volatile_tags, () if step == STEPS[0] and not cut else PLACED
        wrong += judge.compare(judge.shapes(reference, volatile, ignored), judge.shapes(new, volatile, ignored))
        return wrong

    def _finish(self, step: Step, how: str) -> list[str]:
        """Go on until nothing is left to do, where a step is taken in parts."""
        for _part in range(PARTS if step.gradual else 0):
            done = self._run(self.place.cloud.apply(step.wanted), how=how)
            if not any(outcome.failed or outcome.result.get("changed") for outcome in done):
                return []
        return [f"is not finished after {PARTS} more runs"] if step.gradual else []

    def calm(self, how: str = INSIDE, steps: tuple[Step, ...] = STEPS) -> list[str]:
        """Tell the story in good weather and return everything that is wrong.

        Before each step the same in check mode, which must send nothing that changes and say what the step then does; after it the
        same again, which must do nothing and say so.
        """
        wrong: list[str] = []
        self._before = self.place.reset()
        for step in steps:
            things, machines = self._look()
            if step.by_hand:
                step.by_hand(self.place.cloud, self.place.direct, things, machines)
                self.place.clock.advance(MINUTE)
            tasks = self._tasks(step, machines)
            if not tasks:
                self.log(f"{step.name}: no module does this")
                continue
            bad = []
            self.place.weather(Faults())
            foretold = self._run(tasks, how=how, check=True)
            bad += [f"check mode: {outcome}" for outcome in foretold if outcome.failed]
            bad += [f"check mode sent {action}" for action in self._mutations()]
            self.place.weather(Faults())
            done = self._run(tasks, how=how)
            calls, sent = len(self.place.calls()), self._mutations()
            bad += [str(outcome) for outcome in done if outcome.failed]
            bad += _differences(foretold, done)
            if step.changes and not any(outcome.result.get("changed") for outcome in done):
                bad.append("nothing reports a change")
            if step.changes is False:
                bad += _unchanged("the run", done, sent)
            bad += self._finish(step, how)
            bad += self._judge(step)
            things, machines = self._look()
            self.moments[step.name] = [outcome.moments for outcome in done]
            if not step.replaces:
                self.place.weather(Faults())
                again = self._run(self._tasks(step, machines), how=how)
                bad += _unchanged("the second run", again, self._mutations())
                bad += [f"after the second run: {text}" for text in self._judge(step)]
            self.log(f"{step.name}: {calls} calls, {len(sent)} of them change something{'' if not bad else f', {len(bad)} findings'}")
            wrong += [f"{step.name}: {text}" for text in bad]
            if any(outcome.failed for outcome in done):
                break
        return wrong

    def storm(self, seed: int, steps: tuple[Step, ...] = STEPS) -> list[str]:
        """Tell the story in bad weather and return everything that is wrong.

        Some runs are killed, some find zones full. The run that follows knows nothing of that, and must leave what `calm` left.
        """
        source = random.Random(f"storm {seed}")
        # The clouds' own processes, in one seed of ten.
        how = CHILD if seed % 10 == 0 else INSIDE
        wrong: list[str] = []
        self._before = self.place.reset()
        for step in steps:
            moments = self.moments.get(step.name)
            if moments is None or (step not in (steps[0], *steps[-2:]) and source.random() < 0.4):
                continue
            things, machines = self._look()
            if step.by_hand:
                step.by_hand(self.place.cloud, self.place.direct, things, machines)
                self.place.clock.advance(MINUTE)
            tasks = self._tasks(step, machines)
            kill = _draw_kill(source, moments) if source.random() < 0.7 else None
            cut = not step.destroys and source.random() < 0.3
            if cut:
                zones = sorted({machine.zone for machine in machines}) or self.place.cloud.zones
                self.place.cloud.limit(self.place.direct, {zone: source.randrange(3) for zone in zones if source.random() < 0.7})
            told, bad = [], []
            for number in range(1 + RUNS):
                self.place.weather(Faults.storm(f"{seed} {step.name} {number}"))
                done = self._run(tasks, how=how, kill=kill if number == 0 else None)
                told.append(_tell(done))
                crashed = [str(outcome) for outcome in done if outcome.result.get("traceback")]
                bad += [f"run {number + 1}: {text}" for text in crashed]
                self.place.calls()
                if number == 0:
                    self.place.cloud.limit(self.place.direct, {})
                if not any(outcome.failed for outcome in done) and len(done) == len(tasks) and (number or not cut):
                    break
            else:
                bad.append(f"does not succeed in {1 + RUNS} runs: {'; '.join(str(outcome) for outcome in done if outcome.failed)}")
            bad += self._finish(step, how)
            bad += self._judge(step, cut)
            self.log(f"seed {seed}, {step.name}: {', '.join(told)}{'' if not bad else f', {len(bad)} findings'}")
            wrong += [f"seed {seed}, {step.name}: {text}" for text in bad]
            if bad:
                # What follows would only tell of the same.
                break
        return wrong


def _tell(outcomes: list[Outcome]) -> str:
    last = outcomes[-1]
    if last.killed:
        return f"killed in {last.task.action}"
    return f"failed in {last.task.action} ({last.result.get('code') or str(last.result.get('msg'))[:80]})" if last.failed else "ok"


def _draw_kill(source: random.Random, moments: list[int]) -> tuple[int, int] | None:
    """Draw a moment of the whole step, each as likely as the others."""
    drawn = source.randrange(max(1, sum(moments)))
    for number, count in enumerate(moments):
        if drawn < count:
            return number, drawn
        drawn -= count
    return None


def _unchanged(which: str, outcomes: list[Outcome], sent: list[str]) -> list[str]:
    wrong = [f"{which}: {outcome}" for outcome in outcomes if outcome.failed]
    wrong += [
        f"{which}: {outcome.task.action} reports a change: {outcome.result.get('diff')}"
        for outcome in outcomes
        if outcome.result.get("changed")
    ]
    return wrong + [f"{which} sent {action}" for action in sent]


def _differences(foretold: list[Outcome], done: list[Outcome]) -> list[str]:
    """Return where check mode said something else than was then done."""
    wrong = []
    for before, after in zip(foretold, done):
        if before.failed or after.failed:
            continue
        action = after.task.action
        if bool(before.result.get("changed")) != bool(after.result.get("changed")):
            wrong.append(f"check mode said changed={before.result.get('changed')} of {action}, the run {after.result.get('changed')}")
        first, second = (_steps(outcome.result) for outcome in (before, after))
        if first != second:
            wrong.append(
                f"check mode foretold of {action}: {sorted((first - second).elements())}, done was {sorted((second - first).elements())}"
            )
    return wrong


def _steps(result: dict[str, Any]) -> Counter[tuple[str, ...]]:
    names = ("action", "pool", "role", "zone")
    return Counter(tuple(str(step.get(name)) for name in names) for step in result.get("steps") or [])
