# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs podman, nft, ip and the like for the local cloud: the only place that starts a command (private to flotilla.kubernetes).

Everything else in this folder gets a `Session` and hands it argument lists, never a shell line.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Callable

from ..._errors import FlotillaError

# Which Debian package brings a program, for the remedy of "not found".
PACKAGES = {
    "podman": "podman",
    "runc": "runc",
    "netavark": "netavark",
    "nft": "nftables",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "sysctl": "procps",
    "modprobe": "kmod",
    "ssh-keygen": "openssh-client",
    "df": "coreutils",
}
# What coreutils' timeout ends with when it had to end the command, or to kill it.
TIMED_OUT = (124, 137)
PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy")
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")


def on_cgroup_v2(root: str = "/sys/fs/cgroup") -> bool:
    """Tell whether the host has the unified cgroup hierarchy only (a hybrid host has this file one folder deeper)."""
    return Path(root, "cgroup.controllers").exists()


class Session:
    """Commands on the cluster host, as root: directly, or through ``sudo -n`` for another user.

    :param execute: stands in for ``subprocess.run`` in tests.
    :param uid: the effective user; another one than 0 gets sudo.
    """

    def __init__(self, execute: Callable[..., Any] = subprocess.run, uid: int | None = None) -> None:
        self._execute = execute
        self._uid = os.geteuid() if uid is None else uid

    def find(self, program: str) -> str | None:
        """Return the path of ``program``, also from the sbin folders that are not on an ordinary user's PATH."""
        path = os.pathsep.join([os.environ.get("PATH", ""), *SYSTEM_FOLDERS])
        return shutil.which(program, path=path)

    def require(self, *programs: str) -> None:
        """Fail with the packages to install unless every program is there."""
        missing = [program for program in programs if not self.find(program)]
        if missing:
            packages = " ".join(sorted({PACKAGES.get(program, program) for program in missing}))
            raise FlotillaError(
                "LOCAL_PROGRAM_MISSING",
                f"The local cloud needs {', '.join(missing)} on this host and does not find it.",
                f"Install it, on Debian and Ubuntu with: sudo apt-get install {packages}",
                details={"programs": missing},
            )

    def run(
        self,
        argv: list[str],
        *,
        check: bool = True,
        root: bool = True,
        data: bytes | None = None,
        timeout: float = 120,
        code: str = "LOCAL_COMMAND_FAILED",
        message: str = "",
        remedy: str = "",
    ) -> Any:
        """Run one command and return its ``CompletedProcess`` (bytes decoded, errors replaced).

        :param check: raise a FlotillaError with ``code``, ``message`` and ``remedy`` when the exit status is not 0.
        :param root: whether the command needs root.
        :param data: standard input; without it the command gets none.
        :param timeout: seconds; a command that takes longer is killed.
        """
        program = self.find(argv[0])
        if program is None:
            self.require(argv[0])
        command = [program or argv[0], *argv[1:]]
        if root and self._uid != 0:
            sudo = self.find("sudo")
            if sudo is None:
                raise FlotillaError(
                    "LOCAL_ROOT_NEEDED",
                    f"The local cloud runs {argv[0]} as root, and neither root nor sudo is available.",
                    "Run the playbook as root or install sudo.",
                )
            kept = ",".join(name for name in PROXY_VARIABLES if os.environ.get(name))
            # An ordinary user can not end a process of root, so root ends it.
            bounded = ["timeout", "--kill-after=5", f"{timeout:g}", *command]
            command = [sudo, "-n", *([f"--preserve-env={kept}"] if kept else []), *bounded]
        try:
            done = self._execute(command, input=data if data is not None else b"", capture_output=True, timeout=timeout + 15, check=False)
            if done.returncode in TIMED_OUT and "timeout" in command[:4]:
                raise subprocess.TimeoutExpired(command, timeout)
        except subprocess.TimeoutExpired as error:
            raise FlotillaError(
                "LOCAL_COMMAND_TIMEOUT",
                f"'{' '.join(argv[:3])}' did not end within {timeout:g} s on this host.",
                "See what the host is busy with, then run again.",
                cause=error,
            ) from error
        except OSError as error:
            raise FlotillaError("LOCAL_COMMAND_FAILED", f"'{argv[0]}' does not start on this host.", remedy, cause=error) from error
        done.stdout = done.stdout.decode(errors="replace")
        done.stderr = done.stderr.decode(errors="replace")
        if done.returncode and root and self._uid != 0 and done.stderr.startswith("sudo: "):
            raise FlotillaError(
                "LOCAL_ROOT_NEEDED",
                f"The local cloud runs {argv[0]} as root, and sudo asks for a password.",
                "Run the playbook as root, run 'sudo -v' in this terminal first, or allow this user sudo without a password.",
                cause=done.stderr,
            )
        if check and done.returncode:
            raise FlotillaError(
                code,
                message or f"'{' '.join(argv[:3])}' failed with status {done.returncode} on this host.",
                remedy,
                cause=done.stderr.strip() or done.stdout.strip(),
            )
        return done

    def podman(self, *arguments: str, **options: Any) -> str:
        """Run podman and return its standard output; options as for `run`."""
        return self.run(["podman", *arguments], **options).stdout

    def podman_json(self, *arguments: str) -> Any:
        """Run a podman query with ``--format json`` and return the decoded answer (an empty answer is an empty list)."""
        text = self.podman(*arguments, "--format", "json")
        return json.loads(text) if text.strip() else []

    def runtime_options(self) -> list[str]:
        """Return podman's options before the verb when a container is created.

        crun refuses the hybrid cgroup hierarchy, so a host without the unified one gets runc.
        """
        if on_cgroup_v2():
            return []
        self.require("runc")
        return ["--runtime", "runc"]
