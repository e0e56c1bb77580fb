# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: machines_to_heal
short_description: The machines of a cluster that a run replaces because they have failed
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - A machine has failed when its cloud says that it can not be used any more, or when its Node has not been Ready for O(after).
  - At once are replaced at most 10 % of a pool, but one machine always, and one control plane. Where more than half of a cluster has failed
    none is; nor one that somebody has cordoned.
positional: nodes, after
options:
  _input:
    description: The machines of the cluster, as the C(*_machines) modules return them.
    type: list
    elements: dict
    required: true
  nodes:
    description: C(nodes) of M(flotilla.kubernetes.cluster_health).
    type: list
    elements: dict
    required: true
  after:
    description: How long a Node may not be Ready, like V(90s) or V(10m).
    type: str
    default: 10m
"""

EXAMPLES = r"""
- name: Show what would be replaced
  ansible.builtin.debug:
    msg: "{{ (flotilla_machines | flotilla.kubernetes.machines_to_heal(flotilla_health.nodes, '10m')).replace }}"
"""

RETURN = r"""
_value:
  description:
    - C(replace) are the machines that get successors, C(left) those that a later run or a person has to look after, each with C(id),
      C(name) and C(reason); C(ghosts) are the names of Nodes without a machine that are not Ready.
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.duration import parse_duration
from ..module_utils._machines.healing import choose


def machines_to_heal(machines: Sequence[Mapping[str, Any]], nodes: Sequence[Mapping[str, Any]], after: str = "10m") -> dict[str, Any]:
    """Return what one run does about machines that have failed."""
    try:
        seconds = parse_duration(str(after), "flotilla_heal_after")
    except FlotillaError as error:
        raise AnsibleFilterError(str(error)) from error
    return asdict(choose(machines, nodes, seconds, datetime.now(timezone.utc)))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"machines_to_heal": machines_to_heal}
