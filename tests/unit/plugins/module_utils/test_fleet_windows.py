# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.fleet_schema import DAYS
from ansible_collections.flotilla.kubernetes.plugins.module_utils._fleet.windows import Windows
from hypothesis import given, settings
from hypothesis import strategies as st

ALL_DAYS = list(DAYS)
NIGHT = {"days": ["sat"], "from": "22:00", "to": "04:00", "time_zone": "Europe/Berlin"}
YEAR_END = {"from": "2026-12-18", "to": "2027-01-06", "time_zone": "UTC", "reason": "year's end"}


def at(text: str, zone: str = "UTC") -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("windows", "now", "is_open", "changes"),
    [
        (Windows(), at("2026-11-23T12:00"), True, None),
        (Windows([NIGHT]), at("2026-11-28T21:59", "Europe/Berlin"), False, at("2026-11-28T22:00", "Europe/Berlin")),
        (Windows([NIGHT]), at("2026-11-28T22:00", "Europe/Berlin"), True, at("2026-11-29T04:00", "Europe/Berlin")),
        (Windows([NIGHT]), at("2026-11-29T03:59", "Europe/Berlin"), True, at("2026-11-29T04:00", "Europe/Berlin")),
        (Windows([NIGHT]), at("2026-11-29T04:00", "Europe/Berlin"), False, at("2026-12-05T22:00", "Europe/Berlin")),
        # Clocks go back by an hour in this night, which is seven hours long, and forward in that one, which is five.
        (Windows([NIGHT]), at("2026-10-24T22:00", "Europe/Berlin"), True, at("2026-10-24T20:00") + dt.timedelta(hours=7)),
        (Windows([NIGHT]), at("2027-03-27T22:00", "Europe/Berlin"), True, at("2027-03-27T21:00") + dt.timedelta(hours=5)),
        # A day without a time belongs to the freeze.
        (Windows((), [YEAR_END]), at("2026-12-17T23:59"), True, at("2026-12-18T00:00")),
        (Windows((), [YEAR_END]), at("2027-01-06T23:59"), False, at("2027-01-07T00:00")),
        (Windows((), [YEAR_END]), at("2027-01-07T00:00"), True, None),
        # The freeze ends outside the window.
        (Windows([NIGHT], [YEAR_END]), at("2026-12-19T23:00"), False, at("2027-01-09T21:00")),
        # It begins inside of one.
        (Windows([NIGHT], [{**YEAR_END, "from": "2026-12-13T01:00"}]), at("2026-12-12T23:00"), True, at("2026-12-13T01:00")),
        # Windows that touch each other are one.
        (
            Windows(
                [{**NIGHT, "days": ALL_DAYS, "from": "00:00", "to": "12:00"}, {**NIGHT, "days": ALL_DAYS, "from": "12:00", "to": "00:00"}]
            ),
            at("2026-11-23T12:00"),
            True,
            None,
        ),
    ],
)
def test_when_a_cluster_may_be_begun(windows, now, is_open, changes) -> None:
    opening = windows.at(now)
    assert (opening.open, bool(opening.why)) == (is_open, not is_open)
    assert opening.changes == changes


def test_a_freeze_says_why() -> None:
    assert Windows((), [YEAR_END]).at(at("2026-12-24T18:00")).why == "frozen: year's end"


TIMES = st.times().map(lambda time: time.strftime("%H:%M"))
WINDOWS = st.builds(
    lambda days, opens, closes, zone: {"days": days, "from": opens, "to": closes, "time_zone": zone},
    st.lists(st.sampled_from(DAYS), min_size=1, unique=True),
    TIMES,
    TIMES,
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"]),
)
MOMENTS = st.datetimes(dt.datetime(2026, 1, 1), dt.datetime(2028, 1, 1), timezones=st.just(dt.timezone.utc))


@settings(max_examples=60, deadline=None)
@given(st.lists(WINDOWS, max_size=3), MOMENTS)
def test_it_stays_as_it_is_until_the_moment_that_is_told(maintenance, now) -> None:
    windows = Windows(maintenance)
    opening = windows.at(now)
    until = opening.changes or now + dt.timedelta(days=8)
    for part in range(4):
        assert windows.at(now + (until - now) * part / 4).open == opening.open
    if opening.changes:
        assert windows.at(opening.changes).open != opening.open
