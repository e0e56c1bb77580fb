# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: node_registration
short_description: How a machine becomes a Node
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Returns kubeadm's C(nodeRegistration) for a machine with containerd.
options:
  _input:
    description: Name of the Node.
    type: str
    required: true
  address:
    description: Address of the machine in the cluster's network.
    type: str
    required: true
  labels:
    description: Labels of the Node.
    type: dict
    default: {}
  taints:
    description: Taints of the Node, as Kubernetes writes them.
    type: list
    elements: dict
    default: []
  control_plane:
    description: Whether the machine is a control plane, which is tainted so that only what tolerates it runs there.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: What kubeadm is told about a worker
  ansible.builtin.debug:
    msg: "{{ 'demo-general-1f2e3d4c' | flotilla.kubernetes.node_registration('10.0.0.21', labels={'disk': 'ssd'}) }}"
"""

RETURN = r"""
_value:
  description: The part of kubeadm's document.
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def node_registration(
    name: str, address: str, labels: Mapping[str, Any] | None = None, taints: Sequence[Any] = (), control_plane: bool = False
) -> dict[str, Any]:
    """Return kubeadm's NodeRegistrationOptions: https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/."""
    # A list replaces kubeadm's own taint, so that is part of it.
    own = [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}] if control_plane else []
    return {
        "name": name,
        "criSocket": "unix:///run/containerd/containerd.sock",
        "taints": [*own, *taints],
        "kubeletExtraArgs": [
            {"name": "node-ip", "value": address},
            {"name": "node-labels", "value": ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items()))},
        ],
    }


class FilterModule:
    """The filter's plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"node_registration": node_registration}
