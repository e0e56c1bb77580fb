# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came from a bundle to a node: files in their places, images in containerd (private to flotilla.kubernetes).

Python 3.9, standard library only.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ._command import SEARCH_PATH, run
from ._errors import FlotillaError
from ._files import sha256_of, write_atomically
from ._locks import lock
from ._state import STATE_DIR, read_json

# Begins the name of every file that the controller copied to this machine for one of these to put in its place.
STAGED_PREFIX = "flotilla-"
_CONTAINERD_STARTS = 30.0  # seconds; systemd starts a crashed one after five


class InstalledFiles:
    """Files whose SHA-256 is known; a file is hashed again only when its inode, size or time changed."""

    def __init__(self, memory: Path = STATE_DIR / "files.json") -> None:
        self._memory = memory
        self._known: dict[str, dict[str, Any]] = read_json(memory)

    def missing(self, files: Sequence[dict[str, str]]) -> list[str]:
        """Return the destinations that are absent or differ in content or mode."""
        return [entry["dest"] for entry in files if not self._same(entry) or not _has_mode(entry)]

    def to_bring(self, files: Sequence[dict[str, str]]) -> list[str]:
        """Return the destinations whose content has to be brought; a wrong mode is mended where the file lies."""
        return [entry["dest"] for entry in files if not self._same(entry)]

    def install(self, files: Sequence[dict[str, str]], staged: dict[str, str]) -> None:
        """Put each file in place from ``staged`` (destination -> path of what was copied here).

        :raises FlotillaError: what arrived has another SHA-256; nothing of it is put in place.
        """
        with _remembering(self._memory) as known:
            self._known = known
            for entry in files:
                target = Path(entry["dest"])
                # A killed run's task that was still at work may have put it there in the meantime.
                if entry["dest"] in staged and not self._same(entry):
                    source = Path(staged[entry["dest"]])
                    check_arrival(source, entry["sha256"], entry["dest"])
                    target.parent.mkdir(parents=True, exist_ok=True)
                    temporary = target.with_name(f".{target.name}.flotilla")
                    shutil.move(source, temporary)
                    os.chown(temporary, 0, 0)
                    temporary.chmod(int(entry["mode"], 8))
                    _sync(temporary)
                    temporary.replace(target)
                target.chmod(int(entry["mode"], 8))
                known[entry["dest"]] = {"sha256": entry["sha256"], "print": _print(target.stat())}

    def _same(self, entry: dict[str, str]) -> bool:
        try:
            found = Path(entry["dest"]).stat()
        except OSError:
            return False
        known = self._known.get(entry["dest"], {})
        if known.get("print") == _print(found):
            return bool(known["sha256"] == entry["sha256"])
        return sha256_of(Path(entry["dest"])) == entry["sha256"]


class BroughtFiles:
    """Files that came before they are needed, by SHA-256: an upgrade takes them from here while the node serves nothing."""

    def __init__(self, folder: Path = STATE_DIR / "brought") -> None:
        self._folder = folder

    def path(self, sha256: str) -> Path:
        return self._folder / sha256

    def has(self, sha256: str) -> bool:
        return self.path(sha256).exists()

    def add(self, source: Path, sha256: str, what: str) -> None:
        """Keep the file at ``source`` until it is put in its place.

        :raises FlotillaError: it has another SHA-256.
        """
        check_arrival(source, sha256, what)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._folder / f".{sha256}"
        shutil.move(source, temporary)
        _sync(temporary)
        temporary.replace(self.path(sha256))


class ImportedImages:
    """Images of containerd's Kubernetes namespace and the archives that they came from."""

    def __init__(self, memory: Path = STATE_DIR / "images.json") -> None:
        self._memory = memory
        self._known: dict[str, str] = read_json(memory)

    def missing(self, images: Sequence[dict[str, str]]) -> list[str]:
        """Return the names that containerd does not have, or has from another archive."""
        # On a machine that check mode has not changed there is no containerd yet.
        present = set(_ctr("images", "list", "--quiet").split()) if shutil.which("ctr", path=SEARCH_PATH) else set()
        return [image["name"] for image in images if image["name"] not in present or self._known.get(image["name"]) != image["sha256"]]

    def add(self, images: Sequence[dict[str, str]], staged: dict[str, str]) -> None:
        """Import each archive from ``staged`` (image name -> path of what was copied here) and remove the archive.

        :raises FlotillaError: what arrived has another SHA-256, or containerd refuses it.
        """
        with _remembering(self._memory) as known:
            for image in images:
                archive = Path(staged[image["name"]])
                check_arrival(archive, image["sha256"], image["name"])
                _ctr("images", "import", "--local", str(archive))
                archive.unlink()
                if image["name"] not in _ctr("images", "list", "--quiet", f"name=={image['name']}").split():
                    raise FlotillaError(
                        "IMAGE_NOT_IN_ARCHIVE",
                        f"The archive {image['path']} holds no image {image['name']}.",
                        "Build the bundle again with the playbook bundle_build.",
                    )
                known[image["name"]] = image["sha256"]


@contextmanager
def _remembering(memory: Path) -> Iterator[dict[str, Any]]:
    """Give what ``memory`` holds now, and write it back; one process at a time, because a killed run's task may still be at work."""
    memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock(memory.with_suffix(".lock")):
        known = read_json(memory)
        try:
            yield known
        finally:
            write_atomically(memory, json.dumps(known, indent=1, sort_keys=True).encode(), 0o600)


def forget_staged(remote_tmp: str) -> None:
    """Remove what killed runs copied to this machine and did not put in its place: it may be large.

    Only one run at a time works on a machine, so whatever lies there before this one has copied anything belongs to nobody.

    :param remote_tmp: Ansible's folder for temporary files; a leading ``~`` is the home of whoever logged in.
    """
    login = os.environ.get("SUDO_USER", "")
    folder = Path(f"~{login}{remote_tmp[1:]}" if remote_tmp.startswith("~/") else remote_tmp)
    try:
        found = list(folder.expanduser().glob(f"ansible-tmp-*/{STAGED_PREFIX}*"))
    except RuntimeError:
        return  # A login without a home has nothing there.
    for left in found:
        left.unlink(missing_ok=True)
        with suppress(OSError):
            left.parent.rmdir()


def _ctr(*arguments: str) -> str:
    """Return what ctr prints. A containerd that is just starting, after a crash too, is waited for."""
    deadline = time.monotonic() + _CONTAINERD_STARTS
    while True:
        try:
            return run(
                ["ctr", "--namespace=k8s.io", *arguments],
                timeout=300,
                code="CONTAINERD_FAILED",
                remedy="Read 'journalctl -u containerd' on the machine.",
            )
        except FlotillaError as error:
            if "connect: " not in str(error) or time.monotonic() >= deadline:
                raise
        time.sleep(0.5)


def check_arrival(path: Path, sha256: str, what: str) -> None:
    """Remove the file at ``path`` if it has not the SHA-256 of the bundle's manifest.

    :raises FlotillaError: it has not.
    """
    found = sha256_of(path)
    if found != sha256:
        path.unlink(missing_ok=True)
        raise FlotillaError(
            "BUNDLE_FILE_CORRUPT",
            f"What arrived for {what} has the SHA-256 {found}, the bundle's manifest says {sha256}.",
            "Check the bundle with the playbook bundle_build and run again; nothing was installed from it.",
        )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _has_mode(entry: dict[str, str]) -> bool:
    return Path(entry["dest"]).stat().st_mode & 0o7777 == int(entry["mode"], 8)


def _print(found: os.stat_result) -> list[int]:
    return [found.st_ino, found.st_size, found.st_mtime_ns]
