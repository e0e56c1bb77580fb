# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of a node that hands files on, with a process in place of the systemd unit."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils import _command, _fetch, _seed
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError

CONTENT = os.urandom(1 << 20)
TOKEN = "MARKER-token"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Systemd:
    """Starts what it is told to start and remembers how."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.started: list[str] = []

    def run(self, argv: list[str], **options: Any) -> str:
        if argv[0] == "systemd-run":
            self.started = list(argv)
            self.process = subprocess.Popen(argv[-3:])
        elif argv[:2] == ["systemctl", "is-active"]:
            if not self.process or self.process.poll() is not None:
                raise FlotillaError("COMMAND_FAILED", "inactive")
        elif argv[:2] == ["systemctl", "stop"]:
            self.end()
        else:
            return _command.run(argv, **options)
        return ""

    def end(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    fake = Systemd()
    monkeypatch.setattr(_seed, "run", fake.run)
    monkeypatch.setattr(_seed, "SPOOL", tmp_path / "spool")
    monkeypatch.setattr(_seed, "RUN_DIR", tmp_path / "run")
    yield fake
    fake.end()


def serve(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "staged").write_bytes(CONTENT)
    server = _seed.serve({"/usr/local/bin/tool": str(tmp_path / "staged")}, {"/usr/local/bin/tool": SHA256}, "127.0.0.1", TOKEN)
    return {"url": server["url"], "ca_certificates": server["certificate"], "token": TOKEN}


def test_what_was_brought_is_handed_on_also_after_it_was_put_in_place_until_it_is_released(tmp_path: Path, systemd: Systemd) -> None:
    given = serve(tmp_path)
    (tmp_path / "staged").unlink()
    origin = _fetch.Origin(given["url"], given["ca_certificates"], only_ca=True, token=TOKEN)
    path = _fetch.Incoming(tmp_path / "incoming").fetch(origin, SHA256, SHA256, time.monotonic() + 60)
    assert path and path.read_bytes() == CONTENT
    _seed.release([given])
    assert systemd.process and systemd.process.wait(10) == 0
    assert not (tmp_path / "spool").exists() and not (tmp_path / "run").exists()
    # Twice is no failure.
    _seed.release([given])


def test_systemd_ends_it_and_removes_its_files_whatever_happens(tmp_path: Path, systemd: Systemd) -> None:
    serve(tmp_path)
    assert f"--property=RuntimeMaxSec={_seed.LONGEST}" in systemd.started
    assert f"--property=ExecStopPost=/bin/rm -rf {tmp_path / 'spool'} {tmp_path / 'run'}" in systemd.started
    # The token itself is nowhere on the node.
    for path in (tmp_path / "run").iterdir():
        assert b'token"' not in path.read_bytes() or path.name == "server.py"
    assert (tmp_path / "run").stat().st_mode & 0o077 == 0 and (tmp_path / "spool").stat().st_mode & 0o077 == 0


def test_what_a_node_without_power_left_is_removed_by_the_next_run(tmp_path: Path, systemd: Systemd) -> None:
    serve(tmp_path)
    _seed.clear_remains()
    assert (tmp_path / "spool").exists()  # it still serves
    systemd.end()
    _seed.clear_remains()
    assert not (tmp_path / "spool").exists()
    assert serve(tmp_path)["url"].startswith("https://127.0.0.1:")
