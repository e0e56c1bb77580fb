# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the API is away when a control plane loses power, with each provider of the endpoint.

FLOTILLA_BENCH_ENDPOINT=kube_vip measures one provider, FLOTILLA_BENCH_ROUNDS=1 fewer power offs, for work on the benchmark itself.
"""

from __future__ import annotations

import os
from pathlib import Path

import ha
from report import Figure

NAME = "test-bench-ha"
CIDR = "172.30.245.0/24"


def measure(folder: Path) -> list[Figure]:
    """Return one figure per provider; ``folder`` keeps what became of every request."""
    providers = os.environ.get("FLOTILLA_BENCH_ENDPOINT", ",".join(ha.BARS)).split(",")
    return [_provider(folder / provider, provider) for provider in providers]


def _provider(folder: Path, provider: str) -> Figure:
    inventory = folder / "inventory"
    ha.delete(inventory, NAME)
    cluster = ha.create(inventory, NAME, provider, CIDR)
    try:
        results = ha.measure(cluster, folder, int(os.environ.get("FLOTILLA_BENCH_ROUNDS", ha.ROUNDS)))
    finally:
        ha.delete(inventory, NAME)
    seconds = [result["seconds"] for result in results]
    return Figure(
        f"endpoint-{provider.replace('_', '-')}",
        ha.median(results),
        ha.BARS[provider],
        unit="s",
        reference=f"median of {len(seconds)} power offs, {min(seconds):.1f} to {max(seconds):.1f} s, 50 requests per second",
        details={"rounds": results},
    )
