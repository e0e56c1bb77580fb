# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Members of an API load balancer, whichever cloud (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

from typing import Any

from .._errors import FlotillaError

ACTIVE, DRAINED = "active", "drained"
# Seconds that connections are left open at the most where the API server is to end them: it is told to right after and takes below a
# minute. It is what clouds give unless they are told otherwise.
LEFT_OPEN = 300


def patience(drain_timeout: int, close: bool) -> int | None:
    """Return the seconds, up to an hour, that connections of a drained member are waited for, or nothing where they are left open."""
    return max(0, min(3600, int(drain_timeout))) if close else None


def checked(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return members ordered by id, each with its state; two of one id are an error."""
    members = sorted(({**item, "state": item.get("state") or ACTIVE} for item in items), key=lambda item: str(item["id"]))
    ids = [item["id"] for item in members]
    twice = sorted({str(member) for member in ids if ids.count(member) > 1})
    if twice:
        raise FlotillaError(
            "LOAD_BALANCER_MEMBER",
            f"Member {', '.join(twice)} of the API load balancer is given twice.",
            "Correct the members that are passed to the module.",
        )
    return members
