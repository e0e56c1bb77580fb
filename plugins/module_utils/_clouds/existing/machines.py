# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines of a definition, in the shape of every other cloud's machines (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

from typing import Any

from ..._machines.model import CONTROL_PLANE_POOL, RUNNING, WORKER, Machine


def observe_machines(definition: dict[str, Any]) -> list[Machine]:
    """Return the machines that the definition lists.

    Nobody but the machine itself knows whether it runs: each is taken for running, and one that does not answer is found unreachable.
    """
    groups = {CONTROL_PLANE_POOL: definition["control_plane"], **{pool["name"]: pool for pool in definition["pools"]}}
    machines = []
    for entry in definition["existing"]["machines"]:
        pool = entry.get("pool", CONTROL_PLANE_POOL)
        machines.append(
            Machine(
                id=entry["address"],
                name=entry["node_name"],
                cluster=definition["name"],
                pool=pool,
                role=entry.get("role", WORKER),
                zone=entry.get("zone") or groups[pool]["zones"][0],
                state=RUNNING,
                addresses={"private": entry["address"], "public": None},
                ssh_address=entry.get("ssh_address", entry["address"]),
                ssh_port=entry["ssh_port"],
            )
        )
    return machines


def default_private_key(_definition: dict[str, Any]) -> str:
    """Return nothing: ssh finds the key by itself, from the agent, its configuration or the usual files."""
    return ""
