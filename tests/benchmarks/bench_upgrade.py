# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How lean an upgrade by one minor is, next to a bare floor with the same order and gates on the same kind of cluster.

FLOTILLA_BENCH_CLUSTER=1+1 measures a smaller cluster, for work on the benchmark itself; the bars are those of 3+3.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import journal
import outside
from played import floor, play
from report import Figure

NAME = "test-bench-up"
CIDR = "172.30.245.0/24"
OLD, NEW = "1.35.4", "1.36.3"
# What an upgrade has to wait for: kubeadm, files and images on their way, drains of nodes and of the load balancer, and gates.
WORK = ("kubeadm_upgrade", "node_files", "node_drain", "local_load_balancer", "cluster_health", "health_checks", "kubernetes_manifest")


def measure(folder: Path) -> list[Figure]:
    """Return the figures; ``folder`` keeps journals and logs."""
    control_planes, workers = (int(part) for part in os.environ.get("FLOTILLA_BENCH_CLUSTER", "3+3").split("+"))
    inventory = folder / "inventory"
    try:
        _cluster(folder, inventory, control_planes, workers)
        phases = _floor(folder / "floor")
        _cluster(folder, inventory, control_planes, workers)
        _define(inventory, NEW, control_planes, workers)
        began = time.time()
        upgrade = play(folder, inventory, "cluster_upgrade", "upgrade")
        ended = time.time()
        again = play(folder, inventory, "cluster_upgrade", "again")
        assert again.changed == 0, f"the second run changed something: {again.recap}"
    finally:
        _delete(folder, inventory)
    idle, gaps = outside_of_work(journal.read(folder / "upgrade.jsonl"), began, ended)
    return [
        Figure(
            "upgrade-to-floor",
            upgrade.seconds / phases["total"],
            1.2,
            reference=f"upgrade {upgrade.seconds:.0f} s, bare floor {phases['total']:.0f} s",
            details={"floor": phases},
        ),
        Figure(
            "upgrade-outside-work",
            idle,
            0.2,
            reference="share of the upgrade in which no kubeadm, file, image, drain or gate was waited for",
            details={"longest": gaps},
        ),
        Figure(
            "upgrade-no-op",
            again.seconds / upgrade.seconds,
            0.1,
            reference=f"no-op {again.seconds:.1f} s, upgrade {upgrade.seconds:.0f} s",
        ),
    ]


def outside_of_work(entries: Iterable[journal.Entry], began: float, ended: float) -> tuple[float, list[str]]:
    """Return the share of a run in which none of `WORK` was done, and the tasks and plays that took most of it (pure).

    :param began: seconds since the epoch, as ``ended``.
    """
    entries = list(entries)
    work = [entry for entry in entries if entry.action.rsplit(".", 1)[-1] in WORK and entry.status != "skipped"]
    free = [(began, ended)]
    for entry in work:
        free = [
            part
            for start, end in free
            for part in ((start, min(end, entry.began)), (max(start, entry.ended), end))
            if part[0] < part[1]
        ]  # fmt: skip
    others: Counter[str] = Counter()
    for start, end in free:
        last = max((entry for entry in entries if entry.began <= start), key=lambda entry: entry.began, default=None)
        running = next((entry for entry in entries if entry.began <= (start + end) / 2 < entry.ended), last)
        others[f"{running.play}: {running.task}" if running else "before the first task"] += end - start
    share = sum(end - start for start, end in free) / (ended - began)
    return share, [f"{seconds:5.1f} s {task}" for task, seconds in others.most_common(15)]


def _define(inventory: Path, version: str, control_planes: int, workers: int) -> None:
    outside.write_definition(
        inventory,
        NAME,
        kubernetes_version=version,
        control_plane={"count": control_planes},
        pools=[{"name": "workers", "count": workers}],
        local={"network_cidr": CIDR},
    )


def _cluster(folder: Path, inventory: Path, control_planes: int, workers: int) -> None:
    """Make a fresh cluster of the old version; the bundles of both are not what is measured."""
    for version in (NEW, OLD):
        _define(inventory, version, control_planes, workers)
        play(folder, inventory, "bundle_build", "bundle")
    _delete(folder, inventory)
    play(folder, inventory, "cluster_apply", "create")


def _floor(folder: Path) -> dict[str, float]:
    """Upgrade the cluster by hand and return the seconds of the phases."""
    outside.host("rm", "-rf", str(folder))
    return floor("upgrade_floor.sh", NAME, str(outside.cache() / "bundles" / NEW), str(folder), timeout=3600)


def _delete(folder: Path, inventory: Path) -> None:
    if any(outside.left_of(NAME).values()):
        play(folder, inventory, "cluster_delete", "delete", "-e", f"flotilla_confirm={NAME}")
