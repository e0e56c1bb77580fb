#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: drain_plan
short_description: Say which nodes can be drained together, and which never
version_added: "0.1.0"
description:
  - Runs on a live control plane and looks once at all pods, their owners, budgets, volumes and nodes. It says which drains of O(nodes) can
    not finish and why, whether the pods would find a place on other nodes, and in which batches the nodes may go.
  - The nodes of a batch do not overdraw a PodDisruptionBudget together, hold no two pods of one StatefulSet, are of one zone, and their
    pods fit on the other nodes. Workloads without a budget count as if they had one that lets a quarter of their pods go, one at least.
  - The first batch may be drained now. Those after it are what comes next if nothing else changes, so plan again after each.
  - Without O(outdated_taint) it changes nothing.
options:
  nodes:
    description: Names of the nodes that are to be drained, in the order in which they are to go where nothing speaks against it.
    type: list
    elements: str
    required: true
  pool:
    description:
      - Names of all nodes of their pool, of which O(max_unavailable) is a part. Those of them that are not Ready, take no pods or are not
        there count as unavailable. The same as O(nodes) if not set.
    type: list
    elements: str
  max_unavailable:
    description: How many nodes of the pool may be unavailable at the same time, like V(2) or V(25%), rounded down, but one at least.
    type: str
    default: "1"
  zone_aware:
    description: Whether the nodes of a batch have to be of the same zone (label C(topology.kubernetes.io/zone)).
    type: bool
    default: true
  delete_emptydir_data:
    description: Whether pods with C(emptyDir) volumes may be evicted, whose content is lost. Else they block the drain of their node.
    type: bool
    default: false
  delete_bare_pods:
    description: Whether pods without a controller may be evicted, which nobody makes anew. Else they block the drain of their node.
    type: bool
    default: false
  outdated_taint:
    description:
      - Key of a taint with effect C(PreferNoSchedule) that O(nodes) get and the other nodes of O(pool) lose, so that pods which are evicted
        go to nodes that are not drained later. It has to begin with C(flotilla.kubernetes/).
    type: str
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
  - flotilla.kubernetes.api_server.user
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Ask which nodes can go now
  flotilla.kubernetes.drain_plan:
    address: 10.0.0.11
    nodes: [payments-general-1f2e3d4c, payments-general-2a3b4c5d]
    pool: [payments-general-0c1d2e3f, payments-general-1f2e3d4c, payments-general-2a3b4c5d]
    max_unavailable: 34%
    outdated_taint: flotilla.kubernetes/outdated
  delegate_to: payments-control-plane-0a1b2c3d
  register: plan
"""

RETURN = r"""
batches:
  description: Names of the nodes that may go together, batch by batch. Nodes that something blocks are in none.
  returned: success
  type: list
  elements: list
  sample: [[payments-general-1f2e3d4c, payments-general-2a3b4c5d]]
blocked:
  description:
    - Why drains can not finish, each with C(node), C(pod), C(pdb), C(code), C(reason), C(remedy) and C(permanent), which tells those that
      somebody has to mend from those that may pass.
  returned: success
  type: list
  elements: dict
does_not_fit:
  description: The pods that would find no place if their node alone were drained now, each with C(node), C(pod) and C(reason).
  returned: success
  type: list
  elements: dict
held:
  description: Why there is no batch although nothing blocks some of the nodes; empty otherwise.
  returned: success
  type: str
waits:
  description: By name of a node why it is not in the first batch.
  returned: success
  type: dict
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.batches import Wishes, plan, resolve_limit
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.disruption import Consent
from ..module_utils._kubernetes.drain import mark_outdated
from ..module_utils._kubernetes.own_api_server import ADDRESS, USER
from ..module_utils._kubernetes.snapshot import read


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ADDRESS,
            "nodes": {"type": "list", "elements": "str", "required": True},
            "pool": {"type": "list", "elements": "str"},
            "max_unavailable": {"type": "str", "default": "1"},
            "zone_aware": {"type": "bool", "default": True},
            "delete_emptydir_data": {"type": "bool", "default": False},
            "delete_bare_pods": {"type": "bool", "default": False},
            "outdated_taint": {"type": "str"},
            **USER,
        },
        supports_check_mode=True,
    )
    params = module.params
    pool = frozenset(params["nodes"] if params["pool"] is None else params["pool"])
    try:
        wishes = Wishes(
            resolve_limit(params["max_unavailable"], len(pool)),
            pool,
            params["zone_aware"],
            Consent(params["delete_emptydir_data"], params["delete_bare_pods"]),
        )
        client = Client.short_lived(params["address"], params["user"])
        marked = mark_outdated(client, params["outdated_taint"], params["nodes"], pool, module.check_mode)
        result = plan(read(client), params["nodes"], wishes, datetime.now(timezone.utc)).as_dict()
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    except OSError as error:
        module.fail_json(msg=f"The API server {params['address']} could not be reached: {error}.")
    module.exit_json(**marked, **result)


if __name__ == "__main__":
    main()
