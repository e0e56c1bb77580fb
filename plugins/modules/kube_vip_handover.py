#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kube_vip_handover
short_description: Have another control plane take the API's address that kube-vip holds on this one
version_added: "0.1.0"
description:
  - Ends kube-vip on this control plane if it has the address. It gives its Lease back, so that another control plane takes the address
    within about a second, instead of the five that it takes when the API server here is away. kubelet starts kube-vip again.
  - Connections through the address end, as TCP does not move with it; clients open others.
  - Nothing happens on a machine that does not have the address.
options:
  address:
    description: The API's address.
    type: str
    required: true
  port:
    description: TCP port of the API.
    type: int
    default: 6443
  timeout:
    description: Seconds within which another control plane has to answer at the address.
    type: int
    default: 60
extends_documentation_fragment:
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Have another control plane answer for the cluster
  flotilla.kubernetes.kube_vip_handover:
    address: 10.0.0.5
"""

RETURN = r""" # """

import os
import signal
import socket
import time
from contextlib import suppress

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes.configuration import processes
from ..module_utils._node import interfaces

KUBE_VIP = "kube-vip"


def hand_over(address: str, port: int, timeout: float) -> None:
    """End kube-vip here until another machine answers at the address.

    :raises FlotillaError: ``KUBE_VIP_STAYS``.
    """
    deadline = time.monotonic() + timeout
    told: set[int] = set()
    while True:
        here = address in interfaces()
        # One that won the Lease again is another process.
        for process in [number for number, _flags, _started in processes(KUBE_VIP) if here and number not in told]:
            told.add(process)
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        if not here and _answers(address, port):
            return
        if time.monotonic() > deadline:
            raise FlotillaError(
                "KUBE_VIP_STAYS",
                f"No other control plane answers at {address}:{port} within {timeout:g} s.",
                "Read the log of kube-vip ('kubectl -n kube-system logs kube-vip-<node>') on the others, and run again.",
            )
        time.sleep(0.2)


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


def main() -> None:
    module = FencedModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 6443},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        changed = params["address"] in interfaces()
        if changed and not module.check_mode:
            hand_over(params["address"], params["port"], params["timeout"])
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
