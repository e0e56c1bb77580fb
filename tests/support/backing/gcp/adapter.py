# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google Cloud as a backing sees it: Compute Engine by its API, and the health of backends to the endpoint of the tests."""

from __future__ import annotations

import dataclasses
import json
import urllib.parse
from ipaddress import IPv4Network
from typing import Any

from clouds.gcp.account import ask, marks
from clouds.gcp.rules import ROOT, short

from backing.picture import RUNNING, STOPPED, Balancer, Check, Group, Health, Instance, Picture, Target

# One that is told to stop, or is deleted, has its power until it is off.
_STATES = {"PROVISIONING": RUNNING, "STAGING": RUNNING, "RUNNING": RUNNING, "STOPPING": RUNNING, "TERMINATED": STOPPED}
# Images whose machines make their logins by Google's guest agent, and have no cloud-init.
_AGENT_ONLY = "/debian-cloud/"


class Adapter:
    """:param owner: value of ``flotilla-cluster`` in the description of the subnetwork."""

    def __init__(self, url: str, owner: str) -> None:
        self.url = url
        self.owner = owner

    def look(self) -> Picture:
        subnets = [item for item in self._all("subnetworks") if marks(item).get("flotilla-cluster") == self.owner]
        if not subnets:
            return Picture()
        # A network has no addresses of its own in Google Cloud, and needs none for load balancers and resolver: they get the other half of
        # one that is twice as large as the subnetwork.
        subnet = IPv4Network(subnets[0]["ipCidrRange"])
        network = subnet.supernet()
        (spare,) = network.address_exclude(subnet)
        rules = [item for item in self._all("forwardingRules") if item.get("network") == subnets[0]["network"]]
        made = tuple(self._balancer(rule, str(spare[3 + number])) for number, rule in enumerate(rules))
        groups = {service: self._group(service, port) for balancer in made for port, service in balancer.listeners.items()}
        return Picture(network, str(spare[2]), self._instances(subnets[0]["selfLink"]), made, groups)

    def _all(self, collection: str) -> list[dict[str, Any]]:
        """Return all things of a kind, of all regions and zones, in the order of their names."""
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            more = f"?{urllib.parse.urlencode({'pageToken': token})}" if token else ""
            page = ask(self.url, "GET", f"aggregated/{collection}{more}")
            found += [item for scope in page["items"].values() for item in scope.get(collection, ())]
            token = page.get("nextPageToken", "")
            if not token:
                return sorted(found, key=lambda item: str(item["name"]))

    def _instances(self, subnet: str) -> tuple[Instance, ...]:
        found = []
        for item in self._all("instances"):
            interface = item["networkInterfaces"][0]
            if interface["subnetwork"] == subnet and item["status"] in _STATES:
                zone, project = short(item["zone"]), item["selfLink"].removeprefix(ROOT).split("/")[1]
                # https://cloud.google.com/compute/docs/internal-dns
                hostname = f"{item['name']}.{zone}.c.{project}.internal"
                found.append(Instance(item["name"], _STATES[item["status"]], interface["networkIP"], hostname))
        return tuple(found)

    def user_data(self, instance: str) -> bytes:
        """Return what cloud-init is told: by the metadata that it reads, or so that it does what the guest agent of images without it does.

        https://cloud.google.com/compute/docs/connect/add-ssh-keys#metadata
        """
        (item,) = (item for item in self._all("instances") if item["name"] == instance)
        metadata = {entry["key"]: entry["value"] for entry in item["metadata"]["items"]}
        disk = self._get(next(disk["source"] for disk in item["disks"] if disk.get("boot")))
        if _AGENT_ONLY not in disk["sourceImage"]:
            return str(metadata.get("user-data", "")).encode()
        users: dict[str, Any] = {}
        for line in metadata.get("ssh-keys", "").splitlines():
            name, _colon, key = line.partition(":")
            login = {"name": name, "lock_passwd": True, "shell": "/bin/bash", "sudo": "ALL=(ALL:ALL) NOPASSWD:ALL"}
            users.setdefault(name, {**login, "ssh_authorized_keys": []})["ssh_authorized_keys"].append(key)
        return f"#cloud-config\n{json.dumps({'users': list(users.values())})}\n".encode()

    def _get(self, link: str, method: str = "", body: Any = None) -> dict[str, Any]:
        path = "/compute/v1/" + link.removeprefix(ROOT)
        return ask(self.url, "POST", f"{path}/{method}", body) if method else ask(self.url, "GET", path)

    def _balancer(self, rule: dict[str, Any], own: str) -> Balancer:
        address = rule["IPAddress"]
        listeners = {int(port): str(rule["backendService"]) for port in rule["ports"]}
        return Balancer(rule["name"], address, (own, address), listeners, taken=(address,))

    def _group(self, service: str, port: int) -> Group:
        item = self._get(service)
        check = self._get(item["healthChecks"][0])
        about = check[f"{check['type'].lower()}HealthCheck"]
        times = (check["checkIntervalSec"], check["timeoutSec"], check["healthyThreshold"], check["unhealthyThreshold"])
        draining, targets = self._endpoint("GET", "draining"), []
        for backend in item.get("backends", ()):
            members = self._get(backend["group"], "listInstances", {}).get("items", ())
            names = {short(entry["instance"]): False for entry in members}
            names = {**dict.fromkeys(draining.get(backend["group"], ()), True), **names}
            # A passthrough load balancer leaves the port as it is.
            targets += [Target(name, port, left) for name, left in names.items()]
        # https://cloud.google.com/load-balancing/docs/internal#connection-persistence-unhealthy-backends
        return Group(
            service,
            Check(check["type"], int(about["port"]), about.get("requestPath", "/"), *times),
            tuple(sorted(targets, key=lambda target: target.instance)),
            keeps_open=True,
        )

    def report(self, health: dict[str, dict[str, Health]]) -> None:
        said = {group: {key: dataclasses.astuple(one) for key, one in found.items()} for group, found in health.items()}
        self._endpoint("PUT", "health", said)

    def _endpoint(self, method: str, path: str, body: Any = None) -> Any:
        return ask(self.url, method, f"/_backing/{path}", body)
