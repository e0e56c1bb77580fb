# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a run over a fleet keeps its things, and who has the fleet (private to flotilla.kubernetes).

``build/fleet/<run>/``: ``order.json`` is what was asked for, ``events.jsonl`` the journal, ``driver.log`` what the driver says besides, and
a folder for each cluster that was begun: ansible-runner's private data folder, the log of attempt n in ``artifacts/<n>/stdout``. Locks lie
in the cache of the controller, so that runs from different folders know of each other.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...module_utils._definition.load import foundation_folder
from ...module_utils._locks import try_lock
from ...module_utils._paths import cache_dir

ORDER, JOURNAL, DRIVER_LOG, FOLLOWED = "order.json", "events.jsonl", "driver.log", ".followed"
RESULT = "result.json"


def result_file(run: Path, cluster: str, attempt: int) -> Path:
    """Return the file in which a cluster's run says how it ended; it is there only then."""
    return run / cluster / "artifacts" / str(attempt) / RESULT


def log_file(run: Path, cluster: str, attempt: int) -> Path:
    """Return the log of a cluster's run."""
    return run / cluster / "artifacts" / str(attempt) / "stdout"


def extra_vars_file(run: Path, cluster: str) -> Path:
    """Return the file with the extra variables of a cluster's run. They may be secrets: it is there only while the run is."""
    return run / cluster / "env" / "extravars"


def fleet_locks(files: Iterable[str]) -> list[Path]:
    """Return the locks that a driver holds: one for each foundation of the definitions, in an order that is always the same."""
    return sorted({_lock(foundation_folder(Path(file)).resolve(), "fleet") for file in files})


def cluster_lock(file: str) -> Path:
    """Return the lock that the process of a cluster's run holds from before it starts to its end."""
    return _lock(Path(file).resolve(), "cluster")


def playbook_lock(file: str) -> Path:
    """Return the lock that the ansible-playbook of a cluster's run holds, all of its workers with it."""
    return _lock(Path(file).resolve(), "playbook")


def _lock(path: Path, kind: str) -> Path:
    return cache_dir() / "fleet" / f"{kind}-{path.stem}-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.lock"


def take(path: Path, content: dict[str, Any]) -> int | None:
    """Return a descriptor that holds a lock, with who has it in its file; None if another process has it."""
    descriptor = try_lock(path)
    if descriptor is not None:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(content).encode(), 0)
    return descriptor


def take_cluster(file: str, content: dict[str, Any]) -> int | None:
    """Return a descriptor that holds a cluster's lock; None while a run is at work in it, be it only what a killed one left."""
    descriptor = take(cluster_lock(file), content)
    if descriptor is not None and holder(playbook_lock(file)) is not None:
        os.close(descriptor)
        return None
    return descriptor


def holder(path: Path) -> dict[str, Any] | None:
    """Return what the holder of a lock wrote into it; None if nobody has it."""
    descriptor = try_lock(path)
    if descriptor is not None:
        os.close(descriptor)
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def runs(folder: Path) -> Iterator[Path]:
    """Yield the runs in a folder, the newest first."""
    with suppress(FileNotFoundError):
        yield from sorted((path.parent for path in folder.glob(f"*/{ORDER}")), key=lambda run: (run / ORDER).stat().st_mtime, reverse=True)


def rotate(folder: Path, keep: int, but: Path) -> None:
    """Remove the oldest runs of a folder.

    :param keep: how many remain, together with ``but``, which always does.
    """
    for run in [one for one in runs(folder) if one != but][max(0, keep - 1) :]:
        order = json.loads((run / ORDER).read_text(encoding="utf-8"))
        if not any((holder(lock) or {}).get("run") == str(run) for lock in fleet_locks(one["file"] for one in order["clusters"].values())):
            shutil.rmtree(run, ignore_errors=True)
