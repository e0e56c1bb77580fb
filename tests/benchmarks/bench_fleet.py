# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fleet layer costs: its CPU time per cluster beside that of the cluster's own playbook, and the plan of many clusters.

The clusters are simulated, see tests/support/simulated/world.py; playbooks, driver and ansible-runner are real.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import time
from pathlib import Path
from typing import Any

import bench_definition
import outside
import yaml
from cpu import Spent, spend
from report import Figure

CLUSTERS, WORKERS = int(os.environ.get("FLOTILLA_BENCH_CLUSTERS", "6")), 2
FEW, MANY = 10, 1000


def measure(folder: Path) -> list[Figure]:
    """Return the figures; ``folder`` keeps the logs."""
    return [overhead(folder), *planning(folder)]


def overhead(folder: Path) -> Figure:
    """Upgrade some clusters by hand, one after another, and as many by `fleet_upgrade`; the difference is the fleet's."""
    alone = _world(folder / "alone")
    by_hand = [_spend(folder, alone, f"alone-{name}", "cluster_upgrade", "-e", f"flotilla_cluster_name={name}") for name in alone.clusters]
    fleet = _world(folder / "fleet")
    plan = ["-e", f"flotilla_report={fleet.folder / 'plan.json'}"]
    _spend(folder, fleet, "plan", "fleet_plan", *plan)
    options = ["-e", f"flotilla_plan={fleet.folder / 'plan.json'}", "-e", f"flotilla_fleet_directory={fleet.folder / 'runs'}"]
    together = _spend(folder, fleet, "fleet", "fleet_upgrade", *options)
    sum_by_hand = sum(one.cpu for one in by_hand)
    for world in (alone, fleet):
        shutil.rmtree(world.folder)
    return Figure(
        "fleet-overhead",
        (together.cpu - sum_by_hand) / CLUSTERS,
        2.0,
        unit="s",
        reference=f"{CLUSTERS} simulated clusters: {together.cpu:.1f} s of CPU by fleet_upgrade, {sum_by_hand:.1f} s by hand",
        details={"by_hand": [one.cpu for one in by_hand], "fleet": together.cpu},
    )


def _world(folder: Path) -> Any:
    from simulated.world import World

    shutil.rmtree(folder, ignore_errors=True)
    world = World(folder)
    for number in range(CLUSTERS):
        world.cluster(f"c{number}", workers=WORKERS)
    head = {"plugin": "flotilla.kubernetes.cluster", "schema": 1, "kind": "fleet", "max_clusters_in_flight": 2}
    (folder / "lab/fleet.yml").write_text(yaml.safe_dump(head), encoding="utf-8")
    return world


def _spend(folder: Path, world: Any, name: str, playbook: str, *options: str) -> Spent:
    spent = spend(world.argv(playbook, *options), folder / f"{name}.log", world.environment, outside.ROOT)
    if spent.status != 0:
        raise RuntimeError(f"{playbook} failed:\n{spent.output[-5000:]}")
    return spent


def planning(folder: Path) -> list[Figure]:
    """Load definitions and plan them from what was observed of each, as `fleet_plan` does after its look at the clusters."""
    seconds = {}
    for number in (FEW, MANY):
        place = folder / f"plan-{number}"
        shutil.rmtree(place, ignore_errors=True)
        bench_definition.write(place, number, count=5)
        seconds[number] = min(_plan(place, number) for _round in range(3))
        shutil.rmtree(place)
    reference = f"{seconds[MANY]:.2f} s of CPU for {MANY} definitions, {seconds[FEW]:.3f} s for {FEW}"
    return [
        Figure("fleet-plan", seconds[MANY], 60.0, unit="s", reference=f"{MANY} definitions and what was observed of each"),
        Figure("fleet-plan-growth", (seconds[MANY] / seconds[FEW]) / (MANY / FEW), 1.0, reference=reference),
    ]


def _plan(folder: Path, number: int) -> float:
    from ansible_collections.flotilla.kubernetes.plugins.action.fleet_plan import shown
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._fleet.plan import UPGRADE, fleets_of, make_plan
    from ansible_collections.flotilla.kubernetes.plugins.plugin_utils import _fleet

    began = time.process_time()
    checked = _fleet.load_fleet([str(folder)])
    definitions = {one["name"]: one for one in checked.definitions}
    seen = {name: _observed(name) for name in definitions}
    now = dt.datetime.now(dt.timezone.utc)
    plan = make_plan(fleets_of(checked.fleets, definitions.values()), definitions, seen, now, dt.timedelta(hours=24))
    lines = list(shown(plan))
    spent = time.process_time() - began
    upgrades = sum(one["action"] == UPGRADE for wave in plan["waves"] for one in wave["clusters"])
    if upgrades != number or len(lines) < number:
        raise RuntimeError(f"{upgrades} of {number} clusters are planned")
    return spent


def _observed(name: str) -> dict[str, Any]:
    """Return what a look at a cluster of 3+5 finds."""
    control_planes = [f"{name}-control-plane-{number}" for number in range(3)]
    components = dict.fromkeys(("kube-apiserver", "kube-controller-manager", "kube-scheduler"), "1.35.4")
    kubelets = dict.fromkeys([*control_planes, *(f"{name}-general-{number}" for number in range(5))], "1.35.4")
    versions = {"oldest": "1.35.4", "control_planes": dict.fromkeys(control_planes, components), "kubelets": kubelets, "interrupted": []}
    finding = {"code": "UPGRADE_SINGLE_REPLICA", "severity": "warning", "object": "deployment/shop/web", "acknowledged": False}
    findings = [{**finding, "message": "It has one replica.", "remedy": "Give it two."}]
    return {"versions": versions, "hops": [{"version": "1.36.3", "workers": True}], "findings": findings}
