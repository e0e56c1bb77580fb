# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of `backup_store` (private to flotilla.kubernetes)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.backup_schema import KINDS

if TYPE_CHECKING:
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.rules import Report

# What a reboot empties, or what is tidied up by age: https://systemd.io/TEMPORARY_DIRECTORIES/.
_FLEETING = ("/tmp", "/var/tmp", "/run", "/var/run", "/dev/shm")  # noqa: S108


def backup_store(data: dict[str, Any], report: Report) -> None:
    """Backups have one place, and one that lasts."""
    store = data.get("backup_store")
    if not store:
        return
    kinds = [kind for kind in KINDS if kind in store]
    about = [("backup_store", kind) for kind in KINDS]
    if not kinds:
        report(("backup_store",), f"says nowhere to keep backups; add one of {', '.join(KINDS)}.", about=about)
    elif len(kinds) > 1:
        report(("backup_store",), f"has {' and '.join(kinds)}, but backups are kept in one place; remove the others.", about=about)
    path = store.get("directory", {}).get("path", "")
    if any(path == place or path.startswith(f"{place}/") for place in _FLEETING):
        report(
            ("backup_store", "directory", "path"), "is where files do not last; choose a directory on a disk that outlives the controller."
        )
