#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_health
short_description: Wait until a cluster is healthy, or say what is not
version_added: "0.1.0"
description:
  - Runs on a control plane and reads the live cluster. Changes nothing.
  - While it waits, it says every 15 seconds for what.
  - The gates are V(api_servers) (every control plane's own C(/readyz)), V(etcd) (a healthy voting member per control plane and none
    besides), V(nodes) (exactly the expected nodes, all Ready), V(system_pods), V(daemon_sets), V(services) (C(kubernetes) and
    C(kube-dns) have endpoints), V(kubelet_certificates) (each kubelet shows a certificate of the cluster's CA) and V(workloads) (every
    workload of O(workloads) is as ready as before; without it nothing is asked).
options:
  control_planes:
    description: Address of each control plane by node name.
    type: dict
    required: true
  nodes:
    description: Names of all nodes that must be Ready.
    type: list
    elements: str
    required: true
  absent:
    description: Names of nodes that are known to be out of reach. Nothing is expected of them, nor of the system's pods on them.
    type: list
    elements: str
    default: []
  kubelet_versions:
    description: Version that the kubelet of a node must report, by node name, for the gate V(nodes); for nodes that are just upgraded.
    type: dict
    default: {}
  reported_after:
    description:
      - Seconds since the epoch, by a node's own clock, after which its kubelet must have reported, by node. For nodes whose kubelet was
        just restarted; what it said before stays for most of a minute.
    type: dict
    default: {}
  workloads:
    description: Ready pods of each workload, as RV(workloads) said it before something was done to the cluster.
    type: dict
    default: {}
  read_workloads:
    description: Whether to return RV(workloads).
    type: bool
    default: false
  gates:
    description: Which gates must hold.
    type: list
    elements: str
    choices: [api_servers, etcd, nodes, system_pods, daemon_sets, services, kubelet_certificates, workloads]
    default: [api_servers, etcd, nodes, system_pods, daemon_sets, services, kubelet_certificates, workloads]
  timeout:
    description: Seconds to wait until every gate holds. V(0) looks once.
    type: int
    default: 0
  fail:
    description: Whether a gate that does not hold fails the task. If not, the findings are returned only.
    type: bool
    default: true
  progress_token:
    description: Where the slice of waiting before this one stopped. Set by the action plugin.
    type: str
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
  - flotilla.kubernetes.api_server.user
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Wait until everything is healthy
  flotilla.kubernetes.cluster_health:
    address: 10.0.0.11
    control_planes: {payments-control-plane-0a1b2c3d: 10.0.0.11}
    nodes: [payments-control-plane-0a1b2c3d, payments-general-1f2e3d4c]
    timeout: 300
"""

RETURN = r"""
healthy:
  description: Whether every gate holds.
  returned: always
  type: bool
  sample: true
findings:
  description: What keeps a gate closed.
  returned: always
  type: list
  elements: dict
  contains:
    code: {description: Stable code., type: str, returned: always, sample: NODE_NOT_READY}
    object: {description: What it is about., type: str, returned: always, sample: node/payments-general-1f2e3d4c}
    message: {description: One sentence., type: str, returned: always}
    remedy: {description: What to do., type: str, returned: always}
nodes:
  description: Name, roles, kubelet version and readiness of every node.
  returned: when the API server answers
  type: list
  elements: dict
workloads:
  description: How many pods of each Deployment and StatefulSet are ready.
  returned: with O(read_workloads=true), when the API server answers
  type: dict
  sample: {deployment/shop/cart: 3}
join_secrets:
  description: Names of the Secrets of C(kube-system) that runs of this collection made for machines to join; only a killed run leaves some.
  returned: when the API server answers
  type: list
  elements: str
  sample: []
rotation:
  description: Certificate authorities that are trusted beside their successors, because a rotation is under way.
  returned: when the API server answers
  type: list
  elements: str
  sample: []
waited:
  description: Seconds until the gates held.
  returned: always
  type: float
  sample: 3.2
"""

import time
from typing import Any

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes.authorities import half_done
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.gates import GATES, WITHOUT_MACHINE, Expectation, describe_nodes, examine, read_workloads
from ..module_utils._kubernetes.kubeadm import join_secrets
from ..module_utils._kubernetes.own_api_server import ADDRESS, USER

SLICE = 15.0  # seconds


def wait(client: Client, params: dict[str, Any]) -> dict[str, Any]:
    """Return the module's result once the gates hold or the time is over, or what to say after a slice of waiting."""
    expected = Expectation(
        frozenset(params["nodes"]),
        params["control_planes"],
        kubelet_versions=params["kubelet_versions"],
        reported_after={name: float(seconds) for name, seconds in params["reported_after"].items()},
        workloads=params["workloads"],
        absent=frozenset(params["absent"]),
    )
    before, began = float(params["progress_token"] or 0), time.monotonic()
    while True:
        findings = examine(client, expected, params["gates"])
        slept = time.monotonic() - began
        waited = round(before + slept, 1)
        if {finding.code for finding in findings} <= {WITHOUT_MACHINE} or waited >= params["timeout"]:
            break
        if slept >= SLICE:
            more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
            line = f"Waiting for a healthy cluster since {waited:.0f} s: {findings[0].message.rstrip('.')}{more}"
            return {"finished": False, "progress": [line], "progress_token": str(waited)}
        time.sleep(0.5)
    silent = any(finding.code == "API_UNREACHABLE" for finding in findings)
    return {
        "healthy": not findings,
        "findings": [finding.as_dict() for finding in findings],
        "nodes": [] if silent else describe_nodes(client),
        "join_secrets": [] if silent else join_secrets(client),
        "rotation": [] if silent else half_done(client),
        "waited": waited,
        **({"workloads": read_workloads(client)} if params["read_workloads"] and not silent else {}),
    }


def main() -> None:
    module = FencedModule(
        argument_spec={
            **ADDRESS,
            "control_planes": {"type": "dict", "required": True},
            "nodes": {"type": "list", "elements": "str", "required": True},
            "absent": {"type": "list", "elements": "str", "default": []},
            "kubelet_versions": {"type": "dict", "default": {}},
            "reported_after": {"type": "dict", "default": {}},
            "workloads": {"type": "dict", "default": {}},
            "read_workloads": {"type": "bool", "default": False},
            "gates": {"type": "list", "elements": "str", "choices": list(GATES), "default": list(GATES)},
            "timeout": {"type": "int", "default": 0},
            "fail": {"type": "bool", "default": True},
            **USER,
            "progress_token": {"type": "str", "no_log": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        result = wait(Client.short_lived(params["address"], params["user"]), params)
    except (FlotillaError, OSError) as error:
        module.fail_json(**(error.as_result() if isinstance(error, FlotillaError) else {"msg": str(error)}))
    findings = result.get("findings", [])
    if findings and params["fail"]:
        lines = "\n".join("  {code} {message} {remedy}".format(**finding) for finding in findings)
        module.fail_json(msg=f"The cluster is not healthy after {result['waited']:g} s:\n{lines}", **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
