# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups stay (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Kept:
    """What retention needs to know of a backup.

    :param good: whether it was tried when it was made and is whole in its store.
    """

    id: str
    created: datetime
    occasion: str
    good: bool


@dataclass(frozen=True)
class Retention:
    """How many backups stay: the newest ones, and the newest one of each of so many days, weeks and months that have one."""

    last: int = 7
    daily: int = 7
    weekly: int = 4
    monthly: int = 0


_PERIODS: dict[str, Callable[[datetime], Any]] = {
    "last": lambda moment: moment,
    "daily": lambda moment: moment.date(),
    "weekly": lambda moment: moment.isocalendar()[:2],
    "monthly": lambda moment: (moment.year, moment.month),
}


def surplus(backups: Iterable[Kept], retention: Retention) -> list[str]:
    """Return the ids of the backups that go, oldest first.

    Only good ones count as kept. One that is not good goes once a newer good one is there, because then nobody needs what is left of it.
    The newest good one of each occasion stays whatever the numbers say: the way back of an upgrade is not lost to the backups after it.
    """
    newest_first = sorted(backups, key=lambda one: (one.created, one.id), reverse=True)
    good = [one for one in newest_first if one.good]
    stay: set[str] = set()
    occasions: set[str] = set()
    for one in good:
        if one.occasion not in occasions:
            occasions.add(one.occasion)
            stay.add(one.id)
    for period, of in _PERIODS.items():
        seen: set[Any] = set()
        for one in good:
            # Two of the same moment are two when the newest ones are counted.
            key = (of(one.created), one.id) if period == "last" else of(one.created)
            if key not in seen and len(seen) < getattr(retention, period):
                seen.add(key)
                stay.add(one.id)
    newest = good[0].created if good else None
    return [one.id for one in reversed(newest_first) if one.id not in stay and (one.good or (newest is not None and one.created < newest))]
