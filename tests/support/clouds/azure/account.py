# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure for the suite: its endpoint behind TLS, a look at all that it holds, and what people do in its portal."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clouds import tls
from clouds.azure import inventory
from clouds.azure.dialect import AzureDialect
from clouds.azure.endpoint import Endpoint
from clouds.azure.inventory import ask, control, group_id
from clouds.azure.offers import LOCATION, LOGIN
from clouds.clock import Clock
from clouds.cloud import CLUSTER, WORKERS
from clouds.judge import Machine, Thing
from clouds.wire import Handler

IMAGES = ("Debian:debian-13:13-gen2:0.20260801.1", "Debian:debian-13:13-gen2:0.20261101.1")


class AzureEndpoint:
    """What is the same for whatever modules are tried on Azure."""

    dialect = AzureDialect()
    volatile_tags: tuple[str, ...] = ("flotilla-uid", "flotilla-host-key")
    zones: tuple[str, ...] = (f"{LOCATION}-1", f"{LOCATION}-2", f"{LOCATION}-3")

    def __init__(self) -> None:
        self._front: tls.Front | None = None
        self._authority = Path()
        # id of a machine's document -> its unique id, as of the last look.
        self._unique: dict[str, str] = {}

    @contextlib.contextmanager
    def endpoint(self, clock: Clock, folder: Path) -> Iterator[Handler | str]:
        self._authority, own = tls.make_certificates(folder)
        self._front = tls.Front(own)
        try:
            with self._answering(clock, folder) as answering:
                yield answering
        finally:
            self._front.close()

    def _answering(self, clock: Clock, folder: Path) -> contextlib.AbstractContextManager[Handler | str]:
        """Return what answers behind TLS."""
        return contextlib.nullcontext(Endpoint(clock))

    def environment(self, url: str) -> dict[str, str]:
        assert self._front
        self._front.to = urllib.parse.urlsplit(url).port or 0
        return {"AZURE_CLOUD_ENVIRONMENT": self._front.url, **LOGIN, "REQUESTS_CA_BUNDLE": str(self._authority)}

    def prepare(self, url: str) -> None:
        control(url, "reset")
        # Somebody else's cluster, whose name begins like ours, and a group that nobody tagged.
        tags = {"flotilla-cluster": f"{CLUSTER}-2", "flotilla-pool": WORKERS, "flotilla-uid": "0123456789abcdef"}
        other = group_id(f"flotilla-{CLUSTER}-2")
        place = {"location": LOCATION, "tags": tags}
        ask(url, "PUT", other, place)
        ask(url, "PUT", group_id("stranger"), {"location": LOCATION})
        network = f"{other}/providers/Microsoft.Network/virtualNetworks/{CLUSTER}-2-vnet"
        subnets = [{"name": "nodes", "properties": {"addressPrefix": "10.99.0.0/24"}}]
        ask(url, "PUT", network, {**place, "properties": {"addressSpace": {"addressPrefixes": ["10.99.0.0/16"]}, "subnets": subnets}})
        address = f"{group_id('stranger')}/providers/Microsoft.Network/publicIPAddresses/kept"
        ask(url, "PUT", address, {"location": LOCATION, "sku": {"name": "Standard"}, "properties": {"publicIPAllocationMethod": "Static"}})
        control(url, "finish")
        machine = f"{other}/providers/Microsoft.Compute/virtualMachines/{CLUSTER}-2-{WORKERS}-1"
        ask(url, "PUT", machine, {**place, "zones": ["1"], "properties": machine_properties("other", f"{network}/subnets/nodes")})
        control(url, "finish")

    def dump(self, url: str) -> list[Thing]:
        things, machines = inventory.read(url)
        self._unique.update({document["id"].lower(): unique for unique, document in machines.items()})
        return things

    def machines(self, things: list[Thing], cluster: str = CLUSTER) -> list[Machine]:
        mine = (thing for thing in things if thing.kind == "virtualMachines" and thing.owner == cluster)
        return [Machine(self._unique[thing.id], thing.tags.get("flotilla-pool", ""), thing.attributes["machine_zone"]) for thing in mine]

    def limit(self, url: str, zones: dict[str, int]) -> None:
        control(url, "limits", {"capacity": zones})

    def _document(self, url: str, machine: Machine) -> dict[str, Any]:
        return inventory.read(url)[1][machine.id]

    def delete_machine(self, url: str, machine: Machine) -> None:
        ask(url, "DELETE", self._document(url, machine)["id"])

    def change_tag(self, url: str, machine: Machine) -> None:
        found = self._document(url, machine)
        ask(url, "PATCH", found["id"], {"tags": {**found["tags"], "flotilla-role": "by-hand"}})

    def open_rule(self, url: str, things: list[Thing]) -> None:
        group = min(thing.id for thing in things if thing.kind == "networkSecurityGroups" and thing.owner == CLUSTER)
        rule = {"priority": 3000, "direction": "Inbound", "access": "Allow", "protocol": "Tcp", "sourcePortRange": "*"}
        ends = {"sourceAddressPrefix": "*", "destinationAddressPrefix": "*", "destinationPortRange": "23"}
        ask(url, "PUT", f"{group}/securityRules/by-hand", {"properties": {**rule, **ends}})


def machine_properties(name: str, subnet: str, **more: Any) -> dict[str, Any]:
    """Return the properties of a machine as somebody makes one by hand."""
    publisher, offer, sku, version = IMAGES[0].split(":")
    key = {"path": "/home/ops/.ssh/authorized_keys", "keyData": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs other"}
    gone = {"deleteOption": "Delete"}
    part = {"name": "primary", "properties": {"subnet": {"id": subnet}}}
    return {
        "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
        "storageProfile": {
            "imageReference": {"publisher": publisher, "offer": offer, "sku": sku, "version": version},
            "osDisk": {"createOption": "FromImage", "managedDisk": {"storageAccountType": "Premium_LRS"}, **gone},
        },
        "osProfile": {
            "computerName": name,
            "adminUsername": "ops",
            "linuxConfiguration": {"disablePasswordAuthentication": True, "ssh": {"publicKeys": [key]}},
        },
        "networkProfile": {
            "networkApiVersion": "2022-11-01",
            "networkInterfaceConfigurations": [{"name": name, "properties": {"primary": True, "ipConfigurations": [part], **gone}}],
        },
        **more,
    }
