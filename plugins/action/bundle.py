# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of the module bundle: it shows the progress (private to flotilla.kubernetes)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._sliced import SlicedAction


class ActionModule(SlicedAction):
    """Tells the module where this collection is, because the process that it starts outlives the module's own files."""

    def internal_arguments(self) -> dict[str, Any]:
        """Return the worker's interpreter and the collections path that this file was found in."""
        here = Path(__file__).absolute()
        place = next((folder.parent for folder in here.parents if folder.name == "ansible_collections"), None)
        # In a checkout the real path of this file has no ansible_collections; the link to it has.
        return {"worker": {"python": sys.executable, "collections_path": str(place or here.parents[2] / "collection")}}
