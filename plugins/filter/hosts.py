# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that turns machines into inventory hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import hosts
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines import existing
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils import _fleet
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._untrusted import as_data


def machine_hosts(machines: Any, definition: Any) -> list[dict[str, Any]]:
    """Return name, groups and variables of each machine's host, exactly as the inventory plugin makes them."""
    if not isinstance(definition, dict) or "name" not in definition:
        raise AnsibleFilterError("flotilla.kubernetes.machine_hosts needs the merged definition (flotilla_cluster).")
    if not isinstance(machines, list) or not all(isinstance(machine, dict) for machine in machines):
        raise AnsibleFilterError("flotilla.kubernetes.machine_hosts needs a list of machines as a *_machines module returns it.")
    try:
        found = _fleet.machine_hosts(definition, machines)
    except KeyError as error:
        raise AnsibleFilterError(f"flotilla.kubernetes.machine_hosts misses {error} in the machines or in the definition.") from error
    except FlotillaError as error:
        raise AnsibleFilterError(str(error)) from error
    return [as_data(host.as_dict()) for host in found]


def control_plane_group(cluster: Any) -> str:
    """Return the inventory group of the control planes of the cluster of this name."""
    return _group("control_plane_group", cluster, hosts.CONTROL_PLANE)


def machines_group(cluster: Any) -> str:
    """Return the inventory group of all machines of the cluster of this name."""
    return _group("machines_group", cluster, "")


def leaving_group(cluster: Any) -> str:
    """Return the inventory group of the machines of a cluster that are about to go."""
    return _group("leaving_group", cluster, hosts.LEAVING)


def behind_group(cluster: Any) -> str:
    """Return the inventory group of the machines of a cluster to which an upgrade that was begun has not come."""
    return _group("behind_group", cluster, hosts.BEHIND)


def successors_group(cluster: Any) -> str:
    """Return the inventory group of the hosts that stand for machines which a play makes."""
    return _group("successors_group", cluster, hosts.SUCCESSORS)


def successor_hosts(rolls: Any, definition: Any) -> list[dict[str, Any]]:
    """Return a host for each machine that joins in an upgrade which replaces machines, from what `upgrade_rolls` found."""
    if not isinstance(rolls, list) or not isinstance(definition, dict):
        raise AnsibleFilterError(
            "flotilla.kubernetes.successor_hosts needs what upgrade_rolls returns, and the definition (flotilla_cluster)."
        )
    return [
        as_data(hosts.successor_host(definition, roll["pool"], number).as_dict())
        for roll in rolls
        for number in range(1, roll["to_join"] + 1)
    ]


def _group(name: str, cluster: Any, part: str) -> str:
    if not isinstance(cluster, str) or not cluster:
        raise AnsibleFilterError(f"flotilla.kubernetes.{name} needs the name of a cluster.")
    return hosts.cluster_group(cluster, part=part)


def defined_machines(definition: Any) -> list[dict[str, Any]]:
    """Return the machines that a definition lists, in the shape of `*_machines` modules."""
    try:
        machines = _fleet.provider(definition["cloud"]).observe_machines(definition)
    except FlotillaError as error:
        raise AnsibleFilterError(str(error)) from error
    return [as_data(machine.as_dict()) for machine in machines]


def machine_findings(looks: Any, definition: Any) -> list[dict[str, str]]:
    """Return what is wrong with machines that exist already, from the results of `machine_info` on each (by name)."""
    if not isinstance(looks, dict) or not isinstance(definition, dict):
        raise AnsibleFilterError("flotilla.kubernetes.machine_findings needs results by name, and the definition (flotilla_cluster).")
    return [finding.as_dict() for finding in existing.findings(definition, defined_machines(definition), looks)]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "behind_group": behind_group,
            "control_plane_group": control_plane_group,
            "leaving_group": leaving_group,
            "defined_machines": defined_machines,
            "machine_findings": machine_findings,
            "machine_hosts": machine_hosts,
            "machines_group": machines_group,
            "successor_hosts": successor_hosts,
            "successors_group": successors_group,
        }
