# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Kubernetes needs between the machines of a cluster, whichever cloud lets it through (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .._kubernetes.network_plugins import table
from .._kubernetes.network_plugins.model import TCP
from .._machines.model import CONTROL_PLANE, WORKER

API_PORT = 6443
ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True)
class Opening:
    """Machines of one role that others reach.

    :param name: short, for clouds whose rules have names.
    :param protocol: `TCP`, `UDP` or `ANY`; the latter has no ports.
    :param sources: the roles of those that reach them.
    """

    role: str
    name: str
    protocol: str
    first: int
    last: int
    sources: tuple[str, ...]
    reason: str


def openings(network_plugin: str, hands_on: bool) -> list[Opening]:
    """Return the least that machines need from each other, each with its reason.

    https://kubernetes.io/docs/reference/networking/ports-and-protocols/

    :param hands_on: whether nodes hand files of the bundle on to each other.
    """
    nodes = (CONTROL_PLANE, WORKER)
    found = []
    for role in nodes:
        found += [
            Opening(role, part.name, part.protocol, part.first, part.last, nodes, part.reason) for part in table.traffic(network_plugin)
        ]
        if hands_on:
            found.append(Opening(role, "bundle", TCP, 32768, 60999, nodes, "nodes hand files of the bundle on to each other"))
        found.append(Opening(role, "kubelet", TCP, 10250, 10250, (CONTROL_PLANE,), "API servers reach kubelets"))
    found += [
        Opening(CONTROL_PLANE, "api", TCP, API_PORT, API_PORT, (CONTROL_PLANE,), "control planes reach the API servers of each other"),
        Opening(
            CONTROL_PLANE, "api-nodes", TCP, API_PORT, API_PORT, (WORKER,), "kubelets and pods reach the API server through its Service"
        ),
        Opening(CONTROL_PLANE, "etcd", TCP, 2379, 2380, (CONTROL_PLANE,), "etcd between control planes"),
    ]
    return found
