#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_token
short_description: Create and delete what new nodes need to join a cluster
version_added: "0.1.0"
description:
  - Runs on a control plane. O(state=present) creates a bootstrap token that expires by itself and, for control planes, uploads the
    certificates encrypted with a new key. O(state=absent) deletes both.
  - Every call with O(state=present) creates a new token, so call it only when a machine is to join, with C(no_log), and delete it
    after use.
options:
  state:
    description: Whether the secrets should exist.
    type: str
    choices: [present, absent]
    default: present
  control_plane:
    description: Whether control planes are to join, too.
    type: bool
    default: false
  ttl:
    description: Seconds until the token expires.
    type: int
    default: 900
  token_id:
    description:
      - Public part of the token to delete with O(state=absent).
      - Without it all go that earlier runs of this module made and, as when a run is killed, did not delete.
    type: str
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
  - flotilla.kubernetes.api_server.user
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Create a token for workers
  flotilla.kubernetes.kubeadm_token:
    address: 10.0.0.11
  register: join_secret
  no_log: true

- name: Delete it
  flotilla.kubernetes.kubeadm_token:
    address: 10.0.0.11
    state: absent
    token_id: "{{ join_secret.token_id }}"

- name: Delete what killed runs left
  flotilla.kubernetes.kubeadm_token:
    address: 10.0.0.11
    state: absent
"""

RETURN = r"""
token:
  description: The bootstrap token, a secret.
  returned: when O(state=present) and not in check mode
  type: str
  sample: abcdef.0123456789abcdef
token_id:
  description: The public part of the token.
  returned: when O(state=present) and not in check mode
  type: str
  sample: abcdef
signing_certificate:
  description: While the cluster's certificate authority is rotated, the one (PEM) whose key signs; empty otherwise.
  returned: when O(state=present) and not in check mode
  type: str
  sample: ""
chain:
  description: Certificates (PEM) that API servers show beside their own meanwhile; empty otherwise.
  returned: when O(state=present) and not in check mode
  type: str
  sample: ""
ca_cert_hashes:
  description: Hashes of the public key of the cluster's certificate authority; of both while it is rotated.
  returned: when O(state=present) and not in check mode
  type: list
  elements: str
  sample: ["sha256:7c5f..."]
api_endpoint:
  description: The API's stable address, C(host:port), as the cluster was made with.
  returned: when O(state=present) and not in check mode
  type: str
  sample: "10.0.0.5:6443"
certificate_key:
  description: Key of the uploaded certificates, a secret.
  returned: when O(state=present), O(control_plane=true) and not in check mode
  type: str
  sample: 4cd1...
"""

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes.kubeadm import create_join_secret, delete_join_secret
from ..module_utils._kubernetes.own_api_server import ADDRESS, USER, reached


def main() -> None:
    module = FencedModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            **ADDRESS,
            "control_plane": {"type": "bool", "default": False},
            "ttl": {"type": "int", "default": 900},
            "token_id": {"type": "str", "no_log": False},
            **USER,
        },
        supports_check_mode=True,
    )
    params = module.params
    result = {"changed": True}
    try:
        with reached():
            if module.check_mode:
                pass
            elif params["state"] == "present":
                result.update(create_join_secret(params["address"], params["user"], params["ttl"], params["control_plane"]))
            else:
                result["changed"] = delete_join_secret(params["address"], params["user"], params["token_id"])
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
