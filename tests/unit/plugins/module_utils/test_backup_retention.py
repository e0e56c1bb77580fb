# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups stay."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from ansible_collections.flotilla.kubernetes.plugins.module_utils._backup.retention import Kept, Retention, surplus
from hypothesis import given
from hypothesis import strategies as st

BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)


def kept(index, hours, occasion="manual", good=True):
    return Kept(f"id-{index}", BEGIN + timedelta(hours=hours), occasion, good)


NUMBERS = st.integers(0, 5)
RETENTIONS = st.builds(Retention, st.integers(1, 5), NUMBERS, NUMBERS, NUMBERS)
BACKUPS = st.lists(
    st.tuples(st.integers(0, 24 * 120), st.sampled_from(["manual", "before-upgrade", "before-restore"]), st.booleans()), max_size=40
).map(lambda found: [kept(index, *one) for index, one in enumerate(found)])


def daily(days, **more):
    return [kept(day, 24 * day, **more) for day in range(days)]


def left(backups, *numbers):
    gone = surplus(backups, Retention(*numbers))
    return [one.id for one in backups if one.id not in gone]


def test_the_newest_ones_stay():
    assert left(daily(5), 2, 0, 0, 0) == ["id-3", "id-4"]


def test_the_newest_of_each_day_week_and_month_stays():
    hourly = [kept(hour, hour) for hour in range(72)]
    assert left(hourly, 1, 3, 0, 0) == ["id-23", "id-47", "id-71"]
    # 2026-01-01 is a Thursday: the weeks end on the 4th, 11th, 18th ...
    assert left(daily(20), 1, 0, 3, 0) == ["id-10", "id-17", "id-19"]
    assert left(daily(60), 1, 0, 0, 2) == ["id-58", "id-59"]


def test_one_that_is_not_good_counts_for_nothing():
    backups = [*daily(2), kept(2, 48, good=False), kept(3, 72, good=False)]
    assert left(backups, 1, 0, 0, 0) == ["id-1", "id-2", "id-3"], "what is newer than the last good one may be looked at"
    assert left([*backups, kept(4, 96)], 1, 0, 0, 0) == ["id-4"]


def test_the_way_back_of_an_upgrade_is_not_lost_to_the_backups_after_it():
    backups = [kept(0, 0, "before-upgrade"), kept(1, 24, "before-upgrade"), *[kept(index, 24 * index) for index in range(2, 30)]]
    assert left(backups, 1, 0, 0, 0) == ["id-1", "id-29"]


@given(BACKUPS, RETENTIONS)
def test_the_newest_good_one_never_goes(backups, retention):
    gone = surplus(backups, retention)
    for occasion in {one.occasion for one in backups}:
        good = [one for one in backups if one.good and one.occasion == occasion]
        if good:
            newest = max(good, key=lambda one: (one.created, one.id))
            assert newest.id not in gone


@given(BACKUPS, RETENTIONS)
def test_without_a_good_one_nothing_goes(backups, retention):
    assert surplus([one for one in backups if not one.good], retention) == []


@given(BACKUPS, RETENTIONS)
def test_a_second_look_finds_nothing_more(backups, retention):
    """Each run deletes; whoever deletes in several runs must not lose more than in one."""
    gone = surplus(backups, retention)
    assert surplus([one for one in backups if one.id not in gone], retention) == []


@given(BACKUPS, RETENTIONS)
def test_no_more_good_ones_stay_than_the_numbers_say(backups, retention):
    gone = surplus(backups, retention)
    staying = [one for one in backups if one.good and one.id not in gone]
    occasions = {one.occasion for one in backups}
    assert len(staying) <= retention.last + retention.daily + retention.weekly + retention.monthly + len(occasions)
    assert len(staying) >= min(retention.last, len([one for one in backups if one.good]))


@given(BACKUPS, RETENTIONS)
def test_the_order_in_which_a_store_lists_does_not_matter(backups, retention):
    assert surplus(backups, retention) == surplus(list(reversed(backups)), retention)
