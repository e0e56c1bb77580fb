#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_init
short_description: Make a machine the first control plane of a cluster
version_added: "0.1.0"
description:
  - Runs C(kubeadm init) unless this machine is a member of a cluster already.
  - kubeadm runs as a process of its own, and this module looks at it in slices of some seconds and shows how far it is. If the
    connection is lost or the playbook is stopped, kubeadm goes on, and the next run attaches to it.
  - A step that was interrupted is undone with C(kubeadm reset) and done again.
  - Where M(flotilla.kubernetes.etcd_restore) laid out a backup, the cluster begins with its certificate authorities, its key of encrypted
    Secrets and its etcd, whose revisions go on far ahead of those in the backup, so that no client sees time run backwards.
options:
  config:
    description:
      - The kubeadm documents (C(InitConfiguration), C(ClusterConfiguration), C(KubeletConfiguration), C(KubeProxyConfiguration)).
      - They are handed to kubeadm in a file of mode 0600 that exists only while kubeadm runs.
    type: list
    elements: dict
    required: true
  encryption_at_rest:
    description:
      - Whether to make a new key of the cluster in C(/etc/kubernetes/flotilla/encryption.json), mode 0600, before kubeadm runs. The
        API server uses it when O(config) says so (C(encryption-provider-config)).
      - Control planes that M(flotilla.kubernetes.kubeadm_join) joins get the same key.
    type: bool
    default: false
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
- name: Start the cluster
  flotilla.kubernetes.kubeadm_init:
    config:
      - apiVersion: kubeadm.k8s.io/v1beta4
        kind: InitConfiguration
        localAPIEndpoint: {advertiseAddress: 10.0.0.11}
      - apiVersion: kubeadm.k8s.io/v1beta4
        kind: ClusterConfiguration
        kubernetesVersion: v1.36.3
        controlPlaneEndpoint: "10.0.0.3:6443"
"""

RETURN = r"""
membership:
  description: V(none), V(unfinished) or V(member), as found before anything was done.
  returned: always
  type: str
  sample: none
restored:
  description: Whether the cluster begins with a backup, which M(flotilla.kubernetes.etcd_restore) laid out.
  returned: always
  type: bool
  sample: false
"""

import socket

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes import encryption
from ..module_utils._kubernetes.kubeadm_step import Step, run
from ..module_utils._kubernetes.staged_restore import restored, staged


def main() -> None:
    module = FencedModule(
        argument_spec={
            "config": {"type": "list", "elements": "dict", "required": True},
            "encryption_at_rest": {"type": "bool", "default": False},
            "ignore_preflight_errors": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 600},
            "progress_token": {"type": "str", "no_log": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    names = [document.get("nodeRegistration", {}).get("name") for document in params["config"]]
    title = f"control plane {next(filter(None, names), socket.gethostname())}"
    prepare = encryption.write_new if params["encryption_at_rest"] else None
    step = Step("init", title, params["config"], params["ignore_preflight_errors"], params["timeout"], prepare)
    try:
        result = run(step, params["progress_token"], module.check_mode)
        module.exit_json(**result, restored=bool(staged()) if module.check_mode else restored())
    except FlotillaError as error:
        module.fail_json(**error.as_result())


if __name__ == "__main__":
    main()
