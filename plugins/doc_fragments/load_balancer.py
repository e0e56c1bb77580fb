# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What the C(*_load_balancer) modules of all clouds take besides the definition."""

    DOCUMENTATION = r"""
options:
  members:
    description: The control planes; every member that is not in the list is removed.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: The machine's id.
        type: str
        required: true
      address:
        description: Address of its API server, which listens on port 6443.
        type: str
        required: true
      state:
        description:
          - V(active) members get connections while they are healthy.
          - V(drained) members get no new ones; those that are open have O(drain_timeout) to end.
        type: str
        choices: [active, drained]
        default: active
  drain_timeout:
    description: Seconds that open connections have to end by themselves when a member is drained.
    type: int
    default: 10
  close:
    description:
      - Whether open connections of a member that is drained are waited for, and closed after O(drain_timeout).
      - V(false) leaves them to its API server, which is restarted next and has its clients go elsewhere without an error. What the load
        balancer has to be told for that holds them for 300 seconds.
    type: bool
    default: true
  wait_timeout:
    description:
      - Seconds within which the load balancer has to find every V(active) member healthy. V(0) does not wait, as members are registered
        before they serve.
    type: int
    default: 0
  state:
    description:
      - Whether the load balancer is to exist.
      - With V(observed) nothing is planned or changed; what there is, is returned.
    type: str
    choices: [present, absent, observed]
    default: present
"""
