# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane restarts or loses power: requests go on, and it comes back by itself. In `make e2e-full` only."""

from __future__ import annotations

from pathlib import Path

import ha
import pytest

NAME = "test-ha"
CIDR = "172.30.246.0/24"


@pytest.mark.full
@pytest.mark.parametrize("provider", ha.BARS)
def test_requests_go_on_when_a_control_plane_restarts_and_soon_after_a_power_off(provider: str, tmp_path: Path) -> None:
    foundation = tmp_path / "foundation"
    ha.delete(foundation, NAME)
    cluster = ha.create(foundation, NAME, provider, CIDR)
    try:
        failed, longest = ha.restart_all(cluster, tmp_path)
        results = ha.measure(cluster, tmp_path)
        assert len(results) == ha.ROUNDS and all(results[0]["led"].values()), results
        assert ha.median(results) <= ha.BARS[provider], results
        # An address that moves ends the connections through it; the new holder has it before the old one goes.
        assert longest < ha.median(results) if provider == "kube_vip" else failed == 0, (failed, longest, results)
        if provider != "cloud":
            assert all(result["failed"] for result in results), f"the holder of the address died and nothing failed: {results}"
    finally:
        ha.delete(foundation, NAME)
