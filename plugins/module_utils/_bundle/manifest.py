# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle's manifest: reading it and proving that the bundle is what it says (private to flotilla.kubernetes).

The manifest is written last, so a directory that has one was complete once.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .._errors import FlotillaError

NAME = "manifest.json"
SCHEMA = 1
_REMEDY = "Delete the directory {directory}, or make the bundle again with bundle_build and bundle_rebuild=true."


@dataclass(frozen=True)
class Problem:
    """One file that is not what the manifest says."""

    code: str
    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        if self.code == "BUNDLE_FILE_MISSING":
            return f"{self.path} is missing"
        return f"{self.path} has {self.found} where the manifest says {self.expected}"


def read(directory: Path) -> dict[str, Any] | None:
    """Return the manifest in `directory`, or None where there is none.

    :raises FlotillaError: ``BUNDLE_MANIFEST_INVALID``.
    """
    path = directory / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        manifest = json.loads(text)
        if manifest["schema"] != SCHEMA:
            raise ValueError(f"schema {manifest['schema']}, this release reads {SCHEMA}")
        for entry in _entries(manifest):
            part = PurePosixPath(entry["path"])
            if part.is_absolute() or ".." in part.parts or not isinstance(entry["size"], int) or len(entry["sha256"]) != 64:
                raise ValueError(f"entry {entry}")
    except (ValueError, KeyError, TypeError) as error:
        raise FlotillaError(
            "BUNDLE_MANIFEST_INVALID", f"The bundle's manifest {path} can not be used.", _REMEDY.format(directory=directory), error
        ) from error
    return manifest


def write(directory: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest, whole or not at all."""
    temporary = directory / f".{NAME}.tmp"
    temporary.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(directory / NAME)


def verify(directory: Path) -> list[Problem]:
    """Compare every file of the bundle with its manifest, by size and SHA-256; return what differs, in the manifest's order.

    :raises FlotillaError: ``BUNDLE_MISSING`` (no manifest) or ``BUNDLE_MANIFEST_INVALID``.
    """
    return _problems(directory, _present(directory))


def require(directory: Path) -> dict[str, Any]:
    """Return the manifest of a bundle that verifies.

    :raises FlotillaError: ``BUNDLE_FILE_MISSING`` or ``BUNDLE_FILE_CORRUPT`` for the first bad file, with all of them in
        `details`; what `verify` raises.
    """
    manifest = _present(directory)
    problems = _problems(directory, manifest)
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise FlotillaError(
            problems[0].code,
            f"The bundle in {directory} is damaged: {problems[0]}{more}.",
            _REMEDY.format(directory=directory),
            details={"problems": [vars(problem) for problem in problems]},
        )
    return manifest


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _present(directory: Path) -> dict[str, Any]:
    manifest = read(directory)
    if manifest is None:
        raise FlotillaError("BUNDLE_MISSING", f"There is no bundle in {directory}: it has no {NAME}.", "Make it with bundle_build.")
    return manifest


def _problems(directory: Path, manifest: dict[str, Any]) -> list[Problem]:
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda entry: _check(directory, entry), _entries(manifest))
        return [problem for problem in found if problem]


def _entries(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [*manifest["files"], *manifest["images"]]


def _check(directory: Path, entry: dict[str, Any]) -> Problem | None:
    path = directory / entry["path"]
    try:
        size = path.stat().st_size
        if size != entry["size"]:
            return Problem("BUNDLE_FILE_CORRUPT", entry["path"], f"{entry['size']} bytes", f"{size} bytes")
        digest = sha256(path)
    except (FileNotFoundError, NotADirectoryError):
        return Problem("BUNDLE_FILE_MISSING", entry["path"], f"{entry['size']} bytes", "nothing")
    if digest != entry["sha256"]:
        return Problem("BUNDLE_FILE_CORRUPT", entry["path"], f"SHA-256 {entry['sha256']}", f"SHA-256 {digest}")
    return None
