#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_upgrade
short_description: Upgrade what kubeadm manages on one node
version_added: "0.1.0"
description:
  - Runs C(kubeadm upgrade apply) or C(kubeadm upgrade node) unless it ran to its end on this node for this version. The kubelet stays what
    it is; M(flotilla.kubernetes.node_files) exchanges it afterwards, on a node that was drained.
  - The kubeadm on the machine has to be of the wanted version already.
  - kubeadm runs as a process of its own, and this module looks at it in slices of some seconds and shows how far it is. If the
    connection is lost or the playbook is stopped, kubeadm goes on, and the next run attaches to it. One that was interrupted is run
    again, which kubeadm allows.
options:
  version:
    description: Version of Kubernetes, without a leading C(v).
    type: str
    required: true
  command:
    description:
      - V(apply) upgrades, besides this control plane, what the cluster has once (recorded configuration, CoreDNS, kube-proxy). It is
        run on one control plane, before all others.
      - V(node) is for every other node.
    type: str
    choices: [apply, node]
    default: node
  api_server:
    description:
      - Address of an API server that kubeadm may call, best that of another control plane, because this node's own restarts meanwhile.
      - For control planes only; kubeadm on a worker calls the API with its kubelet's credential.
    type: str
  ignore_preflight_errors:
    description: Names of kubeadm's preflight checks whose errors become warnings.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that kubeadm may take.
    type: int
    default: 900
  progress_token:
    description: Where the slice of work before this one stopped. Set by the action plugin.
    type: str
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.user
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.node_drain
  - module: flotilla.kubernetes.node_files
"""

EXAMPLES = r"""
- name: Upgrade the first control plane
  flotilla.kubernetes.kubeadm_upgrade:
    version: 1.36.3
    command: apply
    api_server: 10.0.0.12

- name: Upgrade a worker, which was drained before
  flotilla.kubernetes.kubeadm_upgrade:
    version: 1.36.3
"""

RETURN = r"""
versions:
  description: Version of the kubelet and, on a control plane, of each static pod, as they are on the node afterwards (in check mode, now).
  returned: success
  type: dict
  sample: {kubelet: 1.35.4, kube-apiserver: 1.36.3, kube-controller-manager: 1.36.3, kube-scheduler: 1.36.3, etcd: 3.6.8}
"""

import socket

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes.own_api_server import USER
from ..module_utils._kubernetes.upgrade import Upgrade, upgrade


def main() -> None:
    module = FencedModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "command": {"type": "str", "choices": ["apply", "node"], "default": "node"},
            "api_server": {"type": "str"},
            "ignore_preflight_errors": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 900},
            **USER,
            "progress_token": {"type": "str", "no_log": False},
        },
        supports_check_mode=True,
        required_if=[("command", "apply", ["api_server"])],
    )
    params = module.params
    title = f"{'control plane' if params['api_server'] else 'worker'} {socket.gethostname()}"
    step = Upgrade(
        params["version"],
        params["command"],
        title,
        params["api_server"] or "",
        params["user"],
        params["ignore_preflight_errors"],
        params["timeout"],
    )
    try:
        module.exit_json(**upgrade(step, params["progress_token"], module.check_mode))
    except FlotillaError as error:
        module.fail_json(**error.as_result())


if __name__ == "__main__":
    main()
