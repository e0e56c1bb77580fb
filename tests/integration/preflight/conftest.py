# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One sound cluster for all tests of this folder, each of which breaks one thing and takes it back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import upgrade_world


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Iterator[upgrade_world.World]:
    with upgrade_world.started(tmp_path_factory.mktemp("world"), programs) as made:
        yield made


@pytest.fixture
def world(shared: upgrade_world.World) -> Iterator[upgrade_world.World]:
    with shared.scene():
        yield shared
