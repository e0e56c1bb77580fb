# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run modules the way Ansible does: inside this process, in a process of their own, or by `ansible-playbook`."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

from ansible.module_utils import basic

from clouds import edge as edges
from clouds.clock import Clock
from clouds.edge import Edge
from clouds.wire import Wire

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
INSIDE, CHILD, PLAYBOOK = "inside", "child", "playbook"
LIMIT, REAL_LIMIT = 120, 900
"""Real seconds that one module may take: it only ends what hangs."""


class Surroundings(Protocol):
    """Where modules run."""

    clock: Clock
    wire: Wire

    @property
    def environment(self) -> dict[str, str]: ...

    def calls(self) -> list[dict[str, Any]]:
        """Return when no call is under way."""


@dataclass(frozen=True)
class Task:
    """One module of a run.

    :param module: where Python finds it.
    :param action: how playbooks name it.
    """

    module: str
    action: str
    arguments: dict[str, Any]


@dataclass
class Outcome:
    """How one task ended."""

    task: Task
    result: dict[str, Any] = field(default_factory=dict)
    killed: bool = False
    moments: int = 0

    @property
    def failed(self) -> bool:
        return self.killed or bool(self.result.get("failed"))

    def __str__(self) -> str:
        return f"{self.task.action}: {'killed' if self.killed else self.result.get('msg') or str(self.result)[:600]}"


def _once(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that is called once for the same arguments, by whatever object."""
    known: dict[Any, Any] = {}

    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        key = (arguments, tuple(options.items()))
        if key not in known:
            known[key] = method(self, *arguments, **options)
        return known[key]

    return call


@functools.cache
def share_service_models() -> None:
    """Read each of botocore's descriptions of services once and not for every session: it is most of the time of a short run."""
    with contextlib.suppress(ImportError):
        from botocore.client import ClientCreator
        from botocore.loaders import JSONFileLoader, Loader

        for owner, name in (
            (JSONFileLoader, "load_file"),
            (Loader, "list_available_services"),
            (Loader, "list_api_versions"),
            (ClientCreator, "_load_service_model"),
            (ClientCreator, "_create_client_class"),
        ):
            setattr(owner, name, _once(getattr(owner, name)))


def _limit(clock: Clock) -> int:
    """Return the real seconds that a module may take: at the pace of the real clock it waits as long as it says."""
    return LIMIT if clock.speed > 1 else REAL_LIMIT


@contextlib.contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def end(_number: int, _frame: Any) -> None:
        raise TimeoutError(f"it has not ended after {seconds} real seconds")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _main(task: Task, environment: dict[str, str], clock: Clock, check: bool, edge: Edge) -> Outcome:
    """Call the module's ``main()`` here."""
    share_service_models()
    module = importlib.import_module(task.module)
    text = json.dumps({"ANSIBLE_MODULE_ARGS": {**task.arguments, "_ansible_check_mode": check, "_ansible_diff": True}})
    printed = io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, environment))
        stack.enter_context(mock.patch.object(basic, "_ANSIBLE_ARGS", text.encode()))
        stack.enter_context(mock.patch.object(basic, "_ANSIBLE_PROFILE", "legacy", create=True))
        stack.enter_context(clock.installed(edge.check))
        stack.enter_context(edges.installed(edge))
        stack.enter_context(contextlib.redirect_stdout(printed))
        try:
            module.main()
        except SystemExit:
            pass
        except edges.Killed:
            pass
        except Exception as error:  # noqa: BLE001  a module that raises has failed, as under Ansible
            if not edge.dead:
                said = "".join(traceback.format_exception(error)[-4:])
                result = {"failed": True, "msg": f"it raised {type(error).__name__}: {error} {said}", "traceback": True}
                return Outcome(task, result, moments=edge.moments)
    return Outcome(task, {} if edge.dead else _read(printed.getvalue()), edge.dead, edge.moments)


def inside(task: Task, place: Surroundings, check: bool, kill_at: int | None) -> Outcome:
    """Run the module in this process; a kill is an exception."""
    with _limited(_limit(place.clock)):
        return _main(task, place.environment, place.clock, check, Edge(kill_at))


def child(task: Task, place: Surroundings, check: bool, kill_at: int | None) -> Outcome:
    """Run the module in a process of its own, split off this one, which has everything imported; a kill is SIGKILL."""
    place.calls()
    source, sink = os.pipe()
    with warnings.catch_warnings():
        # The threads of this process wait for requests, so they hold no lock.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process == 0:
        status = 1
        try:
            os.close(source)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_limit(place.clock))
            place.wire.forget()
            outcome = _main(task, place.environment, place.clock, check, Edge(kill_at, real=True))
            with os.fdopen(sink, "w") as pipe:
                json.dump([outcome.result, outcome.moments], pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(sink)
    with os.fdopen(source) as pipe:
        said = pipe.read()
    status = os.waitpid(process, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return Outcome(task, killed=True)
    if status:
        return Outcome(task, {"failed": True, "msg": f"its process ended with {os.waitstatus_to_exitcode(status)}", "traceback": True})
    result, moments = json.loads(said)
    return Outcome(task, result, moments=moments)


def _read(text: str) -> dict[str, Any]:
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            return dict(json.loads(line))
    return {"failed": True, "msg": f"it printed no result: {text[-2000:]}", "traceback": True}


def _environment(place: Surroundings) -> dict[str, str]:
    path = os.pathsep.join([str(HERE / "site"), str(HERE.parent), str(ROOT / "collection")])
    return {**os.environ, **place.environment, "FLOTILLA_TEST_CLOCK": str(place.clock.path), "PYTHONPATH": path}


def playbook(tasks: list[Task], place: Surroundings, check: bool) -> list[Outcome]:
    """Run tasks by `ansible-playbook`, as users do."""
    with tempfile.TemporaryDirectory() as folder:
        play = {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable},
            "tasks": [
                {
                    "block": [
                        {"name": task.action, task.action: task.arguments, "register": f"result_{n}"} for n, task in enumerate(tasks)
                    ],
                    "always": [
                        {
                            "name": "Keep the results",
                            "ansible.builtin.copy": {
                                "content": "{{ [" + ", ".join(f"result_{n} | default({{}})" for n in range(len(tasks))) + "] | to_json }}",
                                "dest": f"{folder}/results.json",
                                "mode": "0600",
                            },
                            "check_mode": False,
                        }
                    ],
                }
            ],
        }
        (Path(folder) / "play.yml").write_text(json.dumps([play]), encoding="utf-8")
        variables = _environment(place)
        variables.update(
            ANSIBLE_LOCALHOST_WARNING="false", ANSIBLE_LIBRARY=str(HERE / "examples"), ANSIBLE_CONFIG=str(ROOT / "ansible.cfg")
        )
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            "localhost,",
            f"{folder}/play.yml",
            *(["--check"] if check else []),
        ]
        if not Path(command[0]).exists():
            command[:1] = [sys.executable, "-m", "ansible", "playbook"]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=LIMIT, check=False, cwd=ROOT)
        written = Path(folder) / "results.json"
        if not written.exists():
            return [Outcome(tasks[0], {"failed": True, "msg": f"ansible-playbook failed: {done.stdout[-3000:]} {done.stderr[-2000:]}"})]
        return [Outcome(task, result) for task, result in zip(tasks, json.loads(written.read_text(encoding="utf-8"))) if result]


def run(
    tasks: list[Task], place: Surroundings, *, how: str = INSIDE, check: bool = False, kill: tuple[int, int] | None = None
) -> Iterator[Outcome]:
    """Run tasks one after another until one fails or is killed.

    :param kill: number of a task, and of the moment in it.
    """
    if how == PLAYBOOK:
        yield from playbook(tasks, place, check)
        return
    for number, task in enumerate(tasks):
        call = child if how == CHILD else inside
        outcome = call(task, place, check, kill[1] if kill and kill[0] == number else None)
        yield outcome
        if outcome.failed:
            return
