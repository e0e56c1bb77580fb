# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of a definition that follow from other values of it (private to flotilla.kubernetes).

They are put into the merged tree before it is validated, with the place of the value that they follow from.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.tree import Node

CONTROL_PLANE = "control_plane"
CONTROL_PLANE_POOL = "control-plane"
# API servers of the same machines have 6443.
HAPROXY_PORT = 8443


def derive(root: Node) -> Node:
    """Return the tree with what was left out and follows from the rest; what has a wrong shape is left to the schema."""
    provider = root.get("api_endpoint", "provider")
    if provider is not None and provider.value == "haproxy_keepalived" and root.get("api_endpoint", "port") is None:
        root = _with(root, ("api_endpoint", "port"), HAPROXY_PORT, provider)
    machines, cloud = root.get("existing", "machines"), root.get("cloud")
    if cloud is None or cloud.value != "existing" or machines is None or not isinstance(machines.value, list):
        return root
    return _counts(_node_names(root, machines), machines)


def pool_of(machine: dict[str, Any]) -> str:
    """Return the pool of an entry of `existing.machines`; the control planes' own is `control-plane`."""
    return CONTROL_PLANE_POOL if machine.get("role") == CONTROL_PLANE else str(machine.get("pool", ""))


def _node_names(root: Node, machines: Node) -> Node:
    cluster = root.get("name")
    for index, machine in enumerate(machines.value):
        address = machine.get("address")
        if address is None or not isinstance(address.value, str) or machine.get("node_name") is not None:
            continue
        entry = {key: machine.value[key].value for key in ("role", "pool") if key in machine.value}
        parts = (cluster.value if cluster is not None else "", pool_of(entry), address.value.replace(".", "-"))
        root = _with(root, ("existing", "machines", index, "node_name"), "-".join(str(part) for part in parts), address)
    return root


def _counts(root: Node, machines: Node) -> Node:
    """Count the machines that are listed wherever the definition gives no number."""

    def listed(key: str, value: Any) -> int:
        return sum(1 for machine in machines.value if (found := machine.get(key)) is not None and found.value == value)

    control_plane = root.get("control_plane")
    if control_plane is None or (isinstance(control_plane.value, dict) and control_plane.get("count") is None):
        root = _with(root, ("control_plane", "count"), listed("role", CONTROL_PLANE), machines)
    pools = root.get("pools")
    for index, pool in enumerate(pools.value if pools is not None and isinstance(pools.value, list) else []):
        name = pool.get("name")
        if name is not None and pool.get("count") is None:
            root = _with(root, ("pools", index, "count"), listed("pool", name.value), machines)
    return root


def _with(node: Node, path: tuple[str | int, ...], value: Any, source: Node) -> Node:
    """Return a copy of a tree with one more value; mappings on the way are made where they are missing."""
    if not path:
        return Node(value, source.file, source.line, str(value))
    key, rest = path[0], path[1:]
    if isinstance(node.value, list):
        items = list(node.value)
        items[int(key)] = _with(items[int(key)], rest, value, source)
        return Node(items, node.file, node.line, node.text)
    children = dict(node.value)
    children[key] = _with(children.get(key, Node({}, source.file, source.line)), rest, value, source)
    return Node(children, node.file, node.line, node.text)
