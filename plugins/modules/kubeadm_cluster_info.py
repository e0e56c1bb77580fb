#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_cluster_info
short_description: Read what a cluster of kubeadm's is made of
version_added: "0.1.0"
description:
  - Runs on a control plane, whoever made the cluster, and reads what kubeadm recorded, the nodes, and the flags of this machine's static
    pods. Changes nothing, neither on the machine nor in the cluster.
  - Asks the API server of this machine with a client certificate that lives for minutes and is never written to a disk.
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.user
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.cluster_adopt
"""

EXAMPLES = r"""
- name: Read what the cluster is
  flotilla.kubernetes.kubeadm_cluster_info:
  become: true
  register: foreign
"""

RETURN = r"""
address:
  description: Address that this machine's API server says it has.
  returned: success
  type: str
  sample: 10.0.0.11
port:
  description: Port of this machine's API server.
  returned: success
  type: int
  sample: 6443
documents:
  description: What kubeadm recorded, as YAML, by kind; empty where it recorded nothing.
  returned: success
  type: dict
  sample: {ClusterConfiguration: "apiVersion: kubeadm.k8s.io/v1beta4 ...", KubeletConfiguration: "", KubeProxyConfiguration: ""}
flags:
  description: Flags of this machine's static pods, by component, each with its values.
  returned: success
  type: dict
  sample: {kube-apiserver: {secure-port: ["6443"]}}
nodes:
  description: The nodes of the cluster.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Name of the Node., type: str, returned: success, sample: server-1}
    control_plane: {description: Whether it has the label of control planes., type: bool, returned: success}
    ready: {description: Whether it is Ready., type: bool, returned: success}
    schedulable: {description: Whether it takes pods., type: bool, returned: success}
    addresses: {description: Its internal addresses., type: list, elements: str, returned: success, sample: [10.0.0.11]}
    kubelet_version: {description: Version of its kubelet., type: str, returned: success, sample: 1.36.3}
    architecture: {description: Its architecture., type: str, returned: success, sample: amd64}
    os: {description: Its operating system., type: str, returned: success, sample: linux}
    runtime: {description: Its container runtime., type: str, returned: success, sample: "containerd://2.2.1"}
    labels: {description: Its labels., type: dict, returned: success}
    taints: {description: Its taints., type: list, elements: dict, returned: success}
    pod_cidrs: {description: Addresses of its pods., type: list, elements: str, returned: success, sample: [10.244.0.0/24]}
api_server_versions:
  description: Version of each control plane's API server, by node.
  returned: success
  type: dict
  sample: {server-1: 1.36.3}
network_plugins:
  description: Network plugins that run in the cluster.
  returned: success
  type: list
  elements: str
  sample: [flannel]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.foreign import api_server, describe
from ..module_utils._kubernetes.own_api_server import USER, reached


def main() -> None:
    module = AnsibleModule(argument_spec={**USER}, supports_check_mode=True)
    try:
        with reached():
            address, port = api_server()
            found = describe(Client.short_lived(address, module.params["user"], port))
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=False, address=address, port=port, **found)


if __name__ == "__main__":
    main()
