# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File locks and directories that appear whole (private to flotilla.kubernetes)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


def try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock `path`, or None if another process has it.

    The lock ends with the process, even with a killed one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextlib.contextmanager
def lock(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock `path`; call `waiting` once if another process has it."""
    descriptor = try_lock(path)
    if descriptor is None:
        waiting()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def appearing(directory: Path) -> Iterator[Path]:
    """Give a temporary sibling that becomes `directory` at the end, or nothing if the block fails.

    The caller holds a lock for `directory`: whatever an earlier, killed run left beside it is removed.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    reap(directory)
    staging = Path(tempfile.mkdtemp(prefix=f"{directory.name}.tmp-", dir=directory.parent))
    try:
        staging.chmod(0o755)
        yield staging
        if directory.exists():
            # Two renames: a reader finds the old one or the new one, and for a moment neither, never a mixture.
            directory.rename(directory.with_name(f"{directory.name}.tmp-old-{os.getpid()}"))
        staging.rename(directory)
    finally:
        reap(directory)


def reap(directory: Path) -> None:
    """Remove the temporary siblings of `directory`."""
    for leftover in directory.parent.glob(f"{directory.name}.tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)
