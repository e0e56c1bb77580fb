# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of machines that exist already and of the API endpoint (private to flotilla.kubernetes)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.derive import CONTROL_PLANE
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import nearest

if TYPE_CHECKING:
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.rules import Report

API_SERVER_PORT = 6443
# Ports of etcd, kubelet, scheduler, controller manager and kube-proxy:
# https://kubernetes.io/docs/reference/networking/ports-and-protocols/
TAKEN_PORTS = (2379, 2380, API_SERVER_PORT, 10250, 10256, 10257, 10259)
CONTROL_PLANE_COUNTS = (1, 3, 5, 7)
_SHARED = ("kube_vip", "haproxy_keepalived")
_MACHINES = ("existing", "machines")


def existing_machines(data: dict[str, Any], report: Report) -> None:
    """Each machine is there once, is a control plane or in one pool that there is, and there are as many as the counts say."""
    if data.get("cloud") != "existing":
        return
    pools = [pool["name"] for pool in data.get("pools", []) if pool is not None and "name" in pool]
    seen: dict[tuple[str, Any], int] = {}
    for index, machine in _machines(data):
        path = (*_MACHINES, index)
        if ("role" in machine) == ("pool" in machine):
            what = "has both role and pool" if "role" in machine else "has neither role nor pool"
            report(path, f"{what}; write role: control_plane or pool: <name of a pool>.", about=[(*path, "role"), (*path, "pool")])
        elif "pool" in machine and machine["pool"] not in pools:
            guess = nearest(machine["pool"], pools)
            hint = f'did you mean "{guess}"?' if guess else f"there are: {', '.join(pools) or 'none'}."
            report((*path, "pool"), f"is {machine['pool']}, which is not among the pools; {hint}", ", ".join(pools), guess, [("pools",)])
        for key, value in _unique(machine):
            if (key, value) in seen:
                line = report.root.nearest((*_MACHINES, seen[key, value])).line
                shown = ":".join(str(part) for part in value) if isinstance(value, tuple) else value
                report((*path, key), f"is {shown}, as is that of the machine in line {line}; every machine is listed once.")
                break  # the name may follow from the address
            seen[key, value] = index
        _machine_address((*path, "address"), machine, data, report)
    _counts(data, report)


def _machines(data: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    machines = data.get("existing", {}).get("machines", [])
    return ((index, machine) for index, machine in enumerate(machines) if machine is not None)


def _unique(machine: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in ("address", "node_name"):
        if key in machine:
            yield key, machine[key]
    if "ssh_address" in machine:
        yield "ssh_address", (machine["ssh_address"], machine.get("ssh_port", 22))


def _machine_address(path: tuple[str | int, ...], machine: dict[str, Any], data: dict[str, Any], report: Report) -> None:
    address = _ipv4(machine.get("address", ""))
    if address is None:
        if "address" in machine:
            report(path, f"is {machine['address']}; must be an IPv4 address.", "an IPv4 address")
        return
    _outside_cluster_networks(path, address, data, report)


def _counts(data: dict[str, Any], report: Report) -> None:
    """Compare the numbers of listed machines with the counts of the definition."""
    listed = [machine for _index, machine in _machines(data)]
    found = sum(1 for machine in listed if machine.get("role") == CONTROL_PLANE)
    if found not in CONTROL_PLANE_COUNTS:
        report(
            _MACHINES,
            f"has {found} machines with role: control_plane; allowed: 1, 3, 5 or 7, because etcd needs a majority.",
            about=[(*_MACHINES, index, "role") for index in range(len(listed))],
        )
    elif data.get("control_plane", {}).get("count", found) != found:
        _count(("control_plane", "count"), data["control_plane"]["count"], f"with role: control_plane has {found}", report)
    for index, pool in enumerate(data.get("pools", [])):
        if pool is None or "name" not in pool or "count" not in pool:
            continue
        found = sum(1 for machine in listed if machine.get("pool") == pool["name"])
        if pool["count"] != found:
            _count(("pools", index, "count"), pool["count"], f"with pool: {pool['name']} has {found}", report)


def _count(path: tuple[str | int, ...], count: int, found: str, report: Report) -> None:
    report(path, f"is {count}, but the list existing.machines {found}; leave the count out, or list as many.", about=[_MACHINES])


def api_endpoint(data: dict[str, Any], report: Report) -> None:
    """The provider of the API endpoint has the address and the port that it needs."""
    endpoint, cloud = data.get("api_endpoint", {}), data.get("cloud")
    provider, port = endpoint.get("provider"), endpoint.get("port")
    if provider is None or cloud is None:
        return
    here = ("api_endpoint", "provider")
    about = [here, ("cloud",)]
    if provider == "cloud":
        if cloud == "existing":
            report(
                here, "is cloud, but machines that exist have no load balancer of a cloud; choose kube_vip, haproxy_keepalived or external."
            )
        for key in ("address", "interface"):
            if endpoint.get(key) is not None:
                report(
                    ("api_endpoint", key),
                    "is not for provider: cloud, whose load balancer has its own; remove it or change provider.",
                    about=about,
                )
        return
    if provider == "external" and endpoint.get("interface") is not None:
        report(("api_endpoint", "interface"), "is not for provider: external; remove it.", about=about)
    _endpoint_address(endpoint.get("address"), provider, data, report)
    path = ("api_endpoint", "port")
    if provider == "kube_vip" and port not in (None, API_SERVER_PORT):
        report(
            path, f"is {port}; kube-vip hands on the address of the API servers themselves, which listen on {API_SERVER_PORT}.", about=about
        )
    if provider == "haproxy_keepalived" and port in TAKEN_PORTS:
        report(path, f"is {port}, which Kubernetes uses on the same machines; choose another, such as 8443.", about=about)


def _endpoint_address(text: str | None, provider: str, data: dict[str, Any], report: Report) -> None:
    path = ("api_endpoint", "address")
    if text is None:
        report(
            path, f"is missing: the address of the API endpoint, which provider: {provider} needs.", about=[("api_endpoint", "provider")]
        )
        return
    address = _ipv4(text)
    if address is None:
        if provider in _SHARED or ":" in text or text.replace(".", "").isdigit():
            allowed = "an IPv4 address" if provider in _SHARED else "an IPv4 address or a DNS name"
            report(path, f"is {text}; must be {allowed}.", allowed)
        return
    _outside_cluster_networks(path, address, data, report)
    if provider not in _SHARED:
        return
    if any(machine.get("address") == text for _index, machine in _machines(data)):
        report(
            path,
            f"is {text}, which is the own address of a machine; choose a free address of the control planes' network.",
            about=[_MACHINES],
        )
    if data.get("cloud") == "local" and "network_cidr" in data.get("local", {}):
        network = _network(data["local"]["network_cidr"])
        free = [network.network_address + last for last in range(4, 10)] if network is not None else [address]
        if address not in free:
            report(path, f"is {text}; choose one from {free[0]} to {free[-1]}, which local.network_cidr keeps free.", about=[("local",)])


def _outside_cluster_networks(path: tuple[str | int, ...], address: Any, data: dict[str, Any], report: Report) -> None:
    for key in ("pod_cidrs", "service_cidrs"):
        for index, text in enumerate(data.get("network", {}).get(key, [])):
            network = _network(text or "")
            if network is not None and address in network:
                report(path, f"is {address}, which lies in network.{key} ({text}); change one of them.", about=[("network", key, index)])


def _ipv4(text: str) -> Any:
    try:
        return ipaddress.IPv4Address(text)
    except ValueError:
        return None


def _network(text: str) -> Any:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
