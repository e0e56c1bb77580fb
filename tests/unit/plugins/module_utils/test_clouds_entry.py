# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the wait for the members of a load balancer, the same for every cloud."""

from __future__ import annotations

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds import entry
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError


def member(name: str, health: str, state: str = "active") -> dict[str, str]:
    return {"id": name, "state": state, "health": health, "detail": "L7STS"}


def test_active_members_are_waited_for_and_drained_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "_LOOK", 0)
    drained = member("c", "drained", "drained")
    answers = [[member("a", "healthy"), member("b", "unknown"), drained], [member("a", "healthy"), member("b", "healthy"), drained]]
    assert [one["health"] for one in entry._healthy_members(lambda: {"members": answers.pop(0)}, 60)] == ["healthy", "healthy", "drained"]
    assert answers == []


def test_members_that_stay_ill_are_named_with_what_the_balancer_says() -> None:
    with pytest.raises(FlotillaError) as caught:
        entry._healthy_members(lambda: {"members": [member("a", "healthy"), member("b", "unhealthy")]}, 0)
    assert caught.value.code == "LOAD_BALANCER_MEMBERS" and "b (unhealthy: L7STS)" in str(caught.value) and "a (" not in str(caught.value)
