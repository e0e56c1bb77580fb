# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventory hosts of a cluster definition (private to flotilla.kubernetes).

One function makes the hosts for the inventory plugin and for ``add_host``, so that a machine made in a run gets
exactly the groups and variables that the next run finds. Pure: paths that depend on cloud or user come in as arguments.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

CLUSTERS_GROUP = "flotilla_clusters"
MACHINES_GROUP = "flotilla"
CONTROL_PLANE = "control_plane"
# Ansible's own default also compresses, which brings a bundle to a machine at a tenth of the speed.
# A machine that falls silent ends its connection after a minute; without that, a run would wait for it for ever.
SSH_ARGS = "-o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=15 -o ServerAliveCountMax=4"


@dataclass(frozen=True)
class Host:
    """A host as Ansible's inventory and ``add_host`` need it."""

    name: str
    groups: list[str]
    variables: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "groups": self.groups, "variables": self.variables}


def group_name(text: str) -> str:
    """Return ``text`` as Ansible wants group names: ``-`` and ``.`` become ``_``, and so does whatever a cloud's tag may hold."""
    return re.sub(r"[^A-Za-z0-9_]", "_", text)


LEAVING = "leaving"
"""Part of a cluster's group names: machines that are about to go, on which a run does nothing any more."""

BEHIND = "behind"
"""Part of a cluster's group names: machines to which an upgrade that was begun has not come, and which a run leaves to it."""


SUCCESSORS = "successors"
"""Part of a cluster's group names: hosts that stand for machines which a play makes. Its hosts are fixed when it begins."""


def cluster_host_name(cluster: str) -> str:
    """Return the name of the cluster's own host."""
    return f"{cluster}.cluster"


def cluster_group(cluster: str, part: str = "", pool: str = "") -> str:
    """Return the group of a cluster's machines, of its control plane (``part``) or of one pool."""
    name = f"cluster_{group_name(cluster)}"
    if part:
        return f"{name}__{part}"
    return f"{name}__pool_{group_name(pool)}" if pool else name


def cloud_group(cloud: str) -> str:
    """Return the group of all machines of a cloud."""
    return f"cloud_{group_name(cloud)}"


def cluster_host(definition: dict[str, Any]) -> Host:
    """Return the cluster's own host; it has no connection variables, so that nothing but our own plays changes anything through it."""
    return Host(cluster_host_name(definition["name"]), [CLUSTERS_GROUP], {"flotilla_cluster": definition, "flotilla_enabled": True})


def control_planes(machines: Iterable[Host]) -> dict[str, str]:
    """Return the own address of each control plane among the hosts of machines, by its name in the inventory."""
    found = {host.name: host.variables["flotilla_machine"] for host in machines}
    return {name: str(machine["addresses"]["private"]) for name, machine in found.items() if machine["role"] == CONTROL_PLANE}


def machine_host(definition: dict[str, Any], machine: dict[str, Any], private_key_file: str, known_hosts_file: str) -> Host:
    """Return the host of one machine.

    :param definition: the merged definition.
    :param machine: a machine as ``*_machines`` modules return it.
    :param private_key_file: key of the login ``access.ssh_user``.
    :param known_hosts_file: file with the machines' host keys; other keys are refused.
    """
    cluster, control_plane = definition["name"], machine["role"] == CONTROL_PLANE
    groups = [
        MACHINES_GROUP,
        cluster_group(cluster),
        cluster_group(cluster, part=CONTROL_PLANE) if control_plane else cluster_group(cluster, pool=machine["pool"]),
        f"zone_{group_name(machine['zone'])}",
        cloud_group(definition["cloud"]),
    ]
    variables = {
        "ansible_host": ssh_address(definition, machine),
        # Said outright, because a task that a play on the cluster's own host delegates would take that play's `connection: local`.
        "ansible_connection": "ssh",
        "ansible_port": machine.get("ssh_port", 22),
        "ansible_user": definition["access"]["ssh_user"],
        "ansible_ssh_private_key_file": private_key_file,
        "ansible_ssh_args": SSH_ARGS,
        # One command of ssh for a module instead of four; Ansible's default is for a sudo that wants a terminal, as none does by itself.
        "ansible_pipelining": True,
        "ansible_ssh_common_args": " ".join([_host_keys(definition, known_hosts_file), *_bastion(definition, private_key_file)]),
        "flotilla_node_name": machine["name"],
        "flotilla_machine": machine,
        "flotilla_cluster": definition,
        "flotilla_enabled": True,
    }
    return Host(machine["name"], groups, variables)


def successor_host(definition: dict[str, Any], pool: str, number: int) -> Host:
    """Return a host that stands for a machine which is yet to be made; it becomes that machine by getting its variables.

    :param number: from 1 on, within the pool.
    """
    machine = {"id": "", "name": "", "pool": pool, "role": "worker", "zone": "", "state": "planned", "addresses": {}}
    variables = {"flotilla_node_name": "", "flotilla_machine": machine, "flotilla_cluster": definition, "flotilla_enabled": True}
    return Host(f"{definition['name']}-{pool}.new-{number}", [cluster_group(definition["name"], part=SUCCESSORS)], variables)


def ssh_address(definition: dict[str, Any], machine: dict[str, Any]) -> str:
    """Return where Ansible reaches a machine, as the definition wants it; empty while there is no such address."""
    wanted = definition["access"].get("address", "private")
    return str(machine.get("ssh_address") or (machine["addresses"] or {}).get(wanted) or "")


def _bastion(definition: dict[str, Any], private_key_file: str) -> list[str]:
    """Return ssh's option that goes through the bastion, if there is one.

    Not `ProxyJump`: the ssh that it starts takes none of our options, so neither the key nor an end to a silent connection.
    """
    bastion = definition["access"].get("bastion")
    if not bastion:
        return []
    key = bastion.get("ssh_private_key_file") or private_key_file
    user = bastion.get("user") or definition["access"]["ssh_user"]
    command = "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
    if key:
        # A shell runs it, which expands no quoted ~, and before that ssh expands percent signs.
        home, rest = ("~/", key[2:]) if key.startswith("~/") else ("", key)
        command += f" -i {home}{shlex.quote(rest.replace('%', '%%'))}"
    command += f" -p {bastion.get('port', 22)} -W '[%h]:%p' {shlex.quote(user + '@' + bastion['host'])}"
    return ["-o", shlex.quote(f"ProxyCommand={command}")]


def _host_keys(definition: dict[str, Any], known_hosts_file: str) -> str:
    """Return ssh's options about host keys; for machines that exist already the definition says which keys are trusted."""
    decides = definition["existing"]["host_keys"] if definition["cloud"] == "existing" else "recorded"
    if decides == "known_hosts":
        return "-o StrictHostKeyChecking=yes"
    checking = "accept-new" if decides == "accept_new" else "yes"
    return f"-o StrictHostKeyChecking={checking} -o {_ssh_option('UserKnownHostsFile', known_hosts_file)}"


def _ssh_option(name: str, path: str) -> str:
    """Return one ssh option; ssh itself splits at blanks unless the path stands in double quotes."""
    return shlex.quote(f'{name}="{path}"' if re.search(r"\s", path) else f"{name}={path}")


def known_hosts(machines: Iterable[dict[str, Any]]) -> str:
    """Return the text of a known_hosts file; machines without a recorded host key are left out, so ssh refuses them."""
    lines = {
        f"{address} {machine['host_key']}"
        for machine in machines
        for address in (machine["addresses"] or {}).values()
        if address and machine.get("host_key")
    }
    return "".join(f"{line}\n" for line in sorted(lines))


def groups_of(definition: dict[str, Any]) -> dict[str, str]:
    """Return every group that the machines of a definition can be in -> what the group stands for, to find collisions."""
    cluster = definition["name"]
    groups = {
        cluster_group(cluster): f"cluster {cluster}",
        cluster_group(cluster, part=CONTROL_PLANE): f"control plane of cluster {cluster}",
        cloud_group(definition["cloud"]): f"cloud {definition['cloud']}",
    }
    for pool in definition["pools"]:
        groups[cluster_group(cluster, pool=pool["name"])] = f"pool {pool['name']} of cluster {cluster}"
    return groups


def zones_of(definition: dict[str, Any]) -> list[str]:
    """Return the zones of a definition, in the order in which they are written, without repetitions."""
    zones = [zone for group in (definition["control_plane"], *definition["pools"]) for zone in group["zones"]]
    zones += [machine["zone"] for machine in definition.get("existing", {}).get("machines", []) if "zone" in machine]
    return list(dict.fromkeys(zones))
