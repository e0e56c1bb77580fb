# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an Azure subscription holds, asked of the endpoint itself. Imports nothing of plugins/: it is what judges them."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from typing import Any

from clouds.azure.offers import LOCATION, SUBSCRIPTION
from clouds.judge import Thing

VERSION = "2024-07-01"
_TIMEOUT = 60


def control(url: str, path: str, body: Any = None, method: str = "PUT") -> Any:
    """Ask the endpoint for what no cloud does."""
    request = urllib.request.Request(f"{url}/_endpoint/{path}", json.dumps(body or {}).encode(), method=method)
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
        return json.loads(answer.read() or b"{}")


def ask(url: str, method: str, path: str, body: Any = None, query: dict[str, str] | None = None) -> Any:
    """Make a call of Resource Manager, as somebody in the portal."""
    return _call(url, method, path, body, query)[0]


def find_out(url: str, path: str) -> Any:
    """Ask what Resource Manager takes its time to answer, and wait for the answer."""
    answer, location = _call(url, "POST", path)
    while location:
        time.sleep(1)
        answer, location = _call(url, "GET", location)
    return answer


def _call(url: str, method: str, path: str, body: Any = None, query: dict[str, str] | None = None) -> tuple[Any, str]:
    """Return the answer, or where it will be."""
    token = control(url, "token")["token"]
    data = json.dumps(body).encode() if body is not None else None
    asked = urllib.parse.urlencode({"api-version": VERSION, **(query or {})})
    request = urllib.request.Request(f"{url}{path}?{asked}", data, method=method)
    request.add_header("Authorization", f"Bearer {token}")
    if body is not None:
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
        later = urllib.parse.urlsplit(answer.headers.get("Location") or path).path if answer.status == 202 else ""
        return json.loads(answer.read() or b"{}"), later


def group_id(group: str) -> str:
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}"


def read(url: str) -> tuple[list[Thing], dict[str, dict[str, Any]]]:
    """Return everything that there is, and the document of each machine by its unique id."""
    found = control(url, "inventory", method="GET")
    things = [_thing("resource group", item, {"location": item["location"]}) for item in found["groups"]]
    machines = {}
    for item in found["things"]:
        kind = item["type"].partition("/")[2]
        inner = item["properties"]
        things.append(_thing(kind, item, {"state": inner["provisioningState"], **_ABOUT[kind](item, inner)}))
        if kind == "virtualMachines":
            machines[inner["vmId"]] = item
    return things, machines


def _thing(kind: str, item: dict[str, Any], attributes: dict[str, Any]) -> Thing:
    tags = dict(item.get("tags") or {})
    return Thing(kind, item["id"].lower(), tags.get("flotilla-cluster", ""), tags, attributes)


def _low(item: Any, *keys: str) -> str:
    for key in keys:
        item = (item or {}).get(key)
    return str(item or "").lower()


def _machine(item: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    disk, image = inner["storageProfile"]["osDisk"], inner["storageProfile"]["imageReference"]
    return {
        "power": [status["code"] for status in inner["instanceView"]["statuses"] if status["code"].startswith("PowerState/")],
        "size": inner["hardwareProfile"]["vmSize"],
        "image": ":".join(str(image.get(part, "")) for part in ("publisher", "offer", "sku", "version")),
        "machine_zone": zone_of(item),
        "interfaces": [[_low(one, "id"), one["properties"]["deleteOption"]] for one in inner["networkProfile"]["networkInterfaces"]],
        "disk": [_low(disk, "managedDisk", "id"), disk["deleteOption"], disk["diskSizeGB"], disk["managedDisk"]["storageAccountType"]],
        "security": inner.get("securityProfile"),
        "priority": inner.get("priority", ""),
        "identity": item.get("identity"),
    }


def zone_of(item: dict[str, Any]) -> str:
    """Return a machine's zone as Kubernetes names it."""
    return f"{LOCATION}-{item['zones'][0]}" if item.get("zones") else LOCATION


def _interface(_item: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    parts = [part["properties"] for part in inner["ipConfigurations"]]
    return {
        "machine": _low(inner, "virtualMachine", "id"),
        "group": _low(inner, "networkSecurityGroup", "id"),
        "subnets": [_low(part, "subnet", "id") for part in parts],
        "applications": sorted(_low(one, "id") for part in parts for one in part.get("applicationSecurityGroups") or ()),
        "pools": sorted(_low(one, "id") for part in parts for one in part.get("loadBalancerBackendAddressPools") or ()),
        "public": [_low(part, "publicIPAddress", "id") for part in parts if part.get("publicIPAddress")],
    }


def _network(_item: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    subnets = []
    for part in inner["subnets"]:
        about = part["properties"]
        subnets.append([part["name"], about.get("addressPrefix"), _low(about, "natGateway", "id"), about.get("defaultOutboundAccess")])
    return {"space": inner["addressSpace"]["addressPrefixes"], "subnets": subnets}


def _rules(_item: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    found = []
    for rule in inner.get("securityRules") or ():
        about = rule["properties"]
        sources = about.get("sourceAddressPrefixes") or ([about["sourceAddressPrefix"]] if about.get("sourceAddressPrefix") else [])
        sources = [*sources, *(_low(one, "id") for one in about.get("sourceApplicationSecurityGroups") or ())]
        ports = about.get("destinationPortRange") or about.get("destinationPortRanges")
        found.append([about["priority"], about["direction"], about["access"], about["protocol"], ports, sorted(sources), rule["name"]])
    return {"rules": found}


def _balancer(item: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    fronts = [
        [_low(part["properties"], "subnet", "id"), _low(part["properties"], "publicIPAddress", "id"), part.get("zones", [])]
        for part in inner["frontendIPConfigurations"]
    ]
    pools = [pool["properties"] for pool in inner["backendAddressPools"]]
    members = [_low(one, "id") for pool in pools for one in pool.get("backendIPConfigurations") or ()]
    keep = ("frontendPort", "backendPort", "protocol", "disableOutboundSnat", "enableTcpReset", "idleTimeoutInMinutes")
    return {
        "sku": item["sku"],
        "fronts": fronts,
        "probes": [{key: value for key, value in part["properties"].items() if key != "provisioningState"} for part in inner["probes"]],
        "rules": [{key: part["properties"].get(key) for key in keep} for part in inner["loadBalancingRules"]],
        "members": sorted(members),
    }


def _disk(item: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    about = {"gib": inner["diskSizeGB"], "sku": item["sku"]["name"], "encryption": inner["encryption"]}
    return {**about, "machine": _low(item, "managedBy")}


_ABOUT = {
    "virtualMachines": _machine,
    "disks": _disk,
    "networkInterfaces": _interface,
    "virtualNetworks": _network,
    "networkSecurityGroups": _rules,
    "applicationSecurityGroups": lambda _item, _inner: {},
    "natGateways": lambda item, inner: {"sku": item["sku"], "addresses": [_low(one, "id") for one in inner.get("publicIpAddresses") or ()]},
    "publicIPAddresses": lambda item, inner: {"sku": item["sku"]["name"], "allocation": inner["publicIPAllocationMethod"]},
    "loadBalancers": _balancer,
}
