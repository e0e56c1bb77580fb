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

from ..module_utils._node import describe


def main() -> None:
    module = AnsibleModule(
        argument_spec={"commands": {"type": "list", "elements": "str", "default": []}},
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **describe(module.params["commands"]))


if __name__ == "__main__":
    main()
