# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times as Kubernetes writes them: ``90s``, ``10m``, ``1h30m`` (private to flotilla.kubernetes). Python 3.9, standard library only."""

from __future__ import annotations

import re

from .._errors import FlotillaError

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:\d+h)?(?:\d+m)?(?:\d+s)?")
_DAYS = re.compile(r"\d+d")


def parse_duration(text: str, what: str, days: bool = False) -> int:
    """Return the seconds of ``text``.

    :param what: the name of the value, for the error message.
    :param days: whether ``30d`` is one, too, which Kubernetes does not write.
    :raises FlotillaError: it is no duration.
    """
    if not text or not (_DURATION.fullmatch(text) or (days and _DAYS.fullmatch(text))):
        examples = "30d, 8h or 1h30m" if days else "90s, 10m, 8h or 1h30m"
        raise FlotillaError("DURATION_INVALID", f"{what} is {text!r}, which is no duration.", f"Write it like {examples}.")
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([dhms])", text))


def format_duration(seconds: float) -> str:
    """Return ``seconds`` like ``45s``, ``2m10s`` or ``8h``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    if minutes:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    return f"{rest}s"
