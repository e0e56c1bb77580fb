#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_settings
short_description: Load kernel modules and set kernel parameters, now and at every boot
version_added: "0.1.0"
description:
  - Loads what is not loaded, sets what differs, and keeps both in C(/etc/modules-load.d) and C(/etc/sysctl.d).
  - A module that is built into the kernel counts as loaded.
options:
  name:
    description: Base name of the two files.
    type: str
    default: 90-flotilla-kubernetes
  modules:
    description: Kernel modules that must be there.
    type: list
    elements: str
    default: []
  parameters:
    description: Kernel parameters and their values, e.g. V(net.ipv4.ip_forward).
    type: dict
    default: {}
extends_documentation_fragment:
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Let the kernel forward packets
  flotilla.kubernetes.kernel_settings:
    modules: [br_netfilter]
    parameters:
      net.ipv4.ip_forward: "1"
"""

RETURN = r"""
loaded:
  description: Kernel modules that had to be loaded.
  returned: always
  type: list
  elements: str
  sample: [br_netfilter]
set:
  description: Kernel parameters that had to be set.
  returned: always
  type: list
  elements: str
  sample: [net.ipv4.ip_forward]
"""

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kernel import KERNEL_SETTINGS, KernelSettings


def main() -> None:
    module = FencedModule(
        argument_spec={
            "name": {"type": "str", "default": KERNEL_SETTINGS},
            "modules": {"type": "list", "elements": "str", "default": []},
            "parameters": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    settings = KernelSettings(module.params["name"], module.params["modules"], module.params["parameters"])
    try:
        before, after = settings.difference()
        if before != after and not module.check_mode:
            settings.apply()
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(
        changed=before != after,
        loaded=[name for name in after["modules"] if name not in before["modules"]],
        set=[name for name in after["parameters"] if before["parameters"].get(name) != after["parameters"][name]],
        diff={"before": before, "after": after},
    )


if __name__ == "__main__":
    main()
