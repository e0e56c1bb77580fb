#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_member
short_description: Remove or promote a member of a cluster's etcd, never at the price of its quorum
version_added: "0.1.0"
description:
  - Runs on a live control plane with kubeadm's etcd, and returns all members in any case.
  - O(state=absent) removes a member that is down. It refuses with numbers when etcd has no quorum or would have none afterwards, when it is
    the last one, and when the member works.
  - O(state=present) makes sure that the member is a voter. A learner is promoted once it has caught up; an unknown one with O(peer_url) is
    announced as a learner, which must then be started by C(kubeadm join) or by hand.
  - O(state=follower) lets another healthy voter lead before the member goes down for a while, so that nobody has to be elected meanwhile.
    Nothing happens when it does not lead, or when there is no other.
  - Each call of etcd is a decision of its own, so a run that was killed is simply repeated.
options:
  state:
    description: Whether the member is to be there, and for V(follower) that another one is to lead.
    type: str
    choices: [present, absent, follower]
    default: present
  name:
    description: Name of the member; with kubeadm the name of the Node.
    type: str
  peer_url:
    description: Peer URL of the member, which is all that a member has that never started.
    type: str
  endpoints:
    description: Where etcd may answer, C(host) or C(host:port). The first one that does is asked.
    type: list
    elements: str
    default: [127.0.0.1]
  remove_healthy:
    description:
      - Whether a member that works may be removed, too. If it leads, its leadership moves to another member first.
    type: bool
    default: false
  timeout:
    description: Seconds to wait until a learner has caught up.
    type: int
    default: 60
  pki:
    description: Folder with C(ca.crt), C(healthcheck-client.crt) and C(healthcheck-client.key).
    type: path
    default: /etc/kubernetes/pki/etcd
extends_documentation_fragment:
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Remove the member of a machine that is gone
  flotilla.kubernetes.etcd_member:
    name: payments-control-plane-0a1b2c3d
    state: absent

- name: Let another member lead before this one restarts
  flotilla.kubernetes.etcd_member:
    name: payments-control-plane-0a1b2c3d
    state: follower

- name: Remove a member that never started
  flotilla.kubernetes.etcd_member:
    peer_url: https://10.0.0.13:2380
    state: absent
"""

RETURN = r"""
members:
  description: All members, as they are afterwards; in check mode as they are.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: "Hexadecimal, as etcdctl shows it.", type: str, returned: always, sample: 8e9e05c52164694d}
    name: {description: Empty for one that never started., type: str, returned: always, sample: payments-control-plane-0a1b2c3d}
    peer_urls: {description: Where the other members reach it., type: list, elements: str, returned: always}
    learner: {description: Whether it does not vote yet., type: bool, returned: always}
    healthy: {description: Whether it answers at its own address., type: bool, returned: always}
    leader: {description: Whether it leads., type: bool, returned: always}
"""

from dataclasses import replace
from typing import Any

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes.etcd import Etcd, Member, client_context, heirs_of, plan_removal


def run(etcd: Etcd, params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Return the module's result.

    :raises FlotillaError: the change must not be, or etcd refuses it.
    """
    members = etcd.members()
    found = [one for one in members if _is_meant(one, params)]
    after = members
    if params["state"] == "absent":
        for member in found:
            removal = plan_removal(after, member, params["remove_healthy"])
            if removal.problem:
                raise FlotillaError("ETCD_MEMBER_NEEDED", removal.problem, removal.remedy)
            after = [one for one in after if one.id != member.id]
            if not check_mode:
                etcd.remove(removal)
    elif params["state"] == "follower":
        for member in found:
            heirs = heirs_of(members, member)
            if heirs:
                after = [replace(one, leader=one.id == heirs[0].id) for one in members]
                if not check_mode:
                    etcd.hand_over(member, heirs)
    elif not found:
        if not params["peer_url"]:
            raise FlotillaError(
                "ETCD_MEMBER_MISSING", f"etcd has no member {params['name']}.", "Give peer_url to announce it, or join it with kubeadm."
            )
        after = [*members, Member("0", "", (params["peer_url"],), (), True)]
        if not check_mode:
            etcd.add_learner([params["peer_url"]])
    else:
        learners = [one for one in found if one.learner]
        after = [Member(one.id, one.name, one.peer_urls, one.client_urls, False) if one in learners else one for one in members]
        if not check_mode:
            for member in learners:
                etcd.promote(member, params["timeout"])
    changed = after != members
    result: dict[str, Any] = {
        "changed": changed,
        "members": [one.as_dict() for one in (etcd.members() if changed and not check_mode else members)],
    }
    if changed:
        result["diff"] = {"before": _shown(members), "after": _shown(after)}
    return result


def _is_meant(member: Member, params: dict[str, Any]) -> bool:
    by_name = not params["name"] or member.name == params["name"]
    return by_name and (not params["peer_url"] or params["peer_url"] in member.peer_urls)


def _shown(members: list[Member]) -> str:
    return "".join(f"{one.name or '(not started)'} {','.join(one.peer_urls)} {_part(one)}\n" for one in members)


def _part(member: Member) -> str:
    return "learner" if member.learner else "leader" if member.leader else "voter"


def main() -> None:
    module = FencedModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent", "follower"], "default": "present"},
            "name": {"type": "str"},
            "peer_url": {"type": "str"},
            "endpoints": {"type": "list", "elements": "str", "default": ["127.0.0.1"]},
            "remove_healthy": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 60},
            "pki": {"type": "path", "default": "/etc/kubernetes/pki/etcd"},
        },
        required_one_of=[("name", "peer_url")],
        supports_check_mode=True,
    )
    params = module.params
    try:
        context = client_context(f"{params['pki']}/ca.crt", f"{params['pki']}/healthcheck-client")
        result = run(Etcd(params["endpoints"], context), params, module.check_mode)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    except OSError as error:
        module.fail_json(
            msg=f"The certificates in {params['pki']} can not be read: {error}. Run this on a control plane with kubeadm's etcd."
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
