# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources of components, from the Go module proxy."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.components import COMPONENTS


def folder(component: str, version: str) -> Path:
    """Return where the source of a component is; the test is skipped where no proxy within reach has it."""
    command = ["go", "mod", "download", "-json", f"{COMPONENTS[component].module}@v{version}"]
    found = subprocess.run(command, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=300, check=False)
    if found.returncode:
        pytest.skip(f"no Go module proxy within reach has {component}")
    return Path(json.loads(found.stdout)["Dir"])
