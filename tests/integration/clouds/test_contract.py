# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract that every cloud fulfils. What happens is in tests/support/clouds/story.py."""

from __future__ import annotations

from clouds.runner import PLAYBOOK
from clouds.story import Story, steps_for


def _calm(story: Story) -> None:
    """Learn what the steps leave behind, if no test before this one has."""
    if not story.references:
        story.calm(steps=steps_for(story.place.cloud))


def test_in_good_weather(story: Story) -> None:
    wrong = story.calm(steps=steps_for(story.place.cloud))
    assert not wrong, "\n".join(wrong)


def test_in_bad_weather(story: Story, seed: int) -> None:
    _calm(story)
    wrong = story.storm(seed, steps_for(story.place.cloud))
    assert not wrong, "\n".join(wrong)


def test_by_ansible(story: Story) -> None:
    _calm(story)
    steps = steps_for(story.place.cloud)
    wrong = story.calm(PLAYBOOK, (steps[0], *steps[-2:]))
    assert not wrong, "\n".join(wrong)
