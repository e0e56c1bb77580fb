# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making a bundle (private to flotilla.kubernetes). One process at a time does this for a directory: `session` sees to that."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import _paths
from .._errors import FlotillaError
from .._files import appearing, sha256_of
from .._kubernetes.network_plugins import table
from . import catalogue, contents, manifest, release
from .progress import Report
from .provided import Provided
from .source import Context, Credentials, Mirror, Source
from .sources import create


@dataclass(frozen=True)
class Request:
    """Which bundle is wanted, from where, and in which directory.

    :param source: ``release``, ``mirror``, ``modules``, ``directory`` or ``auto``.
    :param modules: folder of the wrapper modules, for the source that compiles.
    :param rebuild: make it again even if it is there.
    :param network_plugin: the one of `table.PLUGINS` that the bundle is for.
    :param provided: what the user gives of it.
    :param addons: those of `ADDONS` that it has, sorted.
    """

    version: str
    source: str
    directory: Path
    modules: Path
    cache: Path
    rebuild: bool = False
    architectures: tuple[str, ...] = ("amd64",)
    mirror: Mirror | None = None
    credentials: Credentials = Credentials()
    network_plugin: str = table.DEFAULT
    provided: Provided = Provided()
    addons: tuple[str, ...] = ()

    @classmethod
    def of(cls, version: str, source: str, directory: str | None, modules: str, rebuild: bool = False, **more: Any) -> Request:
        """Fill in what a user may leave out: the directory is ``<cache>/bundles/<version>``, with the network plugin if it is an other."""
        cache = _paths.cache_dir()
        plugin = more.get("network_plugin", table.DEFAULT)
        name = version if plugin == table.DEFAULT else f"{version}-{plugin}"
        place = Path(directory).expanduser() if directory else cache / "bundles" / name
        if source == "directory" and not directory:
            raise FlotillaError(
                "BUNDLE_DIRECTORY_MISSING",
                "The bundle source directory needs to know where the bundle is.",
                "Set bundle.directory to the directory of the bundle that was made elsewhere.",
            )
        return cls(version, source, place.absolute(), Path(modules), cache, rebuild, **more)

    def open(self, log: Path, report: Report) -> Source:
        """Return the source of this request.

        :raises FlotillaError: the version, the source or the machine's architecture is not known.
        """
        known = catalogue.with_addons(catalogue.with_network_plugin(catalogue.release(self.version), self.network_plugin), self.addons)
        context = Context(
            known,
            self.architectures,
            self.cache,
            self.modules,
            log,
            report,
            self.mirror,
            self.credentials,
            table.PLUGINS[self.network_plugin],
            self.provided,
            self.addons,
        )
        return create(self.source, context)


def decide(request: Request) -> tuple[Request, str]:
    """Return the request with the source that ``auto`` means now, and why; the request itself if it is not ``auto``."""
    if request.source != "auto":
        return request, ""
    if request.mirror:
        return replace(request, source="mirror"), "auto: a mirror is configured, so from there"
    reason = release.reachable(request.version)
    if reason:
        return replace(request, source="modules"), f"auto: official releases are out of reach ({reason}), so compiled from Go modules"
    return replace(request, source="release"), "auto: official releases are in reach, so from there"


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
    manifest.check_network_plugin(request.directory, request.network_plugin)
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
    with appearing(request.directory) as staging:
        result = _assemble(request, source, staging)
        manifest.write(staging, result)
    report.done(f"ready in {request.directory}")
    return result


def _assemble(request: Request, source: Source, staging: Path) -> dict[str, Any]:
    specs = contents.files(request.architectures, source.context.plugin, request.addons)
    provided = request.provided.images()
    source.put_files([(spec, _place(staging, spec.path)) for spec in specs])
    files, images = [], []
    for spec in specs:
        path = staging / spec.path
        path.chmod(spec.mode)
        files.append(
            {
                **_sums(path, spec.path),
                "mode": f"{spec.mode:04o}",
                "kind": spec.kind,
                "name": spec.name,
                "architecture": spec.architecture,
            }
        )
    for image in source.images():
        path = _place(staging, image.path)
        digest = request.provided.put(image, path) if image.name in provided else source.put_image(image, path)
        images.append(
            {
                **_sums(path, image.path),
                "name": image.name,
                "config_digest": digest,
                "roles": image.roles,
                "addons": list(image.addons),
                "architecture": image.architecture,
            }
        )
    return {
        "schema": manifest.SCHEMA,
        "kubernetes_version": request.version,
        "network_plugin": request.network_plugin,
        "addons": list(request.addons),
        "architectures": list(request.architectures),
        "source": request.source,
        "key": source.key(),
        "components": source.context.release.components,
        "pause_image": next(image["name"] for image in images if "/pause:" in image["name"]),
        "files": files,
        "images": images,
        "notes": source.notes(),
    }


def _place(staging: Path, path: str) -> Path:
    target = staging / path
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _sums(path: Path, name: str) -> dict[str, Any]:
    return {"path": name, "sha256": sha256_of(path), "size": path.stat().st_size}
