# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.flotilla.kubernetes.plugins.module_utils._fleet.waves import SKIP, STOP, fleet_of

FILE = {
    "max_clusters_in_flight": 2,
    "failure_budget": "34%",
    "on_failure": SKIP,
    "maintenance_windows": [],
    "freeze_windows": [],
    "waves": [
        {"name": "canary", "clusters": {"labels": {"stage": "canary"}}, "canary": True, "soak": "1h"},
        {"name": "labs", "clusters": {"names": ["b", "c"], "clouds": ["aws"]}, "canary": False, "soak": "0s", "failure_budget": 2},
        {"name": "rest", "clusters": {"clouds": ["aws"]}, "canary": False, "soak": "0s"},
    ],
    "clusters": [{"name": "z", "leave_out": "its owner says no"}],
}


def cluster(name: str, cloud: str = "aws", **labels: str) -> dict:
    return {"name": name, "cloud": cloud, "labels": labels}


def test_clusters_go_to_the_first_wave_that_takes_them() -> None:
    definitions = [
        cluster("d"),
        cluster("c"),
        cluster("b", stage="canary"),
        cluster("a", cloud="gcp"),
        cluster("z"),
        cluster("f"),
        cluster("e"),
    ]
    fleet = fleet_of(FILE, definitions)
    assert [(wave.name, wave.clusters, wave.budget, wave.on_failure) for wave in fleet.waves] == [
        ("canary", ("b",), 0, STOP),
        ("labs", ("c",), 2, SKIP),
        ("rest", ("d", "e", "f"), 1, SKIP),
    ]
    assert fleet.left_out == {"a": "no wave of the fleet takes it", "z": "its owner says no"}


def test_without_waves_there_is_one() -> None:
    (wave,) = fleet_of({**FILE, "waves": []}, [cluster("b"), cluster("a", cloud="gcp")]).waves
    assert (wave.clusters, wave.in_flight, wave.budget) == (("a", "b"), 2, 0)
