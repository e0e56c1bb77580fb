#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_removal
short_description: Take nodes out of a cluster whose machines are to go
version_added: "0.1.0"
description:
  - Runs on a control plane that stays. With O(state=drained), before the machines go, it makes all nodes unschedulable, evicts their pods
    at the same time through the Eviction API, which respects PodDisruptionBudgets, and waits until their volumes are detached.
  - Load balancers learn by the taint C(ToBeDeletedByClusterAutoscaler) that the nodes go, by kube-proxy's answer to their health checks or
    through the cloud's controller. In a cluster with Services of type NodePort or LoadBalancer they have 30 seconds for that.
  - A node that the cluster does not have needs nothing. One that is not Ready is left as it is, because no pod on it can end.
  - Pods of DaemonSets and static pods stay. Pods that nobody would make anew, or that would lose data, are refused on all nodes before
    anything is changed.
  - If pods or volumes are still there after O(timeout), the task fails and names them when the other nodes are finished; that node takes
    pods again.
  - With O(state=absent), when the machines are gone, it deletes the Nodes.
  - The work is done in slices with a line of progress each. A run that was killed is simply repeated.
options:
  nodes:
    description: Names of the nodes.
    type: list
    elements: str
    required: true
  state:
    description: V(drained) before the machines go, V(absent) when they are gone.
    type: str
    choices: [drained, absent]
    default: drained
  timeout:
    description: How long each node may take, like V(90s) or V(10m).
    type: str
    default: 10m
  delete_emptydir_data:
    description: Whether pods with C(emptyDir) volumes may be evicted, whose content is lost.
    type: bool
    default: false
  delete_bare_pods:
    description: Whether pods without a controller may be evicted, which nobody makes anew.
    type: bool
    default: false
  progress_token:
    description: Where the slice of work before this one stopped. Set by the action plugin.
    type: str
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
  - flotilla.kubernetes.api_server.user
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.node_drain
  - module: flotilla.kubernetes.etcd_member
"""

EXAMPLES = r"""
- name: Take the pods off two workers that are to go
  flotilla.kubernetes.node_removal:
    address: 10.0.0.11
    nodes: [payments-general-1f2e3d4c, payments-general-2a3b4c5d]
    timeout: 15m
    delete_emptydir_data: true
  delegate_to: payments-control-plane-0a1b2c3d

- name: Delete their Nodes when the machines are gone
  flotilla.kubernetes.node_removal:
    address: 10.0.0.11
    nodes: [payments-general-1f2e3d4c, payments-general-2a3b4c5d]
    state: absent
  delegate_to: payments-control-plane-0a1b2c3d
"""

RETURN = r"""
evicted:
  description: The pods that were evicted, or would be, as C(namespace/name).
  returned: when O(state=drained)
  type: list
  elements: str
  sample: [shop/web-5d5c7]
blocked:
  description: The pods that were still there, each with C(pod) and C(reason).
  returned: when the time was over
  type: list
  elements: dict
"""

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.drain import Options
from ..module_utils._kubernetes.duration import parse_duration
from ..module_utils._kubernetes.node_removal import NodeRemoval
from ..module_utils._kubernetes.own_api_server import ADDRESS, USER

SLICE = 10.0  # seconds


def main() -> None:
    module = FencedModule(
        argument_spec={
            **ADDRESS,
            "nodes": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["drained", "absent"], "default": "drained"},
            "timeout": {"type": "str", "default": "10m"},
            "delete_emptydir_data": {"type": "bool", "default": False},
            "delete_bare_pods": {"type": "bool", "default": False},
            **USER,
            "progress_token": {"type": "str", "no_log": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        timeout = parse_duration(params["timeout"], "timeout")
        options = Options(timeout, None, params["delete_emptydir_data"], params["delete_bare_pods"])
        removal = NodeRemoval(Client.short_lived(params["address"], params["user"]), params["nodes"], options)
        if params["state"] == "absent":
            result = removal.delete(module.check_mode)
        elif module.check_mode:
            result = removal.predict()
        else:
            result = removal.advance(params["progress_token"], SLICE)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    except OSError as error:
        module.fail_json(msg=f"The API server {params['address']} could not be reached: {error}. Run again: the work goes on.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
