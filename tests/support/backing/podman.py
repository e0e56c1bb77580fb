# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers, volumes and networks of one backing. All carry its label, by which they are found again."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import outside

LABEL = "flotilla-backing"
KIND = "flotilla-backing-kind"
THING = "flotilla-backing-thing"


class Failed(Exception):
    """A command on this host did not do what it should."""


@dataclass(frozen=True)
class Container:
    name: str
    running: bool
    labels: dict[str, str]


def run(*argv: str, data: bytes = b"", check: bool = True, timeout: float = 300) -> str:
    """Run a command of this host as root and return what it printed."""
    try:
        done = subprocess.run([*outside.SUDO, *argv], input=data, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(argv[:4])} does not end") from error
    if check and done.returncode:
        raise Failed(f"{' '.join(argv)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace")


def podman(*arguments: str, **options: Any) -> str:
    return run("podman", *arguments, **options)


def listed(*arguments: str) -> list[dict[str, Any]]:
    return list(json.loads(podman(*arguments, "--format", "json") or "[]"))


def runtime() -> list[str]:
    """Return podman's options before its verb: crun refuses the hybrid hierarchy of cgroups."""
    return [] if Path("/sys/fs/cgroup/cgroup.controllers").exists() else ["--runtime", "runc"]


def archive(files: dict[str, tuple[int, str | bytes]]) -> bytes:
    """Return a tar of files (path -> mode, content), all of them root's, with the folders that they are in."""
    buffer, folders = io.BytesIO(), set()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, (mode, content) in sorted(files.items()):
            for parent in list(Path(path).parents)[-2::-1]:
                if parent not in folders:
                    folders.add(parent)
                    folder = tarfile.TarInfo(str(parent))
                    folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(folder)
            text = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(path)
            entry.mode, entry.size = mode, len(text)
            tar.addfile(entry, io.BytesIO(text))
    return buffer.getvalue()


class Host:
    """What one backing has on this host.

    :param name: of the backing; everything it makes is named and labelled after it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.filter = ("--filter", f"label={LABEL}={name}")

    def labels(self, kind: str, thing: str) -> list[str]:
        # The first for tools/collect-logs.
        return [
            f"--label=flotilla-cluster={self.name}",
            f"--label={LABEL}={self.name}",
            f"--label={KIND}={kind}",
            f"--label={THING}={thing}",
        ]

    def containers(self, kind: str = "") -> dict[str, Container]:
        """Return the containers by the thing that each stands for."""
        found = {}
        for entry in listed("ps", "--all", *self.filter):
            labels = entry.get("Labels") or {}
            if kind in ("", labels.get(KIND)):
                found[labels[THING]] = Container(entry["Names"][0], entry["State"] == "running", labels)
        return found

    def volumes(self) -> dict[str, str]:
        """Return the volumes: name -> the thing that each is of."""
        return {entry["Name"]: entry["Labels"][THING] for entry in listed("volume", "ls", *self.filter)}

    def remove(self, containers: list[str], volumes: list[str]) -> None:
        # Without a polite stop: systemd does not end in podman's patience.
        if containers:
            podman("rm", "--force", "--time", "0", "--volumes", "--ignore", *containers, timeout=60 + 20 * len(containers))
        if volumes:
            podman("volume", "rm", "--force", *volumes)
