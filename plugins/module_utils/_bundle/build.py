# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making a bundle (private to flotilla.kubernetes). One process at a time does this for a directory: `session` sees to that."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import _paths
from .._errors import FlotillaError
from . import catalogue, contents, locks, manifest
from .progress import Report
from .sources import Context, Source, create

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Request:
    """Which bundle is wanted, from where, and in which directory.

    :param modules: folder of the wrapper modules, for the source that compiles.
    :param rebuild: make it again even if it is there.
    """

    version: str
    source: str
    directory: Path
    modules: Path
    cache: Path
    rebuild: bool = False

    @classmethod
    def of(cls, version: str, source: str, directory: str | None, modules: str, rebuild: bool = False) -> Request:
        """Fill in what a user may leave out: the directory is ``<cache>/bundles/<version>``."""
        cache = _paths.cache_dir()
        place = Path(directory).expanduser() if directory else cache / "bundles" / version
        return cls(version, source, place.absolute(), Path(modules), cache, rebuild)

    def open(self, log: Path, report: Report) -> Source:
        """Return the source of this request.

        :raises FlotillaError: the version, the source or the machine's architecture is not known.
        """
        release = catalogue.release(self.version)
        return create(self.source, Context(release, architecture(), self.cache, self.modules, log, report))


def architecture() -> str:
    """Return the architecture of this machine as Go and images name it.

    :raises FlotillaError: ``BUNDLE_ARCHITECTURE_UNKNOWN``.
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise FlotillaError(
            "BUNDLE_ARCHITECTURE_UNKNOWN", f"There are no bundles for the architecture {machine} of this machine.", "Use amd64 or arm64."
        )
    return _ARCHITECTURES[machine]


def preflight(request: Request, source: Source) -> None:
    """Refuse to start what can not end well.

    :raises FlotillaError: ``BUNDLE_DIRECTORY_TAKEN``, ``BUNDLE_DISK_SPACE``, or what the source misses.
    """
    source.check()
    if request.directory.exists() and not (request.directory / manifest.NAME).exists() and list(request.directory.iterdir()):
        raise FlotillaError(
            "BUNDLE_DIRECTORY_TAKEN",
            f"{request.directory} is not empty and is no bundle (it has no {manifest.NAME}); a bundle would replace what is in it.",
            "Choose another directory, or empty this one.",
        )
    request.cache.mkdir(parents=True, exist_ok=True)
    free, needed = shutil.disk_usage(request.cache).free, source.needed_bytes()
    if free < needed:
        raise FlotillaError(
            "BUNDLE_DISK_SPACE",
            f"The bundle of {request.version} needs {needed / 2**30:.1f} GiB in {request.cache}, but {free / 2**30:.1f} are free.",
            "Free some space, or set FLOTILLA_CACHE to a directory on a larger disk.",
        )


def build(request: Request, log: Path, report: Report) -> dict[str, Any]:
    """Make the bundle and return its manifest. Everything long is kept in the cache, so that a killed run goes on where it was.

    :raises FlotillaError: whatever the source can not do.
    """
    source = request.open(log, report)
    preflight(request, source)
    steps = source.steps()
    report.steps(len(steps) + 1)
    for step in steps:
        report.step(step.name)
        report.done(step.run())
    report.step("bundle")
    report.line("writing images and checksums")
    with locks.appearing(request.directory) as staging:
        result = _assemble(request, source, staging)
        manifest.write(staging, result)
    report.done(f"ready in {request.directory}")
    return result


def _assemble(request: Request, source: Source, staging: Path) -> dict[str, Any]:
    files, images = [], []
    for spec in contents.files():
        path = _place(staging, spec.path)
        source.put_file(spec, path)
        files.append({**_sums(path, spec.path), "mode": f"{spec.mode:04o}", "kind": spec.kind, "name": spec.name})
    for image in source.images():
        path = _place(staging, image.path)
        digest = source.put_image(image, path)
        images.append({**_sums(path, image.path), "name": image.name, "config_digest": digest, "roles": image.roles})
    context = source.context
    return {
        "schema": manifest.SCHEMA,
        "kubernetes_version": request.version,
        "architecture": context.architecture,
        "source": request.source,
        "key": source.key(),
        "components": context.release.components,
        "pause_image": next(image["name"] for image in images if "/pause:" in image["name"]),
        "files": files,
        "images": images,
        "notes": source.notes(),
    }


def _place(staging: Path, path: str) -> Path:
    target = staging / path
    target.parent.mkdir(exist_ok=True)
    return target


def _sums(path: Path, name: str) -> dict[str, Any]:
    return {"path": name, "sha256": manifest.sha256(path), "size": path.stat().st_size}
