#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: api_server_restart
short_description: Restart the API server of a control plane, so that its clients go elsewhere
version_added: "0.1.0"
description:
  - Ends the API server of this control plane as kubelet does, and waits until kubelet has started it anew and it is ready.
  - An API server that ends tells the clients of open connections to open others, and answers what they have asked. Nothing else takes a
    client off a kept connection without an error, so it comes before what would let the API server hang, such as a restart of its etcd.
  - Let the load balancer send it nothing new before, or its clients come back.
  - It is a change each time.
options:
  timeout:
    description: Seconds that it may take to come back.
    type: int
    default: 300
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - name: Graceful termination of the API server
    description: The option C(--shutdown-delay-duration) says how long it goes on as before.
    link: https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/
"""

EXAMPLES = r"""
- name: Have its clients go elsewhere
  flotilla.kubernetes.api_server_restart:
    address: 10.0.0.11
"""

RETURN = r""" # """

import time

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes.configuration import API_SERVER, restart_component
from ..module_utils._kubernetes.own_api_server import ADDRESS


def main() -> None:
    module = FencedModule(
        argument_spec={**ADDRESS, "timeout": {"type": "int", "default": 300}},
        supports_check_mode=True,
    )
    try:
        if not module.check_mode:
            restart_component(API_SERVER, time.time(), module.params["address"], module.params["timeout"])
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    except OSError as error:
        missing = FlotillaError(
            "API_SERVER_MISSING", f"There is no API server to restart: {error}.", "Run this on a control plane that kubeadm made.", error
        )
        module.fail_json(**missing.as_result())
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
