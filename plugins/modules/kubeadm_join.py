#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_join
short_description: Join a machine to a cluster as control plane or worker
version_added: "0.1.0"
description:
  - Runs C(kubeadm join) unless this machine is a member of a cluster already.
  - The token and the certificate key reach kubeadm in a file of mode 0600 that exists only while kubeadm runs, never on a command line.
  - A step that was interrupted is undone with C(kubeadm reset), which also removes its etcd member, and done again.
options:
  api_server:
    description: Address and port of a live control plane's own API server, C(host:port); not the load balancer's.
    type: str
    required: true
  token:
    description: Bootstrap token, from M(flotilla.kubernetes.kubeadm_token).
    type: str
    required: true
  ca_cert_hashes:
    description: Hashes of the public key of the cluster's certificate authority; discovery without them is not offered.
    type: list
    elements: str
    required: true
  certificate_key:
    description: Key of the uploaded control-plane certificates. Joins as a control plane when given, as a worker otherwise.
    type: str
  node_registration:
    description: kubeadm's C(nodeRegistration) of this node.
    type: dict
    required: true
  advertise_address:
    description: This machine's own address. Needed for a control plane.
    type: str
  ignore_preflight_errors:
    description: Names of kubeadm's preflight checks whose errors become warnings.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that kubeadm may take.
    type: int
    default: 600
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Join a worker
  flotilla.kubernetes.kubeadm_join:
    api_server: 10.0.0.11:6443
    token: "{{ join_secret.token }}"
    ca_cert_hashes: "{{ join_secret.ca_cert_hashes }}"
    node_registration:
      name: payments-general-1f2e3d4c
"""

RETURN = r"""
membership:
  description: V(none), V(unfinished) or V(member), as found before anything was done.
  returned: always
  type: str
  sample: member
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.client import API_PORT, KUBEADM_API
from ..module_utils._kubernetes.kubeadm import bring_up, membership


def join_configuration(params: dict[str, Any]) -> dict[str, Any]:
    """Return kubeadm's ``JoinConfiguration``: https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/."""
    document: dict[str, Any] = {
        "apiVersion": KUBEADM_API,
        "kind": "JoinConfiguration",
        "discovery": {
            "bootstrapToken": {
                "apiServerEndpoint": params["api_server"],
                "token": params["token"],
                "caCertHashes": params["ca_cert_hashes"],
            }
        },
        "nodeRegistration": params["node_registration"],
    }
    if params["certificate_key"]:
        document["controlPlane"] = {
            "certificateKey": params["certificate_key"],
            "localAPIEndpoint": {"advertiseAddress": params["advertise_address"], "bindPort": API_PORT},
        }
    return document


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "api_server": {"type": "str", "required": True},
            "token": {"type": "str", "required": True, "no_log": True},
            "ca_cert_hashes": {"type": "list", "elements": "str", "required": True},
            "certificate_key": {"type": "str", "no_log": True},
            "node_registration": {"type": "dict", "required": True},
            "advertise_address": {"type": "str"},
            "ignore_preflight_errors": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 600},
        },
        required_by={"certificate_key": "advertise_address"},
        supports_check_mode=True,
    )
    found = membership()
    changed = found != "member"
    try:
        if changed and not module.check_mode:
            changed = bring_up(
                "join", [join_configuration(module.params)], module.params["ignore_preflight_errors"], module.params["timeout"]
            )
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=changed, membership=found, diff={"before": {"membership": found}, "after": {"membership": "member"}})


if __name__ == "__main__":
    main()
