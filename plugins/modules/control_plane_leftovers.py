#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: control_plane_leftovers
short_description: Remove what control planes left in a cluster whose machines no longer exist
version_added: "0.1.0"
description:
  - Runs on a live control plane. Removes dead etcd members and Nodes that are not Ready of control planes that are not in
    O(control_planes), so that the next one joins an etcd whose members can all vote.
  - A member that works, or that etcd's quorum needs, stays, and a warning says why. A Node that is Ready stays, too.
options:
  control_planes:
    description: Address of every control plane that exists, by node name, also of those that are about to join.
    type: dict
    required: true
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
  - flotilla.kubernetes.api_server.user
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Remove what is left of a control plane that was replaced
  flotilla.kubernetes.control_plane_leftovers:
    address: 10.0.0.11
    control_planes:
      payments-control-plane-0a1b2c3d: 10.0.0.11
      payments-control-plane-5e6f7a8b: 10.0.0.14
"""

RETURN = r"""
members:
  description: Names or peer URLs of the etcd members that were removed.
  returned: success
  type: list
  elements: str
  sample: [payments-control-plane-9c8d7e6f]
nodes:
  description: Names of the Nodes that were removed.
  returned: success
  type: list
  elements: str
  sample: [payments-control-plane-9c8d7e6f]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.leftovers import remove_leftovers
from ..module_utils._kubernetes.own_api_server import ADDRESS, USER


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ADDRESS,
            "control_planes": {"type": "dict", "required": True},
            **USER,
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        client = Client.short_lived(params["address"], params["user"])
        result = remove_leftovers(client, params["address"], params["control_planes"], module.check_mode)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    except OSError as error:
        module.fail_json(msg=f"The control plane {params['address']} could not be asked: {error}. Read the log of its kube-apiserver.")
    for warning in result.pop("kept"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
