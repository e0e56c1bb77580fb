# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the versions of a cluster say besides."""

from __future__ import annotations

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.drain import NO_TRAFFIC_TAINT
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.live_versions import arrives

CLOSED = {"key": NO_TRAFFIC_TAINT, "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, False),
        ({"taints": [{"key": "dedicated", "effect": "NoSchedule"}]}, False),
        ({"taints": [CLOSED]}, True),
        ({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}, CLOSED]}, True),
        ({"taints": [CLOSED], "unschedulable": True}, False),
    ],
)
def test_a_node_that_arrives_is_closed_to_requests_and_one_that_leaves_to_pods_too(spec, expected):
    assert arrives({"spec": spec}) is expected
