#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_versions
short_description: Read which version of Kubernetes every part of a cluster runs
version_added: "0.1.0"
description:
  - Runs on a live control plane and asks its API server. Changes nothing.
  - An upgrade that was interrupted shows as versions that differ.
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
  - flotilla.kubernetes.api_server.user
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Read the versions
  flotilla.kubernetes.cluster_versions:
    address: 10.0.0.11
  register: versions
"""

RETURN = r"""
recorded:
  description: The version that kubeadm recorded for the cluster; new nodes get it.
  returned: success
  type: str
  sample: 1.36.3
applied:
  description: The version for which C(kubeadm upgrade apply) last ran to its end; empty on a cluster that was never upgraded.
  returned: success
  type: str
  sample: 1.36.3
control_planes:
  description: Versions of the static pods of each control plane, by node.
  returned: success
  type: dict
  sample: {payments-control-plane-0a1b2c3d: {kube-apiserver: 1.36.3, kube-controller-manager: 1.36.3, kube-scheduler: 1.36.3, etcd: 3.6.8}}
kubelets:
  description: Version of each node's kubelet, by node.
  returned: success
  type: dict
  sample: {payments-control-plane-0a1b2c3d: 1.36.3, payments-general-1f2e3d4c: 1.35.4}
drained:
  description: Nodes that a run of this collection made unschedulable and that do not take pods again yet.
  returned: success
  type: list
  elements: str
  sample: []
arriving:
  description: Nodes that have joined and that load balancers send no requests to yet, nor the scheduler pods.
  returned: success
  type: list
  elements: str
  sample: []
interrupted:
  description: Drained ones, and the control planes whose kubelet has another version than the API server beside it.
  returned: success
  type: list
  elements: str
  sample: []
etcd_leader:
  description: Node whose member leads etcd; empty when there is none, or etcd is somebody else's.
  returned: success
  type: str
  sample: payments-control-plane-0a1b2c3d
oldest:
  description: Version of the oldest API server.
  returned: success
  type: str
  sample: 1.36.3
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.live_versions import read
from ..module_utils._kubernetes.own_api_server import ADDRESS, USER, reached


def main() -> None:
    module = AnsibleModule(
        argument_spec={**ADDRESS, **USER},
        supports_check_mode=True,
    )
    try:
        with reached("Run again."):
            found = read(Client.short_lived(module.params["address"], module.params["user"]))
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
