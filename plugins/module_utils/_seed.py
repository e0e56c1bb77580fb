# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that hands files on to the others of its zone: start and end of its server (private to flotilla.kubernetes).

Python 3.9, standard library only.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import _seed_server
from ._command import run
from ._errors import FlotillaError, clear_os_errors
from ._fetch import Origin, connect, token_digest
from ._files import write_atomically
from ._state import STATE_DIR

UNIT = "flotilla-seed.service"
SPOOL = STATE_DIR / "seed"
# A tmpfs: the server's private key never reaches a disk.
RUN_DIR = Path("/run/flotilla-seed")
# Seconds after which systemd ends the server, whatever has become of the run, and after which it ends when nobody comes.
LONGEST, IDLE = 3600, 300


def serve(staged: dict[str, str], digests: dict[str, str], address: str, token: str) -> dict[str, str]:
    """Hand on copies of what was brought here and return ``url`` and ``certificate`` (PEM) of the server.

    :param staged: key -> path on this node.
    :param digests: key -> SHA-256, which is the file's name at the server.
    :param address: the node's own address in the network of the machines; the server listens nowhere else.
    :raises FlotillaError: the server does not start.
    """
    stop()
    with clear_os_errors(SPOOL, "written"):
        SPOOL.mkdir(mode=0o700, parents=True)
        RUN_DIR.mkdir(mode=0o700, parents=True)
        for key, path in staged.items():
            _link(Path(path), SPOOL / digests[key])
        write_atomically(RUN_DIR / "server.py", inspect.getsource(_seed_server).encode(), 0o600)
    certificate, key_file, port_file = RUN_DIR / "certificate.pem", RUN_DIR / "key.pem", RUN_DIR / "port"
    run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        + ["-subj", "/CN=flotilla-seed", "-addext", f"subjectAltName=IP:{address}", "-keyout", str(key_file), "-out", str(certificate)],
        code="SEED_NOT_STARTED",
        remedy="Install openssl on the machine.",
    )
    config = {
        "folder": str(SPOOL),
        "token_digest": token_digest(token),
        "certificate": str(certificate),
        "key": str(key_file),
        "address": address,
        "port_file": str(port_file),
        "idle_seconds": IDLE,
        "remove": [str(SPOOL), str(RUN_DIR)],
    }
    write_atomically(RUN_DIR / "config.json", json.dumps(config).encode(), 0o600)
    remedy = f"Read 'journalctl -u {UNIT}' on the machine."
    run(
        ["systemd-run", "--quiet", "--collect", f"--unit={UNIT}", "--description=Files of a bundle for the other nodes of the zone"]
        # Also when the server is killed its files go.
        + [f"--property=RuntimeMaxSec={LONGEST}", f"--property=ExecStopPost=/bin/rm -rf {SPOOL} {RUN_DIR}"]
        + ["--property=NoNewPrivileges=yes", sys.executable, str(RUN_DIR / "server.py"), str(RUN_DIR / "config.json")],
        code="SEED_NOT_STARTED",
        remedy=remedy,
    )
    deadline = time.monotonic() + 30
    while not (port_file.exists() and port_file.read_text(encoding="ascii")):
        if time.monotonic() > deadline or not _active():
            raise FlotillaError("SEED_NOT_STARTED", f"The server for the other nodes does not start on {address}.", remedy)
        time.sleep(0.1)
    port = port_file.read_text(encoding="ascii")
    host = f"[{address}]" if ":" in address else address
    return {"url": f"https://{host}:{port}", "certificate": certificate.read_text(encoding="ascii")}


def stop() -> None:
    """End this node's server, if there is one, and remove its files; those of a node that lost its power, too."""
    if not SPOOL.exists() and not RUN_DIR.exists():
        return
    if _active():
        run(["systemctl", "stop", UNIT], code="SEED_NOT_STOPPED", remedy=f"Stop {UNIT} on the machine.")
    with clear_os_errors(SPOOL, "removed"):
        for folder in (SPOOL, RUN_DIR):
            if folder.exists():
                shutil.rmtree(folder)


def clear_remains() -> None:
    """Remove the files of a server that ended without removing them."""
    if SPOOL.exists() and not _active():
        shutil.rmtree(SPOOL, ignore_errors=True)


def release(origins: Sequence[dict[str, Any]]) -> None:
    """Tell the servers of other nodes that nobody needs them any more; one that does not hear it ends by itself."""
    for given in origins:
        origin = Origin(given["url"], given["ca_certificates"], only_ca=True, token=given["token"])
        try:
            connection, _target, _headers = connect(origin, f"{given['url']}/", timeout=10)
            connection.request("DELETE", "/", headers=origin.headers())
            connection.getresponse().read()
            connection.close()
        except OSError:
            continue


def _active() -> bool:
    try:
        run(["systemctl", "is-active", "--quiet", UNIT])
    except FlotillaError:
        return False
    return True


def _link(source: Path, target: Path) -> None:
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
