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
  - Pods of DaemonSets and static pods stay. Pods that nobody would make anew, or that would lose data, are refused before anything is
    changed.
  - If pods are still there after O(timeout), the task fails and names them with the budgets that hold them back, and the node takes pods
    again, unless it was made unschedulable by somebody else.
  - The work is done in slices with a line of progress each. A run that was killed is simply repeated.
options:
  address:
    description: This control plane's own address, on which its API server listens.
    type: str
    required: true
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
  user:
    description: Name under which the API server's audit log records the calls.
    type: str
    default: flotilla
  progress_token:
    description: Where the slice of work before this one stopped. Set by the action plugin.
    type: str
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
blocked:
  description: The pods that were still there, each with C(pod) and C(reason).
  returned: when the time was over
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.drain import Drain, Options, is_cordoned, outcome
from ..module_utils._kubernetes.drain import state as node_state
from ..module_utils._kubernetes.duration import parse_duration

SLICE = 10.0  # seconds


def run(drain: Drain, state: str, token: str | None, check_mode: bool) -> dict[str, Any]:
    """Return the module's result: that nothing is to do, a prediction, or one slice.

    :raises FlotillaError: see `Drain.advance`.
    """
    if not check_mode and state == "drained":
        return drain.advance(token, SLICE)
    node, plan = drain.look()
    if state == "drained":
        drain.refuse(plan)
        return outcome(node_state(node, plan))
    cordoned = is_cordoned(node)
    if cordoned and not check_mode:
        drain.uncordon()
    return {"changed": cordoned, "evicted": [], "diff": {"before": {"schedulable": not cordoned}, "after": {"schedulable": True}}}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "node": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["drained", "schedulable"], "default": "drained"},
            "timeout": {"type": "str", "default": "10m"},
            "grace_period": {"type": "int"},
            "delete_emptydir_data": {"type": "bool", "default": False},
            "delete_bare_pods": {"type": "bool", "default": False},
            "user": {"type": "str", "default": "flotilla"},
            "progress_token": {"type": "str", "no_log": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        options = Options(
            parse_duration(params["timeout"], "timeout"),
            params["grace_period"],
            params["delete_emptydir_data"],
            params["delete_bare_pods"],
        )
        drain = Drain(Client.short_lived(params["address"], params["user"]), params["node"], options)
        result = run(drain, params["state"], params["progress_token"], module.check_mode)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    except OSError as error:
        module.fail_json(msg=f"The API server {params['address']} could not be reached: {error}. Run again: the drain goes on.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
