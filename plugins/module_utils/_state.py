# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection remembers on a node (private to flotilla.kubernetes). Python 3.9, standard library only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STATE_DIR = Path("/var/lib/flotilla")


def read_json(path: Path) -> dict[str, Any]:
    """Return what a file remembers; nothing when it is not there or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
