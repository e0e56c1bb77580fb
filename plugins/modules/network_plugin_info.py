#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: network_plugin_info
short_description: Read which network plugin a cluster runs
version_added: "0.1.0"
description:
  - Runs on a control plane whose API server is alive, and knows network plugins by their DaemonSets. Changes nothing.
  - Fails where the cluster runs another network plugin than it is to have, because changing it in place takes the network from its pods.
options:
  wanted:
    description:
      - The network plugin that the cluster is to have, as C(network.plugin) of its definition says. V(manifests) and V(none), which
        are the user's own, fit any.
    type: str
    choices: [flannel, kube-router, antrea, ncp, manifests, none]
    required: true
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
  - flotilla.kubernetes.api_server.user
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: See that the network plugin stays
  flotilla.kubernetes.network_plugin_info:
    wanted: flannel
    address: 10.0.0.11
  become: true
"""

RETURN = r"""
network_plugins:
  description: Network plugins that run in the cluster.
  returned: success
  type: list
  elements: str
  sample: [flannel]
unenforced:
  description: NetworkPolicies of the cluster that have no effect, as C(namespace/name), because its network plugin enforces none.
  returned: success
  type: list
  elements: str
  sample: [payments/deny-all]
notice:
  description: The same in words; empty where there are none.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.network_plugins.live import look, notice
from ..module_utils._kubernetes.network_plugins.table import CHOICES
from ..module_utils._kubernetes.own_api_server import ADDRESS, USER, reached


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "wanted": {"type": "str", "choices": list(CHOICES), "required": True},
            **ADDRESS,
            **USER,
        },
        supports_check_mode=True,
    )
    wanted = module.params["wanted"]
    try:
        with reached():
            found = look(Client.short_lived(module.params["address"], module.params["user"]), wanted)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    text = notice(wanted, found["unenforced"])
    if text:
        module.warn(text)
    module.exit_json(changed=False, notice=text, **found)


if __name__ == "__main__":
    main()
