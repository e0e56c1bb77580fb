#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: workload_restart
short_description: Restart the pods of a Deployment, StatefulSet or DaemonSet, and wait for them
version_added: "0.1.0"
description:
  - Does what C(kubectl rollout restart) and C(kubectl rollout status) do, by the workload's own strategy. Runs on a control plane.
  - A workload that is gone needs nothing.
options:
  workload:
    description: C(namespace/Kind/name).
    type: str
    required: true
  since:
    description:
      - Seconds since the epoch. A workload that was told to restart later than this is only waited for, so a run that was killed does not
        restart its pods twice.
    type: float
    required: true
  timeout:
    description: Seconds that all its pods may take.
    type: int
    default: 900
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
  - flotilla.kubernetes.api_server.user
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Restart what was not restarted in the last hour
  flotilla.kubernetes.workload_restart:
    address: 10.0.0.11
    workload: shop/Deployment/cart
    since: "{{ now().timestamp() - 3600 }}"
"""

RETURN = r""" # """

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes.authority_cluster import RESTARTABLE, restart
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.own_api_server import ADDRESS, USER, reached


def main() -> None:
    module = FencedModule(
        argument_spec={
            **ADDRESS,
            "workload": {"type": "str", "required": True},
            "since": {"type": "float", "required": True},
            "timeout": {"type": "int", "default": 900},
            **USER,
        },
        supports_check_mode=True,
    )
    params = module.params
    parts = params["workload"].split("/")
    if len(parts) != 3 or parts[1] not in RESTARTABLE:
        module.fail_json(
            msg=f"{params['workload']} is not namespace/Kind/name with a Kind of {', '.join(RESTARTABLE)}.", code="WORKLOAD_UNKNOWN"
        )
    try:
        if module.check_mode:
            module.exit_json(changed=True)
        with reached("Run again."):
            changed = restart(Client.short_lived(params["address"], params["user"]), params["workload"], params["since"], params["timeout"])
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
