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
restore:
  description: Whether a backup lies on the machine that M(flotilla.kubernetes.etcd_restore) laid out for kubeadm to begin with.
  returned: always
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.presence import look


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str"},
            "timeout": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    try:
        found = look(module.params["address"], module.params["timeout"], wait_for_steps=True)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
