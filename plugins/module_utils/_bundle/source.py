# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every source of a bundle does (private to flotilla.kubernetes). What a bundle holds is in `contents`, not here."""

from __future__ import annotations

import abc
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._errors import FlotillaError
from .._files import sha256_of
from .._kubernetes.addons.table import ADDONS
from .._kubernetes.network_plugins import table
from .._kubernetes.network_plugins.model import NetworkPlugin
from .._kubernetes.released import pinned
from . import contents
from .catalogue import Release
from .contents import FileSpec, ImageSpec
from .progress import Report
from .provided import Provided

# Part of every key: raised when the same inputs give another bundle than before (other image contents, another layout ...).
BUNDLE_VERSION = 2
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def controller_architecture() -> str:
    """Return the architecture of this machine as Go and images name it.

    :raises FlotillaError: ``BUNDLE_ARCHITECTURE_UNKNOWN``.
    """
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise FlotillaError(
            "BUNDLE_ARCHITECTURE_UNKNOWN", f"Bundles can not be made on the architecture {machine} of this machine.", "Use amd64 or arm64."
        )
    return ARCHITECTURES[machine]


@dataclass(frozen=True)
class Mirror:
    """The user's own servers: see `release.MirrorSource` for the layout."""

    url: str
    registry: str
    ca_file: str | None = None


@dataclass(frozen=True)
class Credentials:
    """The mirror's user; not in the text of this object, so not in a traceback either."""

    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class Context:
    """What a source may use: what is wanted, the controller's cache, and how to tell what it does."""

    release: Release
    architectures: tuple[str, ...]
    cache: Path
    modules: Path
    log: Path
    report: Report
    mirror: Mirror | None = None
    credentials: Credentials = Credentials()
    plugin: NetworkPlugin = table.PLUGINS[table.DEFAULT]
    provided: Provided = Provided()
    addons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """A part of the work that may take long. It is idempotent: after a kill it is run again and does what is left."""

    name: str
    run: Callable[[], str]


class Source(abc.ABC):
    """A way to get the files and images of a bundle."""

    name = ""
    fetches = True  # images from registries

    def __init__(self, context: Context) -> None:
        self.context = context

    @abc.abstractmethod
    def key(self) -> str:
        """Return a text that changes when a bundle from this source has to be made again."""

    def variant(self) -> list[Any]:
        """Return the part of the key that differs by network plugin, by what the user provides, and by manifests of ours."""
        provided, name = self.context.provided, self.context.plugin.name
        parts: list[Any] = [name, provided.digests()] if provided or name != table.DEFAULT else []
        ours = filter(contents.is_written, contents.addon_manifests(self.context.addons))
        return parts + [sha256_of(self._written_addon(spec)) for spec in ours]

    def check(self) -> None:
        """Raise a FlotillaError for whatever can be known to be missing before the work starts."""
        plugin, provided = self.context.plugin, self.context.provided
        if plugin.provided and not provided.manifest:
            raise FlotillaError(
                "BUNDLE_PLUGIN_NOT_PROVIDED",
                f"Nobody publishes manifest and image of the network plugin {plugin.name}; its maker gives them to its customers.",
                "Name both files in bundle.network_plugin (manifest, image_archives).",
            )
        if not plugin.compiled and (plugin.provided or not self.fetches):
            if not provided.manifest:
                raise FlotillaError(
                    "BUNDLE_PLUGIN_NOT_COMPILED",
                    f"The network plugin {plugin.name} can not be compiled from Go modules by this release.",
                    "Set bundle.source to release or mirror; or name its manifest and archives of its images in bundle.network_plugin.",
                )
            missing = provided.missing(self.plugin_manifest())
            if missing:
                raise FlotillaError(
                    "BUNDLE_PLUGIN_IMAGE_MISSING",
                    f"No archive of bundle.network_plugin has the image {' and '.join(missing)} of the network plugin {plugin.name}.",
                    "Save it with 'docker save' or 'skopeo copy' and add the file to bundle.network_plugin.image_archives.",
                    details={"images": missing},
                )

    def plugin_manifest(self) -> str:
        """Return the manifest of the network plugin, with the names of images that the bundle has."""
        plugin, provided = self.context.plugin, self.context.provided
        text = provided.text() if provided.manifest else self.released_manifest()
        if plugin.components:
            text = pinned(text, plugin.images, self.context.release.components[plugin.components[0]])
        return provided.named(text) if provided.archives else text

    def addon_manifest(self, spec: FileSpec) -> str:
        """Return a manifest of an add-on, with the names of images that the bundle has."""
        if contents.is_written(spec):
            return self._written_addon(spec).read_text(encoding="utf-8")
        return pinned(self.released_addon(spec), ADDONS[spec.component].images, self.context.release.components[spec.component])

    def _written_addon(self, spec: FileSpec) -> Path:
        return self.context.modules / spec.component / self.context.release.components[spec.component] / spec.name

    def addon_manifests(self) -> dict[str, list[str]]:
        """Return the manifests of each add-on."""
        return {name: [self.addon_manifest(spec) for spec in contents.addon_manifests([name])] for name in self.context.addons}

    def manifest(self, spec: FileSpec) -> str:
        """Return a manifest of the bundle."""
        return self.addon_manifest(spec) if spec.kind == "addon" else self.plugin_manifest()

    @abc.abstractmethod
    def released_manifest(self) -> str:
        """Return the manifest of the network plugin's release; after `steps` only."""

    @abc.abstractmethod
    def released_addon(self, spec: FileSpec) -> str:
        """Return a manifest of an add-on's release; after `steps` only."""

    @abc.abstractmethod
    def needed_bytes(self) -> int:
        """Return the disk space that is still needed in the cache, the bundle included."""

    @abc.abstractmethod
    def steps(self) -> list[Step]:
        """Return the long work; afterwards everything below is at hand."""

    @abc.abstractmethod
    def images(self) -> list[ImageSpec]:
        """Return the images of the bundle."""

    @abc.abstractmethod
    def put_files(self, wanted: list[tuple[FileSpec, Path]]) -> None:
        """Write each file of the bundle to its target."""

    @abc.abstractmethod
    def put_image(self, spec: ImageSpec, target: Path) -> str:
        """Write one image of the bundle as an archive that `ctr images import` takes; return the digest of its configuration."""

    def missing_packages(self) -> list[str]:
        """Return the operating system packages that the controller has to get first."""
        return []

    def notes(self) -> dict[str, Any]:
        """Return what else should be on record in the manifest."""
        return {}
