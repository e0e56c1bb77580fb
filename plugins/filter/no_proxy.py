# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: no_proxy
short_description: Say what the machines of a cluster reach without a proxy
version_added: "0.2.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Returns this machine itself, the clouds' metadata service, the networks of pods, Services and machines, the cluster's own domains,
    the API endpoint, and what the definition lists in C(site.proxy.no_proxy).
  - The machines' network stands for the machines, so that a new machine changes nothing on the others. Where a cluster has no network of
    its own, the addresses of O(machines) are listed one by one.
options:
  _input:
    description: A cluster definition as in C(flotilla_cluster), or nothing.
    type: dict
    required: true
  endpoint:
    description: Host of the API endpoint.
    type: str
    default: ""
  machines:
    description: The machines, as C(*_machines) modules return them.
    type: list
    elements: dict
    default: []
positional: endpoint, machines
"""

EXAMPLES = r"""
- name: Show what is reached directly
  ansible.builtin.debug:
    msg: "{{ flotilla_cluster | flotilla.kubernetes.no_proxy('172.30.86.3') | join(',') }}"
"""

RETURN = r"""
_value:
  description: Hosts, domains that begin with a dot, addresses and networks, as the environment variable C(NO_PROXY) takes them.
  type: list
  elements: str
"""

from collections.abc import Sequence
from typing import Any, Callable

# 169.254.169.254 and fd00:ec2::254 are the metadata services of the large clouds; machines get their identity there.
_ALWAYS = ("localhost", "127.0.0.0/8", "127.0.0.1", "::1", "169.254.169.254", "fd00:ec2::254", ".svc", ".cluster.local")


def no_proxy(definition: dict[str, Any] | None, endpoint: str = "", machines: Sequence[dict[str, Any]] = ()) -> list[str]:
    """Return what is reached directly, without repetitions, what is always so first."""
    definition = definition or {}
    network = definition.get("network", {})
    section = definition.get(definition.get("cloud", ""), {})
    machine_networks = [value for key, value in sorted(section.items()) if key.endswith("_cidr")]
    addresses = sorted({address for machine in machines for address in (machine.get("addresses") or {}).values() if address})
    wanted = [
        *_ALWAYS,
        *network.get("pod_cidrs", []),
        *network.get("service_cidrs", []),
        *(machine_networks or addresses),
        *([endpoint] if endpoint else []),
        *definition.get("site", {}).get("proxy", {}).get("no_proxy", []),
    ]
    return list(dict.fromkeys(str(entry) for entry in wanted))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"no_proxy": no_proxy}
