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
IMAGE_FAMILY = "debian-13"
# Clouds whose machines stand in one place unless the definition says otherwise.
_ONE_PLACE = ("local", "existing", "vsphere")
AWS_VPC_CIDR = "10.20.0.0/16"
AZURE_VNET_CIDR = "10.20.0.0/16"
GCP_SUBNET_CIDR = "10.20.0.0/20"


def derive(root: Node) -> Node:
    """Return the tree with what was left out and follows from the rest; what has a wrong shape is left to the schema."""
    provider = root.get("api_endpoint", "provider")
    if provider is not None and provider.value == "haproxy_keepalived" and root.get("api_endpoint", "port") is None:
        root = _with(root, ("api_endpoint", "port"), HAPROXY_PORT, provider)
    machines, node = root.get("existing", "machines"), root.get("cloud")
    cloud = node.value if node is not None else None
    if cloud == "existing" and machines is not None and isinstance(machines.value, list):
        root = _counts(_node_names(root, machines), machines)
    if cloud == "aws":
        root = _vpc(root)
    if cloud == "azure":
        root = _vnet(root)
    if cloud == "gcp":
        root = _subnet(root)
    # NSX has a load balancer.
    if cloud == "vsphere" and provider is None and root.get("nsx") is None:
        root = _with(root, ("api_endpoint", "provider"), "kube_vip", node or root)
    return _image(_zones(root, cloud))


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


def _zones(root: Node, cloud: Any) -> Node:
    """Give the control plane its zone where there is only one, and pools the zones of the control plane."""
    control_plane = root.get(CONTROL_PLANE)
    if cloud in _ONE_PLACE and control_plane is not None and isinstance(control_plane.value, dict) and control_plane.get("zones") is None:
        name = "default" if cloud == "vsphere" else "local"
        zone = Node(name, control_plane.file, control_plane.line, name)
        root = _with(root, (CONTROL_PLANE, "zones"), [zone], control_plane)
    zones, pools = root.get(CONTROL_PLANE, "zones"), root.get("pools")
    for index, pool in enumerate(pools.value if pools is not None and isinstance(pools.value, list) else []):
        if zones is not None and isinstance(pool.value, dict) and pool.get("zones") is None:
            root = _with(root, ("pools", index, "zones"), zones.value, zones)
    return root


def _image(root: Node) -> Node:
    """Take the family of old when the definition names no image."""
    image = root.get("image")
    if image is not None and (not isinstance(image.value, dict) or image.value):
        return root
    return _with(root, ("image", "family"), IMAGE_FAMILY, image or root)


def _vpc(root: Node) -> Node:
    """Say how the VPC looks that is made where the user names none."""
    section = root.get("aws")
    if section is None or not isinstance(section.value, dict) or section.get("vpc") is not None:
        return root
    public = section.get("public_machines")
    gateways = "none" if public is not None and public.value is True else "per_zone"
    for key, value in (("vpc_cidr", AWS_VPC_CIDR), ("nat_gateways", gateways)):
        if section.get(key) is None:
            root = _with(root, ("aws", key), value, section)
    return root


def _subnet(root: Node) -> Node:
    """Say how the subnetwork looks that is made where the user names none."""
    section = root.get("gcp")
    if section is None or not isinstance(section.value, dict) or section.get("network") is not None:
        return root
    public = section.get("public_machines")
    for key, value in (("subnet_cidr", GCP_SUBNET_CIDR), ("nat", public is None or public.value is not True)):
        if section.get(key) is None:
            root = _with(root, ("gcp", key), value, section)
    return root


def _vnet(root: Node) -> Node:
    """Say how the network in Azure looks that is made where the user names no subnets."""
    section = root.get("azure")
    subnets = root.get("azure", "subnets")
    if section is None or not isinstance(section.value, dict) or (subnets is not None and subnets.value):
        return root
    public = section.get("public_machines")
    outbound = "none" if public is not None and public.value is True else "nat_gateway"
    for key, value in (("vnet_cidr", AZURE_VNET_CIDR), ("outbound", outbound)):
        if section.get(key) is None:
            root = _with(root, ("azure", key), value, section)
    return root


def _with(node: Node, path: tuple[str | int, ...], value: Any, source: Node) -> Node:
    """Return a copy of a tree with one more value; mappings on the way are made where they are missing."""
    if not path:
        return Node(value, source.file, source.line, "" if isinstance(value, list) else str(value))
    key, rest = path[0], path[1:]
    if isinstance(node.value, list):
        items = list(node.value)
        items[int(key)] = _with(items[int(key)], rest, value, source)
        return Node(items, node.file, node.line, node.text)
    children = dict(node.value)
    children[key] = _with(children.get(key, Node({}, source.file, source.line)), rest, value, source)
    return Node(children, node.file, node.line, node.text)
