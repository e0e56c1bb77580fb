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
  - A control plane takes over the key with which the cluster encrypts Secrets in etcd, if it has one. It comes encrypted with the
    certificate key from the Secret C(kube-system/flotilla-encryption), never by way of the controller.
  - kubeadm runs as a process of its own, and this module looks at it in slices of some seconds and shows how far it is. If the
    connection is lost or the playbook is stopped, kubeadm goes on, and the next run attaches to it.
  - A step that was interrupted is undone with C(kubeadm reset), which also removes its etcd member, and done again.
options:
  api_server:
    description: Address and port of a live control plane's own API server, C(host:port); not the load balancer's.
    type: str
    required: true
  endpoint:
    description: The API's stable address, C(host:port). When given, this machine must reach a ready API server there before it joins.
    type: str
  token:
    description: Bootstrap token, from M(flotilla.kubernetes.kubeadm_token).
    type: str
    required: true
  ca_cert_hashes:
    description: Hashes of the public key of the cluster's certificate authority; discovery without them is not offered.
    type: list
    elements: str
    required: true
  signing_certificate:
    description:
      - For a control plane that joins while the cluster's certificate authority is rotated, the one (PEM) whose key signs; from
        M(flotilla.kubernetes.kubeadm_token). Empty otherwise.
    type: str
    default: ""
  chain:
    description:
      - Certificates (PEM) that the API server of a control plane shows beside its own meanwhile, for those who trust only the former
        authority; from M(flotilla.kubernetes.kubeadm_token). Empty otherwise.
    type: str
    default: ""
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
  progress_token:
    description: Where the slice of work before this one stopped. Set by the action plugin.
    type: str
extends_documentation_fragment:
  - flotilla.kubernetes.fence
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

import socket
from typing import Any
from urllib.parse import urlsplit

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes import encryption
from ..module_utils._kubernetes.client import API_PORT, KUBEADM_API
from ..module_utils._kubernetes.gates import wait_for_endpoint
from ..module_utils._kubernetes.kubeadm_step import Step, run
from ..module_utils._kubernetes.leftovers import leave_etcd
from ..module_utils._kubernetes.membership import membership

# Seconds. An address that control planes hand on appears some seconds after the first of them serves.
ENDPOINT_TIMEOUT = 60


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
        # Of several that join at once all but one wait until etcd, which has one learner at a time, takes the next.
        document["timeouts"] = {"etcdAPICall": f"{params['timeout']}s"}
    return document


def main() -> None:
    module = FencedModule(
        argument_spec={
            "api_server": {"type": "str", "required": True},
            "endpoint": {"type": "str"},
            "token": {"type": "str", "required": True, "no_log": True},
            "ca_cert_hashes": {"type": "list", "elements": "str", "required": True},
            "signing_certificate": {"type": "str", "default": ""},
            "chain": {"type": "str", "default": ""},
            "certificate_key": {"type": "str", "no_log": True},
            "node_registration": {"type": "dict", "required": True},
            "advertise_address": {"type": "str"},
            "ignore_preflight_errors": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 600},
            "progress_token": {"type": "str", "no_log": False},
        },
        required_by={"certificate_key": "advertise_address"},
        supports_check_mode=True,
    )
    params = module.params
    control_plane = bool(params["certificate_key"])
    title = f"{'control plane' if control_plane else 'worker'} {params['node_registration'].get('name') or socket.gethostname()}"

    def take_over_key() -> None:
        encryption.fetch(params["api_server"], params["token"], params["ca_cert_hashes"], params["certificate_key"])

    def leave() -> None:
        leave_etcd(str(urlsplit(f"//{params['api_server']}").hostname), params["advertise_address"])

    step = Step(
        "join",
        title,
        [join_configuration(params)],
        params["ignore_preflight_errors"],
        params["timeout"],
        prepare=take_over_key if control_plane else None,
        before_undo=leave if control_plane else None,
        restart_kubelet=control_plane,
        signing_certificate=params["signing_certificate"] if control_plane else "",
        chain=params["chain"] if control_plane else "",
    )
    try:
        if params["endpoint"] and not params["progress_token"] and not module.check_mode and membership() != "member":
            wait_for_endpoint(params["endpoint"], ENDPOINT_TIMEOUT)
        module.exit_json(**run(step, params["progress_token"], module.check_mode))
    except FlotillaError as error:
        module.fail_json(**error.as_result())


if __name__ == "__main__":
    main()
