# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure as a backing sees it: Resource Manager by its API, and the health of members to the endpoint of the tests."""

from __future__ import annotations

import base64
import json
import urllib.parse
import urllib.request
from ipaddress import IPv4Network
from typing import Any

from clouds.azure.inventory import ask
from clouds.azure.offers import SUBSCRIPTION

from backing.picture import HEALTHY, RUNNING, STOPPED, Balancer, Check, Group, Health, Instance, Picture, Target

_OFF = ("PowerState/stopped", "PowerState/deallocated")


class Adapter:
    """:param owner: value of the tag ``flotilla-cluster`` of the virtual network."""

    def __init__(self, url: str, owner: str) -> None:
        self.url = url
        self.owner = owner
        self._addresses: dict[str, str] = {}

    def look(self) -> Picture:
        networks = [item for item in self._all("Microsoft.Network/virtualNetworks") if self._is_own(item)]
        if not networks:
            return Picture()
        network = IPv4Network(networks[0]["properties"]["addressSpace"]["addressPrefixes"][0])
        group = networks[0]["id"].split("/")[4]
        interfaces = {item["id"].lower(): item for item in self._all("Microsoft.Network/networkInterfaces", group)}
        machines = {
            number: item
            for item in self._all("Microsoft.Compute/virtualMachines", group)
            if (number := item["properties"]["networkProfile"]["networkInterfaces"][0]["id"].lower()) in interfaces
        }
        # Where an interface is configured -> the machine that has it.
        owners = {
            part["id"].lower(): machine["properties"]["vmId"]
            for number, machine in machines.items()
            for part in interfaces[number]["properties"]["ipConfigurations"]
        }
        instances = tuple(
            instance
            for number, machine in sorted(machines.items())
            for instance in self._instance(machine, interfaces[number]["properties"]["ipConfigurations"][0]["properties"])
        )
        self._addresses = {instance.id: instance.address for instance in instances}
        balancers, groups = [], {}
        for item in self._all("Microsoft.Network/loadBalancers", group):
            if self._is_own(item):
                balancers.append(self._balancer(item))
                groups.update(self._groups(item, owners))
        # The first addresses of a subnet are Azure's own:
        # https://learn.microsoft.com/en-us/azure/virtual-network/virtual-networks-faq#are-there-any-restrictions-on-using-ip-addresses-within-these-subnets
        return Picture(network, str(network[2]), instances, tuple(balancers), groups)

    def _is_own(self, item: dict[str, Any]) -> bool:
        return bool((item.get("tags") or {}).get("flotilla-cluster") == self.owner)

    def _all(self, kind: str, group: str = "") -> list[dict[str, Any]]:
        scope = f"/subscriptions/{SUBSCRIPTION}{f'/resourceGroups/{group}' if group else ''}"
        more = {"$expand": "instanceView"} if kind.endswith("virtualMachines") else {}
        found: list[dict[str, Any]] = []
        while True:
            page = ask(self.url, "GET", f"{scope}/providers/{kind}", query=more)
            found += page["value"]
            if "nextLink" not in page:
                return found
            more = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(page["nextLink"]).query))

    def _instance(self, item: dict[str, Any], interface: dict[str, Any]) -> list[Instance]:
        """Return the machine; nothing for one that Azure could not make."""
        inner = item["properties"]
        if inner["provisioningState"] == "Failed":
            return []
        # Until it says anything else it is on its way to run, and one that is deleted runs until it is gone.
        off = any(status["code"] in _OFF for status in inner["instanceView"]["statuses"])
        return [Instance(inner["vmId"], STOPPED if off else RUNNING, interface["privateIPAddress"], inner["osProfile"]["computerName"])]

    def user_data(self, instance: str) -> bytes:
        return base64.b64decode(self._endpoint("GET", "custom-data").get(instance, ""))

    def _balancer(self, item: dict[str, Any]) -> Balancer:
        inner = item["properties"]
        addresses = tuple(part["properties"]["privateIPAddress"] for part in inner["frontendIPConfigurations"])
        rules = [rule["properties"] for rule in inner["loadBalancingRules"]]
        listeners = {int(rule["frontendPort"]): str(rule["backendAddressPool"]["id"]).lower() for rule in rules}
        return Balancer(item["name"], addresses[0], addresses, listeners)

    def _groups(self, item: dict[str, Any], owners: dict[str, str]) -> dict[str, Group]:
        inner = item["properties"]
        members = {
            pool["id"].lower(): [
                owners[low] for one in pool["properties"].get("backendIPConfigurations") or () if (low := one["id"].lower()) in owners
            ]
            for pool in inner["backendAddressPools"]
        }
        probes = {probe["id"].lower(): probe["properties"] for probe in inner["probes"]}
        found = {}
        for rule in (rule["properties"] for rule in inner["loadBalancingRules"]):
            pool, probe = rule["backendAddressPool"]["id"].lower(), probes[rule["probe"]["id"].lower()]
            # A probe may take as long as it is until the next one.
            interval, threshold = probe["intervalInSeconds"], int(probe.get("probeThreshold") or 1)
            check = Check(
                probe["protocol"].upper(), probe["port"], probe.get("requestPath") or "/", interval, interval, threshold, threshold
            )
            targets = tuple(Target(instance, int(rule["backendPort"])) for instance in sorted(members[pool]))
            # https://learn.microsoft.com/en-us/azure/load-balancer/load-balancer-custom-probe-overview#probe-down-behavior
            found[pool] = Group(pool, check, targets, keeps_open=True, fails_open=False)
        return found

    def report(self, health: dict[str, dict[str, Health]]) -> None:
        well = {instance for found in health.values() for instance, one in found.items() if one.state == HEALTHY}
        self._endpoint("PUT", "healthy", sorted(self._addresses[instance] for instance in well if instance in self._addresses))

    def _endpoint(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_backing/{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())
