# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder where tests keep backups of a cluster, and somebody who can read them."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import outside


@dataclass(frozen=True)
class BackupStore:
    cluster: str
    folder: Path
    recipient: Path
    key: Path

    @classmethod
    def make(cls, cluster: str, keys: Path) -> BackupStore:
        """Make an empty store of a cluster, and a new recipient's key and certificate in ``keys``."""
        # Not in /tmp, which definitions refuse.
        store = cls(cluster, outside.cache() / "e2e" / cluster, keys / "backup.crt", keys / "backup.key")
        store.remove()
        options = ["-x509", "-newkey", "rsa:3072", "-nodes", "-subj", "/CN=backup", "-days", "2"]
        openssl = ["openssl", "req", *options, "-keyout", store.key, "-out", store.recipient]
        subprocess.run(openssl, check=True, capture_output=True)
        return store

    @property
    def section(self) -> dict[str, Any]:
        """What a definition says of it."""
        return {
            "directory": {"path": str(self.folder)},
            "recipient": str(self.recipient),
            "retention": {"last": 2, "daily": 0, "weekly": 0},
        }

    @property
    def unlocked(self) -> tuple[str, str]:
        """What a playbook that reads backups is given."""
        return "-e", f"flotilla_backup_key_file={self.key}"

    def manifests(self) -> list[dict[str, Any]]:
        """Return what the backups say of themselves, oldest first."""
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((self.folder / self.cluster).glob("*.json"))]

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
