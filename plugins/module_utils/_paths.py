# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things live on the controller (private to flotilla.kubernetes)."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the controller's cache: ``$FLOTILLA_CACHE``, else ``~/.cache/flotilla``."""
    return Path(os.environ.get("FLOTILLA_CACHE") or "~/.cache/flotilla").expanduser()


def kubeconfig_path(cluster: str) -> Path:
    """Return where the administrator's kubeconfig of ``cluster`` is kept."""
    return Path("~/.kube/flotilla").expanduser() / f"{cluster}.conf"
