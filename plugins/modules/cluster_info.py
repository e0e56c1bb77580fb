#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_info
short_description: Read what a cluster is, all at once
version_added: "0.1.0"
description:
  - Runs on a live control plane and reads in one call what M(flotilla.kubernetes.cluster_versions), M(flotilla.kubernetes.cluster_health),
    M(flotilla.kubernetes.certificate_info) and M(flotilla.kubernetes.node_fence) would read in four. Changes nothing.
  - It never waits for the cluster to get better, and fails where the API server of this control plane is not ready, so that another one can
    be asked.
options:
  control_planes:
    description: Node name -> address of each control plane.
    type: dict
    required: true
  nodes:
    description: Names of all nodes, which are the names of the machines.
    type: list
    elements: str
    required: true
  gates:
    description: What has to hold; see M(flotilla.kubernetes.cluster_health).
    type: list
    elements: str
    choices: [api_servers, etcd, nodes, system_pods, daemon_sets, services, kubelet_certificates]
    default: [api_servers, etcd, nodes, system_pods, daemon_sets, services, kubelet_certificates]
  expires_within:
    description: When a certificate is due; see M(flotilla.kubernetes.certificate_info).
    type: str
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
  - flotilla.kubernetes.api_server.user
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.fleet_status
"""

EXAMPLES = r"""
- name: See what it is
  flotilla.kubernetes.cluster_info:
    address: 10.0.0.11
    control_planes: {payments-control-plane-0a1b2c3d: 10.0.0.11}
    nodes: [payments-control-plane-0a1b2c3d, payments-general-1f2e3d4c]
  register: seen
"""

RETURN = r"""
versions:
  description: What M(flotilla.kubernetes.cluster_versions) returns.
  returned: success
  type: dict
findings:
  description: What is not healthy, as M(flotilla.kubernetes.cluster_health) returns it.
  returned: success
  type: list
  elements: dict
nodes:
  description: Name, roles, kubelet version and readiness of every node.
  returned: success
  type: list
  elements: dict
certificates:
  description:
    - The certificates of this control plane, as M(flotilla.kubernetes.certificate_info) returns them, and those that the other control
      planes show at the ports of their API server and etcd. The next one to end comes first.
  returned: success
  type: list
  elements: dict
  contains:
    node: {description: "Name of the control plane, empty for this one.", type: str, returned: always, sample: payments-control-plane-1b}
    name: {description: "kubeadm's name, or the path of one that kubeadm does not renew.", type: str, returned: always, sample: apiserver}
    kind: {description: "C(authority), C(control_plane) or C(kubelet).", type: str, returned: always, sample: control_plane}
    ends: {description: "When it ends, UTC.", type: str, returned: always, sample: "2027-01-23T04:00:00Z"}
    days_left: {description: Whole days until then., type: int, returned: always, sample: 61}
    due: {description: Whether it is to be renewed., type: bool, returned: always, sample: true}
    reason: {description: Why., type: str, returned: always, sample: ends in 61 days}
sign:
  description: What M(flotilla.kubernetes.node_fence) returns of the run that took this control plane last.
  returned: success
  type: dict
addons:
  description: Name and version of each add-on that M(flotilla.kubernetes.cluster_addons) installed.
  returned: success
  type: dict
  sample: {metrics-server: 0.9.0}
"""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _fence
from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes import addon_step, certificate_renewal, certificates, live_versions
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.gates import GATES, Expectation, api_server_problem, describe_nodes, examine
from ..module_utils._kubernetes.own_api_server import ADDRESS, USER, reached

# The others need that somebody knows what was before.
LOOKS = [name for name in GATES if name != "workloads"]
SHOWN = ("apiserver", "etcd-server", "etcd-peer")
KEPT = ("name", "kind", "ends", "days_left", "due", "reason")
PATIENCE = 5.0  # seconds for one request; whoever looks at a whole fleet does not wait for one that is sick


def read(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the module's result.

    :raises FlotillaError: ``API_UNREACHABLE``: nothing is to be had from this control plane.
    :raises OSError: the API server went away meanwhile.
    """
    address, control_planes = params["address"], params["control_planes"]
    problem = api_server_problem(address)
    if problem:
        raise FlotillaError(
            "API_UNREACHABLE", f"Its API server ({address}) is not ready: {problem}.", "Read the log of kube-apiserver there."
        )
    client = Client.short_lived(address, params["user"], timeout=PATIENCE)
    wanted = certificate_renewal.condition(params["expires_within"], None, certificate_renewal.validity(address, params["user"]))
    own = [{"node": "", **one} for one in certificate_renewal.look(wanted, address).as_dicts()]
    others = {name: other for name, other in control_planes.items() if other != address}
    found = [*own, *shown(others, wanted)]
    return {
        "versions": live_versions.read(client),
        "findings": [
            finding.as_dict() for finding in examine(client, Expectation(frozenset(params["nodes"]), control_planes), params["gates"])
        ],
        "nodes": describe_nodes(client),
        "certificates": [{key: one[key] for key in ("node", *KEPT)} for one in sorted(found, key=lambda one: (one["ends"], one["name"]))],
        "sign": asdict(_fence.look()),
        "addons": addon_step.installed(client),
    }


def shown(control_planes: Mapping[str, str], wanted: certificates.Condition) -> Iterator[dict[str, Any]]:
    """Yield the certificates that other control planes show at their ports; one that does not answer is the gates' business."""
    places = [
        (node, address, name, port)
        for node, address in sorted(control_planes.items())
        for name in SHOWN
        for port in certificates.PORTS[name]
    ]
    now = time.time()
    with ThreadPoolExecutor(max_workers=16) as pool:
        answers = pool.map(lambda place: certificates.shown_at(place[1], place[3], PATIENCE), places)
        for (node, _address, name, _port), answer in zip(places, answers):
            if answer:
                one = certificates.Certificate(Path(certificates.PKI), certificates.CONTROL_PLANE, name, *answer)
                yield {"node": node, **certificates.as_dict(one, wanted.reason(one, now), now)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ADDRESS,
            "control_planes": {"type": "dict", "required": True},
            "nodes": {"type": "list", "elements": "str", "required": True},
            "gates": {"type": "list", "elements": "str", "choices": LOOKS, "default": LOOKS},
            "expires_within": {"type": "str"},
            **USER,
        },
        supports_check_mode=True,
    )
    try:
        with reached("Run again."):
            result = read(module.params)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
