# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.flotilla.kubernetes.plugins.filter.node_registration import node_registration

TAINT = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}


def test_a_worker_has_its_own_taints_and_labels_only() -> None:
    found = node_registration("n1", "10.0.0.1", {"b": "2", "a": "1"}, [TAINT])
    assert found["taints"] == [TAINT]
    assert found["kubeletExtraArgs"] == [{"name": "node-ip", "value": "10.0.0.1"}, {"name": "node-labels", "value": "a=1,b=2"}]


def test_a_control_plane_keeps_the_usual_taint() -> None:
    found = node_registration("n1", "10.0.0.1", taints=[TAINT], control_plane=True)
    assert found["taints"] == [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}, TAINT]
