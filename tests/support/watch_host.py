# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches this host while something runs: what processes show, and the secrets that kubeadm gets on machines for a moment.

Runs as root in a process of its own until its standard input ends, and then prints what it saw as JSON.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from processes import PERIOD, Sampler

KUBEADM_CONFIGURATION = "root/run/flotilla-kubeadm-*/*.json"
JOIN_SECRETS = {
    "join token": re.compile(r'"token":\s*"([a-z0-9]{6}\.[a-z0-9]{16})"'),
    "certificate key": re.compile(r'"certificateKey":\s*"([0-9a-f]{64})"'),
}


@dataclass
class Watched:
    """What was seen: command lines and environments with NUL between the words, and join secrets by kind."""

    commands: list[bytes] = field(default_factory=list)
    environments: list[bytes] = field(default_factory=list)
    join_secrets: dict[str, list[str]] = field(default_factory=dict)


@contextmanager
def watching(sudo: list[str]) -> Iterator[Watched]:
    """Watch the host while the block runs; the result is complete after it."""
    watched = Watched()
    watcher = subprocess.Popen([*sudo, sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield watched
    finally:
        seen = json.loads(watcher.communicate()[0])
        watched.commands = [text.encode("latin-1") for text in seen["commands"]]
        watched.environments = [text.encode("latin-1") for text in seen["environments"]]
        watched.join_secrets = seen["join_secrets"]


def main() -> None:
    """Watch until standard input ends."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    found: dict[str, set[str]] = {kind: set() for kind in JOIN_SECRETS}
    with Sampler(environments=True) as sampler:
        while not ended.wait(PERIOD):
            for pid in sampler.machines():
                for path in Path("/proc", str(pid)).glob(KUBEADM_CONFIGURATION):
                    try:
                        text = path.read_text(encoding="utf-8")
                    except OSError:  # kubeadm has ended in between
                        continue
                    for kind, pattern in JOIN_SECRETS.items():
                        found[kind].update(pattern.findall(text))
    print(
        json.dumps(
            {
                "commands": sorted(command.decode("latin-1") for command in sampler.commands),
                "environments": sorted(environment.decode("latin-1") for environment in sampler.seen_environments),
                "join_secrets": {kind: sorted(values) for kind, values in found.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
