#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubelet_certificate
short_description: Renew the client certificate of a kubelet that does not do so itself
version_added: "0.1.0"
description:
  - A kubelet with C(rotateCertificates) renews it when 70 to 90 % of its time is over; it is left alone, unless less than 10 % is left.
    Any other is due as O(expires_within) and O(older_than) say.
  - The node makes a new key, the cluster signs the request for who still has the old certificate, and the kubelet starts anew with
    both. Pods run on.
options:
  expires_within:
    description: A certificate is due when it ends within this time, like V(90d) or V(720h). Without it 90 days.
    type: str
  older_than:
    description: A certificate is also due when it was made longer ago than this.
    type: str
  timeout:
    description: Seconds that the cluster may take to sign, and the kubelet to be healthy again.
    type: int
    default: 120
extends_documentation_fragment:
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.certificate_info
"""

EXAMPLES = r"""
- name: Renew the kubelet's certificate if it has to be
  flotilla.kubernetes.kubelet_certificate:
"""

RETURN = r"""
renewed:
  description: Whether the certificate was renewed, or would be in check mode.
  returned: success
  type: bool
"""

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes.certificate_renewal import condition, look, renew_kubelet
from ..module_utils._kubernetes.certificates import VALIDITY
from ..module_utils._kubernetes.own_api_server import reached


def main() -> None:
    module = FencedModule(
        argument_spec={
            "expires_within": {"type": "str"},
            "older_than": {"type": "str"},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        with reached("Run again."):
            found = look(condition(params["expires_within"], params["older_than"], VALIDITY))
            changed = found.kubelet_due or "kubelet" in found.restarts
            if changed and not module.check_mode:
                renew_kubelet(found, params["timeout"])
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=changed, renewed=found.kubelet_due)


if __name__ == "__main__":
    main()
