# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times as Kubernetes writes them: ``90s``, ``10m``, ``1h30m`` (private to flotilla.kubernetes). Python 3.9, standard library only."""

from __future__ import annotations

import re

from .._errors import FlotillaError

_UNITS = {"h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:\d+h)?(?:\d+m)?(?:\d+s)?")


def parse_duration(text: str, what: str) -> int:
    """Return the seconds of ``text``.

    :param what: the name of the value, for the error message.
    :raises FlotillaError: it is no duration.
    """
    if not text or not _DURATION.fullmatch(text):
        raise FlotillaError("DURATION_INVALID", f"{what} is {text!r}, which is no duration.", "Write it like 90s, 10m, 8h or 1h30m.")
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([hms])", text))


def format_duration(seconds: float) -> str:
    """Return ``seconds`` like ``45s``, ``2m10s`` or ``8h``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    if minutes:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    return f"{rest}s"
