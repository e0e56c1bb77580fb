# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver of a run over a fleet: begins clusters as the rollout says, and waits for them (private to flotilla.kubernetes).

A process of its own in a session of its own, as the worker of an action plugin ends with the first Ctrl-C. It takes one order as JSON from
its standard input, answers with one line of JSON whether it has the fleet, and then talks through its journal only.

It stops in two steps. One wish to stop (a signal, or that nobody follows it any more): no other cluster is begun. Another one: the runs of
the clusters are ended, too; they can all be gone on with.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...module_utils._definition import load
from ...module_utils._files import write_atomically
from ...module_utils._fleet.plan import definition_digest
from ...module_utils._fleet.rollout import DONE, FAILED, LEFT_OUT, RUNNING, Rollout, states_of, waves_of
from ...module_utils._fleet.windows import Windows
from ...module_utils._moments import parse
from . import journal, place

# Seconds: between two looks, two lines of progress after something ended, two of them while nothing does, and two wishes to stop.
LOOK, TELL, TELL_ANYWAY, INSIST = 0.25, 10, 60, 5
# Seconds that another process, which only looks who has the fleet, may keep its lock.
PATIENCE = 2.0
# What is in an order and never on a disk.
_PRIVATE = ("extra_vars", "environment")
_STOPPED = "it was stopped in its midst; the next run goes on with it"


class Driver:
    """Drives one run.

    :param order: as the action `fleet_run` makes it.
    """

    def __init__(self, order: Mapping[str, Any]) -> None:
        self._order = order
        self._run = Path(order["run"])
        self._journal = journal.Journal(self._run / place.JOURNAL)
        events, _end = journal.read(self._run / place.JOURNAL)
        memory = journal.remember(events)
        memory.again()
        self._attempt = memory.attempt + 1
        self._attempts = memory.attempts
        self._began = {one["cluster"]: parse(one["at"]) for one in events if one["event"] == journal.BEGUN}
        states = states_of(order["plan"], memory.states)
        self._news = {name: state for name, state in states.items() if name not in memory.states}
        waves = waves_of(order["plan"])
        windows = {name: Windows.of(one) for name, one in order["windows"].items()}
        self._rollout = Rollout(waves, windows, states)
        self._estimate = _Estimate(order["plan"])
        self._waves = {name: wave.name for wave in waves for name in wave.clusters}
        # Runs that are ours to wait for: our own processes, and those that a driver that was killed has left.
        self._children: dict[str, subprocess.Popen[str]] = {}
        self._left = {name: True for name, state in states.items() if state.phase == RUNNING}
        self._wishes = self._level = 0
        self._followers, _followed = followers(self._run)
        self._followed = True
        self._insisted = self._told = 0.0
        self._waiting: tuple[Any, ...] = ()
        self._changed = False

    def wish_to_stop(self, *_signal: object) -> None:
        """Take note that somebody wants the run to stop."""
        self._wishes += 1

    def drive(self) -> None:
        """Go on until nothing runs and nothing is to be begun."""
        self._journal.write(journal.ATTEMPT, number=self._attempt, run=self._run.name, pid=os.getpid())
        for name, state in self._news.items():
            self._journal.write(state.phase, cluster=name, why=state.why)
        while True:
            self._look_for_wishes()
            self._collect()
            decision = self._rollout.next(_now())
            for name, why in decision.left_out.items():
                self._journal.write(LEFT_OUT, cluster=name, why=why)
            for name in decision.start:
                self._begin(name)
            if decision.over:
                break
            if not decision.start:
                self._tell(decision.until, decision.waits_for)
                time.sleep(LOOK)
        self._end()

    def _collect(self) -> None:
        for name, process in list(self._children.items()):
            if process.poll() is not None:
                del self._children[name]
                if not self._ended(name):
                    # Only its ansible-runner has died, perhaps.
                    self._left[name] = False
        for name, again in list(self._left.items()):
            descriptor = self._take(name)
            if descriptor is None:
                continue
            del self._left[name]
            # A process that was killed could not remove them.
            place.extra_vars_file(self._run, name).unlink(missing_ok=True)
            if self._ended(name):
                os.close(descriptor)
            elif again and not self._level:
                self._launch(name, descriptor)
            else:
                os.close(descriptor)
                self._over(name, _STOPPED if self._level else f"its process died; look at {self._run / place.DRIVER_LOG}")

    def _ended(self, name: str) -> bool:
        """Take note of the end that a run has written down; return whether there is one."""
        try:
            result = json.loads(place.result_file(self._run, name, self._attempts[name]).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False
        self._over(name, "" if result["rc"] == 0 else str(result["why"] or "it failed"))
        return True

    def _over(self, name: str, why: str) -> None:
        now = _now()
        seconds = (now - self._began[name]).total_seconds() if name in self._began else 0.0
        self._rollout.ended(name, now, why)
        self._estimate.ended(name, seconds, not why)
        self._journal.write(FAILED if why else DONE, cluster=name, why=why, ended=now.isoformat(), seconds=round(seconds, 1))
        self._changed = True

    def _begin(self, name: str) -> None:
        why = self._other_definition(name)
        descriptor = None if why else self._take(name)
        if descriptor is None:
            self._rollout.leave_out(name, why or "another run is at work in it")
            self._journal.write(LEFT_OUT, cluster=name, why=why or "another run is at work in it")
        else:
            self._launch(name, descriptor)

    def _other_definition(self, name: str) -> str:
        """Return why a cluster is not as it was planned: days may lie between."""
        planned = self._order["clusters"][name]
        checked = load.check_sources([planned["file"]])
        found = [one for one in checked.definitions if one["name"] == name]
        if not found or checked.problems:
            return f"its definition {planned['file']} is not valid any more"
        return "" if definition_digest(found[0]) == planned["definition"] else "its definition is not that of the plan any more"

    def _take(self, name: str) -> int | None:
        return place.take_cluster(self._order["clusters"][name]["file"], {"run": str(self._run), "cluster": name})

    def _launch(self, name: str, descriptor: int) -> None:
        """Start the process of a cluster's run, which holds the lock from then on."""
        attempt = self._attempts[name] = self._attempts.get(name, 0) + 1
        self._began[name] = _now()
        self._estimate.began(name, self._began[name])
        folder = self._run / name
        shared = ("arguments", "cwd", "playbook", "ansible_playbook", "extra_vars", "environment", "python_path")
        file = self._order["clusters"][name]["file"]
        task = {
            **{key: self._order[key] for key in shared},
            "run": str(self._run),
            "cluster": name,
            "attempt": attempt,
            "file": file,
            "inventory": sources_of(self._order["inventory"], file, folder / "inventory"),
            "extra_vars": {**self._order["extra_vars"], "flotilla_cluster_name": name},
        }
        self._journal.write(journal.BEGUN, cluster=name, attempt=attempt, wave=self._waves[name])
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.cluster"],
                stdin=subprocess.PIPE,
                stdout=sys.stderr,
                stderr=sys.stderr,
                pass_fds=[descriptor],
                start_new_session=True,
                text=True,
            )
        finally:
            os.close(descriptor)
        with suppress(BrokenPipeError), process.stdin:
            json.dump(task, process.stdin)
        self._children[name] = process
        self._changed = True

    def _look_for_wishes(self) -> None:
        count, followed = followers(self._run)
        # Somebody may have come and gone between two looks.
        if not followed and (self._followed or count != self._followers):
            self._wishes += 1
        self._followers, self._followed = count, followed
        if self._wishes > self._level and self._level < 2:
            self._level = min(2, self._wishes)
            self._rollout.stop("the run was stopped before it")
            count = len(self._rollout.running)
            goes_on = f"{count} that {'run go' if count > 1 else 'runs goes'} on to the end" if count else "none runs"
            why = f"no other cluster is begun, {goes_on}" if self._level == 1 else f"the runs of {count} clusters are ended, too"
            self._journal.write(journal.STOPPING, level=self._level, why=why)
        if self._level == 2 and time.monotonic() - self._insisted > INSIST:
            self._insisted = time.monotonic()
            for name in self._rollout.running:
                self._end_run(name)

    def _end_run(self, name: str) -> None:
        if name in self._children:
            self._children[name].send_signal(signal.SIGTERM)
            return
        file = self._order["clusters"][name]["file"]
        for lock in (place.cluster_lock(file), place.playbook_lock(file)):
            pid = (place.holder(lock) or {}).get("pid")
            if pid:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGTERM)
                return

    def _tell(self, until: dt.datetime | None, why: str) -> None:
        now = time.monotonic()
        if until and (until, why) != self._waiting:
            self._journal.write(journal.WAITING, until=until.astimezone().isoformat(timespec="minutes"), why=why)
        self._waiting = (until, why)
        if self._rollout.running and now - self._told > (TELL if self._changed else TELL_ANYWAY):
            self._told, self._changed = now, False
            self._journal.write(journal.PROGRESS, **self._counts(), seconds_left=self._estimate.seconds(self._rollout, _now()))

    def _counts(self) -> dict[str, int]:
        return {"clusters": len(self._waves), **{phase: self._rollout.counts[phase] for phase in (DONE, FAILED, LEFT_OUT, RUNNING)}}

    def _end(self) -> None:
        counts = self._counts()
        others = [f"{counts[phase]} {word}" for phase, word in ((FAILED, "failed"), (LEFT_OUT, "left out")) if counts[phase]]
        why = f"{', '.join([f'{counts[DONE]} of {len(self._waves)} clusters are done', *others])}"
        self._journal.write(journal.END, why=why, stopped=bool(self._level), **counts)


class _Estimate:
    """About how long the rest takes: by the model of the plan, and by how wrong that was so far. Without a model, by the mean."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self._minutes = {one["name"]: float(one["minutes"]) or 1.0 for stage in plan["waves"] for one in stage["clusters"]}
        self._has_model = any(one["minutes"] for stage in plan["waves"] for one in stage["clusters"])
        self._stages = [(int(stage["max_clusters_in_flight"]), float(stage["soak"])) for stage in plan["waves"]]
        self._where = {one["name"]: index for index, stage in enumerate(plan["waves"]) for one in stage["clusters"]}
        self._rest = [0.0] * len(self._stages)
        for stage in plan["waves"]:
            for one in stage["clusters"]:
                self._rest[self._where[one["name"]]] += self._minutes[one["name"]]
        self._running: dict[str, dt.datetime] = {}
        self._gone: set[str] = set()
        self._planned = self._taken = 0.0

    def began(self, name: str, at: dt.datetime) -> None:
        self._forget(name)
        self._running[name] = at

    def ended(self, name: str, seconds: float, well: bool) -> None:
        self._forget(name)
        self._running.pop(name, None)
        if well:
            self._planned += self._minutes[name]
            self._taken += seconds / 60

    def _forget(self, name: str) -> None:
        if name not in self._gone:
            self._gone.add(name)
            self._rest[self._where[name]] -= self._minutes[name]

    def seconds(self, rollout: Rollout, now: dt.datetime) -> float | None:
        """Return the seconds that are left, None if nobody knows."""
        if not self._has_model and not self._planned:
            return None
        for name, state in list(rollout.states.items()) if rollout.pending else ():
            if state.phase in (DONE, LEFT_OUT):
                self._forget(name)
        factor = self._taken / self._planned if self._planned else 1.0
        present = [max(0.0, self._minutes[name] * factor - (now - at).total_seconds() / 60) for name, at in self._running.items()]
        minutes = max(present, default=0.0)
        if rollout.pending:
            for (lanes, soak), rest in zip(self._stages, self._rest):
                if rest > 0.001:
                    minutes += rest * factor / lanes + soak / 60
        return minutes * 60


def sources_of(sources: list[str], file: str, folder: Path) -> list[str]:
    """Return the inventory of one cluster's run.

    It is the cluster's definition alone, as each other one would cost a look at its cloud. What else the inventory holds comes along:
    sources without definitions, and group_vars and host_vars of the folders that were given.

    :param sources: those of the whole fleet.
    :param folder: private; gets what can not be named otherwise.
    """
    taken = []
    for number, source in enumerate(sources):
        path = Path(source)
        if "," in source or not path.exists():
            taken.append(source)
        elif path.is_dir():
            variables = [path / name for name in ("group_vars", "host_vars") if (path / name).is_dir()]
            if not load.find_files([source])[0]:
                taken.append(source)
            elif variables:
                beside = folder / str(number)
                beside.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_atomically(beside / "none.yml", b"all: {}\n", 0o600)
                for one in variables:
                    with suppress(FileExistsError):
                        (beside / one.name).symlink_to(one.resolve())
                taken.append(str(beside / "none.yml"))
        elif not load.find_files([source])[0]:
            taken.append(source)
    return [*taken, file]


def follow(run: Path) -> int:
    """Return a descriptor; as long as somebody has one open the driver of the run knows that it is followed."""
    descriptor = os.open(run / place.FOLLOWED, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    os.write(descriptor, b".")
    return descriptor


def followers(run: Path) -> tuple[int, bool]:
    """Return how many have followed the run so far, and whether anybody does now."""
    descriptor = os.open(run / place.FOLLOWED, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        now = False
    except BlockingIOError:
        now = True
    count = os.fstat(descriptor).st_size
    os.close(descriptor)
    return count, now


def _take_fleet(order: Mapping[str, Any]) -> dict[str, Any] | None:
    """Take the locks of the fleet; return who has one of them if somebody does."""
    until = time.monotonic() + PATIENCE
    content = {"run": order["run"], "pid": os.getpid()}
    for lock in place.fleet_locks(one["file"] for one in order["clusters"].values()):
        while place.take(lock, content) is None:
            if time.monotonic() > until:
                return place.holder(lock) or {}
            time.sleep(LOOK)
    return None


def _now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)


def main() -> None:
    """Drive the run that the order on the standard input says."""
    os.umask(0o077)
    order = json.load(sys.stdin)
    other = _take_fleet(order)
    print(json.dumps({"busy": other} if other is not None else {"started": True}), flush=True)
    os.dup2(2, 1)
    if other is not None:
        sys.exit(1)
    run = Path(order["run"])
    public = {key: value for key, value in order.items() if key not in _PRIVATE}
    write_atomically(run / place.ORDER, json.dumps(public).encode(), 0o600)
    driver = Driver(order)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, driver.wish_to_stop)
    place.rotate(run.parent, int(order["keep"]), run)
    driver.drive()


if __name__ == "__main__":
    main()
