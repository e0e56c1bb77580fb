# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle's manifest: reading it and proving that the bundle is what it says (private to flotilla.kubernetes).

The manifest is written last, so a directory that has one was complete once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .._errors import FlotillaError
from .._files import sha256_of, write_atomically
from .._kubernetes.network_plugins import table
from . import contents

NAME = "manifest.json"
SCHEMA = 2  # 2: an architecture with each file and image
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

    :raises FlotillaError: ``BUNDLE_MANIFEST_INVALID``, or ``BUNDLE_SCHEMA_OTHER`` if another release of the collection wrote it.
    """
    path = directory / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        manifest = json.loads(text)
        if manifest["schema"] != SCHEMA:
            raise FlotillaError(
                "BUNDLE_SCHEMA_OTHER",
                f"The manifest of the bundle in {directory} has schema {manifest['schema']}, this release reads {SCHEMA}.",
                "Make it again with the release that uses it.",
            )
        for entry in _entries(manifest):
            part = PurePosixPath(entry["path"])
            sound = not part.is_absolute() and ".." not in part.parts and isinstance(entry["size"], int) and len(entry["sha256"]) == 64
            if not sound or "architecture" not in entry:
                raise ValueError(f"entry {entry}")
    except (ValueError, KeyError, TypeError) as error:
        raise FlotillaError(
            "BUNDLE_MANIFEST_INVALID", f"The bundle's manifest {path} can not be used.", _REMEDY.format(directory=directory), error
        ) from error
    return manifest


def write(directory: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest, whole or not at all."""
    content = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    write_atomically(directory / NAME, content.encode(), 0o644)


def verify(directory: Path) -> list[Problem]:
    """Compare every file of the bundle with its manifest, by size and SHA-256; return what differs, in the manifest's order.

    :raises FlotillaError: ``BUNDLE_MISSING`` (no manifest) or ``BUNDLE_MANIFEST_INVALID``.
    """
    return _problems(directory, _present(directory))


def network_plugin(manifest: dict[str, Any]) -> str:
    """Return the network plugin that a bundle is for."""
    return str(manifest.get("network_plugin", table.DEFAULT))


def check_network_plugin(directory: Path, wanted: str) -> None:
    """Raise if there is a bundle for clusters with another network plugin, which would be lost.

    :raises FlotillaError: ``BUNDLE_NETWORK_PLUGIN_OTHER``.
    """
    try:
        found = read(directory)
    except FlotillaError:
        return
    if found and network_plugin(found) != wanted:
        raise FlotillaError(
            "BUNDLE_NETWORK_PLUGIN_OTHER",
            f"The bundle in {directory} is for clusters with the network plugin {network_plugin(found)}, wanted is one for {wanted}.",
            "Set bundle.directory to another directory, or leave it out: each network plugin has its own then.",
        )


def addons(manifest: dict[str, Any]) -> list[str]:
    """Return the add-ons that a bundle has the files of."""
    return list(manifest.get("addons", ()))


def check_wanted(
    directory: Path,
    manifest: dict[str, Any],
    version: str,
    architectures: Iterable[str],
    plugin: str = table.DEFAULT,
    wanted_addons: Iterable[str] = (),
) -> None:
    """Raise unless a bundle that was made elsewhere is of this version, for these architectures and complete.

    :param plugin: the network plugin that it is to be for.
    :param wanted_addons: the add-ons that it is to have.
    :raises FlotillaError: ``BUNDLE_VERSION_WRONG``, ``BUNDLE_NETWORK_PLUGIN_OTHER``, ``BUNDLE_ARCHITECTURE_MISSING`` or
        ``BUNDLE_INCOMPLETE``.
    """
    if manifest["kubernetes_version"] != version:
        raise FlotillaError(
            "BUNDLE_VERSION_WRONG",
            f"The bundle in {directory} is of Kubernetes {manifest['kubernetes_version']}, wanted is {version}.",
            "Set bundle.directory to the bundle of that version, or change kubernetes_version.",
        )
    check_network_plugin(directory, plugin)
    absent = sorted(set(architectures) - set(manifest["architectures"]))
    if absent:
        raise FlotillaError(
            "BUNDLE_ARCHITECTURE_MISSING",
            f"The bundle in {directory} is for {' and '.join(manifest['architectures'])}, wanted is {' and '.join(absent)} too.",
            f"Make it again with bundle.architectures: [{', '.join(sorted({*manifest['architectures'], *architectures}))}].",
        )
    has = {entry["path"] for entry in manifest["files"]}
    lacks = [spec.path for spec in contents.files(architectures, table.PLUGINS[plugin], wanted_addons) if spec.path not in has]
    if lacks:
        raise FlotillaError(
            "BUNDLE_INCOMPLETE",
            f"The bundle in {directory} lacks {', '.join(lacks)}, which this release of flotilla.kubernetes installs.",
            "Make it again with this release and this definition.",
        )


def require_all(directory: Path) -> dict[str, Any]:
    """Return the manifest of a bundle that verifies; the error names each bad file.

    :raises FlotillaError: ``BUNDLE_DAMAGED``, with the bad files in `details`; what `verify` raises.
    """
    manifest = _present(directory)
    problems = _problems(directory, manifest)
    if problems:
        lines = "".join(f"\n- {problem}" for problem in problems)
        raise FlotillaError(
            "BUNDLE_DAMAGED",
            f"Of the bundle in {directory}, {len(problems)} of {len(_entries(manifest))} files are damaged:{lines}.",
            _REMEDY.format(directory=directory),
            details={"problems": [vars(problem) for problem in problems]},
        )
    return manifest


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
        digest = sha256_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return Problem("BUNDLE_FILE_MISSING", entry["path"], f"{entry['size']} bytes", "nothing")
    if digest != entry["sha256"]:
        return Problem("BUNDLE_FILE_CORRUPT", entry["path"], f"SHA-256 {entry['sha256']}", f"SHA-256 {digest}")
    return None
