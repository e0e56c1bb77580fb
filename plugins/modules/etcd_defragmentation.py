#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_defragmentation
short_description: Give the space back that etcd does not use, and clear its alarm for want of space
version_added: "0.1.0"
description:
  - Works on one member, on the control plane that it runs on. Run it on one member after another, the leader last; the role
    C(etcd_defragmentation) does so and takes the control plane out of service meanwhile.
  - Without O(state) it only reads.
  - Refuses an alarm about corruption, which is no matter of space.
options:
  state:
    description:
      - V(compacted) forgets the history of all keys where the alarm C(NOSPACE) is raised. The API server does so itself every five minutes,
        but not under the alarm. Once per cluster, first.
      - V(defragmented) gives the free pages of this member back when there are at least O(min_free_mib) of them, or the alarm is raised.
        The member answers nobody meanwhile, and the module waits until it has caught up.
      - V(disarmed) clears the alarm, once per cluster, last. Refused while the quota is still nearly used up.
    type: str
    choices: [compacted, defragmented, disarmed]
  endpoint:
    description: Where the member answers, C(host) or C(host:port).
    type: str
    default: 127.0.0.1
  min_free_mib:
    description: MiB that have to be free in the database for a defragmentation to be worth it.
    type: int
    default: 100
  timeout:
    description: Seconds that compaction or defragmentation, and then catching up, may take.
    type: int
    default: 600
  pki:
    description: Folder with C(ca.crt), C(healthcheck-client.crt) and C(healthcheck-client.key).
    type: path
    default: /etc/kubernetes/pki/etcd
extends_documentation_fragment:
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.etcd_member
"""

EXAMPLES = r"""
- name: See how much space there is to give back
  flotilla.kubernetes.etcd_defragmentation:
  register: found

- name: Give it back
  flotilla.kubernetes.etcd_defragmentation:
    state: defragmented
    min_free_mib: 50
"""

RETURN = r"""
size_mib:
  description: What the member's database takes on disk, afterwards.
  returned: success
  type: int
  sample: 310
in_use_mib:
  description: What of that it uses.
  returned: success
  type: int
  sample: 120
quota_mib:
  description: What it may take at most; 0 where etcd does not say (before 3.6).
  returned: success
  type: int
  sample: 2048
due:
  description: Whether this member is, or was, to be defragmented.
  returned: success
  type: bool
  sample: true
alarms:
  description: The alarms of all members, as they were before.
  returned: success
  type: list
  elements: str
  sample: [NOSPACE]
"""

from typing import Any

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes import etcd_space
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.etcd import CLIENT_PORT, client_context


def run(member: Client, params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Return the module's result.

    :raises FlotillaError: the change must not be, or the member does not come back.
    :raises OSError: the member does not answer.
    """
    before, raised = etcd_space.read(member), etcd_space.alarms(member)
    etcd_space.refuse_corruption(raised)
    due = bool(raised) or before.free >= params["min_free_mib"] * etcd_space.MIB
    changed = {"compacted": bool(raised), "defragmented": due, "disarmed": bool(raised)}.get(params["state"], False)
    after = before
    if changed and not check_mode:
        if params["state"] == "compacted":
            etcd_space.compact(member, before)
        elif params["state"] == "defragmented":
            etcd_space.defragment(member)
        else:
            etcd_space.refuse_full(before)
            etcd_space.disarm(member, raised)
        after = etcd_space.wait_until_caught_up(member, params["timeout"])
    result: dict[str, Any] = {"changed": changed, **after.as_dict(), "due": due, "alarms": [one["alarm"] for one in raised]}
    if changed:
        then = after.as_dict() if not check_mode else {"size_mib": before.in_use // etcd_space.MIB}
        result["diff"] = {"before": {**before.as_dict(), "alarms": result["alarms"]}, "after": {**before.as_dict(), **then}}
    return result


def main() -> None:
    module = FencedModule(
        argument_spec={
            "state": {"type": "str", "choices": ["compacted", "defragmented", "disarmed"]},
            "endpoint": {"type": "str", "default": "127.0.0.1"},
            "min_free_mib": {"type": "int", "default": 100},
            "timeout": {"type": "int", "default": 600},
            "pki": {"type": "path", "default": "/etc/kubernetes/pki/etcd"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        context = client_context(f"{params['pki']}/ca.crt", f"{params['pki']}/healthcheck-client")
        host, _colon, port = params["endpoint"].partition(":")
        result = run(Client(host, int(port or CLIENT_PORT), context, timeout=params["timeout"]), params, module.check_mode)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    except OSError as error:
        lost = FlotillaError(
            "ETCD_UNREACHABLE",
            f"The etcd member at {params['endpoint']} does not answer: {error}",
            "Run this on a control plane with kubeadm's etcd, and read its log there.",
            error,
        )
        module.fail_json(**lost.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
