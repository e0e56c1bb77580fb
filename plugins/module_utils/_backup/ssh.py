# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups on a host that is reached by SSH (private to flotilla.kubernetes).

OpenSSH's own client, because people's configuration, agents and known hosts are its; there is nothing to install on the host.
"""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from .store import LEFT_BEHIND, Progress, Store, Stored, copy

_PARTIAL = ".partial-"
# Exit status of ssh itself; those of our scripts are others.
_NO_CONNECTION, _NOT_THERE, _NOT_THE_SAME = 255, 66, 67


class Ssh(Store):
    """A directory of another host. The host has a POSIX shell, ``sha256sum`` and ``find``."""

    def __init__(self, host: str, user: str, path: str, port: int = 22, private_key_file: str | None = None) -> None:
        self._path = PurePosixPath(path)
        self.title = f"the directory {path} of {host}"
        key = ["-i", str(Path(private_key_file).expanduser()), "-o", "IdentitiesOnly=yes"] if private_key_file else []
        # Nobody is there to answer questions, and a host that went away is noticed.
        options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
        self._ssh = ["ssh", *options, *key, "-p", str(port), "-l", user, "--", host]

    def put(self, source: Path, name: str, sha256: str, progress: Progress) -> None:
        target = self._path / name
        partial = target.with_name(f".{target.name}{_PARTIAL}{secrets.token_hex(4)}")
        # A connection that is lost looks like the end of the file, so nothing gets its name before its hash was looked at.
        script = """
            umask 077; set -e
            mkdir -p "$1"
            trap 'rm -f "$2"' EXIT
            cat >"$2"
            sync "$2" 2>/dev/null || sync
            [ "$(sha256sum <"$2" | cut -d' ' -f1)" = "$4" ] || exit 67
            mv -f "$2" "$3"
        """
        with source.open("rb") as reader, self._start(script, target.parent, partial, target, sha256) as process:
            try:
                copy(reader, process.stdin, progress)
                process.stdin.close()
            except BrokenPipeError:
                pass  # the command ended, and says why
            self._end(process, f"writing {name}", name)

    def get(self, name: str, destination: Path, progress: Progress) -> None:
        script = '[ -f "$1" ] || exit 66; exec cat "$1"'
        descriptor = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as writer, self._start(script, self._path / name) as process:
            process.stdin.close()
            copy(process.stdout, writer, progress)
            self._end(process, f"reading {name}", name)

    def files(self, folder: str) -> list[Stored]:
        script = 'cd "$1" 2>/dev/null || exit 0; for file in *; do [ ! -f "$file" ] || echo "$(($(wc -c <"$file")))" "$file"; done'
        listed = self._run(f"listing {folder}", script, self._path / folder).decode("utf-8", "replace")
        pairs = (line.split(" ", 1) for line in listed.splitlines())
        return sorted((Stored(f"{folder}/{name}", int(size)) for size, name in pairs), key=lambda stored: stored.name)

    def delete(self, name: str) -> None:
        self._run(f"deleting {name}", 'rm -f "$1"', self._path / name)

    def tidy(self, folder: str) -> None:
        script = '[ ! -d "$1" ] || find "$1" -type f -name ".*.partial-*" -mmin +"$2" -exec rm -f {} +'
        self._run(f"tidying {folder}", script, self._path / folder, str(int(LEFT_BEHIND // 60)))

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        wanted = list(names)
        # One connection for all: before each content its length, or - for what is not there.
        script = 'for file; do if [ -f "$file" ]; then echo "$(($(wc -c <"$file")))"; cat "$file"; else echo -; fi; done'
        answer = self._run("reading", script, *(self._path / name for name in wanted)) if wanted else b""
        found = {}
        for name in wanted:
            length, _newline, answer = answer.partition(b"\n")
            if length != b"-":
                found[name], answer = answer[: int(length)], answer[int(length) :]
        return found

    def _start(self, script: str, *arguments: Any) -> subprocess.Popen[bytes]:
        words = " ".join(shlex.quote(str(word)) for word in ("sh", "-c", script, "backup-store", *arguments))
        try:
            return subprocess.Popen([*self._ssh, words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
            raise self.refused("starting ssh", error.strerror) from error

    def _run(self, doing: str, script: str, *arguments: Any) -> bytes:
        with self._start(script, *arguments) as process:
            output, errors = process.communicate()
            self._judge(process.returncode, errors, doing, "")
        return output

    def _end(self, process: subprocess.Popen[bytes], doing: str, name: str) -> None:
        errors = process.stderr.read()
        self._judge(process.wait(), errors, doing, name)

    def _judge(self, code: int, errors: bytes, doing: str, name: str) -> None:
        if code == _NOT_THERE:
            raise self.missing(name)
        if code == _NOT_THE_SAME:
            raise self.damaged(name)
        if code:
            said = " ".join(errors.decode("utf-8", "replace").split()) or f"exit code {code}"
            error = self.refused(doing, said)
            if code == _NO_CONNECTION:
                error.code = "BACKUP_STORE_UNREACHABLE"
            raise error
