#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_reset
short_description: Take a machine out of a cluster that is deleted as a whole
version_added: "0.1.0"
description:
  - Runs C(kubeadm reset) and removes what that leaves, on a machine of the named cluster only.
  - For a cluster of which nothing is to be left. It drains nothing and does not remove the machine's etcd member from the others.
  - The container runtime with its images, the binaries, packages and kernel settings stay, and so do the rules of kube-proxy and of the
    network plugin in the packet filter, until the machine is rebooted.
options:
  api_endpoint:
    description: API endpoint of the cluster that is deleted, C(host:port). A member of another one is refused.
    type: str
    required: true
  virtual_address:
    description: Address that control planes of this cluster handed on to each other. It is taken off the machine.
    type: str
    default: ""
  timeout:
    description: Seconds that kubeadm may take.
    type: int
    default: 300
extends_documentation_fragment:
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Take the machine out of its cluster
  flotilla.kubernetes.kubeadm_reset:
    api_endpoint: 10.0.0.5:6443
    virtual_address: 10.0.0.5
  become: true
"""

RETURN = r"""
membership:
  description: V(none), V(unfinished) or V(member), as found.
  returned: success
  type: str
  sample: member
removed:
  description: Files and folders that were removed.
  returned: success
  type: list
  elements: str
  sample: [/etc/kubernetes, /var/lib/etcd]
"""

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes.machine import reset


def main() -> None:
    module = FencedModule(
        argument_spec={
            "api_endpoint": {"type": "str", "required": True},
            "virtual_address": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    try:
        result = reset(module.params["api_endpoint"], module.params["virtual_address"], module.params["timeout"], module.check_mode)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    diff = {"before": {"membership": result["membership"], "files": result["removed"]}, "after": {"membership": "none", "files": []}}
    module.exit_json(diff=diff, **result)


if __name__ == "__main__":
    main()
