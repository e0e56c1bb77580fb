# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time changes a cluster of the local cloud (private to flotilla.kubernetes)."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..._errors import FlotillaError
from ..._locks import try_lock
from ..._paths import cache_dir

LOCK_TIMEOUT = 600
POLL = 0.5  # seconds between looks at the lock


@contextlib.contextmanager
def hold(definition: dict[str, Any], check_mode: bool) -> Iterator[None]:
    """Hold the cluster's lock on this host, so that two runs do not make the same thing at once; check mode only reads and takes none."""
    if check_mode:
        yield
        return
    folder = work_folder(definition["name"])
    lock = folder.with_suffix(".lock")
    deadline = time.monotonic() + LOCK_TIMEOUT
    while (descriptor := try_lock(lock)) is None:
        if time.monotonic() >= deadline:
            raise FlotillaError(
                "LOCAL_BUSY",
                f"Another run has been changing cluster '{definition['name']}' on this host for {LOCK_TIMEOUT} s.",
                f"Wait until it ends; the lock is {lock}.",
            )
        time.sleep(POLL)
    try:
        # Of a run that was killed.
        shutil.rmtree(folder, ignore_errors=True)
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def work_folder(cluster: str) -> Path:
    """Return the folder for what must not outlive the lock, secrets among it; whoever holds the lock makes it."""
    return cache_dir() / "local" / f"{cluster}.work"
