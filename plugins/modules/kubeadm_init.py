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
  - A step that was interrupted is undone with C(kubeadm reset) and done again; one that still works in the background is waited for.
options:
  config:
    description:
      - The kubeadm documents (C(InitConfiguration), C(ClusterConfiguration), C(KubeletConfiguration), C(KubeProxyConfiguration)).
      - They are handed to kubeadm in a file of mode 0600 that exists only while kubeadm runs.
    type: list
    elements: dict
    required: true
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
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.kubeadm import bring_up, membership


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "config": {"type": "list", "elements": "dict", "required": True},
            "ignore_preflight_errors": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    found = membership()
    changed = found != "member"
    try:
        if changed and not module.check_mode:
            changed = bring_up("init", module.params["config"], module.params["ignore_preflight_errors"], module.params["timeout"])
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=changed, membership=found, diff={"before": {"membership": found}, "after": {"membership": "member"}})


if __name__ == "__main__":
    main()
