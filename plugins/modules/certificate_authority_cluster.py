#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_authority_cluster
short_description: Let the objects of a cluster name its certificate authorities, and find the pods that read only the old one
version_added: "0.1.0"
description:
  - Runs on a control plane.
options:
  step:
    description:
      - V(look) changes nothing.
      - V(prepare) lets control planes that join from now on sign with a file of their own, as they have to while two authorities are
        trusted.
      - V(publish) names what this control plane trusts to nodes that join (C(cluster-info)), and waits until the pods of every namespace
        are given the new authority (C(kube-root-ca.crt)).
      - V(withdraw) takes the old authority from everything that names it. Run it when every node has dropped it.
    type: str
    choices: [look, prepare, publish, withdraw]
    default: look
  successors:
    description: The authority of each name that stays, by the SHA-256 of its public key.
    type: dict
    default: {}
  timeout:
    description: Seconds that the cluster may take to give the new authority to all pods.
    type: int
    default: 120
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
  - flotilla.kubernetes.api_server.user
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.certificate_authority
"""

EXAMPLES = r"""
- name: See which pods read only the old authority
  flotilla.kubernetes.certificate_authority_cluster:
    address: 10.0.0.11
    successors: {kubernetes: "sha256:91ab..."}
  register: found
"""

RETURN = r"""
cluster_info:
  description: The authorities that C(cluster-info) names; null where whoever hardened the cluster deleted it.
  returned: for O(step=look)
  type: list
  elements: str
  sample: ["sha256:7c5f..."]
delegated:
  description: The authorities that extension API servers are to believe.
  returned: for O(step=look)
  type: dict
separate:
  description: Whether control planes that join sign with a file of their own.
  returned: for O(step=look)
  type: bool
unpublished:
  description: Namespaces whose pods are not given the new authority yet.
  returned: for O(step=look)
  type: list
  elements: str
workloads:
  description: What has pods that read only the old authority.
  returned: for O(step=look)
  type: list
  elements: dict
  contains:
    workload: {description: "C(namespace/Kind/name).", type: str, returned: always, sample: shop/Deployment/cart}
    pods: {description: How many., type: int, returned: always, sample: 3}
    restartable: {description: "Whether M(flotilla.kubernetes.workload_restart) can restart it.", type: bool, returned: always}
    since: {description: Since when its pods are given the new one; seconds since the epoch., type: float, returned: always}
webhooks:
  description: What of others trusts the old authority only.
  returned: for O(step=look)
  type: list
  elements: str
  sample: [ValidatingWebhookConfiguration/policies]
"""

from typing import Any

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes import authority_cluster as objects
from ..module_utils._kubernetes.authorities import KUBERNETES
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.own_api_server import ADDRESS, USER, reached


def act(client: Client, step: str, successors: dict[str, str], timeout: float) -> dict[str, Any]:
    """Do the step and return the module's result."""
    new = successors.get(KUBERNETES, "")
    if step == "look":
        return {"changed": False, **objects.look(client, new)}
    if step == "prepare":
        return {"changed": objects.set_record(client, separate=True)}
    if step == "publish":
        changed = objects.publish(client)
        if new:
            objects.wait_until_published(client, new, timeout)
        return {"changed": changed}
    # cluster-info comes last: as long as it names two authorities, the next run knows that there is something to do.
    done = [objects.withdraw(client, successors), objects.set_record(client, separate=False), objects.publish(client)]
    return {"changed": any(done)}


def main() -> None:
    module = FencedModule(
        argument_spec={
            "step": {"type": "str", "choices": ["look", "prepare", "publish", "withdraw"], "default": "look"},
            **ADDRESS,
            "successors": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 120},
            **USER,
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        with reached("Run again."):
            if module.check_mode and params["step"] != "look":
                module.exit_json(changed=True)
            client = Client.short_lived(params["address"], params["user"])
            result = act(client, params["step"], params["successors"], params["timeout"])
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
