# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which cloud, and in how much bad weather: `make contract CLOUD=aws SEEDS=3 SEED=1`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from clouds import cloud as clouds
from clouds.story import Story


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cloud", default="aws", help="folder of tests/support/clouds")
    parser.addoption("--seeds", type=int, default=3, help="how many stories in bad weather")
    parser.addoption("--seed", type=int, default=1, help="the first of them")
    parser.addoption("--speed", type=float, default=10.0, help="how much faster than real the test's clock goes")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        first = metafunc.config.getoption("--seed")
        metafunc.parametrize("seed", range(first, first + metafunc.config.getoption("--seeds")))


@pytest.fixture(scope="module")
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The chosen cloud's endpoint, and the story on it."""
    cloud = clouds.load(request.config.getoption("--cloud"))
    with clouds.started(cloud, tmp_path_factory.mktemp("cloud"), request.config.getoption("--speed")) as place:
        yield Story(place)
