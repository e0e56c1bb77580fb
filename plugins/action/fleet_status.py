# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of `fleet_status`: makes one status of what a play has seen of all clusters, without a connection."""

from __future__ import annotations

import datetime as dt
import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._backup.catalogue import Backups, open_store
from ..module_utils._definition import hosts
from ..module_utils._errors import FlotillaError, clear_os_errors
from ..module_utils._files import write_atomically
from ..module_utils._fleet.status import CRITICAL, UNKNOWN, WARNING, Seen, fleet_status
from ..plugin_utils import _fleet
from ..plugin_utils._backups import backup_findings, in_words, listed
from ..plugin_utils._fleet_status.junit import junit
from ..plugin_utils._fleet_status.page import page
from ..plugin_utils._run_report import folder, record
from ..plugin_utils._table import table
from ..plugin_utils._telemetry import endpoint_of, send_fleet

display = Display()

DEFAULT_REPORT = "build/fleet-status.json"
BAD = {"critical": (CRITICAL, UNKNOWN), "warning": (CRITICAL, UNKNOWN, WARNING), "never": ()}
RUNS = 6
"""Runs of a cluster that the timeline has at most."""
STORES_AT_ONCE = 8
STORE_PATIENCE = 120.0  # seconds for all stores of backups together


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("report", "fail_on"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        task_vars, fail_on = task_vars or {}, str(self._task.args.get("fail_on") or "critical")
        if fail_on not in BAD:
            raise AnsibleActionFail(f"fail_on is {fail_on!r}, and it is one of {', '.join(BAD)}.")
        report = Path(str(self._task.args.get("report") or DEFAULT_REPORT))
        try:
            definitions = self._definitions(task_vars)
            given = task_vars.get("flotilla_report_dir")
            directory = folder.directory_of(None if given is None else self._templar.template(given))
            status = fleet_status(definitions, seen_of(definitions, task_vars, directory), dt.datetime.now(dt.timezone.utc))
            written = write(status, report)
            self._send(status, task_vars.get("flotilla_telemetry_endpoint"))
        except FlotillaError as error:
            raise AnsibleActionFail(str(error)) from error
        lines = [*shown(status), f"Page: {written[-1]}", ""]
        for line in lines:
            display.display(line)
        bad = [one["name"] for one in status["clusters"] if one["state"] in BAD[fail_on]]
        result.update(changed=False, files=[str(path) for path in written])
        if bad:
            more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
            message = (
                f"{len(bad)} of {len(status['clusters'])} clusters need a hand: {', '.join(bad[:10])}{more}. {written[-1]} says what to do."
            )
            return {**result, "failed": True, "code": "FLEET_NOT_HEALTHY", "msg": message}
        return {**result, "lines": lines, "status": status}

    def _send(self, status: Mapping[str, Any], given: Any) -> None:
        """Send the numbers to the collector that somebody named; that it does not get them is nothing that a fleet suffers from."""
        try:
            endpoint = endpoint_of(None if given is None else self._templar.template(given))
            if endpoint:
                send_fleet(status, endpoint)
        except FlotillaError as error:
            display.warning(str(error))

    @staticmethod
    def _definitions(task_vars: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the definitions of the play's clusters, and of those whose cloud did not answer."""
        there = set(task_vars["groups"].get(hosts.CLUSTERS_GROUP, ()))
        looked = set(task_vars["ansible_play_hosts_all"])
        chosen = task_vars.get("flotilla_cluster_name")
        names = {
            hosts.cluster_host_name(one["name"]): one
            for one in _fleet.load_fleet(task_vars.get("ansible_inventory_sources") or ()).definitions
        }
        return [one for name, one in names.items() if name in looked or (name not in there and chosen is None)]


def seen_of(definitions: Sequence[Mapping[str, Any]], task_vars: Mapping[str, Any], reports: Path | None) -> dict[str, Seen]:
    """Return what the play has seen of each cluster, and what the controller knows besides.

    :param reports: folder of the reports of runs; None where there are none.
    """
    hostvars, groups = task_vars["hostvars"], task_vars["groups"]
    backups = backups_of(definitions)
    found = {}
    for one in definitions:
        name = one["name"]
        host = hosts.cluster_host_name(name)
        variables = hostvars.get(host, {})
        leaving = groups.get(hosts.cluster_group(name, part=hosts.LEAVING), ())
        live = sorted(set(groups.get(hosts.cluster_group(name, part=hosts.CONTROL_PLANE), ())).difference(leaving))
        look, asked, problem = answer(variables, live)
        if not variables:
            problem = _fleet.FAILURES.get(one["file"]) or "the inventory has no host for it, and no reason is known"
        machines = [hostvars[member]["flotilla_machine"] for member in groups.get(hosts.cluster_group(name), ())]
        listing = backups.get(name)
        found[name] = Seen(
            look=look,
            asked=asked,
            problem=str(record.clean(problem)),
            machines=machines,
            stale=str(record.clean(_fleet.STALE.get(name, ""))),
            backup=_newest(listing) if listing is not None else None,
            backup_findings=record.clean(backup_findings(one, listing)),
            runs=folder.recent(reports, name, RUNS) if reports else (),
        )
    return found


def answer(variables: Mapping[str, Any], control_planes: Sequence[str]) -> tuple[dict[str, Any] | None, str, str]:
    """Return what a control plane of a cluster answered, which one it was, and if none did, why.

    :param variables: of the cluster's own host.
    :param control_planes: in the order in which the play asked them.
    """
    if not control_planes:
        return None, "", "the inventory has no control plane of it that runs"
    tried = [variables.get("flotilla_seen") or {}, *((variables.get("flotilla_seen_others") or {}).get("results") or ())]
    reasons = []
    for name, one in zip(control_planes, tried):
        if "versions" in one:
            look = {key: one[key] for key in ("versions", "nodes", "certificates", "sign")}
            return {**look, "findings": record.clean(one["findings"])}, name, ""
        reasons.append(f"{name}: {' '.join(str(one.get('msg', 'no answer')).split())}")
    return None, "", "; ".join(reasons)


def _newest(listing: Mapping[str, Any]) -> dict[str, Any]:
    good = [one for one in listing.get("backups", ()) if one.get("whole") and one.get("verified")]
    return {"place": listing.get("place", ""), "age": listing.get("age"), "id": good[0]["id"] if good else ""}


def backups_of(definitions: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return for each cluster that has a store of backups what `backup_info` would return of it, be it an error.

    Stores are asked side by side. One that hangs, as a dead network share does, is given up.
    """
    stores: dict[str, Any] = {}
    lock = threading.Lock()

    def ask(definition: Mapping[str, Any]) -> dict[str, Any]:
        section = definition["backup_store"]
        key = json.dumps(section, sort_keys=True)
        try:
            with lock:  # to make the client of a store takes longer than to ask it
                store = stores[key] = stores.get(key) or open_store(section)
            return listed(Backups(store, definition["name"]))
        except FlotillaError as error:
            return error.as_result()

    wanted = [one for one in definitions if one.get("backup_store")]
    late = {"code": "BACKUP_STORE_UNREACHABLE", "msg": f"The store of backups did not answer within {STORE_PATIENCE:g} s."}
    answers = side_by_side(ask, wanted, STORES_AT_ONCE, STORE_PATIENCE)
    return {one["name"]: answers.get(index, late) for index, one in enumerate(wanted)}


def side_by_side(work: Callable[[Any], Any], things: Sequence[Any], at_once: int, patience: float) -> dict[int, Any]:
    """Return the results of ``work`` by the number of the thing, without those that are not there after ``patience`` seconds.

    What hangs is left in a thread that ends with this process, which an executor would wait for.
    """
    results: dict[int, Any] = {}
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(things)):
        todo.put(index)

    def go() -> None:
        while True:
            try:
                index = todo.get_nowait()
            except queue.Empty:
                return
            results[index] = work(things[index])

    threads = [threading.Thread(target=go, daemon=True) for _number in range(min(at_once, len(things)))]
    for thread in threads:
        thread.start()
    until = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return dict(results)


def write(status: Mapping[str, Any], report: Path) -> list[Path]:
    """Write the status as JSON, and beside it as JUnit and as a page; return the files.

    :raises FlotillaError: ``FILE_NOT_WRITTEN``.
    """
    written = []
    contents = {".json": f"{json.dumps(status, indent=2)}\n".encode(), ".xml": junit(status), ".html": page(status).encode()}
    with clear_os_errors(report, "written"):
        report.parent.mkdir(parents=True, exist_ok=True)
        for suffix, content in contents.items():
            path = report if suffix == ".json" else report.with_suffix(suffix)
            write_atomically(path, content, 0o600)
            written.append(path)
    return written


def shown(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that people see."""
    clusters = status["clusters"]
    rows = [
        (
            one["name"],
            one["foundation"],
            one["state"],
            one["version"] or "?",
            "" if one["version"] == one["wanted"] else f"-> {one['wanted']}",
            one["supported_until"] or "",
            f"{one['certificate']['days_left']} d" if one["certificate"] else "",
            _backup(one["backup"]),
            f"{sum(bool(node['ready']) for node in one['nodes'])}/{len(one['nodes'])}" if one["nodes"] else "",
        )
        for one in clusters
    ]
    yield ""
    yield from table(("CLUSTER", "FOUNDATION", "STATE", "VERSION", "WANTED", "PATCHED UNTIL", "CERTIFICATES", "BACKUP", "READY"), rows)
    urgent = [(one, item) for one in clusters for item in one["items"] if item["severity"] != "note"]
    if urgent:
        yield from ("", "Needs a hand", "")
        for one, item in sorted(urgent, key=lambda pair: pair[1]["severity"] != CRITICAL):
            yield f"  {one['name']}  {item['severity']} {item['code']}: {item['message']}"
            if item["remedy"]:
                yield f"      {item['remedy']}"
    counts = ", ".join(f"{number} {state}" for state, number in status["counts"].items() if number)
    yield from ("", f"{len(clusters)} clusters: {counts}.", "")


def _backup(backup: Mapping[str, Any] | None) -> str:
    if backup is None:
        return ""
    return in_words(int(backup["age"])) if backup["age"] is not None else "none"
