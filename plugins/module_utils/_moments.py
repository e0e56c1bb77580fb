# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times as Kubernetes, clouds and our own files write them: RFC 3339, in UTC (private to flotilla.kubernetes).

Python 3.9, standard library only.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone


def stamp(seconds: float | None = None) -> str:
    """Return a time like ``2026-11-23T04:00:00Z``.

    :param seconds: since the epoch; now when left out.
    """
    return _written(seconds, "seconds")


def precise(seconds: float | None = None) -> str:
    """Return a time like ``2026-11-23T04:00:00.250Z``."""
    return _written(seconds, "milliseconds")


def parse(text: str) -> datetime:
    """Return the time that ``text`` says; it has a time zone when the text has one.

    :raises ValueError: it is no such time.
    """
    # fromisoformat() knows no Z before Python 3.11.
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _written(seconds: float | None, timespec: str) -> str:
    moment = datetime.fromtimestamp(time.time() if seconds is None else seconds, timezone.utc)
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")
