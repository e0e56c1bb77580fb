# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a cluster may be changed: maintenance windows and freezes (private to flotilla.kubernetes). Pure.

Windows are times of a clock on a wall, so each has a time zone, and a day on which clocks are changed has 23 or 25 hours. A time that such
a day has not is taken as if the clock had not been changed yet (PEP 495).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from .._definition.fleet_rules import freeze_moment
from .._definition.fleet_schema import DAYS

HORIZON = dt.timedelta(days=400)
"""How far is looked ahead; windows come back every week, and nobody freezes for longer than a year."""


@dataclass(frozen=True)
class Opening:
    """Whether a cluster may be begun.

    :param open: now.
    :param changes: when that changes: it closes, or it opens. None: not in sight.
    :param why: why not, for people; empty while it is open.
    """

    open: bool
    changes: dt.datetime | None
    why: str = ""


@dataclass(frozen=True)
class Windows:
    """The windows of one cluster, as a fleet file writes them, with all defaults."""

    maintenance: Sequence[Mapping[str, Any]] = ()
    freezes: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Windows:
        """Return the windows that `plain` wrote."""
        return cls(tuple(data["maintenance"]), tuple(data["freezes"]))

    def plain(self) -> dict[str, Any]:
        """Return the windows as plain data."""
        return {"maintenance": list(self.maintenance), "freezes": list(self.freezes)}

    def at(self, now: dt.datetime) -> Opening:
        """Return whether a cluster may be begun at a moment.

        :param now: with a time zone.
        """
        freezes = [(start, end, str(freeze["reason"])) for freeze in self.freezes for start, end in [_freeze(freeze)] if end > now]
        openings = _joined(span for window in self.maintenance for span in _spans(window, now))
        why = self._why_not(now, openings, freezes)
        moments = {moment for start, end, _reason in freezes for moment in (start, end)}
        moments |= {moment for span in openings for moment in span}
        for moment in sorted(moments):
            if now < moment <= now + HORIZON and bool(self._why_not(moment, openings, freezes)) != bool(why):
                return Opening(not why, moment, why)
        return Opening(not why, None, why)

    def _why_not(
        self,
        moment: dt.datetime,
        openings: Sequence[tuple[dt.datetime, dt.datetime]],
        freezes: Sequence[tuple[dt.datetime, dt.datetime, str]],
    ) -> str:
        reason = next((reason for start, end, reason in freezes if start <= moment < end), "")
        if reason:
            return f"frozen: {reason}"
        if self.maintenance and not any(start <= moment < end for start, end in openings):
            return "outside its maintenance windows"
        return ""


def _freeze(freeze: Mapping[str, Any]) -> tuple[dt.datetime, dt.datetime]:
    zone = ZoneInfo(freeze["time_zone"])
    start, end = (freeze_moment(freeze[key], end=key == "to").replace(tzinfo=zone) for key in ("from", "to"))
    return start.astimezone(dt.timezone.utc), end.astimezone(dt.timezone.utc)


def _spans(window: Mapping[str, Any], now: dt.datetime) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    """Yield the times of a window that are not over, from the present one on."""
    zone = ZoneInfo(window["time_zone"])
    opens, closes = (dt.time.fromisoformat(window[key]) for key in ("from", "to"))
    days = {DAYS.index(day) for day in window["days"]}
    first = now.astimezone(zone).date() - dt.timedelta(days=1)
    for number in range(HORIZON.days + 4):
        day = first + dt.timedelta(days=number)
        if day.weekday() in days:
            last = day + dt.timedelta(days=1) if closes <= opens else day
            start, end = (dt.datetime.combine(*at, tzinfo=zone).astimezone(dt.timezone.utc) for at in ((day, opens), (last, closes)))
            if end > now and start < end:
                yield start, end


def _joined(spans: Iterable[tuple[dt.datetime, dt.datetime]]) -> list[tuple[dt.datetime, dt.datetime]]:
    """Return spans of time in their order, those that touch each other as one."""
    joined: list[tuple[dt.datetime, dt.datetime]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
