# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which cloud, and in how much bad weather: `make contract CLOUD=aws SEEDS=3 SEED=9`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from clouds import cloud as clouds
from clouds.seeds import ROOT, Knowledge, Passed, Storms, storms
from clouds.story import Story, steps_for

# So that a process of a storm finds them, too.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests/support"), str(ROOT / "collection"), os.environ.get("PYTHONPATH", "")])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cloud", default="aws", help="folder of tests/support/clouds")
    parser.addoption("--seeds", type=int, default=3, help="how many stories in bad weather")
    parser.addoption("--seed", type=int, default=9, help="the first of them; every tenth one kills real processes")
    parser.addoption("--speed", type=float, default=5.0, help="how much faster than real the test's clock goes, where there is work")
    parser.addoption("--jobs", type=int, default=min(4, os.cpu_count() or 1), help="how many stories at once")
    parser.addoption("--minutes", type=float, help="begin no further story after so many minutes; the next call goes on from there")
    parser.addoption("--sample", action="store_true", help="tell a part of the story at the real pace, which takes about five minutes")


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


@pytest.fixture(scope="module")
def knowledge(story: Story) -> Knowledge:
    """What the steps leave behind, from the test of good weather if that was before."""
    if not story.references:
        story.calm(steps=steps_for(story.place.cloud))
    return Knowledge(story.references, story.moments)


@pytest.fixture(scope="session")
def passed(request: pytest.FixtureRequest) -> Passed:
    """The seeds that need not be tried again, where the work is done in pieces."""
    name = request.config.getoption("--cloud")
    return Passed(ROOT / f"build/contract/{name}.json", name)


@pytest.fixture(scope="module")
def weather(request: pytest.FixtureRequest, knowledge: Knowledge, passed: Passed) -> Iterator[Storms]:
    """The storms, which all begin now."""
    option = request.config.getoption
    minutes = option("--minutes")
    seeds = [seed for seed in range(option("--seed"), option("--seed") + option("--seeds")) if minutes is None or seed not in passed.seeds]
    until = None if minutes is None else time.monotonic() + 60 * minutes
    with storms(option("--cloud"), option("--speed"), seeds, option("--jobs"), knowledge, until) as begun:
        yield begun
    print("\n" + begun.summary(knowledge))
