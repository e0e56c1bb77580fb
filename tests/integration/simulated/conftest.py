# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real playbooks over simulated clusters; what is simulated says tests/support/simulated/world.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from simulated.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Simulated clusters, none yet."""
    return World(tmp_path / "world")
