#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_info
short_description: Read whether a machine is a member of a cluster
version_added: "0.1.0"
description:
  - Reads how far C(kubeadm) got on this machine and, for a control plane, whether its own API server is ready. Changes nothing.
options:
  address:
    description: The machine's own address. Its API server is asked only when given.
    type: str
  timeout:
    description: Seconds to wait for the API server of a machine that is a member, or is about to be one.
    type: int
    default: 0
  cluster:
    description: Whether to read what the cluster was made with, too. Needs O(address).
    type: bool
    default: false
  user:
    description: Name under which the API server's audit log records the calls.
    type: str
    default: flotilla
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Find out which control planes exist
  flotilla.kubernetes.kubeadm_info:
    address: 10.0.0.11
  register: control_plane
"""

RETURN = r"""
membership:
  description: V(none), V(unfinished) (a step was interrupted) or V(member).
  returned: always
  type: str
  sample: member
api_ready:
  description: Whether the machine's own API server answers C(/readyz) with 200.
  returned: always
  type: bool
  sample: true
address:
  description: The address that was asked.
  returned: always
  type: str
  sample: 10.0.0.11
architecture:
  description: The machine's architecture as Kubernetes names it.
  returned: always
  type: str
  sample: amd64
kubelet_version:
  description: Version of the installed kubelet of a member, without a leading C(v); empty otherwise.
  returned: always
  type: str
  sample: 1.36.3
cluster:
  description: What the cluster was made with.
  returned: when O(cluster=true) and the API server answers
  type: dict
  contains:
    kubernetes_version: {description: Version of the control plane., type: str, returned: success, sample: 1.36.3}
    pod_cidrs: {description: Addresses of pods., type: str, returned: success, sample: 10.244.0.0/16}
    service_cidrs: {description: Addresses of Services., type: str, returned: success, sample: 10.96.0.0/12}
    api_endpoint: {description: The API's stable address., type: str, returned: success, sample: "10.0.0.3:6443"}
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.gates import api_server_problem
from ..module_utils._kubernetes.kubeadm import cluster_settings
from ..module_utils._kubernetes.membership import kubelet_version, membership, step_at_work
from ..module_utils._node import architecture


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str"},
            "timeout": {"type": "int", "default": 0},
            "cluster": {"type": "bool", "default": False},
            "user": {"type": "str", "default": "flotilla"},
        },
        supports_check_mode=True,
    )
    address = module.params["address"]
    deadline = time.monotonic() + module.params["timeout"]
    while True:
        # Asked first: a step that ends now has taken its mark away by the time it is looked for.
        at_work = step_at_work()
        state = membership()
        ready = bool(address) and state == "member" and not api_server_problem(address)
        hopeless = state == "none" or (state == "unfinished" and not at_work)
        if ready or hopeless or not address or time.monotonic() >= deadline:
            break
        time.sleep(0.5)
    result = {"membership": state, "api_ready": ready, "address": address or "", "kubelet_version": "", "architecture": architecture()}
    try:
        if state == "member":
            result["kubelet_version"] = kubelet_version()
        if ready and module.params["cluster"]:
            result["cluster"] = cluster_settings(Client.short_lived(address, module.params["user"]))
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
