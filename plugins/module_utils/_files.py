# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are whole or not there, and their SHA-256 (private to flotilla.kubernetes).

Runs on nodes too: Python 3.9 and the standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def write_atomically(path: Path, content: bytes, mode: int) -> None:
    """Replace ``path`` at once by a file with ``content``; a reader sees the old or the new one, never half.

    The file that takes the place has always the same name, so what a killed process left of it is used up by the next write. Two
    writers, as when a killed run's task is still at work, come one after the other: each locks the file until it is in its place.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.flotilla")
    with _locked(temporary) as file:
        file.truncate()
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
        temporary.replace(path)


def _locked(path: Path) -> BinaryIO:
    """Open ``path``, private when it is new, and lock it until it is closed."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "wb")
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            # Whoever had the lock may have put the file elsewhere.
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        file.close()


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


@contextlib.contextmanager
def scratch(parent: Path, name: str) -> Iterator[Path]:
    """Give a private folder of this process alone until the block ends; what killed processes left of theirs is removed.

    Each is locked by the process that has it, so those without a lock are nobody's.
    """
    for left in parent.glob(f"{name}-*"):
        descriptor = _lock_folder(left)
        if descriptor is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(descriptor)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
        held = _lock_folder(folder)
        # Another process may take it for a leftover before it is locked.
        if held is not None and folder.exists():
            break
        if held is not None:
            os.close(held)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _lock_folder(folder: Path) -> int | None:
    """Return a descriptor that holds the lock of ``folder``, or None if it is gone or another process has it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
