#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_drain
short_description: Take the pods off a node, or let them come again
version_added: "0.1.0"
description:
  - Runs on a live control plane. O(state=drained) makes the node unschedulable and evicts its pods at the same time through the
    Eviction API, which respects PodDisruptionBudgets. A pod that is held back is tried again, not before the API server says.
  - Of a StatefulSet one pod goes after the other, and of another workload without a budget a quarter of its pods at a time (but one
    always), and the next ones when the new ones are ready. New pods that find no place are not waited for.
  - Pods of DaemonSets and static pods stay. Pods that nobody would make anew, or that would lose data, are refused before anything is
    changed, unless O(unprotected) says otherwise.
  - If pods are still there after O(timeout), the task fails and names them with the budgets that hold them back. Whatever made a drain
    fail, the node takes pods again, unless it was made unschedulable by somebody else.
  - The work is done in slices with a line of progress each. A run that was killed is simply repeated.
options:
  node:
    description: Name of the node.
    type: str
    required: true
  state:
    description: V(drained) for a node without pods, V(schedulable) for one that takes pods again.
    type: str
    choices: [drained, schedulable]
    default: drained
  timeout:
    description: How long it may take, like V(90s) or V(10m).
    type: str
    default: 10m
  grace_period:
    description: Seconds that each pod gets to end. Its own time if not set.
    type: int
  delete_emptydir_data:
    description: Whether pods with C(emptyDir) volumes may be evicted, whose content is lost.
    type: bool
    default: false
  delete_bare_pods:
    description: Whether pods without a controller may be evicted, which nobody makes anew.
    type: bool
    default: false
  unprotected:
    description:
      - What to do about pods whose loss neither O(delete_bare_pods) nor O(delete_emptydir_data) consents to.
      - V(refuse) fails before anything is changed, V(wait) drains the others and waits until somebody took these away, and V(skip)
        leaves the node as it is and says so.
    type: str
    choices: [refuse, wait, skip]
    default: refuse
  stuck:
    description:
      - What to do about pods that do not go, because a budget never lets them or because they do not end.
      - V(wait) waits for them until O(timeout) and fails then. V(skip) lets pods come to the node again then, and says so instead of
        failing. V(force) deletes those that O(force_pods) consents to after O(force_after), past their budgets; those that their node does
        not end within a minute after their grace are taken out of the API only, so a process of them may still run.
    type: str
    choices: [wait, skip, force]
    default: wait
  force_pods:
    description: Patterns of C(namespace/name) of the pods that O(stuck=force) may delete, like V(shop/web-*). Required with that.
    type: list
    elements: str
  force_after:
    description: How long O(stuck=force) waits before.
    type: str
    default: 5m
  outdated_taint:
    description: Key of the taint that M(flotilla.kubernetes.drain_plan) gave outdated nodes, which O(state=schedulable) takes away.
    type: str
  respect_cordon:
    description: Whether O(state=schedulable) leaves a node unschedulable that was made so by somebody else than this module.
    type: bool
    default: false
  progress_token:
    description: Where the slice of work before this one stopped. Set by the action plugin.
    type: str
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
  - flotilla.kubernetes.api_server.user
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Take the pods off a worker
  flotilla.kubernetes.node_drain:
    address: 10.0.0.11
    node: payments-general-1f2e3d4c
    timeout: 15m
    delete_emptydir_data: true
  delegate_to: payments-control-plane-0a1b2c3d

- name: Let them come again
  flotilla.kubernetes.node_drain:
    address: 10.0.0.11
    node: payments-general-1f2e3d4c
    state: schedulable
  delegate_to: payments-control-plane-0a1b2c3d
"""

RETURN = r"""
evicted:
  description: The pods that were evicted, or would be, as C(namespace/name).
  returned: success
  type: list
  elements: str
  sample: [shop/web-5d5c7]
drained:
  description: Whether the node has no pods any more but those that stay; V(false) for one that was left out.
  returned: when O(state=drained)
  type: bool
forced:
  description: The pods that were deleted past their budgets, or taken out of the API, as C(namespace/name).
  returned: when O(state=drained)
  type: list
  elements: str
reason:
  description: Why the node was left out.
  returned: when it was
  type: str
blocked:
  description: The pods that were still there, each with C(pod) and C(reason).
  returned: when the time was over, or the node was left out
  type: list
  elements: dict
"""

from typing import Any

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.drain import FORCE, REFUSE, SKIP, WAIT, Drain, Options
from ..module_utils._kubernetes.duration import parse_duration
from ..module_utils._kubernetes.own_api_server import ADDRESS, USER

SLICE = 10.0  # seconds


def run(drain: Drain, params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Return the module's result: that nothing is to do, a prediction, or one slice.

    :raises FlotillaError: see `Drain.advance`.
    """
    if params["state"] == "schedulable":
        return drain.open(params["outdated_taint"], params["respect_cordon"], check_mode)
    return drain.predict() if check_mode else drain.advance(params["progress_token"], SLICE)


def main() -> None:
    module = FencedModule(
        argument_spec={
            **ADDRESS,
            "node": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["drained", "schedulable"], "default": "drained"},
            "timeout": {"type": "str", "default": "10m"},
            "grace_period": {"type": "int"},
            "delete_emptydir_data": {"type": "bool", "default": False},
            "delete_bare_pods": {"type": "bool", "default": False},
            "unprotected": {"type": "str", "choices": [REFUSE, WAIT, SKIP], "default": REFUSE},
            "stuck": {"type": "str", "choices": [WAIT, SKIP, FORCE], "default": WAIT},
            "force_pods": {"type": "list", "elements": "str"},
            "force_after": {"type": "str", "default": "5m"},
            "outdated_taint": {"type": "str"},
            "respect_cordon": {"type": "bool", "default": False},
            **USER,
            "progress_token": {"type": "str", "no_log": False},
        },
        # Nothing is forced without consent to which pods.
        required_if=[("stuck", FORCE, ("force_pods",))],
        supports_check_mode=True,
    )
    params = module.params
    try:
        options = Options(
            parse_duration(params["timeout"], "timeout"),
            params["grace_period"],
            params["delete_emptydir_data"],
            params["delete_bare_pods"],
            params["unprotected"],
            params["stuck"],
            tuple(params["force_pods"] or ()),
            parse_duration(params["force_after"], "force_after"),
        )
        drain = Drain(Client.short_lived(params["address"], params["user"]), params["node"], options)
        result = run(drain, params, module.check_mode)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    except OSError as error:
        module.fail_json(msg=f"The API server {params['address']} could not be reached: {error}. Run again: the drain goes on.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
