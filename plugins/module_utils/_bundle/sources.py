# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the contents of a bundle come from (private to flotilla.kubernetes).

A source is a class with the methods of `Source`; `SOURCES` is the table of them. What a bundle holds is in `contents`, not here.
"""

from __future__ import annotations

import abc
import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from .._errors import FlotillaError
from . import contents, image_archive, images
from .catalogue import Release
from .components import COMPONENTS
from .contents import FileSpec, ImageSpec
from .gomodule import Built, Compiler
from .progress import Report
from .toolchain import Toolchain, find

# Raised when the same compiled components give another bundle than before (other image contents ...).
_BUNDLE_VERSION = 1


@dataclass(frozen=True)
class Context:
    """What a source may use: the release, the machine's cache, and how to tell what it does."""

    release: Release
    architecture: str
    cache: Path
    modules: Path
    log: Path
    report: Report


@dataclass(frozen=True)
class Step:
    """A part of the work that may take long. It is idempotent: after a kill it is run again and does what is left."""

    name: str
    run: Callable[[], str]


class Source(abc.ABC):
    """A way to get the files and images of a bundle."""

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
    def put_file(self, spec: FileSpec, target: Path) -> None:
        """Write one file of the bundle."""

    @abc.abstractmethod
    def put_image(self, spec: ImageSpec, target: Path) -> str:
        """Write one image of the bundle as a docker-archive; return the digest of its configuration."""

    def notes(self) -> dict[str, Any]:
        """Return what else should be on record in the manifest."""
        return {}


class ModulesSource(Source):
    """Compiles everything from Go modules; iptables and the like in images are the controller's own."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._go: Toolchain | None = None
        self._built: dict[str, Built] = {}
        self._compiler = Compiler(context.cache, context.modules, context.architecture, self._toolchain, context.log, context.report)

    def key(self) -> str:
        parts = [self._compiler.key(COMPONENTS[name], version) for name, version in sorted(self._versions().items())]
        return hashlib.sha256(json.dumps([_BUNDLE_VERSION, "modules", parts]).encode()).hexdigest()[:16]

    def check(self) -> None:
        missing = {package for command, package in images.OS_COMMANDS.items() if not images.has_command(command)}
        if not shutil.which("gcc"):
            missing |= {"gcc", "libc6-dev"}
        if not shutil.which("pkg-config"):
            missing.add("pkgconf")
        elif subprocess.run(["pkg-config", "--exists", "libseccomp"], check=False).returncode:
            missing.add("libseccomp-dev")
        if missing:
            raise FlotillaError(
                "BUNDLE_PACKAGES_MISSING",
                f"Making a bundle from Go modules needs operating system packages that this machine has not: {', '.join(sorted(missing))}.",
                "Install them (these are Debian's and Ubuntu's names), or let the role bundle do it.",
                details={"packages": sorted(missing)},
            )

    def needed_bytes(self) -> int:
        left = [
            component
            for name, version in self._versions().items()
            if not self._compiler.directory(component := COMPONENTS[name], version).exists()
        ]
        return (_BUNDLE_MIB + sum(component.disk_mib for component in left)) << 20

    def steps(self) -> list[Step]:
        return [Step(name, lambda name=name, version=version: self._build(name, version)) for name, version in self._versions().items()]

    def images(self) -> list[ImageSpec]:
        kubeadm = self._binary("kubeadm")
        version = f"v{self.context.release.kubernetes}"
        command = [str(kubeadm), "config", "images", "list", "--kubernetes-version", version]
        listed = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
        return contents.images(self.context.release, listed.stdout.split(), [self._flannel_manifest().read_text(encoding="utf-8")])

    def put_file(self, spec: FileSpec, target: Path) -> None:
        if spec.kind == "manifest":
            text = self._flannel_manifest().read_text(encoding="utf-8")
            # The flannel plugin that Go modules have speaks the CNI specification up to 0.4.0 and refuses a newer configuration.
            target.write_text(re.sub(r'"cniVersion": "[0-9.]+"', '"cniVersion": "0.4.0"', text), encoding="utf-8")
        else:
            # Nothing writes into a bundle, and binaries are large: the cache and the bundle share them.
            _link(self._built[spec.component].directory / spec.name, target)
        target.chmod(spec.mode)

    def put_image(self, spec: ImageSpec, target: Path) -> str:
        if spec.repository == "pause":
            self._compile_pause(spec, target.with_name("pause"))
        try:
            binary = self._binary if spec.repository != "pause" else target.with_name
            return image_archive.write(images.image(spec.name, binary, self.context.architecture), target)
        finally:
            target.with_name("pause").unlink(missing_ok=True)

    def notes(self) -> dict[str, Any]:
        left_out = {name: list(COMPONENTS[name].leave_out) for name in self._versions() if COMPONENTS[name].leave_out}
        return {
            "go": {name: built.record["go"] for name, built in sorted(self._built.items())},
            "os_packages": images.package_versions(),
            "left_out": left_out,
            "flannel-cni-plugin": f"The flannel plugin is the one of the CNI plugins {self.context.release.components['cni-flannel']}.",
        }

    def _versions(self) -> dict[str, str]:
        # The small ones first: what is wrong with the machine shows before the long compile.
        return {**self.context.release.components, "kubernetes": self.context.release.kubernetes}

    def _build(self, name: str, version: str) -> str:
        self._built[name], compiled = self._compiler.build(COMPONENTS[name], version)
        return "compiled" if compiled else "in the cache already"

    def _toolchain(self) -> Toolchain:
        if self._go is None:
            self._go = find(self.context.release.go, self.context.cache, self.context.report.line)
        return self._go

    def _binary(self, name: str) -> Path:
        for component, built in self._built.items():
            if name in COMPONENTS[component].commands:
                return built.directory / name
        raise KeyError(name)

    def _module(self, name: str) -> Path:
        return Path(self._compiler.source(COMPONENTS[name], self._versions()[name])["Dir"])

    def _flannel_manifest(self) -> Path:
        return self._module("flannel") / "Documentation" / "kube-flannel.yml"

    def _compile_pause(self, spec: ImageSpec, target: Path) -> None:
        """Compile Kubernetes' pause.c the way its Makefile does."""
        source = self._module("kubernetes") / "build/pause/linux/pause.c"
        version = spec.name.rpartition(":")[2]
        command = ["gcc", "-Os", "-Wall", "-Werror", "-static", "-s", f"-DVERSION=v{version}", "-o", str(target), str(source)]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if result.returncode:
            raise FlotillaError(
                "BUNDLE_COMPILE_FAILED", f"pause {version} did not compile with gcc.", "Install gcc and libc6-dev.", result.stdout
            )


# Measured: a whole bundle, most of it images.
_BUNDLE_MIB = 1100

SOURCES: dict[str, type[Source]] = {"modules": ModulesSource}


def create(name: str, context: Context) -> Source:
    """Return the source `name`.

    :raises FlotillaError: ``BUNDLE_SOURCE_UNKNOWN``.
    """
    if name not in SOURCES:
        raise FlotillaError(
            "BUNDLE_SOURCE_UNKNOWN",
            f"The bundle source {name} is not in this release of flotilla.kubernetes.",
            f"Set bundle.source to {' or '.join(sorted(SOURCES))}.",
        )
    return SOURCES[name](context)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
