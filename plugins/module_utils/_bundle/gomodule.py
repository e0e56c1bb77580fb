# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiling one component from its Go module into the cache (private to flotilla.kubernetes).

Binaries lie in ``<cache>/build/<component>/<version>-<architecture>-<key>/``: the key covers the recipe and the pinned sources, the
directory appears whole, and a lock lets one process compile while the others wait for its result.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Callable

from .._errors import FlotillaError
from .._files import appearing, sha256_of
from .._locks import lock
from .components import Component
from .progress import Report
from .toolchain import Toolchain

# Part of every key: raise it when this file starts to make other binaries from the same recipe.
_RECIPE_VERSION = 1


@dataclass(frozen=True)
class Built:
    """Binaries of one component: `directory` holds its commands; `record` is build.json (``go``, ``sha256`` by command)."""

    directory: Path
    record: dict[str, Any]


class Compiler:
    """Compiles components.

    :param cache: the controller's cache.
    :param modules: folder of the wrapper modules.
    :param toolchain: gives the Go; asked only when something has to be compiled.
    :param log: file that takes the output of the compilers.
    """

    def __init__(
        self, cache: Path, modules: Path, architecture: str, toolchain: Callable[[], Toolchain], log: Path, report: Report
    ) -> None:
        self._cache, self._modules, self._architecture = cache, modules, architecture
        self._toolchain, self._log, self._report = toolchain, log, report

    def key(self, component: Component, version: str) -> str:
        """Return the key of a component: what decides its binaries, apart from the compiler's version.

        :raises FlotillaError: ``BUNDLE_WRAPPER_MISSING``.
        """
        digest = hashlib.sha256(json.dumps([_RECIPE_VERSION, version, self._architecture, component.recipe()], sort_keys=True).encode())
        for name in ("go.mod", "go.sum"):
            path = self._modules / component.name / version / name
            try:
                digest.update(path.read_bytes())
            except FileNotFoundError:
                raise FlotillaError(
                    "BUNDLE_WRAPPER_MISSING",
                    f"{component.name} {version} can not be compiled: {path} is missing.",
                    f"Run tools/new-module {component.name} {version}.",
                ) from None
        return digest.hexdigest()[:12]

    def directory(self, component: Component, version: str) -> Path:
        """Return where the component's binaries lie once they are built."""
        return self._cache / "build" / component.name / f"{version}-{self._architecture}-{self.key(component, version)}"

    def built(self, component: Component, version: str) -> Built | None:
        """Return the component's binaries if they are in the cache as they were built (by SHA-256)."""
        directory = self.directory(component, version)
        try:
            record = json.loads((directory / "build.json").read_text(encoding="utf-8"))
            good = all(sha256_of(directory / name) == record["sha256"][name] for name in component.commands)
        except (FileNotFoundError, ValueError, KeyError):
            return None
        return Built(directory, record) if good else None

    def build(self, component: Component, version: str) -> tuple[Built, bool]:
        """Return the component's binaries, compiling them if need be, and whether that was so.

        :raises FlotillaError: ``BUNDLE_COMPILE_FAILED`` with the end of the compiler's log, ``BUNDLE_GO_MISSING``.
        """
        directory = self.directory(component, version)
        waiting = "waiting for another run that compiles it"
        with lock(directory.with_name(f"{directory.name}.lock"), lambda: self._report.line(waiting)):
            found = self.built(component, version)
            if found:
                return found, False
            toolchain = self._toolchain()
            with appearing(directory) as staging:
                self._compile(component, version, toolchain, staging)
                record = {"go": toolchain.version, "sha256": {name: sha256_of(staging / name) for name in component.commands}}
                (staging / "build.json").write_text(json.dumps(record), encoding="utf-8")
        return Built(directory, record), True

    def source(self, component: Component, version: str) -> dict[str, Any]:
        """Fetch the component's own module, checked against the wrapper's go.sum, and return what Go says of it (``Dir``, ``Info`` ...)."""
        toolchain = self._toolchain()
        wrapper = self._modules / component.name / version
        command = [toolchain.command, "mod", "download", "-json", component.module]
        what = f"could not fetch {component.module}"
        return json.loads(self._run(component, version, command, wrapper, toolchain.environ(), what, capture=True))

    def _compile(self, component: Component, version: str, toolchain: Toolchain, staging: Path) -> None:
        work, output = staging / "work", staging / "out"
        work.mkdir()
        output.mkdir()
        for name in ("go.mod", "go.sum"):
            shutil.copyfile(self._modules / component.name / version / name, work / name)
        self._report.line(f"fetching {component.module} {version}")
        module = self.source(component, version)
        environment = toolchain.environ(CGO_ENABLED="1" if component.cgo else "0", GOOS="linux", GOARCH=self._architecture)
        if component.leave_out:
            strip_source(component, Path(module["Dir"]), work / "source")
            edit = [toolchain.command, "mod", "edit", "-replace", f"{component.module}=./source"]
            self._run(component, version, edit, work, environment, "did not take the changed source")
        flags = ["-s", "-w", *(f"-X={name}={text}" for name, text in _stamps(component, version, module).items())]
        if component.cgo:
            flags.append('-extldflags "-static"')
        command = [toolchain.command, "build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", " ".join(flags)]
        command += ["-tags", ",".join(component.tags), "-o", f"{output}/", *component.commands.values()]
        self._run(component, version, command, work, environment, "did not compile")
        for name, package in component.commands.items():
            (output / _go_name(package)).replace(staging / name)
        shutil.rmtree(work)
        output.rmdir()

    def _run(
        self,
        component: Component,
        version: str,
        command: list[str],
        directory: Path,
        environment: dict[str, str],
        what: str,
        capture: bool = False,
    ) -> str:
        """Run a command of Go with its output in the log; return its standard output if it is to be captured.

        :param what: the end of the sentence that tells of a failure.
        :raises FlotillaError: ``BUNDLE_COMPILE_FAILED``, or ``BUNDLE_COMPILE_STALLED`` for one that does nothing any more.
        """
        with self._log.open("a", encoding="utf-8") as log, tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            begin = log.tell()
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output if capture else log,
                stderr=log,
                start_new_session=True,  # a group of its own, to be watched and ended as a whole
            )
            watch = Watch(process.pid, self._log)
            try:
                while True:
                    try:
                        code = process.wait(timeout=1)
                        break
                    except subprocess.TimeoutExpired:
                        self._report.working(lambda: _activity(self._log, begin))
                    if watch.stalled():
                        raise self._stalled(component, version)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            output.seek(0)
            answer = output.read()
            if code and answer:
                log.write(answer)
        if code:
            raise self._failed(component, version, f"{what} (exit status {code})")
        return answer

    def _stalled(self, component: Component, version: str) -> FlotillaError:
        return FlotillaError(
            "BUNDLE_COMPILE_STALLED",
            f"Go has done nothing for {component.name} {version} in {Watch.PATIENCE / 60:.0f} minutes and was stopped.",
            f"Check that the Go module proxy answers (GOPROXY), then run again. The log is {self._log}.",
            details={"log": str(self._log)},
        )

    def _failed(self, component: Component, version: str, what: str) -> FlotillaError:
        with self._log.open(encoding="utf-8", errors="replace") as log:
            tail = [line for line in _tail(log, 400) if not line.startswith("go: downloading")][-20:]
        remedy = f"The compiler's whole output is in {self._log}."
        if any(re.search(r"^go: .*|: (reading|Get) ", line) for line in tail):
            remedy = f"Check that a Go module proxy is reachable (GOPROXY). {remedy}"
        return FlotillaError(
            "BUNDLE_COMPILE_FAILED", f"{component.name} {version} {what}.", remedy, "\n".join(tail), {"log": str(self._log)}
        )


class Watch:
    """Tells when a group of processes neither writes to the log nor computes any more, such as one that waits for a dead server.

    Time alone would be wrong: to link Kubernetes can take minutes without a word on a busy machine.
    """

    PATIENCE = 600.0  # seconds
    _COMPUTING = 2.0  # seconds of CPU that more than an idle Go program takes in that time

    def __init__(self, group: int, log: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._group, self._log, self._clock = group, log, clock
        self._since, self._mark = clock(), self._signs()

    def stalled(self) -> bool:
        """Return whether nothing has happened for too long."""
        if self._clock() - self._since < self.PATIENCE:
            return False
        before, self._mark = self._mark, self._signs()
        self._since = self._clock()
        return self._mark[0] == before[0] and self._mark[1] - before[1] < self._COMPUTING

    def _signs(self) -> tuple[int, float]:
        """Return the size of the log and the seconds of CPU of the group, its finished children included (proc(5))."""
        ticks = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == self._group:
                ticks += sum(int(field) for field in fields[11:15])
        return self._log.stat().st_size, ticks / os.sysconf("SC_CLK_TCK")


def _stamps(component: Component, version: str, module: dict[str, Any]) -> dict[str, str]:
    info = json.loads(Path(module["Info"]).read_text(encoding="utf-8"))
    major, minor = version.split(".")[:2]
    commit = (info.get("Origin") or {}).get("Hash", "")
    values = {
        "version": version,
        "major": major,
        "minor": minor,
        "commit": commit,
        "commit_or_zeros": commit or "0" * 40,
        "time": info.get("Time", ""),
    }
    filled = {name: text.format(**values) for name, text in component.stamps.items()}
    return {name: text for name, text in filled.items() if text}


def _go_name(package: str) -> str:
    """Return the file name that Go gives to a command: the last part of its path that is not a major version."""
    parts = package.split("/")
    return parts[-2] if re.fullmatch(r"v\d+", parts[-1]) else parts[-1]


def _activity(log: Path, begin: int) -> str:
    """Tell what the compiler does, from the names that it has logged since byte `begin`."""
    with log.open("rb") as stream:
        stream.seek(begin)
        lines = stream.read().decode(errors="replace").splitlines()
    packages = sum(not line.startswith("go: ") for line in lines)
    if lines and lines[-1].startswith("go: downloading"):
        return "fetching modules"
    return f"compiling, {packages} packages so far" if packages else "compiling"


def _tail(stream: IO[str], lines: int) -> list[str]:
    return stream.read().splitlines()[-lines:]


def strip_source(component: Component, source: Path, target: Path) -> None:
    """Copy a module's source to `target` without the packages that `component` leaves out.

    The imports of such a package are blank ones (it registers itself), so removing the line and the folder is enough; what only
    that package needed drops out of go.mod.
    """
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for directory in [target, *(path for path in target.rglob("*") if path.is_dir())]:
        directory.chmod(0o755)  # Go's module cache is read-only
    needed: set[str] = set()
    for package in component.leave_out:
        folder = target / os.path.relpath(package, component.module)
        for path in folder.glob("*.go"):
            needed |= _imports(path.read_text(encoding="utf-8"))
        shutil.rmtree(folder)
    left: set[str] = set()
    for path in target.rglob("*.go"):
        text = path.read_text(encoding="utf-8")
        for package in component.leave_out:
            text = re.sub(rf'^\s+_ "{re.escape(package)}"\n', "", text, flags=re.M)
        left |= _imports(text)
        path.write_text(text, encoding="utf-8")
    kept = []
    for line in (target / "go.mod").read_text(encoding="utf-8").splitlines():
        match = re.match(r"^\s+(\S+) v\S+$", line)
        if not match or not _any_inside(needed, match.group(1)) or _any_inside(left, match.group(1)):
            kept.append(line)
    (target / "go.mod").write_text("\n".join(kept) + "\n", encoding="utf-8")


def _imports(text: str) -> set[str]:
    return set(re.findall(r'^(?:import)?\s+(?:[\w.]+ )?"([^"\s]+)"$', text, re.M))


def _any_inside(packages: set[str], module: str) -> bool:
    return any(package == module or package.startswith(f"{module}/") for package in packages)
