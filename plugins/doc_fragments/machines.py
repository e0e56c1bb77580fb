# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What the C(*_machines) modules of all clouds take besides the definition, and what those of real clouds do."""

    DOCUMENTATION = r"""
options:
  neighbours:
    description: With O(state=observed) whether the machines of the foundation's other clusters are returned, too.
    type: bool
    default: false
  ids:
    description:
      - With O(state=absent), the machines that are removed, by their ids; everything else stays. An empty list removes none.
      - Without it all machines of the cluster are removed.
      - An id of a machine that is gone is passed over; one of a machine that is not the cluster's is an error, and nothing is removed.
      - The module removes machines only. Draining nodes and removing etcd members comes before and is the caller's part.
    type: list
    elements: str
  removal:
    description:
      - What becomes of machines that serve and that the plan takes away.
      - With V(refuse) such a plan fails before anything changed.
      - With V(defer) they stay and are returned in RV(leaving), so that the caller can drain their nodes, take them out of etcd and then
        remove them by O(ids). Without consent that is at most 10 % of a pool (at least one machine), no whole pool and no control plane.
      - With V(now) they are removed.
    type: str
    choices: [refuse, defer, now]
    default: refuse
  plan_id:
    description: Consent to the plan with this RV(plan_id), whatever it takes away. Fails when the plan is another one by now.
    type: str
    default: ''
  consent:
    description:
      - Ids of machines that may go.
      - What RV(consented) of an earlier call of the same run says, because a plan that is half done has another id.
    type: list
    elements: str
    default: []
  replace:
    description: Ids of machines that get a successor, workers all at once, and then leave. Naming a machine is consent.
    type: list
    elements: str
    default: []
  pools:
    description: Names of the pools that the plan is about; all other machines stay as they are. Empty means all pools.
    type: list
    elements: str
    default: []
  etcd:
    description:
      - Names of the control planes that are members of etcd, each with whether it serves. The plan keeps etcd's quorum by it.
      - Left out, every control plane is taken for a member, and those that run for serving.
    type: dict
"""

    CLOUD = r"""
options:
  wait_timeout:
    description: Seconds that a machine has to be ready after it was made or started.
    type: int
    default: 600
  wait_for:
    description:
      - With V(ssh) a machine is ready when its SSH server has shown its host key, through the bastion where there is one.
      - With V(running) it is ready when it runs. It has no host key in the result then.
    type: str
    choices: [ssh, running]
    default: ssh
  roll_out:
    description: Whether machines that are not what the definition asks for any more get successors, one after another, and are removed.
    type: bool
    default: false
"""
