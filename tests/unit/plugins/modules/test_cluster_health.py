# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of how the module cluster_health waits; what it looks at has tests of its own."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import Finding
from ansible_collections.flotilla.kubernetes.plugins.modules import cluster_health

AWAY = Finding("NODE_NOT_READY", "node/n1", "The node n1 is not Ready.", "Read its journal.")
LEFT = Finding("NODE_WITHOUT_MACHINE", "node/n9", "The node n9 has no machine.", "Delete it.")


class Cluster:
    """A cluster that is healthy at a moment of a clock that only sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, healthy_at: float, at_last: list[Finding]) -> None:
        self.now = 0.0
        monkeypatch.setattr(cluster_health.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(cluster_health.time, "sleep", lambda seconds: setattr(self, "now", self.now + seconds))
        monkeypatch.setattr(cluster_health, "examine", lambda *_arguments: at_last if self.now >= healthy_at else [AWAY, LEFT])
        monkeypatch.setattr(cluster_health, "describe_nodes", lambda _client: [])
        monkeypatch.setattr(cluster_health, "join_secrets", lambda _client: [])
        monkeypatch.setattr(cluster_health, "half_done", lambda _client: [])

    def ask(self, timeout: int) -> list[dict[str, Any]]:
        """Ask as the action plugin does, and return all answers."""
        answers: list[dict[str, Any]] = [{}]
        while not answers[-1] or not answers[-1].get("finished", True):
            params = {
                "nodes": [],
                "absent": [],
                "control_planes": {},
                "kubelet_versions": {},
                "reported_after": {},
                "workloads": {},
                "read_workloads": False,
                "gates": [],
                "timeout": timeout,
                "progress_token": answers[-1].get("progress_token"),
            }
            answers.append(cluster_health.wait(None, params))
        return answers[1:]


def test_what_is_waited_for_is_said_slice_after_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    *slices, last = Cluster(monkeypatch, healthy_at=40, at_last=[]).ask(timeout=100)
    assert [answer["progress"] for answer in slices] == [
        ["Waiting for a healthy cluster since 15 s: The node n1 is not Ready, and 1 more"],
        ["Waiting for a healthy cluster since 30 s: The node n1 is not Ready, and 1 more"],
    ]
    assert (last["healthy"], last["waited"]) == (True, 40.0)


def test_the_time_of_all_slices_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Cluster(monkeypatch, healthy_at=1000, at_last=[]).ask(timeout=37)
    assert len(answers) == 3 and answers[-1]["waited"] == 37.0
    assert [finding["code"] for finding in answers[-1]["findings"]] == [AWAY.code, LEFT.code]


@pytest.mark.parametrize("timeout", [0, 100])
def test_nobody_waits_for_a_node_whose_machine_is_gone(monkeypatch: pytest.MonkeyPatch, timeout: int) -> None:
    (answer,) = Cluster(monkeypatch, healthy_at=0, at_last=[LEFT]).ask(timeout)
    assert not answer["healthy"] and answer["waited"] == 0.0
