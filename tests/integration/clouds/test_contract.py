# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract that every cloud fulfils. What happens is in tests/support/clouds/story.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from clouds.cloud import started
from clouds.runner import PLAYBOOK
from clouds.seeds import Knowledge, Passed, Storms
from clouds.story import Story, steps_for


def test_in_good_weather(story: Story) -> None:
    wrong = story.calm(steps=steps_for(story.place.cloud))
    assert not wrong, "\n".join(wrong)


def test_in_bad_weather(weather: Storms, passed: Passed, seed: int) -> None:
    if seed not in weather.futures:
        pytest.skip("it has passed with these files before")
    report = weather.futures[seed].result()
    if report is None:
        pytest.skip("there was no time for it; run it again to go on")
    print(report)
    assert not report.wrong, "\n".join(report.wrong)
    passed.add(seed)


def test_by_ansible(story: Story, knowledge: Knowledge) -> None:
    steps = steps_for(story.place.cloud)
    wrong = story.calm(PLAYBOOK, (steps[0], steps[-2]))
    assert not wrong, "\n".join(wrong)


def test_at_the_real_pace(request: pytest.FixtureRequest, story: Story, knowledge: Knowledge, tmp_path: Path) -> None:
    if not request.config.getoption("--sample"):
        pytest.skip("it takes minutes: --sample")
    steps = steps_for(story.place.cloud)
    with started(story.place.cloud, tmp_path, speed=1) as place:
        slow = Story(place, references=knowledge.references, moments=knowledge.moments)
        wrong = slow.storm(1, (steps[0], steps[-2]))
    assert not wrong, "\n".join(wrong)
