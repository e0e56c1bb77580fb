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
from .catalogue import Release
from .contents import FileSpec, ImageSpec
from .progress import Report

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


@dataclass(frozen=True)
class Step:
    """A part of the work that may take long. It is idempotent: after a kill it is run again and does what is left."""

    name: str
    run: Callable[[], str]


class Source(abc.ABC):
    """A way to get the files and images of a bundle."""

    name = ""

    def __init__(self, context: Context) -> None:
        self.context = context

    @abc.abstractmethod
    def key(self) -> str:
        """Return a text that changes when a bundle from this source has to be made again."""

    @abc.abstractmethod
    def check(self) -> None:
        """Raise a FlotillaError for whatever can be known to be missing before the work starts."""

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
