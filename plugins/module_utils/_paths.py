# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things live on the controller (private to flotilla.kubernetes)."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote


def cache_dir() -> Path:
    """Return the controller's cache: ``$FLOTILLA_CACHE``, else ``~/.cache/flotilla``."""
    return Path(os.environ.get("FLOTILLA_CACHE") or "~/.cache/flotilla").expanduser()


def kubeconfig_path(cluster: str, user: str = "") -> Path:
    """Return where a kubeconfig of ``cluster`` is kept: the operator's own, or that of ``user``.

    A cluster's name has no dot and an escaped user no slash, so no two of them share a file.
    """
    return Path("~/.kube/flotilla").expanduser() / (f"{cluster}.{quote(user, safe='@+')}.conf" if user else f"{cluster}.conf")
