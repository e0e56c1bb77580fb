# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what the module node_files leaves in the machine's log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible_collections.flotilla.kubernetes.plugins.modules import node_files

SECRET = '[host]\n  Authorization = "Basic c2VjcmV0LXNlY3JldA=="\n'


def logged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Run the module in check mode and return what it wrote to the log of the machine."""
    lines: list[str] = []
    arguments: dict[str, Any] = {"secret_files": [{"dest": str(tmp_path / "hosts.toml"), "content": SECRET}], "_ansible_check_mode": True}
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    monkeypatch.setattr(basic.AnsibleModule, "log", lambda _self, message, log_args=None: lines.append(f"{message} {log_args}"))
    with pytest.raises(SystemExit):
        node_files.main()
    return lines


def test_the_lines_of_a_secret_file_are_in_no_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not any("c2VjcmV0" in line for line in logged(monkeypatch, tmp_path))


def test_an_ordinary_module_would_write_them_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(node_files, "QuietModule", basic.AnsibleModule)
    assert any("c2VjcmV0" in line for line in logged(monkeypatch, tmp_path))
