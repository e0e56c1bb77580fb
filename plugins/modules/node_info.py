#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_info
short_description: Read what a machine offers to Kubernetes
version_added: "0.1.0"
description:
  - Reads the few facts that the roles of this collection need, without the cost of a full fact gathering. Changes nothing.
options:
  commands:
    description: Further commands to look for.
    type: list
    elements: str
    default: []
  kernel_modules:
    description: Kernel modules that should be loaded, see M(flotilla.kubernetes.kernel_settings).
    type: list
    elements: str
    default: []
  kernel_parameters:
    description: Kernel parameters that should be set.
    type: dict
    default: {}
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Look at the machine
  flotilla.kubernetes.node_info:
  register: node
"""

RETURN = r"""
cgroup_version:
  description: V(2) where the unified hierarchy is mounted, else V(1).
  returned: always
  type: int
  sample: 2
may_raise_resource_limits:
  description: Whether processes may raise their limits and lower their OOM score (C(CAP_SYS_RESOURCE)); not so in some containers.
  returned: always
  type: bool
  sample: true
architecture:
  description: The machine's architecture as Kubernetes names it.
  returned: always
  type: str
  sample: amd64
os_id:
  description: C(ID) of C(/etc/os-release).
  returned: always
  type: str
  sample: debian
os_family:
  description: The row of the table of operating systems that the machine belongs to; V(null) for one that is not in it.
  returned: always
  type: str
  sample: Debian 12 and 13
packages:
  description: Packages that bring the commands of RV(missing_commands) on this operating system; V(null) where it is not in the table.
  returned: always
  type: list
  elements: str
  sample: [conntrack, ethtool]
site_settings:
  description: Whether M(flotilla.kubernetes.site_settings) has left something on the machine.
  returned: always
  type: bool
  sample: false
swap_bytes:
  description: Bytes of swap in use by the machine.
  returned: always
  type: int
  sample: 0
kernel_ready:
  description: Whether O(kernel_modules) and O(kernel_parameters) are in force, now and at the next boot.
  returned: always
  type: bool
  sample: true
membership:
  description: V(member) of a cluster, V(none), or V(unfinished) after a step of kubeadm that began and did not end.
  returned: always
  type: str
  sample: none
kubelet_version:
  description: Version of the kubelet of a member, empty for the others.
  returned: always
  type: str
  sample: 1.36.3
serving:
  description: Whether the kubelet of a member says that it is healthy. It does not while its container runtime is of no use.
  returned: always
  type: bool
  sample: false
step_at_work:
  description: Whether a kubeadm that a run started works on the machine, maybe one of a run that was killed.
  returned: always
  type: bool
  sample: false
missing_commands:
  description: Commands that kubeadm, kubelet or kube-proxy call, or of O(commands), that are not there.
  returned: always
  type: list
  elements: str
  sample: []
interfaces:
  description: Network interface of each IPv4 address of the machine.
  returned: always
  type: dict
  sample: {10.0.0.11: eth0}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kernel import KERNEL_SETTINGS, KernelSettings
from ..module_utils._kubernetes.membership import kubelet_problem, kubelet_version, membership, step_at_work
from ..module_utils._node import describe


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "commands": {"type": "list", "elements": "str", "default": []},
            "kernel_modules": {"type": "list", "elements": "str", "default": []},
            "kernel_parameters": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    state = membership()
    try:
        wanted = KernelSettings(KERNEL_SETTINGS, module.params["kernel_modules"], module.params["kernel_parameters"])
        before, after = wanted.difference()
        version = kubelet_version() if state == "member" else ""
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    facts = describe(module.params["commands"])
    module.exit_json(
        changed=False,
        kernel_ready=before == after,
        membership=state,
        kubelet_version=version,
        serving=state == "member" and not kubelet_problem(),
        step_at_work=step_at_work(),
        **facts,
    )


if __name__ == "__main__":
    main()
