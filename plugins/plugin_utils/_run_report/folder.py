# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of reports: a folder for each run, below that of its cluster.

``journal.jsonl`` grows while the run goes on, and is all that is left of one that was killed. Whoever writes to it holds its lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import clear_os_errors
from ansible_collections.flotilla.kubernetes.plugins.module_utils._files import write_atomically
from ansible_collections.flotilla.kubernetes.plugins.module_utils._paths import cache_dir

from .junit import junit
from .page import page
from .summary import SCHEMA, build, head_of, pick_earlier

JOURNAL, JSON, JUNIT, PAGE = "journal.jsonl", "report.json", "report.xml", "report.html"

# Runs that change which version a cluster runs.
UPGRADES = ("cluster_upgrade", "cluster_rollback", "cluster_restore")
_NOBODY = ("", "none", "false")


def directory_of(given: Any) -> Path | None:
    """Return the folder of all reports, or None where there are to be none.

    :param given: the variable ``flotilla_report_dir``, or None without one.
    """
    named = str(given if given is not None else os.environ.get("FLOTILLA_REPORT_DIR") or cache_dir() / "reports")
    return None if named.lower() in _NOBODY else Path(named).expanduser()


def events_file_of(given: Any) -> Path | None:
    """Return the file that gets the events of all runs, or None where there is to be none.

    :param given: the variable ``flotilla_events_file``, or None without one.
    """
    named = str(given if given is not None else os.environ.get("FLOTILLA_EVENTS_FILE") or "")
    return None if named.lower() in _NOBODY else Path(named).expanduser()


class Journal:
    """What a run writes down as it goes on."""

    def __init__(self, directory: Path, cluster: str, playbook: str, events: Path | None = None) -> None:
        """:param events: a file that gets a line of JSON of each record, too, those of all runs.
        :raises FlotillaError: ``FILE_NOT_WRITTEN``.
        """
        self.records: list[dict[str, Any]] = []
        self._events, self._about = events, {"cluster": cluster, "playbook": playbook}
        # Why the file of events lacks the rest of this run; empty if it does not.
        self.events_problem = ""
        with clear_os_errors(directory / cluster, "written"):
            self.folder = _new_folder(directory / cluster, playbook)
            descriptor = os.open(self.folder / JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            # Not inherited by the processes of Ansible that go on with a task when this one was killed.
            fcntl.lockf(descriptor, fcntl.LOCK_EX)
            self._file: TextIO = os.fdopen(descriptor, "w", encoding="utf-8", buffering=1)

    def write(self, kind: str, **fields: Any) -> None:
        """Write a record of this moment down."""
        one = {"kind": kind, "at": time.time(), **({"schema": SCHEMA} if kind == "run" else {}), **fields}
        self.records.append(one)
        self._file.write(json.dumps(one) + "\n")
        if self._events:
            try:
                _append_line(self._events, json.dumps({**self._about, "report": self.folder.name, **one}))
            except OSError as error:
                self._events, self.events_problem = None, str(error)

    def finish(self, keep: int) -> dict[str, Any]:
        """Write the reports of this run and of those that were killed before it, and remove the oldest folders beyond ``keep``.

        :return: the report of this run.
        """
        for folder in _older(self.folder):
            records = [] if (folder / JSON).exists() else _read(folder / JOURNAL)
            if records and _is_left(folder):
                _write(folder, records)
        report = _write(self.folder, self.records)
        self._file.close()
        for folder in sorted(self.folder.parent.iterdir())[: -max(keep, 1)]:
            if folder.is_dir() and _is_left(folder):
                shutil.rmtree(folder, ignore_errors=True)
        return report


def recent(directory: Path, cluster: str, most: int) -> list[dict[str, Any]]:
    """Return the last run that changed a cluster, and those before it that changed its version, the newest first (`head_of`).

    Runs that are at work are left out, and so is what is no report of this release.

    :param most: how many at most; each report is read as a whole.
    """
    heads: list[dict[str, Any]] = []
    try:
        names = sorted((one.name for one in (directory / cluster).iterdir()), reverse=True)
    except OSError:
        return []
    for name in names:
        if heads and name.partition("-")[2] not in UPGRADES:
            continue
        report = _report(directory / cluster / name)
        if report and not report["check_mode"]:
            heads.append(head_of(report))
        if len(heads) == most:
            break
    return heads


def _report(folder: Path) -> dict[str, Any] | None:
    try:
        report = json.loads((folder / JSON).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Killed: its report is written by the next run.
        records = _read(folder / JOURNAL) if _is_left(folder) else []
        return build(records) if records else None
    return report if isinstance(report, dict) and report.get("schema") == SCHEMA else None


def _append_line(path: Path, line: str) -> None:
    """Add a line to a file that several processes write to, whole or not at all."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def _new_folder(cluster: Path, playbook: str) -> Path:
    cluster.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        folder = cluster / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{playbook}"
        try:
            folder.mkdir(mode=0o700)
            return folder
        except FileExistsError:
            time.sleep(0.2)


def _write(folder: Path, records: list[dict[str, Any]]) -> dict[str, Any]:
    report = build(records, pick_earlier(records[0], _before(folder)))
    write_atomically(folder / JUNIT, junit(report), 0o600)
    write_atomically(folder / PAGE, page(report).encode(), 0o600)
    # The last one: whoever finds it finds the others, too.
    write_atomically(folder / JSON, (json.dumps(report, indent=2) + "\n").encode(), 0o600)
    return report


def _before(folder: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Return name and records of the runs before the one of ``folder`` that ended, the newest first; each is read when it is asked for."""
    for other in _older(folder):
        records = _read(other / JOURNAL) if _is_left(other) else []
        if records:
            yield other.name, records


def _older(folder: Path) -> list[Path]:
    return sorted((one for one in folder.parent.iterdir() if one.name < folder.name), reverse=True)


def _is_left(folder: Path) -> bool:
    """Return whether nobody writes there any more."""
    try:
        descriptor = os.open(folder / JOURNAL, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _read(path: Path) -> list[dict[str, Any]]:
    """Return what a run wrote down; its last line may be half. What another release wrote in its own way is left alone."""
    records: list[dict[str, Any]] = []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            one = json.loads(line)
        except ValueError:
            break
        if not isinstance(one, Mapping) or "kind" not in one:
            break
        records.append(dict(one))
    return records if records and records[0]["kind"] == "run" and records[0].get("schema") == SCHEMA else []
