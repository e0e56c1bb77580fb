# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel modules and parameters of a node (private to flotilla.kubernetes). Python 3.9, standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._command import run
from ._errors import FlotillaError, clear_os_errors
from ._files import write_atomically

# A module that is built into the kernel and has no parameters does not show under /sys/module; these show where they work.
BUILT_IN_SIGNS = {"br_netfilter": "proc/sys/net/bridge"}
# Name of the files that boot reads, without the ending.
KERNEL_SETTINGS = "90-flotilla-kubernetes"


class KernelSettings:
    """Kernel modules and parameters, live and in the files that boot reads."""

    def __init__(self, name: str, modules: Sequence[str], parameters: dict[str, Any], root: Path = Path("/")) -> None:
        self._root = root
        self._modules = sorted(modules)
        self._parameters = {key: str(value) for key, value in sorted(parameters.items())}
        self._files = {
            root / f"etc/modules-load.d/{name}.conf": "".join(f"{module}\n" for module in self._modules),
            root / f"etc/sysctl.d/{name}.conf": "".join(f"{key} = {value}\n" for key, value in self._parameters.items()),
        }

    def difference(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what is and what should be, in the same shape.

        :raises FlotillaError: something of it can not be read.
        """
        with clear_os_errors(self._root / "proc", "read"):
            modules = [module for module in self._modules if self._loaded(module)]
        before: dict[str, Any] = {
            "modules": modules,
            "parameters": {key: self._live(key) for key in self._parameters},
            "files": {str(path): _text_of(path) for path in self._files},
        }
        after = {"modules": self._modules, "parameters": self._parameters, "files": {str(path): text for path, text in self._files.items()}}
        return before, after

    def apply(self) -> None:
        """Load, set and write what differs.

        :raises FlotillaError: the kernel has no such module or refuses a value, or a file can not be written.
        """
        for module in self._modules:
            if not self._loaded(module):
                run(
                    ["modprobe", module],
                    code="KERNEL_MODULE_MISSING",
                    remedy=f"Install a kernel that has the module {module}; in a container, load it on the host.",
                )
        for key, value in self._parameters.items():
            if self._live(key) != value:
                try:
                    self._path(key).write_text(value, encoding="ascii")
                except OSError as error:
                    raise FlotillaError(
                        "KERNEL_PARAMETER_REFUSED",
                        f"The kernel parameter {key} could not be set to {value}: {error.strerror}.",
                        "Set it on the host, or leave it out if this machine may not change it.",
                        error,
                    ) from error
        for path, text in self._files.items():
            with clear_os_errors(path, "written"):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, text.encode(), 0o644)

    def _loaded(self, module: str) -> bool:
        if (self._root / "sys/module" / module.replace("-", "_")).exists():
            return True
        if module in BUILT_IN_SIGNS and (self._root / BUILT_IN_SIGNS[module]).exists():
            return True
        # /proc/filesystems has a line for each file system that the kernel can mount now: "nodev\toverlay".
        return module in (self._root / "proc/filesystems").read_text(encoding="ascii").split()

    def _path(self, key: str) -> Path:
        return self._root / "proc/sys" / key.replace(".", "/")

    def _live(self, key: str) -> str | None:
        try:
            return " ".join(self._path(key).read_text(encoding="ascii").split())
        except OSError:
            return None


def _text_of(path: Path) -> str | None:
    with clear_os_errors(path, "read"):
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
