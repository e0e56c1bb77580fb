#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: machine_info
short_description: Read what tells a machine from others and what is in the way of Kubernetes
version_added: "0.1.0"
description:
  - Reads identity, addresses, ports in use and membership of a machine that exists already. Changes nothing. Needs root.
options: {}
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Look at the machine
  flotilla.kubernetes.machine_info:
  become: true
  register: look
"""

RETURN = r"""
machine_id:
  description: C(/etc/machine-id), which clones share.
  returned: success
  type: str
  sample: 3d1b6b2f0c4e4d0f9a8e7c6b5a4d3e2f
product_uuid:
  description: UUID that the firmware gives; empty where there is none.
  returned: success
  type: str
  sample: 4c4c4544-0042-3510-8052-b4c04f4a4d32
macs:
  description: MAC addresses of its network interfaces.
  returned: success
  type: list
  elements: str
  sample: ["52:54:00:12:34:56"]
addresses:
  description: Its IPv4 addresses.
  returned: success
  type: list
  elements: str
  sample: [10.0.0.11, 127.0.0.1]
listening:
  description: TCP ports on which something listens, with the name of the process.
  returned: success
  type: dict
  sample: {"22": sshd}
membership:
  description: V(none), V(unfinished) (a step of kubeadm was interrupted) or V(member).
  returned: success
  type: str
  sample: none
api_endpoint:
  description: API endpoint of the cluster that it is in, C(host:port); empty outside of one.
  returned: success
  type: str
  sample: "10.0.0.5:6443"
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.machine import look


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **look())
    except FlotillaError as error:
        module.fail_json(**error.as_result())


if __name__ == "__main__":
    main()
