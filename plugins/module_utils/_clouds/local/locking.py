# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time changes a cluster of the local cloud (private to flotilla.kubernetes)."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..._errors import FlotillaError
from ..._paths import cache_dir
from . import probes

LOCK_TIMEOUT = 600


@contextlib.contextmanager
def hold(definition: dict[str, Any], check_mode: bool) -> Iterator[None]:
    """Hold the cluster's lock on this host, so that two runs do not make the same thing at once; check mode only reads and takes none."""
    if check_mode:
        yield
        return
    folder = work_folder(definition["name"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        if not probes.wait(lambda: _try(lock), LOCK_TIMEOUT, 0.5):
            raise FlotillaError(
                "LOCAL_BUSY",
                f"Another run has been changing cluster '{definition['name']}' on this host for {LOCK_TIMEOUT} s.",
                f"Wait until it ends; the lock is {lock.name}.",
            )
        # Of a run that was killed.
        shutil.rmtree(folder, ignore_errors=True)
        try:
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def work_folder(cluster: str) -> Path:
    """Return the folder for what must not outlive the lock, secrets among it; whoever holds the lock makes it."""
    return cache_dir() / "local" / f"{cluster}.work"


def _try(lock: Any) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
