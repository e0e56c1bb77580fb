# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of `fleet_run`: starts the driver of a run over a fleet, or finds the one that is at work, and follows it."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.utils.vars import load_extra_vars

from ..module_utils._definition import hosts
from ..module_utils._errors import FlotillaError, clear_os_errors
from ..module_utils._files import write_atomically
from ..module_utils._fleet.plan import NOTHING, changes_since, definition_digest, fleets_of, make_plan
from ..module_utils._fleet.rollout import DONE, LEFT_OUT, Rollout, State, states_of, waves_of
from ..module_utils._fleet.waves import Fleet
from ..module_utils._fleet.windows import Windows
from ..module_utils._moments import parse
from ..plugin_utils import _fleet
from ..plugin_utils._fleet_run import driver, journal, place
from ..plugin_utils._fleet_seen import seen_of
from ..plugin_utils._table import table

display = Display()

PLAYBOOKS = (
    "cluster_apply",
    "cluster_backup",
    "cluster_defragment_etcd",
    "cluster_heal",
    "cluster_patch_os",
    "cluster_policies",
    "cluster_rotate_certificates",
    "cluster_status",
    "cluster_upgrade",
)
# Seconds between two looks at the journal; and how long a run that was stopped is gone on with by the same call.
LOOK = 0.3
LASTS = dt.timedelta(hours=24)
# Options of the command line that choose hosts or tasks: in a run over a fleet they would choose among the clusters' tasks, unseen.
_REFUSED = {"subset": "--limit", "tags": "--tags", "skip_tags": "--skip-tags", "start_at_task": "--start-at-task", "step": "--step"}
_ASKS = {"ask_pass": "--ask-pass", "become_ask_pass": "--ask-become-pass", "ask_vault_pass": "--ask-vault-pass"}
_PASSED = {
    "remote_user": "--user",
    "private_key_file": "--private-key",
    "connection_password_file": "--connection-password-file",
    "become_password_file": "--become-password-file",
    "ssh_common_args": "--ssh-common-args",
    "ssh_extra_args": "--ssh-extra-args",
    "forks": "--forks",
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("plan", "playbook", "directory", "keep", "resume", "report"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        try:
            _check_command_line()
            order = self._order(task_vars or {})
            if self._task.check_mode:
                result.update(_predict(order))
            else:
                result.update(self._go(order))
            if self._task.args.get("report"):
                report = Path(self._task.args["report"])
                with clear_os_errors(report, "written"):
                    write_atomically(report, f"{json.dumps(result, indent=2)}\n".encode(), 0o600)
        except FlotillaError as error:
            raise AnsibleActionFail(str(error), result=error.as_result()) from error
        except OSError as error:
            raise AnsibleActionFail(f"The run over the fleet could not be started or followed: {error}.") from error
        return result

    def _order(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what the driver has to know."""
        arguments = self._task.args
        sources = [str(source) for source in task_vars.get("ansible_inventory_sources") or ()]
        checked = _fleet.load_fleet(sources)
        present = set(task_vars["ansible_play_hosts_all"])
        definitions = {one["name"]: one for one in checked.definitions if hosts.cluster_host_name(one["name"]) in present}
        fleets = fleets_of(checked.fleets, definitions.values())
        folder = Path(arguments.get("directory") or "build/fleet").absolute()
        playbook = _playbook(str(arguments.get("playbook") or "cluster_upgrade"))
        now = dt.datetime.now(dt.timezone.utc)
        if arguments.get("plan"):
            seen = {name: seen_of(task_vars["hostvars"], hosts.cluster_host_name(name)) for name in definitions}
            plan = _fresh(Path(arguments["plan"]), make_plan(fleets, definitions, seen, now, LASTS), folder, now)
            run = folder / str(plan["plan_id"])
        else:
            plan = make_plan(fleets, definitions, None, now, LASTS)
            run = _run_without_plan(folder, playbook, plan, str(arguments.get("resume") or ""), now)
        extra_vars = {key: value for key, value in load_extra_vars(self._loader).items() if not _is_ours(key)}
        return {
            "run": str(run),
            "playbook": playbook,
            "plan": plan,
            "windows": _windows(fleets),
            "clusters": {name: {"file": one["file"], "definition": definition_digest(one)} for name, one in definitions.items()},
            "inventory": sources,
            "arguments": list(_arguments()),
            "extra_vars": json.loads(json.dumps(extra_vars, default=str)),
            "environment": _environment(),
            "cwd": str(Path.cwd()),
            "ansible_playbook": _ansible_playbook(),
            "python_path": os.environ.get("PYTHONPATH"),
            "keep": int(arguments.get("keep") or 10),
        }

    def _go(self, order: Mapping[str, Any]) -> dict[str, Any]:
        if importlib.util.find_spec("ansible_runner") is None:
            raise FlotillaError(
                "FLEET_NO_RUNNER", "Runs over a fleet need ansible-runner, which is not installed.", "pip install 'ansible-runner>=2.4'"
            )
        run = Path(order["run"])
        with clear_os_errors(run, "written"):
            run.mkdir(mode=0o700, parents=True, exist_ok=True)
        followed = driver.follow(run)
        try:
            # Where it ends now is what was told by those who followed it before. A driver that has told its end is not one to wait for.
            events, offset = journal.read(run / place.JOURNAL)
            while events and events[-1]["event"] == journal.END and _is_driven(order):
                time.sleep(LOOK)
            if not _is_driven(order):
                _start(order)
            elif offset:
                display.display(f"Run {run.name} is at work; this follows it.")
            end, changed = _follow(order, offset)
        finally:
            os.close(followed)
        return {**_outcome(order, end), "changed": changed}


def _check_command_line() -> None:
    for options, code, why in (
        (_REFUSED, "FLEET_OPTION_REFUSED", "chooses hosts or tasks; which cluster comes when is said by the fleet file"),
        (_ASKS, "FLEET_ASKS", "asks a person, and the clusters' runs have no terminal; give it a file"),
    ):
        for key, option in options.items():
            value = context.CLIARGS.get(key)
            if value and list(value if isinstance(value, (list, tuple)) else [value]) != ["all"]:
                raise FlotillaError(code, f"A run over a fleet does not take {option}: it {why}.")
    if any(str(one).endswith(("@prompt", "@prompt_ask_vault_pass")) for one in context.CLIARGS.get("vault_ids") or ()):
        raise FlotillaError("FLEET_ASKS", "A run over a fleet does not take --vault-id with @prompt: the clusters' runs have no terminal.")


def _playbook(name: str) -> str:
    """Return what ansible-playbook is given for a playbook."""
    if name.removeprefix("flotilla.kubernetes.") in PLAYBOOKS:
        return f"flotilla.kubernetes.{name.removeprefix('flotilla.kubernetes.')}"
    path = Path(name).expanduser()
    if path.suffix in (".yml", ".yaml") and path.is_file():
        return str(path.absolute())
    raise FlotillaError(
        "FLEET_PLAYBOOK_UNKNOWN",
        f"{name} is no playbook that runs over a fleet.",
        f"Give the path of a playbook of your own, or one of {', '.join(PLAYBOOKS)}.",
    )


def _fresh(path: Path, present: Mapping[str, Any], folder: Path, now: dt.datetime) -> dict[str, Any]:
    """Return the plan in a file, if it is one and holds still.

    One that a run has begun with is good beyond its time: what is not begun yet has to be as it was.
    """
    again = "Run fleet_plan, read the plan, and give its file with -e flotilla_plan=<file>."
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        expires, waves = parse(plan["expires"]), waves_of(plan)
    except FileNotFoundError as error:
        raise FlotillaError("FLEET_PLAN_MISSING", f"There is no plan in {path}.", again) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FlotillaError("FLEET_PLAN_INVALID", f"{path} is no plan of a fleet.", again, error) from error
    begun = journal.remember(journal.read(folder / str(plan["plan_id"]) / place.JOURNAL)[0]).attempts
    if now >= expires and not begun:
        raise FlotillaError("FLEET_PLAN_EXPIRED", f"The plan {plan['plan_id']} in {path} was good until {plan['expires']}.", again)
    changes = changes_since(plan, present, begun)
    if not changes and plan["digest"] != present["digest"] and not begun:
        changes = ["something that the plan rests on"]
    if changes or not waves:
        shown = changes[:20] + ([f"and {len(changes) - 20} more"] if len(changes) > 20 else [])
        raise FlotillaError(
            "FLEET_PLAN_STALE",
            f"The plan {plan['plan_id']} in {path} is not good any more. Changed since: {'; '.join(shown)}.",
            again,
            details={"changes": changes},
        )
    return plan


def _run_without_plan(folder: Path, playbook: str, plan: dict[str, Any], resume: str, now: dt.datetime) -> Path:
    """Return the folder of a run: of one to go on with, or of a new one.

    One that is at work, or was stopped or killed within the last day, is gone on with if it is the same playbook in the same clusters.
    """
    for run in place.runs(folder):
        order = json.loads((run / place.ORDER).read_text(encoding="utf-8"))
        same = order["playbook"] == playbook and order["plan"]["digest"] == plan["digest"] and not changes_since(order["plan"], plan)
        memory = journal.remember(journal.read(run / place.JOURNAL)[0])
        open_end = memory.end is None or memory.end["stopped"]
        if resume in (run.name, "") and same and (resume or (open_end and now - parse(order["plan"]["created"]) < LASTS)):
            return run
        if resume == run.name:
            message = f"The run {resume} was another playbook, or definitions have changed since."
            raise FlotillaError("FLEET_RUN_OTHER", message, "Begin a new one: leave it out.")
    if resume:
        raise FlotillaError("FLEET_RUN_UNKNOWN", f"There is no run {resume} in {folder}.")
    name = Path(playbook).stem if "/" in playbook else playbook.rpartition(".")[2]
    return folder / f"{now:%Y%m%dT%H%M%SZ}-{name}"


def _windows(fleets: list[tuple[str, Fleet]]) -> dict[str, Any]:
    return {name: windows.plain() for _file, fleet in fleets for name, windows in fleet.windows.items()}


def _is_ours(variable: str) -> bool:
    """Return whether an extra variable is meant for the run over the fleet, and not for that of each cluster."""
    return variable in ("flotilla_plan", "flotilla_report", "flotilla_cluster_name") or variable.startswith("flotilla_fleet_")


def _arguments() -> Iterator[str]:
    """Yield the options of this command line that go on to the clusters' runs."""
    given = context.CLIARGS
    for key, option in _PASSED.items():
        if given.get(key) and given[key] != getattr(constants, f"DEFAULT_{key.upper()}", None):
            yield f"{option}={given[key]}"
    for source in given.get("vault_password_files") or ():
        yield f"--vault-password-file={source}"
    for source in given.get("vault_ids") or ():
        yield f"--vault-id={source}"
    if given.get("become"):
        yield "--become"
    if given.get("diff"):
        yield "--diff"
    if given.get("verbosity"):
        yield f"-{'v' * int(given['verbosity'])}"


def _environment() -> dict[str, str]:
    """Return what the clusters' runs have in their environment besides ours: they shall be set up as this run is.

    ansible-runner would turn the check of host keys off where nothing says otherwise.
    """
    place_of_collections = next((one.parent for one in Path(__file__).absolute().parents if one.name == "ansible_collections"), None)
    paths = [str(Path(one).absolute()) for one in constants.COLLECTIONS_PATHS]
    here = str(place_of_collections or _checkout())
    made = {
        "ANSIBLE_HOST_KEY_CHECKING": str(boolean(constants.HOST_KEY_CHECKING)),
        "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(dict.fromkeys([here, *paths])),
    }
    return {**made, **({"ANSIBLE_CONFIG": str(constants.CONFIG_FILE)} if constants.CONFIG_FILE else {})}


def _checkout() -> Path:
    """Return the collections path of a checkout: the real path of this file has no ansible_collections, the link to it has."""
    return Path(__file__).absolute().parents[2] / "collection"


def _ansible_playbook() -> str:
    beside = Path(sys.executable).with_name("ansible-playbook")
    found = str(beside) if beside.exists() else shutil.which("ansible-playbook")
    if not found:
        raise FlotillaError("FLEET_NO_ANSIBLE", "There is no command ansible-playbook.", "Put the folder that holds it into PATH.")
    return found


def _locks(order: Mapping[str, Any]) -> list[Path]:
    return place.fleet_locks(one["file"] for one in order["clusters"].values())


def _is_driven(order: Mapping[str, Any]) -> bool:
    """Return whether the driver of this very run is at work."""
    return any((place.holder(lock) or {}).get("run") == order["run"] for lock in _locks(order))


def _start(order: Mapping[str, Any]) -> None:
    """Start the driver of a run.

    :raises FlotillaError: ``FLEET_BUSY``, or ``FLEET_DRIVER_GONE`` if it does not come up.
    """
    run = Path(order["run"])
    log = os.open(run / place.DRIVER_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    collections = order["environment"]["ANSIBLE_COLLECTIONS_PATH"].split(os.pathsep)[0]
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "ansible_collections.flotilla.kubernetes.plugins.plugin_utils._fleet_run.driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": collections},
            start_new_session=True,
            text=True,
        )
    finally:
        os.close(log)
    with contextlib.suppress(BrokenPipeError), process.stdin:
        json.dump(order, process.stdin)
    with process.stdout:
        answer = json.loads(process.stdout.readline() or "{}")
    if "busy" in answer:
        other = answer["busy"].get("run", "")
        raise FlotillaError(
            "FLEET_BUSY",
            f"Another run is at work in this fleet: {other or 'it does not say which'} (process {answer['busy'].get('pid', 'unknown')}).",
            "Wait for its end, or follow it with the call that began it.",
        )
    if "started" not in answer:
        raise _gone(run)


def _gone(run: Path) -> FlotillaError:
    path = run / place.DRIVER_LOG
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return FlotillaError(
        "FLEET_DRIVER_GONE",
        f"The process that drove the run {run.name} is gone before its end; runs of clusters that it had begun go on.",
        f"Run it again: it goes on where it was. What it said last is in {path}.",
        "\n".join(lines[-20:]),
    )


def _follow(order: Mapping[str, Any], offset: int) -> tuple[dict[str, Any], bool]:
    """Show what happens, until the run is over, and return the event of its end, and whether a cluster was begun or ended meanwhile."""
    run, parent, changed = Path(order["run"]), os.getppid(), False
    while True:
        driven = _is_driven(order)
        events, offset = journal.read(run / place.JOURNAL, offset)
        for event in events:
            changed |= event["event"] == journal.BEGUN or bool(event.get("ended"))
        for line in journal.lines(events):
            display.display(line)
        if events and events[-1]["event"] == journal.END:
            return events[-1], changed
        if not driven:
            raise _gone(run)
        if os.getppid() != parent:
            # Nobody sees this any more, and the driver has to know.
            raise FlotillaError("FLEET_NOT_FOLLOWED", "The playbook is gone.")
        time.sleep(LOOK)


def _outcome(order: Mapping[str, Any], end: Mapping[str, Any]) -> dict[str, Any]:
    run = Path(order["run"])
    memory = journal.remember(journal.read(run / place.JOURNAL)[0])
    clusters = []
    for wave in waves_of(order["plan"]):
        for name in wave.clusters:
            state = memory.states[name]
            log = str(place.log_file(run, name, memory.attempts[name])) if name in memory.attempts else ""
            clusters.append({"name": name, "wave": wave.name, "result": state.phase, "why": state.why, "log": log})
    _show(clusters, "RESULT")
    result = {"run_id": run.name, "folder": str(run), "clusters": clusters}
    bad = [one for one in clusters if one["result"] != DONE]
    if not bad:
        return result
    named = ", ".join(f"{one['name']} ({one['result'].replace('_', ' ')})" for one in bad[:10]) + (" ..." if len(bad) > 10 else "")
    # With a plan the run has its id; the others are found by their name.
    again = "again" if run.name == order["plan"]["plan_id"] else f"again with -e flotilla_fleet_resume={run.name}"
    error = FlotillaError(
        "FLEET_STOPPED" if end["stopped"] else "FLEET_INCOMPLETE",
        f"{len(clusters) - len(bad)} of {len(clusters)} clusters are done; not done: {named}.",
        f"The logs are in {run}. Mend what they say and run it {again}: what is done stays done.",
    )
    return {**result, **error.as_result(), "failed": True}


def _show(clusters: list[dict[str, str]], title: str) -> None:
    rows = [(one["name"], one["wave"], one["result"].replace("_", " "), one["why"]) for one in clusters]
    for line in ("", *table(("CLUSTER", "WAVE", title, "WHY"), rows), ""):
        display.display(line)


def _predict(order: Mapping[str, Any]) -> dict[str, Any]:
    """Show what would be begun now, and what later."""
    memory = journal.remember(journal.read(Path(order["run"]) / place.JOURNAL)[0])
    memory.again()
    known = {name: state for name, state in memory.states.items() if state.phase != journal.RUNNING}
    states: dict[str, State] = states_of(order["plan"], known)
    windows = {name: Windows.of(one) for name, one in order["windows"].items()}
    waves = waves_of(order["plan"])
    rollout = Rollout(waves, windows, states)
    decision = rollout.next(dt.datetime.now(dt.timezone.utc))
    planned = {one["name"]: one for stage in order["plan"]["waves"] for one in stage["clusters"]}
    clusters = []
    for wave in waves:
        for name in wave.clusters:
            state = rollout.states.get(name)
            if name in decision.start:
                result, why = "start", " -> ".join(planned[name]["hops"])
            elif state is None:
                result, why = "wait", ""
            else:
                result, why = state.phase, state.why
            clusters.append({"name": name, "wave": wave.name, "result": result, "why": why, "log": ""})
    _show(clusters, "WOULD")
    begun = len(decision.start)
    later = sum(one["result"] == "wait" for one in clusters)
    held = sum(one["result"] == LEFT_OUT for one in clusters)
    display.display(f"{begun} would be begun now, {later} later, {held} not at all. Nothing was begun.")
    if decision.until:
        display.display(f"It would wait until {decision.until:%Y-%m-%dT%H:%M:%SZ}: {decision.waits_for}.")
    changed = any(one["action"] != NOTHING for one in planned.values()) and bool(begun or later)
    return {"run_id": Path(order["run"]).name, "clusters": clusters, "changed": changed}
