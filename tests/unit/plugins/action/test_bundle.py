# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin bundle finds this collection however it was loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ansible_collections.flotilla.kubernetes.plugins.action import bundle


@pytest.mark.parametrize("loaded", ["as it is", "through the real path"])
def test_the_worker_can_import_the_collection_from_where_the_action_says(monkeypatch, loaded):
    if loaded != "as it is":
        monkeypatch.setattr(bundle, "__file__", str(bundle.Path(bundle.__file__).resolve()))
    worker = object.__new__(bundle.ActionModule).internal_arguments()["worker"]
    name = "ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.worker"
    command = [
        worker["python"],
        "-I",
        "-c",
        f"import sys; sys.path.insert(0, {worker['collections_path']!r}); import {name}; print('found')",
    ]
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd="/").stdout == "found\n"
    assert worker["python"] == sys.executable
