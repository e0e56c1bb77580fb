#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeconfig
short_description: Keep a kubeconfig of one person on the controller
version_added: "0.1.0"
description:
  - Keeps a kubeconfig with a client certificate that lives hours or days, file mode 0600. Run it on a live control plane (C(delegate_to));
    the file is on the controller.
  - The private key is made on the controller and never leaves it. The control plane sees a signing request, which it hands to the cluster's
    API, approves, and deletes again.
  - A kubeconfig for the same user, groups, server and certificate authority stays as it is while at least a third of O(ttl) is left.
  - A client certificate can not be revoked; what its user may do can be changed at any time.
options:
  state:
    description: V(absent) removes all kubeconfigs of the cluster from the controller.
    type: str
    choices: [present, absent]
    default: present
  cluster:
    description: Name of the cluster.
    type: str
    required: true
  address:
    description: The control plane's own address, on which its API server listens. Needed for O(state=present).
    type: str
  user:
    description: Name of the user in the cluster. Needed for O(state=present).
    type: str
  groups:
    description: Groups of the user in the cluster.
    type: list
    elements: str
    default: []
  ttl:
    description: How long it is to be good, like V(90m) or V(8h); V(10m) to V(720h).
    type: str
    default: 8h
  own:
    description:
      - Whether it is the operator's own kubeconfig. Then its place is C(~/.kube/flotilla/<cluster>.conf), else
        C(~/.kube/flotilla/<cluster>.<user>.conf).
    type: bool
    default: false
  path:
    description: Another place for it.
    type: path
  server:
    description: Another address of the API than the cluster's own endpoint, like V(https://api.example.com:6443).
    type: str
  allow_system:
    description:
      - Whether the names of user and groups may begin with C(system:). The group C(system:masters) is always refused; Kubernetes signs
        it for nobody.
    type: bool
    default: false
  audit_user:
    description: Name under which the API server's audit log records the request.
    type: str
    default: flotilla
  request:
    description: The certificate signing request. Set by the action plugin.
    type: str
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: A kubeconfig for Jane, for this working day
  flotilla.kubernetes.kubeconfig:
    cluster: payments
    address: 10.0.0.11
    user: jane
    groups: [dev, ops]
    ttl: 8h
  delegate_to: payments-control-plane-0a1b2c3d
  become: true
"""

RETURN = r"""
path:
  description: Where it is on the controller.
  returned: when O(state=present)
  type: str
  sample: /home/ops/.kube/flotilla/payments.jane.conf
user:
  description: Name of the user in the cluster.
  returned: when O(state=present)
  type: str
  sample: jane
groups:
  description: Groups of the user in the cluster.
  returned: when O(state=present)
  type: list
  elements: str
  sample: [dev, ops]
server:
  description: Address of the API.
  returned: when O(state=present)
  type: str
  sample: https://10.0.0.3:6443
valid_until:
  description: When it ends.
  returned: when O(state=present), but not in check mode when it would be renewed
  type: str
  sample: "2026-11-22T18:00:00Z"
removed:
  description: The files that were removed.
  returned: when O(state=absent)
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.client_certificate import cluster_entry, sign
from ..module_utils._kubernetes.duration import parse_duration


def main() -> None:
    # The action plugin keeps the file and comes here for what only a control plane can give.
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "cluster": {"type": "str", "required": True},
            "address": {"type": "str"},
            "user": {"type": "str"},
            "groups": {"type": "list", "elements": "str", "default": []},
            "ttl": {"type": "str", "default": "8h"},
            "own": {"type": "bool", "default": False},
            "path": {"type": "path"},
            "server": {"type": "str"},
            "allow_system": {"type": "bool", "default": False},
            "audit_user": {"type": "str", "default": "flotilla"},
            "request": {"type": "str"},
        },
        required_if=[("state", "present", ["address", "user"])],
        supports_check_mode=True,
    )
    params = module.params
    try:
        if params["request"]:
            client = Client.short_lived(params["address"], params["audit_user"])
            result = {"certificate": sign(client, params["request"], parse_duration(params["ttl"], "ttl"))}
        else:
            result = cluster_entry()
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    except OSError as error:
        module.fail_json(msg=f"The API server {params['address']} could not be reached: {error}. Read the log of its kube-apiserver.")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
