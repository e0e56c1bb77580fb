# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: upgrade_order
short_description: The control planes that an upgrade still has to visit, in order
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - First those on which a run was interrupted, so that no second one goes down. Last the one whose etcd member leads, so that the
    leadership moves once, to a control plane that need not restart any more.
  - Control planes that have the version, their kubelet included, are left out.
positional: version
options:
  _input:
    description: What M(flotilla.kubernetes.cluster_versions) returned.
    type: dict
    required: true
  version:
    description: Version of the upgrade.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the order
  ansible.builtin.debug:
    msg: "{{ versions | flotilla.kubernetes.upgrade_order('1.36.3') }}"
"""

RETURN = r"""
_value:
  description: Names of nodes.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping
from typing import Any

ETCD = "etcd"


def upgrade_order(live: Mapping[str, Any], version: str) -> list[str]:
    """Return the order; it depends on nothing but what is live, so that a second run goes on where the first one stopped."""

    def rank(node: str) -> tuple[bool, bool, str]:
        return node not in live["interrupted"], node == live["etcd_leader"], node

    def outdated(node: str) -> bool:
        pods = {one for component, one in live["control_planes"][node].items() if component != ETCD}
        return node in live["drained"] or pods != {version} or live["kubelets"].get(node, "") != version

    return sorted(filter(outdated, live["control_planes"]), key=rank)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"upgrade_order": upgrade_order}
