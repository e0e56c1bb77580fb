#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_info
short_description: Read which certificates of Kubernetes a node has and when they end
version_added: "0.1.0"
description:
  - Looks at what kubeadm made, at certificate authorities and at the kubelet's own certificates, and at what the static pods of a
    control plane really use. Changes nothing.
options:
  address:
    description: This control plane's own address, on which its API server listens. Leave it out on a worker.
    type: str
  expires_within:
    description:
      - A certificate is due when it ends within this time, like V(90d) or V(720h).
      - Without it 90 days, or a third of what the cluster gives a new certificate (C(certificateValidityPeriod)) where that is less.
    type: str
  older_than:
    description: A certificate is also due when it was made longer ago than this.
    type: str
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.user
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.kubeadm_certificates
  - module: flotilla.kubernetes.kubelet_certificate
"""

EXAMPLES = r"""
- name: See what ends within half a year
  flotilla.kubernetes.certificate_info:
    address: 10.0.0.11
    expires_within: 180d
  register: found
"""

RETURN = r"""
certificates:
  description: All certificates of the node.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: "kubeadm's name, or the path of one that kubeadm does not renew.", type: str, returned: always, sample: apiserver}
    path: {description: The file., type: str, returned: always, sample: /etc/kubernetes/pki/apiserver.crt}
    kind: {description: "C(authority), C(control_plane) or C(kubelet).", type: str, returned: always, sample: control_plane}
    serial: {description: "Serial number, hexadecimal.", type: str, returned: always, sample: 5A1B2C3D4E5F6071}
    begins: {description: "When it was made, UTC.", type: str, returned: always, sample: "2026-01-23T04:00:00Z"}
    ends: {description: "When it ends, UTC.", type: str, returned: always, sample: "2027-01-23T04:00:00Z"}
    days_left: {description: Whole days until then., type: int, returned: always, sample: 61}
    due: {description: Whether it is to be renewed., type: bool, returned: always, sample: true}
    reason: {description: Why., type: str, returned: always, sample: ends in 61 days}
due:
  description: Whether anything is to be done on this node.
  returned: success
  type: bool
  sample: true
restarts:
  description: What does not use the certificates that are in its files, and why.
  returned: success
  type: dict
  sample: {kube-scheduler: runs since before scheduler.conf was renewed}
missing_keys:
  description: Keys of certificate authorities that are not on this machine, and the certificates due that they would have to sign.
  returned: success
  type: dict
  sample: {}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.certificate_renewal import condition, look, validity
from ..module_utils._kubernetes.certificates import VALIDITY, missing_keys
from ..module_utils._kubernetes.own_api_server import USER


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str"},
            "expires_within": {"type": "str"},
            "older_than": {"type": "str"},
            **USER,
        },
        supports_check_mode=True,
    )
    params = module.params
    address = params["address"] or ""
    try:
        lasting = validity(address, params["user"]) if address else VALIDITY
        found = look(condition(params["expires_within"], params["older_than"], lasting), address)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(
        changed=False,
        certificates=found.as_dicts(),
        due=bool(found.due or found.kubelet_due or found.restarts),
        restarts=found.restarts,
        missing_keys=missing_keys(one.name for one in found.due),
    )


if __name__ == "__main__":
    main()
