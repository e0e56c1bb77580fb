# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a vCenter says runs: the machines that carry the marks of a cluster. It has no load balancers."""

from __future__ import annotations

import base64
import json
from ipaddress import IPv4Interface, IPv4Network
from typing import Any

from clouds.vsphere.account import Client
from pyVmomi import vim

from backing.picture import RUNNING, STOPPED, Health, Instance, Picture

_PATHS = ["config.instanceUuid", "config.extraConfig", "config.template", "runtime.powerState", "guest.ipAddress"]


class Adapter:
    """:param owner: value of ``guestinfo.flotilla.cluster`` of the machines."""

    def __init__(self, url: str, owner: str) -> None:
        self.url = url
        self.owner = owner
        self._client: Client | None = None

    def look(self) -> Picture:
        instances, networks = [], set()
        for values, options in self._machines():
            # Without an address, which its guest tells, it is still being cloned.
            if address := values.get("guest.ipAddress"):
                told = json.loads(base64.b64decode(options["guestinfo.metadata"]))
                networks.add(_network(told))
                state = RUNNING if values["runtime.powerState"] == "poweredOn" else STOPPED
                instances.append(Instance(values["config.instanceUuid"], state, address, told["local-hostname"]))
        if not networks:
            return Picture()
        (network,) = networks
        return Picture(network, str(network[2]), tuple(sorted(instances, key=lambda instance: instance.id)))

    def user_data(self, instance: str) -> bytes:
        found = (options for values, options in self._machines() if values["config.instanceUuid"] == instance)
        return base64.b64decode(next(found)["guestinfo.userdata"])

    def report(self, health: dict[str, dict[str, Health]]) -> None:
        """Nobody asks a vCenter for it."""

    def _machines(self) -> list[tuple[dict[str, Any], dict[str, str]]]:
        """Return properties and advanced configuration of each machine of the cluster."""
        # The simulator may begin only later, and begins again with every test.
        client = self._client or Client(self.url)
        found = []
        for values in client.read(vim.VirtualMachine, _PATHS).values():
            options = {str(option.key): str(option.value) for option in values.get("config.extraConfig") or ()}
            if options.get("guestinfo.flotilla.cluster") == self.owner and not values["config.template"]:
                found.append((values, options))
        self._client = client
        return found


def _network(told: dict[str, Any]) -> IPv4Network:
    (card,) = told["network"]["ethernets"].values()
    return IPv4Interface(card["addresses"][0]).network
