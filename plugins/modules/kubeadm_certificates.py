#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_certificates
short_description: Renew the certificates of a control plane that kubeadm made, and have them used
version_added: "0.1.0"
description:
  - Renews those that are due with C(kubeadm certs renew), which keeps their subjects and names, and starts the static pods anew that use
    them. It ends only when their ports show the new serial numbers.
  - Nothing is remembered on the node. A static pod that runs since before its certificate changed is restarted, whoever renewed it, so
    a run that was killed is simply repeated.
  - Run it on one control plane after another; the role C(kubernetes_certificates) takes each out of service first.
options:
  expires_within:
    description:
      - A certificate is due when it ends within this time, like V(90d) or V(720h).
      - Without it 90 days, or a third of what the cluster gives a new certificate (C(certificateValidityPeriod)) where that is less.
    type: str
  older_than:
    description: A certificate is also due when it was made longer ago than this.
    type: str
  timeout:
    description: Seconds that one static pod may take to come back.
    type: int
    default: 300
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
  - flotilla.kubernetes.api_server.user
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.certificate_info
"""

EXAMPLES = r"""
- name: Renew what ends within 90 days
  flotilla.kubernetes.kubeadm_certificates:
    address: 10.0.0.11

- name: Renew what is older than a month
  flotilla.kubernetes.kubeadm_certificates:
    address: 10.0.0.11
    older_than: 30d
"""

RETURN = r"""
renewed:
  description: kubeadm's names of the certificates that were renewed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [apiserver, admin.conf]
restarted:
  description: The static pods that were restarted, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [kube-apiserver]
"""

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes.certificate_renewal import condition, look, refuse_without_keys, renew, restarts_after, shown, validity
from ..module_utils._kubernetes.own_api_server import ADDRESS, USER


def main() -> None:
    module = FencedModule(
        argument_spec={
            **ADDRESS,
            "expires_within": {"type": "str"},
            "older_than": {"type": "str"},
            "timeout": {"type": "int", "default": 300},
            **USER,
        },
        supports_check_mode=True,
    )
    params = module.params
    address, user = params["address"], params["user"]
    try:
        wanted = condition(params["expires_within"], params["older_than"], validity(address, user))
        found = look(wanted, address)
        refuse_without_keys(found.due)
        restarted = restarts_after(found)
        result = {"changed": bool(found.due or restarted), "renewed": [one.name for one in found.due], "restarted": restarted}
        if result["changed"]:
            after = None
            if not module.check_mode:
                renew(found, address, user, params["timeout"])
                after = look(wanted, address)
            result["diff"] = shown(found, after)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
