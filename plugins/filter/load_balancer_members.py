# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: load_balancer_members
short_description: Turn machines into members of the API load balancer
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Chooses the control planes among the machines of a C(*_machines) module and returns them as the C(members) of a C(*_load_balancer)
    module.
options:
  _input:
    description: The machines.
    type: list
    elements: dict
    required: true
  drained:
    description: Ids of machines that are to get no new connections.
    type: list
    elements: str
    default: []
  waiting:
    description: Whether the others may not serve yet, for modules that know V(waiting) members.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Send API requests to every control plane
  flotilla.kubernetes.local_load_balancer:
    cluster: "{{ flotilla_cluster }}"
    members: "{{ flotilla_machines | flotilla.kubernetes.load_balancer_members }}"
"""

RETURN = r"""
_value:
  description: One entry per control plane, with C(id), C(address) and C(state).
  type: list
  elements: dict
"""

from collections.abc import Collection
from typing import Any, Callable


def load_balancer_members(machines: list[dict[str, Any]], drained: Collection[str] = (), waiting: bool = False) -> list[dict[str, str]]:
    """Return the members that the control planes among ``machines`` are.

    :param drained: ids of those that get no new connections.
    :param waiting: whether the others may not serve yet.
    """
    state = "waiting" if waiting else "active"
    return [
        {"id": machine["id"], "address": machine["addresses"]["private"], "state": "drained" if machine["id"] in drained else state}
        for machine in machines
        if machine["role"] == "control_plane"
    ]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"load_balancer_members": load_balancer_members}
