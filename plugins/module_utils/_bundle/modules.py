# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles that are compiled from Go modules (private to flotilla.kubernetes)."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from .._errors import FlotillaError
from .._kubernetes.addons.table import ADDONS
from .._kubernetes.network_plugins.flannel import FLANNEL
from . import contents, image_archive, images
from .components import COMPONENTS
from .contents import MANIFESTS, FileSpec, ImageSpec
from .gomodule import Built, Compiler
from .source import BUNDLE_VERSION, Context, Source, Step, controller_architecture
from .toolchain import Toolchain, find

# Measured: a whole bundle, most of it images.
_BUNDLE_MIB = 1100


class ModulesSource(Source):
    """Compiles everything from Go modules; iptables and the like in images are the controller's own.

    So a bundle is for the controller's architecture only.
    """

    name = "modules"
    fetches = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._architecture = controller_architecture()
        self._go: Toolchain | None = None
        self._built: dict[str, Built] = {}
        self._compiler = Compiler(context.cache, context.modules, self._architecture, self._toolchain, context.log, context.report)

    def key(self) -> str:
        parts = [self._compiler.key(COMPONENTS[name], version) for name, version in sorted(self._versions().items())]
        parts = [BUNDLE_VERSION, self.name, self.context.architectures, parts, *self.variant()]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def missing_packages(self) -> list[str]:
        missing = {package for command, package in images.OS_COMMANDS.items() if not images.has_command(command)}
        if not shutil.which("gcc"):
            missing |= {"gcc", "libc6-dev"}
        if not shutil.which("pkg-config"):
            missing |= {"pkgconf", "libseccomp-dev"}
        elif subprocess.run(["pkg-config", "--exists", "libseccomp"], check=False).returncode:
            missing.add("libseccomp-dev")
        return sorted(missing)

    def check(self) -> None:
        super().check()
        foreign = [name for name in self.context.architectures if name != self._architecture]
        if foreign:
            raise FlotillaError(
                "BUNDLE_ARCHITECTURE_FOREIGN",
                f"A bundle for {' and '.join(foreign)} can not be compiled from Go modules on this {self._architecture} machine: iptables"
                " and the like in its images are the controller's own.",
                f"Set bundle.source to release or mirror, or bundle.architectures to [{self._architecture}]; or make the bundle on a"
                f" machine that is {foreign[0]} and use bundle.source directory.",
            )
        missing = self.missing_packages()
        if missing:
            raise FlotillaError(
                "BUNDLE_PACKAGES_MISSING",
                f"Making a bundle from Go modules needs operating system packages that this machine has not: {', '.join(missing)}.",
                "Install them (these are Debian's and Ubuntu's names), or let the role bundle do it.",
                details={"packages": missing},
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
        listed = contents.kubeadm_images(self._binary("kubeadm"), self.context.release.kubernetes)
        return contents.images(self.context.release, self.context.architectures, listed, [self.plugin_manifest()], self.addon_manifests())

    def put_files(self, wanted: list[tuple[FileSpec, Path]]) -> None:
        for spec, target in wanted:
            if spec.kind in MANIFESTS:
                target.write_text(self.manifest(spec), encoding="utf-8")
            else:
                # Nothing writes into a bundle, and binaries are large: the cache and the bundle share them.
                _link(self._built[spec.component].directory / spec.name, target)

    def put_image(self, spec: ImageSpec, target: Path) -> str:
        if spec.repository == "pause":
            self._compile_pause(spec, target.with_name("pause"))
        try:
            binary = self._binary if spec.repository != "pause" else target.with_name
            return image_archive.write(images.image(spec.name, binary, self._architecture), target)
        finally:
            target.with_name("pause").unlink(missing_ok=True)

    def notes(self) -> dict[str, Any]:
        left_out = {name: list(COMPONENTS[name].leave_out) for name in self._versions() if COMPONENTS[name].leave_out}
        found = {
            "go": {name: built.record["go"] for name, built in sorted(self._built.items())},
            "os_packages": images.package_versions(),
            "left_out": left_out,
        }
        if "cni-flannel" in self._built:
            version = self.context.release.components["cni-flannel"]
            found["flannel-cni-plugin"] = f"The flannel plugin is the one of the CNI plugins {version}."
        return found

    def _versions(self) -> dict[str, str]:
        # The small ones first: what is wrong with the machine shows before the long compile.
        compiled = {name: version for name, version in self.context.release.components.items() if name in COMPONENTS}
        return {**compiled, "kubernetes": self.context.release.kubernetes}

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

    def released_manifest(self) -> str:
        plugin = self.context.plugin
        text = (self._module(plugin.components[0]) / plugin.module_path).read_text(encoding="utf-8")
        # The flannel plugin that Go modules have speaks the CNI specification up to 0.4.0 and refuses a newer configuration.
        return re.sub(r'"cniVersion": "[0-9.]+"', '"cniVersion": "0.4.0"', text) if plugin is FLANNEL else text

    def released_addon(self, spec: FileSpec) -> str:
        return (self._module(spec.component) / ADDONS[spec.component].manifests[spec.name]).read_text(encoding="utf-8")

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


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
