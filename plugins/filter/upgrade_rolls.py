# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: upgrade_rolls
short_description: The pools whose machines an upgrade replaces, and how far each is
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Pools with C(rollout.strategy=replace) in which a machine has another version of Kubernetes or another specification than the definition
    says, or has not joined yet. It depends on nothing but what is live, so a run that was killed is gone on with.
positional: version, cluster, machines
options:
  _input:
    description: What M(flotilla.kubernetes.cluster_versions) returned.
    type: dict
    required: true
  version:
    description: Version that the nodes are to have.
    type: str
    required: true
  cluster:
    description: The merged, validated definition, C(flotilla_cluster).
    type: dict
    required: true
  machines:
    description: The machines of the cluster, as the C(*_machines) modules return them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what is replaced
  ansible.builtin.debug:
    msg: "{{ versions | flotilla.kubernetes.upgrade_rolls('1.36.3', flotilla_cluster, flotilla_machines) }}"
"""

RETURN = r"""
_value:
  description:
    - One entry per pool, in the order of the definition. C(outdated) are the names of the machines that go, C(outdated_ids) their ids,
      C(new) those of machines that have not joined, C(leftovers) those of machines that were never started, C(joining) those that join
      next, C(making) the ids of the machines whose successors are made next, C(leaving) how many outdated ones may leave now, C(nodes)
      the machines that are nodes, C(to_join) how many machines join in all, C(surge) how many at a time.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..module_utils._machines.roll import rolls


def upgrade_rolls(
    live: Mapping[str, Any], version: str, cluster: Mapping[str, Any], machines: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the pools in which something is left to do."""

    def names(found: Sequence[Mapping[str, Any]]) -> list[str]:
        return [str(machine["name"]) for machine in found]

    return [
        {
            "pool": roll.pool,
            "surge": roll.surge,
            "outdated": names(roll.outdated),
            "outdated_ids": [machine["id"] for machine in roll.outdated],
            "new": names(roll.new),
            "leftovers": names(roll.leftovers),
            "joining": names(roll.joining),
            "making": [machine["id"] for machine in roll.making],
            "leaving": roll.leaving,
            "nodes": list(roll.nodes),
            "to_join": roll.to_join,
        }
        for roll in rolls(cluster, machines, live["kubelets"], version)
    ]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"upgrade_rolls": upgrade_rolls}
