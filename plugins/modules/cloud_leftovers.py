#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_leftovers
short_description: Have a cluster give back what it made in its cloud
version_added: "0.1.0"
description:
  - Runs on a live control plane before a cluster is deleted. Its own controllers made load balancers for Services and volumes for claims,
    and only they know them.
  - Deletes all Services of type C(LoadBalancer) and waits until their load balancers are gone.
  - Volumes are kept and listed, or with O(delete_volumes=true) deleted with all that is on them. No node takes pods any more then.
  - The work is done in slices with a line of progress each. A run that was killed is simply repeated.
options:
  delete_volumes:
    description: Whether volumes, and what is on them, go too.
    type: bool
    default: false
  timeout:
    description: How long all of it may take, like V(5m). Fails afterwards and names what is left.
    type: str
    default: 5m
  progress_token:
    description: Where the slice of work before this one stopped. Set by the action plugin.
    type: str
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
  - flotilla.kubernetes.api_server.user
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Give back load balancers, and keep the volumes
  flotilla.kubernetes.cloud_leftovers:
    address: 10.0.0.11
  register: given_back
  delegate_to: payments-control-plane-0a1b2c3d
"""

RETURN = r"""
kept_volumes:
  description: The PersistentVolumes that stay in the cloud.
  returned: success
  type: list
  elements: str
left:
  description: What was not given back.
  returned: when the time was over
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.cloud_leftovers import CloudLeftovers
from ..module_utils._kubernetes.duration import parse_duration
from ..module_utils._kubernetes.own_api_server import ADDRESS, USER

SLICE = 10.0  # seconds


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ADDRESS,
            "delete_volumes": {"type": "bool", "default": False},
            "timeout": {"type": "str", "default": "5m"},
            **USER,
            "progress_token": {"type": "str", "no_log": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        client = Client.short_lived(params["address"], params["user"])
        leftovers = CloudLeftovers(client, params["delete_volumes"], parse_duration(params["timeout"], "timeout"))
        result = leftovers.predict() if module.check_mode else leftovers.advance(params["progress_token"], SLICE)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    except OSError as error:
        module.fail_json(msg=f"The API server {params['address']} could not be reached: {error}. Run again: the work goes on.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
