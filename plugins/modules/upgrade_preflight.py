#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: upgrade_preflight
short_description: Find what is in the way of an upgrade, before anything is touched
version_added: "0.1.0"
description:
  - Reads a live cluster (O(scope=cluster), on a control plane whose API server answers) or one of its nodes (O(scope=node)) and says what
    would make an upgrade to O(kubernetes_version) fail or be noticed. Changes nothing.
  - Every finding has a stable code, which C(docs/upgrade_preflight.md) explains, a severity, an object and a remedy. It can be
    acknowledged.
  - What each version takes is compared on the controller, where the tables of the collection are.
options:
  kubernetes_version:
    description: The target.
    type: str
    required: true
  scope:
    description: What to look at.
    type: str
    choices: [cluster, node]
    default: cluster
  name:
    description: Name of the node. Needed with O(scope=node).
    type: str
  address:
    description: This control plane's own address, on which its API server listens. Needed with O(scope=cluster).
    type: str
  control_planes:
    description: Address of each control plane by node name. Needed with O(scope=cluster).
    type: dict
  nodes:
    description: Names of all nodes that have a machine. Without it, missing nodes and such without a machine are not found.
    type: list
    elements: str
  available_versions:
    description: Versions that can be installed. Those of this release of the collection by default.
    type: list
    elements: str
  acknowledge:
    description: Findings that are known and do not block, as C(CODE), or as C(CODE:object) for one object only.
    type: list
    elements: str
    default: []
  interrupted:
    description:
      - Names of nodes on which an upgrade stopped. It goes on there first, so what it left behind there (a node that is not Ready, a part
        that is down or of another version) counts as acknowledged.
    type: list
    elements: str
    default: []
  backup_store:
    description: Whether the cluster has a durable place for backups.
    type: bool
    default: false
  unready_workers:
    description: How many workers may be left out because they are not Ready. More of them block.
    type: int
    default: 0
  delete_emptydir_data:
    description: Whether drains may lose what pods keep in C(emptyDir) volumes, as in M(flotilla.kubernetes.node_drain).
    type: bool
    default: false
  delete_bare_pods:
    description: Whether drains may remove pods without a controller, as in M(flotilla.kubernetes.node_drain).
    type: bool
    default: false
  certificate_days:
    description: How many days certificates must still be valid.
    type: int
    default: 30
  etcd_size_percent:
    description: How much of its quota the database of etcd may take.
    type: int
    default: 80
  disk_paths:
    description: Folders whose file systems need O(disk_free_mib). Of folders on the same one, the first is named.
    type: list
    elements: path
    default: [/var/lib/containerd, /var/lib/etcd, /var/lib/kubelet, /usr/local/bin, /etc/kubernetes]
  disk_free_mib:
    description: Free space (MiB) that each file system needs.
    type: int
    default: 2048
  images:
    description: Images that containerd must have.
    type: list
    elements: str
    default: []
  files:
    description: Files that must be there.
    type: list
    elements: dict
    default: []
    suboptions:
      dest:
        description: Absolute path.
        type: path
        required: true
      sha256:
        description: Hash of the content.
        type: str
        required: true
      mode:
        description: Permissions, octal.
        type: str
        default: "0755"
  fail:
    description: Whether a finding that blocks fails the task.
    type: bool
    default: true
  going:
    description: APIs that the target does not serve. Set by the action plugin.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.user
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Look whether the cluster can be upgraded
  flotilla.kubernetes.upgrade_preflight:
    kubernetes_version: 1.36.3
    address: 10.0.0.11
    control_planes: {payments-control-plane-0a1b2c3d: 10.0.0.11}
    backup_store: true
    acknowledge:
      - UPGRADE_CONTROL_PLANE_SINGLE
      - UPGRADE_PDB_NEVER_ALLOWS:poddisruptionbudget/shop/cart

- name: Look whether a node can be
  flotilla.kubernetes.upgrade_preflight:
    scope: node
    kubernetes_version: 1.36.3
    name: payments-general-1f2e3d4c
    images: [registry.k8s.io/kube-proxy:v1.36.3]
"""

RETURN = r"""
findings:
  description: What was found, the blocking ones first.
  returned: always
  type: list
  elements: dict
  contains:
    code: {description: Stable code., type: str, returned: always, sample: UPGRADE_PDB_NEVER_ALLOWS}
    severity: {description: "V(blocker), V(warning) or V(info).", type: str, returned: always, sample: blocker}
    object: {description: What it is about., type: str, returned: always, sample: poddisruptionbudget/shop/cart}
    message: {description: One sentence., type: str, returned: always}
    remedy: {description: What to do., type: str, returned: always}
    acknowledged: {description: Whether O(acknowledge) names it., type: bool, returned: always, sample: false}
blocked:
  description: Whether a finding blocks that is not acknowledged.
  returned: always
  type: bool
  sample: false
path:
  description: The upgrades in a row that lead to the target, each with the version of the control plane after it and whether the workers
    come along; empty when the whole cluster has the target already.
  returned: with O(scope=cluster), when there is a way
  type: list
  elements: dict
  sample: [{version: 1.35.4, workers: false}, {version: 1.36.3, workers: true}]
versions:
  description: The version that runs of each component, by node.
  returned: with O(scope=cluster)
  type: dict
  sample: {kube-apiserver: {payments-control-plane-0a1b2c3d: 1.34.4}}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.disruption import Consent
from ..module_utils._kubernetes.own_api_server import USER
from ..module_utils._kubernetes.preflight import cluster, node


def look(params: dict[str, Any]) -> dict[str, Any]:
    """Return what is there; the action plugin judges it."""
    if params["scope"] == "node":
        wanted = node.Wanted(tuple(params["files"]), tuple(params["images"]), tuple(params["disk_paths"]))
        return node.observe(params["name"], wanted)
    places = {name: cluster.Place(address) for name, address in params["control_planes"].items()}
    consent = Consent(params["delete_emptydir_data"], params["delete_bare_pods"])
    client = Client.short_lived(params["address"], params["user"])
    return cluster.observe(client, cluster.Surroundings(places, params["going"], consent))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "kubernetes_version": {"type": "str", "required": True},
            "scope": {"type": "str", "choices": ["cluster", "node"], "default": "cluster"},
            "name": {"type": "str"},
            "address": {"type": "str"},
            "control_planes": {"type": "dict"},
            "nodes": {"type": "list", "elements": "str"},
            "available_versions": {"type": "list", "elements": "str"},
            "acknowledge": {"type": "list", "elements": "str", "default": []},
            "interrupted": {"type": "list", "elements": "str", "default": []},
            "backup_store": {"type": "bool", "default": False},
            "unready_workers": {"type": "int", "default": 0},
            "delete_emptydir_data": {"type": "bool", "default": False},
            "delete_bare_pods": {"type": "bool", "default": False},
            "certificate_days": {"type": "int", "default": 30},
            "etcd_size_percent": {"type": "int", "default": 80},
            "disk_paths": {
                "type": "list",
                "elements": "path",
                "default": ["/var/lib/containerd", "/var/lib/etcd", "/var/lib/kubelet", "/usr/local/bin", "/etc/kubernetes"],
            },
            "disk_free_mib": {"type": "int", "default": 2048},
            "images": {"type": "list", "elements": "str", "default": []},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "dest": {"type": "path", "required": True},
                    "sha256": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0755"},
                },
            },
            "fail": {"type": "bool", "default": True},
            **USER,
            "going": {"type": "list", "elements": "str", "default": []},
        },
        required_if=[("scope", "node", ["name"]), ("scope", "cluster", ["address", "control_planes"])],
        supports_check_mode=True,
    )
    try:
        observed = look(module.params)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    # Both are for the action plugin, which takes them out of the result.
    module.exit_json(changed=False, observed=observed, parameters=module.params)


if __name__ == "__main__":
    main()
