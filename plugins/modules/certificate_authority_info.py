#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_authority_info
short_description: Read which certificate authorities a node trusts and which of them signed its certificates
version_added: "0.1.0"
description:
  - Looks at the authorities of kubeadm (V(kubernetes), V(etcd) and V(front-proxy)), at what trusts them and at what they signed, and at
    what runs since before they changed. Changes nothing.
  - An authority is known by the SHA-256 of its public key, as kubeadm's discovery pins it.
options:
  address:
    description: This control plane's own address, on which its API server listens. Leave it out on a worker.
    type: str
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.certificate_authority
  - plugin: flotilla.kubernetes.authority_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Look at the authorities of a control plane
  flotilla.kubernetes.certificate_authority_info:
    address: 10.0.0.11
  register: found
"""

RETURN = r"""
authorities:
  description: For each authority that the node has, which ones it trusts in their order, which one's key signs, and which is to come.
  returned: success
  type: dict
  sample: {kubernetes: {trusted: ["sha256:7c5f...", "sha256:91ab..."], signs: "sha256:7c5f...", next: "sha256:91ab..."}}
certificates:
  description: The certificate of each, with the seconds since the epoch at which it begins and ends.
  returned: success
  type: dict
signed_by:
  description: Which authority signed a certificate of kubeadm or of the kubelet; empty when it is none of them.
  returned: success
  type: dict
  sample: {apiserver: "sha256:7c5f..."}
kubeconfigs:
  description: Which authorities a kubeconfig of the node trusts.
  returned: success
  type: dict
  sample: {kubelet.conf: ["sha256:7c5f..."]}
separate:
  description: Whether the controller-manager signs with a file of its own, as it has to while two authorities are trusted.
  returned: success
  type: bool
chained:
  description: The authorities that the API server shows beside its certificate, for those who trust only the former one.
  returned: success
  type: list
  elements: str
rotating:
  description: Whether files of a rotation are on this node.
  returned: success
  type: bool
restarts:
  description: What does not use what is in its files, and why.
  returned: success
  type: dict
  sample: {}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.authority_rotation import look


def main() -> None:
    module = AnsibleModule(argument_spec={"address": {"type": "str"}}, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **look(module.params["address"] or ""))
    except FlotillaError as error:
        module.fail_json(**error.as_result())


if __name__ == "__main__":
    main()
