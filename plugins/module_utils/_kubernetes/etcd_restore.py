# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup on the machine that is to be the first control plane again (private to flotilla.kubernetes).

It is laid out and checked first, while whatever is left of the cluster still runs. kubeadm init then begins with it: while it lies there,
no other cluster starts on this machine. Python 3.9, standard library, etcdutl and openssl only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._errors import FlotillaError
from .._files import scratch, write_atomically
from .._state import STATE_DIR
from . import backup_archive
from .backup_archive import Sealed
from .etcd_backup import try_out
from .staged_restore import AUTHORITIES, NOTE, PKI, STAGED, discard
from .work import Tell

NAME = "etcd-restore"


@dataclass(frozen=True)
class Request:
    """What is laid out.

    :param key: the data key of the archive.
    :param node_name: of the machine's Node, which is the name of its etcd member, too.
    :param address: the machine's own.
    """

    archive: str
    key: str
    sealed: Sealed
    revision: int
    node_name: str
    address: str


def stage(request: Request, tell: Tell) -> dict[str, Any]:
    """Lay out a backup for kubeadm init, in place of one that lies there; nothing that runs is touched.

    :raises FlotillaError: the archive is not what it should be, or can not be restored.
    """
    folder = STATE_DIR / NAME
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with scratch(folder, "unpack") as room:
        content = room / "content"
        content.mkdir(mode=0o700)
        tell("opens the backup")
        names = backup_archive.unpack(Path(request.archive), request.key, request.sealed, content)
        lacking = [name for name in ("etcd/snapshot.db", *(f"{PKI}/{file}" for file in AUTHORITIES)) if name not in names]
        if lacking:
            raise FlotillaError("BACKUP_INCOMPLETE", f"The backup lacks {', '.join(lacking)}.", "Choose another backup.")
        tell("tries the snapshot")
        facts = try_out(content / "etcd/snapshot.db", room)
        if facts["revision"] != request.revision:
            raise FlotillaError(
                "BACKUP_DAMAGED",
                f"The snapshot is of revision {facts['revision']}, its manifest says {request.revision}.",
                "Choose another backup.",
            )
        note = {"name": request.node_name, "address": request.address, "revision": request.revision}
        write_atomically(content / NOTE, json.dumps(note).encode(), 0o600)
        discard()
        content.rename(STAGED)
    return {"revision": facts["revision"]}
