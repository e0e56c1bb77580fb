# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The story that every cloud has to tell: from nothing to a cluster, through what people do to it, and back to nothing.

`Story.calm` tells it in good weather and learns what each step leaves behind; `Story.storm` tells it in bad weather and demands the same.
"""

from __future__ import annotations

import random
import time
import zlib
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

from clouds import judge
from clouds.cloud import CONTROL_PLANE, WORKERS, Cloud, Place, Wanted
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
GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Step:
    """One thing that an operator does.

    :param by_hand: what somebody does in the cloud's console before.
    :param destroys: whether it takes everything away.
    :param replaces: the pool of which one machine is replaced.
    :param drains: whether what is to go is named first and removed when it is drained.
    :param after: the step without which this one makes no sense.
    :param gradual: whether clouds may take several runs, each a part of the way.
    :param changes: whether a run has something to do; None where clouds differ.
    """

    name: str
    wanted: Wanted = BASE
    by_hand: Callable[[Cloud, str, list[Thing], list[Machine]], None] | None = None
    destroys: bool = False
    replaces: str = ""
    drains: bool = False
    after: str = ""
    gradual: bool = False
    changes: bool | None = True


@dataclass(frozen=True)
class Act:
    """A run of modules, and the code with which it has to be refused, if any."""

    tasks: list[Task]
    refused: str = ""


def _one(machines: list[Machine], pool: str = WORKERS) -> Machine:
    return min((machine for machine in machines if machine.pool == pool), key=lambda machine: machine.id)


SMALL = replace(BASE, workers=1)
STEPS = (
    Step("create"),
    Step("no-op", changes=False),
    Step("machine deleted by hand", by_hand=lambda cloud, url, _things, machines: cloud.delete_machine(url, _one(machines))),
    Step("tag changed by hand", by_hand=lambda cloud, url, _things, machines: cloud.change_tag(url, _one(machines))),
    Step("rule opened by hand", by_hand=lambda cloud, url, things, _machines: cloud.open_rule(url, things)),
    Step("scale up", replace(BASE, workers=5)),
    Step("scale down drained", replace(BASE, workers=3), drains=True, after="scale up"),
    Step("scale down", SMALL),
    Step("replace a worker", SMALL, replaces=WORKERS, gradual=True),
    Step("replace a control plane", SMALL, replaces=CONTROL_PLANE, drains=True, after="scale down", gradual=True),
    Step("image change", replace(SMALL, image=1), gradual=True, changes=None),
    Step("destroy", replace(SMALL, image=1), destroys=True),
    Step("destroy again", replace(SMALL, image=1), destroys=True, changes=False),
)


WITHOUT_MACHINES = ("create", "no-op", "rule opened by hand", "destroy", "destroy again")


def steps_for(cloud: Cloud) -> tuple[Step, ...]:
    """Return the whole story, or what of it can be told without machines."""
    return STEPS if cloud.makes_machines else tuple(step for step in STEPS if step.name in WITHOUT_MACHINES)


@dataclass
class Story:
    """:param log: gets a line for each step.

    :param references: what there was of the cluster's when the calm story first had what is wanted.
    :param moments: (step, number of its act) -> the moments of each of its tasks at which it can be killed.
    :param kills: the (step, act, task, moment) at which storms have killed.
    :param spent: real seconds in modules (the endpoint's answers among them), in the endpoint for modules, and for the judge.
    """

    place: Place
    log: Callable[[str], None] = print
    references: dict[Wanted, list[Thing]] = field(default_factory=dict)
    moments: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    kills: list[tuple[str, int, int, int]] = field(default_factory=list)
    spent: Counter[str] = field(default_factory=Counter)
    _before: list[Thing] = field(default_factory=list)
    _seen: list[Thing] = field(default_factory=list)

    def _begin(self) -> None:
        began = time.perf_counter()
        self._before = self._seen = self.place.reset()
        self.spent["judge"] += time.perf_counter() - began

    def _machines(self) -> list[Machine]:
        return self.place.cloud.machines(self._seen)

    def _acts(self, step: Step) -> Generator[Act, list[Outcome], None]:
        """Yield what a step takes, one act after the other; what was done is sent."""
        cloud = self.place.cloud
        if step.destroys:
            yield Act(cloud.destroy(step.wanted))
        elif step.replaces and step.drains:
            machine, leaving = _one(self._machines(), step.replaces), list[str]()
            for _part in range(PARTS):
                done = yield Act(cloud.replace(step.wanted, machine, defer=True))
                leaving = _leaving(done)
                if leaving:
                    break
            yield Act(cloud.remove(step.wanted, leaving))
        elif step.replaces:
            yield Act(cloud.replace(step.wanted, _one(self._machines(), step.replaces)))
        elif step.drains:
            refused = yield Act(cloud.defer(step.wanted), "MACHINES_BRAKE")
            plan = str(_field(refused, "plan_id") or "")
            done = yield Act(cloud.defer(step.wanted, plan))
            yield Act(cloud.remove(step.wanted, _leaving(done)))
        else:
            yield Act(cloud.apply(step.wanted))

    def _by_hand(self, step: Step) -> None:
        if step.by_hand:
            step.by_hand(self.place.cloud, self.place.direct, self._seen, self._machines())
            self.place.clock.advance(MINUTE)

    def _look(self) -> None:
        # Nothing of a run may be under way any more.
        self.place.calls()
        self._seen = self.place.cloud.dump(self.place.direct)

    def _run(self, tasks: list[Task], **options: Any) -> list[Outcome]:
        began, asked = time.perf_counter(), self.place.proxy.asked
        try:
            return list(run(tasks, self.place, **options))
        finally:
            self.spent["modules"] += time.perf_counter() - began
            self.spent["endpoint"] += self.place.proxy.asked - asked

    def _mutations(self) -> list[str]:
        return [call["action"] for call in self.place.calls() if call["mutates"]]

    def _judge(self, step: Step, cut: bool = False) -> list[str]:
        """Return what is wrong with what there is after a step.

        :param cut: whether full zones may have sent machines elsewhere.
        """
        began, gone = time.perf_counter(), _one(self._machines(), step.replaces).id if step.replaces else ""
        # What a cloud goes on showing of the dead is no orphan.
        self.place.clock.advance(HOURS if step.destroys else MINUTE)
        self._look()
        machines = self._machines()
        wrong = judge.disturbed(self._before, self._seen)
        new = judge.added(self._before, self._seen)
        if step.destroys:
            wrong += [f"an orphan after the destroy: {thing}" for thing in new]
        else:
            wrong += judge.check_machines(step.wanted.machines if self.place.cloud.makes_machines else {}, machines)
            if gone in {machine.id for machine in machines}:
                wrong.append(f"machine {gone} was to be replaced and lives")
            # What there is follows from what is wanted, whatever way led there.
            reference = self.references.setdefault(step.wanted, new)
            volatile, ignored = self.place.cloud.volatile_tags, () if step == STEPS[0] and not cut else PLACED
            wrong += judge.compare(judge.shapes(reference, volatile, ignored), judge.shapes(new, volatile, ignored))
        self.spent["judge"] += time.perf_counter() - began
        return wrong

    def _finish(self, step: Step, tasks: list[Task], how: str) -> list[str]:
        """Go on until nothing is left to do, where a step is taken in parts."""
        for _part in range(PARTS if step.gradual else 0):
            done = self._run(tasks, how=how)
            if not any(outcome.failed or outcome.result.get("changed") for outcome in done):
                return []
        return [f"is not finished after {PARTS} more runs"] if step.gradual else []

    def calm(self, how: str = INSIDE, steps: tuple[Step, ...] = STEPS) -> list[str]:
        """Tell the story in good weather and return everything that is wrong.

        Before each run the same in check mode, which must send nothing that changes and say what the run then does; after the step the
        same again, which must do nothing and say so.
        """
        wrong: list[str] = []
        self._begin()
        for step in steps:
            self._by_hand(step)
            bad, done, calls, sent = [], list[Outcome](), 0, list[str]()
            acts = self._acts(step)
            act = next(acts)
            number = 0
            if not act.tasks:
                self.log(f"{step.name}: no module does this")
                continue
            while True:
                self.place.weather(Faults())
                foretold = self._run(act.tasks, how=how, check=True)
                bad += [f"check mode sent {action}" for action in self._mutations()]
                self.place.weather(Faults())
                done = self._run(act.tasks, how=how)
                mutations = self._mutations()
                calls, sent = calls + len(self.place.calls()), sent + mutations
                if act.refused:
                    bad += _not_refused("check mode", act, foretold, [])
                    bad += _not_refused("the run", act, done, mutations)
                else:
                    bad += [f"check mode: {outcome}" for outcome in foretold if outcome.failed]
                    bad += [str(outcome) for outcome in done if outcome.failed]
                    bad += _differences(foretold, done, diffs=step != steps[0])
                self.moments[step.name, number] = [outcome.moments for outcome in done]
                number += 1
                tasks = act.tasks
                try:
                    act = acts.send(done)
                except StopIteration:
                    break
            if step.changes and not any(outcome.result.get("changed") for outcome in done):
                bad.append("nothing reports a change")
            if step.changes is False:
                bad += _unchanged("the run", done, sent)
            bad += self._finish(step, tasks, how)
            bad += self._judge(step)
            self.place.weather(Faults())
            again = self._run(self.place.cloud.destroy(step.wanted) if step.destroys else self.place.cloud.apply(step.wanted), how=how)
            bad += _unchanged("the second run", again, self._mutations())
            bad += [f"after the second run: {text}" for text in self._judge(replace(step, replaces=""))]
            self.log(f"{step.name}: {calls} calls, {len(sent)} of them change something{'' if not bad else f', {len(bad)} findings'}")
            wrong += [f"{step.name}: {text}" for text in bad]
            if any(outcome.failed for outcome in done):
                break
        return wrong

    def storm(self, seed: int, steps: tuple[Step, ...] = STEPS) -> list[str]:
        """Tell the story in bad weather and return everything that is wrong.

        Some runs are killed, and some of those that follow, too; some find zones full. The run that follows knows nothing of that, and
        must leave what `calm` left.
        """
        source = random.Random(f"storm {seed}")
        # The clouds' own processes, in one seed of ten.
        how = CHILD if seed % 10 == 0 else INSIDE
        wrong: list[str] = []
        passed_over = set[str]()
        self._begin()
        if how == CHILD:
            # What an SDK reads at its first use, this process reads for all those that are split off it.
            self._run(self.place.cloud.apply(steps[0].wanted), check=True)
        for step in steps:
            chance = step not in (steps[0], *steps[-2:]) and source.random() < 0.4
            if chance or (step.name, 0) not in self.moments or step.after in passed_over:
                passed_over.add(step.name)
                continue
            self._by_hand(step)
            cut = not step.destroys and source.random() < 0.3
            if cut:
                zones = sorted({machine.zone for machine in self._machines()}) or self.place.cloud.zones
                self.place.cloud.limit(self.place.direct, {zone: source.randrange(3) for zone in zones if source.random() < 0.7})
            told: list[str] = []
            bad: list[str] = []
            acts = self._acts(step)
            act, number = next(acts), 0
            while not bad:
                done, found = self._weather_out(seed, step, number, act, how, source, cut, told)
                bad += found
                tasks, number = act.tasks, number + 1
                try:
                    act = acts.send(done)
                except StopIteration:
                    break
            if not bad:
                bad += self._finish(step, tasks, how)
            bad += self._judge(step, cut)
            self.log(f"seed {seed}, {step.name}: {', '.join(told)}{'' if not bad else f', {len(bad)} findings'}")
            wrong += [f"seed {seed}, {step.name}: {text}" for text in bad]
            if bad:
                # What follows would only tell of the same.
                break
        return wrong

    def _weather_out(
        self, seed: int, step: Step, number: int, act: Act, how: str, source: random.Random, cut: bool, told: list[str]
    ) -> tuple[list[Outcome], list[str]]:
        """Run an act until it is done, and return that and what is wrong."""
        moments = self.moments.get((step.name, number), [])
        kills = [self._choose_kill(seed, step, number, moments) if source.random() < 0.75 else None]
        kills += [_draw_kill(source, moments) if kills[0] and source.random() < 0.25 else None]
        bad, done = [], list[Outcome]()
        for attempt in range(len(kills) + RUNS):
            self.place.weather(Faults.storm(f"{seed} {step.name} {number} {attempt}"))
            kill = kills[attempt] if attempt < len(kills) else None
            done = self._run(act.tasks, how=how, kill=kill)
            told.append(_tell(done))
            if done[-1].killed and kill:
                self.kills.append((step.name, number, *kill))
            bad += [f"run {attempt + 1}: {outcome}" for outcome in done if outcome.result.get("traceback")]
            self.place.calls()
            if attempt == 0:
                self.place.cloud.limit(self.place.direct, {})
            if act.refused:
                if not done[-1].killed:
                    return done, bad + _not_refused(f"run {attempt + 1}", act, done, self._mutations())
            elif not any(outcome.failed for outcome in done) and len(done) == len(act.tasks) and (attempt or not cut):
                return done, bad
        failed = "; ".join(str(outcome) for outcome in done if outcome.failed)
        return done, [*bad, f"does not succeed in {len(kills) + RUNS} runs: {failed}"]

    def _choose_kill(self, seed: int, step: Step, number: int, moments: list[int]) -> tuple[int, int] | None:
        """Return the moment of a seed's kill: the moments of many seeds lie evenly over the whole act."""
        offset = zlib.crc32(f"{step.name} {number}".encode()) / 2**32
        return _at(int((seed * GOLDEN + offset) % 1 * sum(moments)), moments)


def _tell(outcomes: list[Outcome]) -> str:
    last = outcomes[-1]
    if last.killed:
        return f"killed in {last.task.action}"
    return f"failed in {last.task.action} ({last.result.get('code') or str(last.result.get('msg'))[:80]})" if last.failed else "ok"


def _at(moment: int, moments: list[int]) -> tuple[int, int] | None:
    """Return the task and the moment in it, of a moment of a whole act."""
    for number, count in enumerate(moments):
        if moment < count:
            return number, moment
        moment -= count
    return None


def _draw_kill(source: random.Random, moments: list[int]) -> tuple[int, int] | None:
    return _at(source.randrange(max(1, sum(moments))), moments)


def _field(outcomes: list[Outcome], name: str) -> Any:
    """Return a value that some module returned; what belongs to an error is in its details."""
    for outcome in reversed(outcomes):
        details = outcome.result.get("details")
        for place in (outcome.result, details if isinstance(details, dict) else {}):
            if name in place:
                return place[name]
    return None


def _leaving(outcomes: list[Outcome]) -> list[str]:
    return [str(machine["id"]) for machine in _field(outcomes, "leaving") or []]


def _not_refused(which: str, act: Act, outcomes: list[Outcome], sent: list[str]) -> list[str]:
    last = outcomes[-1]
    wrong = [] if last.result.get("code") == act.refused else [f"{which} was to be refused with {act.refused}: {last}"]
    return wrong + [f"{which} was to be refused with {act.refused} and sent {action}" for action in sent]


def _unchanged(which: str, outcomes: list[Outcome], sent: list[str]) -> list[str]:
    wrong = [f"{which}: {outcome}" for outcome in outcomes if outcome.failed]
    wrong += [
        f"{which}: {outcome.task.action} reports a change: {outcome.result.get('diff')}"
        for outcome in outcomes
        if outcome.result.get("changed")
    ]
    return wrong + [f"{which} sent {action}" for action in sent]


def _differences(foretold: list[Outcome], done: list[Outcome], diffs: bool) -> list[str]:
    """Return where check mode said something else than was then done.

    :param diffs: whether their diffs are the same; where all is new, check mode can not name what an earlier module would have made.
    """
    wrong = []
    for before, after in zip(foretold, done):
        if before.failed or after.failed:
            continue
        action = after.task.action
        if bool(before.result.get("changed")) != bool(after.result.get("changed")):
            wrong.append(f"check mode said changed={before.result.get('changed')} of {action}, the run {after.result.get('changed')}")
        first, second = (_steps(outcome.result) for outcome in (before, after))
        if diffs and before.result.get("diff") != after.result.get("diff"):
            wrong.append(f"check mode showed of {action}: {before.result.get('diff')}, the run {after.result.get('diff')}")
        if first != second:
            wrong.append(
                f"check mode foretold of {action}: {sorted((first - second).elements())}, done was {sorted((second - first).elements())}"
            )
    return wrong


def _steps(result: dict[str, Any]) -> Counter[tuple[str, ...]]:
    names = ("action", "pool", "role", "zone")
    return Counter(tuple(str(step.get(name)) for name in names) for step in result.get("steps") or [])
