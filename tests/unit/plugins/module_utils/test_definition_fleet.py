# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleet files: what is wrong in them, and which clusters they rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import fleet_rules, load

HEAD = "plugin: flotilla.kubernetes.cluster\nschema: 1\n"
CLUSTER = """cloud: local
kubernetes_version: "1.36.3"
control_plane: {count: 1}
labels: {stage: canary}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two foundations with a cluster each."""
    for number, (foundation, name) in enumerate((("lab", "demo"), ("office", "hq"))):
        place = tmp_path / foundation / "clusters" / f"{name}.yml"
        place.parent.mkdir(parents=True)
        place.write_text(f"{HEAD}name: {name}\n{CLUSTER}local: {{network_cidr: 172.30.{90 + number}.0/24}}\n", encoding="utf-8")
    return tmp_path


def write(folder: Path, text: str, foundation: str = "lab") -> None:
    (folder / foundation / "fleet.yml").write_text(f"{HEAD}kind: fleet\n{text}", encoding="utf-8")


def problems(folder: Path) -> list[str]:
    return [f"{problem.path}: {problem.message}" for problem in sorted(load.check_sources([folder]).problems)]


def test_a_fleet_file_has_its_defaults(folder) -> None:
    write(folder, "waves: [{name: first, clusters: {labels: {stage: canary}}, canary: true, soak: 1h}]\n")
    found = load.check_sources([folder])
    assert not found.problems
    (fleet,) = found.fleets
    assert (fleet["max_clusters_in_flight"], fleet["failure_budget"], fleet["on_failure"], fleet["foundation"]) == (1, 0, "stop", "lab")
    assert fleet["waves"] == [{"name": "first", "clusters": {"labels": {"stage": "canary"}}, "canary": True, "soak": "1h"}]
    assert [one["name"] for one in found.definitions if fleet_rules.ruled_by(fleet, one)] == ["demo"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("waves: [{name: a}, {name: a}]", "waves[1].name: is a, which is there already."),
        ("waves: [{name: a, soak: 1w}]", "waves[0].soak: is 1w; must be a duration such as 90s, 10m or 1h30m."),
        (
            "waves: [{name: a, canary: true, failure_budget: 1}]",
            "waves[0].failure_budget: has no effect on canaries: one failure stops the fleet. Remove it.",
        ),
        (
            "waves: [{name: a, clusters: {names: [dem]}}]",
            'waves[0].clusters.names[0]: is dem, but there is no such cluster. Did you mean "demo"?',
        ),
        # hq is ruled by the other foundation.
        ("clusters: [{name: hq, leave_out: x}]", "clusters[0].name: is hq, but there is no such cluster."),
        (
            "maintenance_windows: [{from: '22:00', to: '04:00', time_zone: Europe/Berlim}]",
            'maintenance_windows[0].time_zone: is Europe/Berlim, which is no time zone. Did you mean "Europe/Berlin"?',
        ),
        ("maintenance_windows: [{from: '25:00', to: '04:00'}]", 'maintenance_windows[0].from: is 25:00; must be a time such as "22:00".'),
        (
            "clusters: [{name: demo, freeze_windows: [{from: '2026-12-18', to: '2026-12-17', reason: x}]}]",
            "clusters[0].freeze_windows[0].to: is 2026-12-17, which is not after 2026-12-18.",
        ),
        (
            "freeze_windows: [{from: '2026-02-30', to: '2026-03-17', reason: x}]",
            "freeze_windows[0].from: is 2026-02-30, which is no day of the calendar.",
        ),
        ("failure_budgt: 1", 'failure_budgt: unknown key; did you mean "failure_budget"?'),
    ],
)
def test_what_is_wrong_is_told_with_its_place(folder, text, message) -> None:
    write(folder, text)
    (found,) = problems(folder)
    assert found.startswith(message)


def test_a_freeze_of_one_day_is_one(folder) -> None:
    write(folder, "freeze_windows: [{from: '2026-12-18', to: '2026-12-18', reason: party}]")
    assert problems(folder) == []


def test_a_cluster_has_one_fleet_file(folder) -> None:
    write(folder, "")
    (folder / "fleet.yml").write_text(f"{HEAD}kind: fleet\n", encoding="utf-8")
    (found,) = problems(folder)
    assert "rules the cluster demo, as " in found
