#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubernetes_manifest
short_description: Apply Kubernetes objects from a control plane
version_added: "0.1.0"
description:
  - Applies the objects by server-side apply with C(kubectl), over the control plane's own API server.
  - Changed only if C(kubectl diff) shows a difference. The data of Secrets never shows in diffs.
options:
  content:
    description: The objects, as YAML or JSON.
    type: str
    required: true
  secrets:
    description: Further objects, of which nothing is shown but their names.
    type: str
    default: ""
  timeout:
    description: Seconds that the API server may take.
    type: int
    default: 120
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
  - flotilla.kubernetes.api_server.user
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Make a namespace
  flotilla.kubernetes.kubernetes_manifest:
    address: 10.0.0.11
    content: |
      apiVersion: v1
      kind: Namespace
      metadata: {name: payments}
"""

RETURN = r"""
objects:
  description: The objects that differed, each as version, kind, namespace and name.
  returned: always
  type: list
  elements: str
  sample: [v1.ConfigMap.payments.limits]
"""

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes.client import short_lived_kubeconfig
from ..module_utils._kubernetes.manifest import apply, difference, objects_of
from ..module_utils._kubernetes.own_api_server import ADDRESS, USER


def main() -> None:
    module = FencedModule(
        argument_spec={
            "content": {"type": "str", "required": True},
            "secrets": {"type": "str", "default": "", "no_log": True},
            **ADDRESS,
            **USER,
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    params = module.params
    result = {"changed": False, "objects": []}
    content = "\n---\n".join(part for part in (params["content"], params["secrets"]) if part)
    try:
        with short_lived_kubeconfig(params["address"], params["user"]) as kubeconfig:
            shown = difference(content, kubeconfig, params["timeout"])
            if shown:
                result.update(changed=True, objects=objects_of(shown), diff={"prepared": shown})
                if not module.check_mode:
                    apply(content, kubeconfig, params["timeout"])
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
