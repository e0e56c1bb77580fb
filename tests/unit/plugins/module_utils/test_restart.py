# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of restarts that are due."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.flotilla.kubernetes.plugins.module_utils._restart import Restart


def test_a_restart_is_owed_until_it_is_paid(tmp_path: Path) -> None:
    assert not Restart("containerd", tmp_path).due
    Restart("containerd", tmp_path).owe()
    assert Restart("containerd", tmp_path).due and not Restart("kubelet", tmp_path).due
    (tmp_path / "restart-containerd").unlink()
    assert not Restart("containerd", tmp_path).due
    Restart(None, tmp_path).owe()
    assert list(tmp_path.iterdir()) == []
