# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the controller's CPU time of an upgrade grows with the number of workers, which are simulated by local connections.

What the modules do there belongs to machines and is taken off; what is simulated says tests/support/simulated/world.py.
FLOTILLA_BENCH_NODES=5,50 measures other numbers of workers, and FLOTILLA_BENCH_ROLLOUT=one only one rollout, for work on the benchmark
itself.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import outside
from cpu import Spent, spend
from report import Figure

ROLLOUTS = {"one": 1, "tenth": "10%"}


def measure(folder: Path) -> list[Figure]:
    """Return a figure for each rollout; ``folder`` keeps the logs."""
    sizes = [int(size) for size in os.environ.get("FLOTILLA_BENCH_NODES", "5,300").split(",")]
    names = os.environ.get("FLOTILLA_BENCH_ROLLOUT", ",".join(ROLLOUTS)).split(",")
    figures = []
    for name in names:
        spent = {size: upgrade(folder, name, ROLLOUTS[name], size) for size in sizes}
        least, most = min(sizes), max(sizes)
        growth = (spent[most].cpu / spent[least].cpu) / (most / least)
        figures.append(
            Figure(
                f"nodes-growth-{name}",
                growth,
                1.0,
                reference=f"{spent[most].cpu:.0f} s of CPU for {most} workers, {spent[least].cpu:.0f} s for {least}; simulated machines",
                details={
                    "cpu": {size: round(one.cpu, 1) for size, one in spent.items()},
                    "seconds": {size: one.seconds for size, one in spent.items()},
                },
            )
        )
    return figures


def upgrade(folder: Path, name: str, max_unavailable: Any, workers: int) -> Spent:
    """Upgrade a simulated cluster by one minor and return what that took the controller."""
    from simulated.world import NEW, World, versions

    place = folder / f"{name}-{workers}"
    shutil.rmtree(place, ignore_errors=True)
    world = World(place)
    pools = [{"name": "workers", "rollout": {"max_unavailable": max_unavailable}}]
    cluster = world.cluster("bench", workers=workers, pools=pools)
    log = folder / f"{name}-{workers}.log"
    spent = spend(world.argv("cluster_upgrade"), log, world.environment, outside.ROOT)
    if spent.status != 0 or versions(cluster) != {NEW}:
        raise RuntimeError(f"the upgrade of {workers} workers failed:\n{spent.output[-5000:]}")
    on_machines = world.spent()
    shutil.rmtree(place)
    return replace(spent, cpu=spent.cpu - on_machines)
