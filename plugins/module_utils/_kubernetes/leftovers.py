# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a control plane leaves behind when its machine is gone, or when its join did not end (private to flotilla.kubernetes).

Python 3.9, standard library only.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from .._errors import FlotillaError
from .client import Client
from .etcd import ETCD_PKI, Etcd, client_context, gone, plan_removal
from .gates import CONTROL_PLANE_LABEL, is_ready


def remove_leftovers(client: Client, address: str, control_planes: dict[str, str], check_mode: bool) -> dict[str, Any]:
    """Remove dead etcd members and Nodes of control planes that no longer exist.

    :param address: of a live control plane; its etcd member is asked.
    :param control_planes: node name -> address of every control plane that exists.
    :return: ``changed``, ``members``, ``nodes`` and ``diff`` of what was removed; ``kept``: a sentence for each member that had to stay.
    :raises FlotillaError: etcd or the API server refuses.
    """
    etcd = Etcd([address], client_context())
    members = etcd.members()
    removed, kept = [], []
    for member in gone(members, control_planes):
        removal = plan_removal(members, member, remove_healthy=False)
        if removal.problem:
            kept.append(f"The etcd member {member.title} has no machine in this cluster and stays: {removal.problem} {removal.remedy}")
            continue
        if not check_mode:
            etcd.remove(removal)
        members = [one for one in members if one.id != member.id]
        removed.append(member.name or member.peer_urls[0])
    nodes = []
    for node in client.items(f"/api/v1/nodes?labelSelector={CONTROL_PLANE_LABEL}"):
        name = node["metadata"]["name"]
        if name in control_planes or is_ready(node):
            continue
        nodes.append(name)
        if not check_mode:
            client.delete(f"/api/v1/nodes/{name}")
    lines = [*(f"etcd member {name}" for name in removed), *(f"node {name}" for name in nodes)]
    return {
        "changed": bool(lines),
        "members": removed,
        "nodes": nodes,
        "kept": kept,
        "diff": {"before": "".join(f"{line}\n" for line in lines), "after": ""},
    }


def leave_etcd(live: str, own: str, pki: str = ETCD_PKI) -> None:
    """Take this machine's member out of etcd, which a join that did not end has added; without one nothing is done.

    ``kubeadm reset`` leaves the member where it is when the machine is no Node yet, and deletes its data all the same. A member that comes
    back without its data stops with "tocommit is out of range", and as a learner it keeps others out of etcd.

    :param live: address of another control plane.
    :param own: address of this one.
    :raises FlotillaError: ``ETCD_MEMBER_NEEDED``, so that its data must stay, or etcd does not answer or refuses.
    """
    try:
        context = client_context(f"{pki}/ca.crt", f"{pki}/healthcheck-client")
    except FileNotFoundError:
        # kubeadm makes these before it adds the member.
        return
    etcd = Etcd([live], context)
    members = etcd.members()
    for member in members:
        if own in {urlsplit(url).hostname for url in member.peer_urls}:
            removal = plan_removal(members, member, remove_healthy=True)
            if removal.problem:
                raise FlotillaError("ETCD_MEMBER_NEEDED", removal.problem, removal.remedy)
            etcd.remove(removal)
