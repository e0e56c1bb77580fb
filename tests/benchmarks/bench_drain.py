# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a roll over 100 nodes takes in batches and one by one, and what a plan costs.

API server, controllers and scheduler are real and both rolls take real time; machines and containers are simulated: pods take a second to
get ready and as long to end, and a node that was drained is back after two. In reality all of that takes longer, and so batches save more.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from report import Figure

COLLECTIONS = Path(__file__).resolve().parents[2] / "collection"
NODES, AT_A_TIME, POD, WORK = 100, "20%", 1.0, 2.0  # seconds
PLANNED_PODS, PLAN_BAR = 3000, 5.0


def measure(folder: Path) -> list[Figure]:
    """Return the share of the time that batches take of what one by one takes, and the CPU time of a plan."""
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader([str(COLLECTIONS)])  # before the first import of a collection: it makes all those that follow
    with tempfile.TemporaryDirectory(dir=folder) as name:
        return [rolls(Path(name)), planning()]


def rolls(folder: Path) -> Figure:
    import draining
    import fake_kubelet
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.batches import resolve_limit
    from control_plane import wait_for

    results = {}
    with draining.real_control_plane(folder, folder) as server:
        cluster = fake_kubelet.Cluster(server, fake_kubelet.Connection(server))
        with fake_kubelet.FakeKubelet(server, POD, POD):
            nodes, wanted = draining.large(cluster, NODES)
            with fake_kubelet.Witness(server, wanted) as witness:
                wait_for("all pods are ready", witness.all_ready, 300)
                for name, limit in (("batches", resolve_limit(AT_A_TIME, NODES)), ("one by one", 1)):
                    results[name] = draining.roll(server, nodes, witness, limit, WORK)
                short = {app: witness.least(app) for app, rule in draining.LARGE.items() if witness.least(app) < draining.allowed(*rule)}
    if short:
        raise RuntimeError(f"too few pods were ready at some time: {short}")
    together, alone = results["batches"], results["one by one"]
    return Figure(
        "drain-batches",
        together.seconds / alone.seconds,
        1 / 3,
        reference=f"{NODES} nodes, {len(together.batches)} batches: {together.seconds:.0f} s; one by one: {alone.seconds:.0f} s",
        details={"batches": [len(batch) for batch in together.batches], "times_shorter": alone.seconds / together.seconds},
    )


def planning() -> Figure:
    from datetime import datetime, timezone

    from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import batches
    from cluster_objects import Objects

    objects = Objects()
    names = [objects.node(f"n{number:03}", zone=f"z{number % 3}") for number in range(NODES)]
    for number in range(PLANNED_PODS // 20):
        on = [names[(number * 7 + index * 5) % NODES] for index in range(20)]
        objects.workload(f"w{number}", on, "StatefulSet" if number % 10 == 0 else "Deployment")
        if number % 2:
            objects.budget(f"w{number}", maxUnavailable=5)
    began = time.process_time()
    plan = batches.plan(objects.snapshot(), names, batches.Wishes(10, frozenset(names)), datetime.now(timezone.utc))
    spent = time.process_time() - began
    reference = f"{NODES} nodes, {PLANNED_PODS} pods, all {len(plan.batches)} batches"
    return Figure("drain-plan-cpu", spent, PLAN_BAR, "s", reference)
