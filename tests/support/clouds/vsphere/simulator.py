# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A vCenter: govmomi's simulator, compiled once and run as a program of its own, with what its own main adds."""

from __future__ import annotations

import fcntl
import hashlib
import json
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parent / "vcsim"
USER, PASSWORD = "flotilla@vsphere.local", "contract"
STARTED = 60.0
"""Real seconds that it has to answer; it takes one."""


def program() -> Path:
    """Return the compiled simulator, compiled unless it is there: for the first time that takes two minutes."""
    from ansible_collections.flotilla.kubernetes.plugins.module_utils import _paths
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import catalogue, toolchain

    digest = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in ("go.mod", "go.sum", "main.go"))).hexdigest()
    folder = _paths.cache_dir() / "test-images"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"vcsim-{digest[:16]}"
    with (folder / "vcsim.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            go = toolchain.find(catalogue.RELEASES[0].go, _paths.cache_dir())
            new = target.with_suffix(".new")
            command = [go.command, "build", "-trimpath", "-mod=readonly", "-o", str(new), "."]
            subprocess.run(command, cwd=SOURCE, env=go.environ(CGO_ENABLED="0"), check=True)
            new.replace(target)
    return target


class Simulator:
    """:param folder: for files.

    :param options: of the program, such as ``cluster=3``.
    :ivar url: of the vCenter, without TLS.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.options = {f"-{name}": str(value) for name, value in options.items()}
        self.url, self._control = "", ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin with a new inventory, at the same address as before."""
        self.stop()
        ready = self.folder / "vcsim.ready"
        ready.unlink(missing_ok=True)
        options = {**self.options, "-user": USER, "-password": PASSWORD, "-ready": str(ready)}
        if self.url:
            options.update({"-listen": self.url.partition("//")[2], "-control": self._control.partition("//")[2]})
        with (self.folder / "vcsim.log").open("ab") as log:
            command = [str(program()), *(part for pair in options.items() for part in pair)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.perf_counter() + STARTED
        while not ready.exists():
            if self._process.poll() is not None or time.perf_counter() > end:
                raise RuntimeError(f"vcsim does not start: {(self.folder / 'vcsim.log').read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.01)
        self.url, self._control = ready.read_text(encoding="utf-8").split()

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def put(self, what: str, value: Any) -> None:
        """Say what is to happen: ``faults``, ``capacity``, ``denied``, ``unfit``, ``silent`` or ``delay``, see its main."""
        request = urllib.request.Request(f"{self._control}/{what}", json.dumps(value).encode(), method="PUT")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            answer.read()
