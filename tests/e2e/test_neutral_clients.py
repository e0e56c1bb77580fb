# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other people's clients, as they are published, work with what stands in for Google Cloud and Azure: it answers not only to ours."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peers
import pytest
from clouds import tls, tunnel
from clouds.azure import endpoint as azure
from clouds.azure import offers
from clouds.clock import Clock
from clouds.gcp import endpoint as gcp
from clouds.gcp.account import IMAGES, PROJECT, REGION, SIZE
from clouds.wire import Wire

pytestmark = pytest.mark.full

ZONE = f"{REGION}-a"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs ops"


@pytest.fixture
def google(tmp_path: Path) -> Iterator[tuple[gcp.Endpoint, dict[str, str]]]:
    endpoint = gcp.Endpoint(Clock.create(tmp_path / "clock", speed=20))
    with tunnel.proxied(endpoint, tmp_path, *tunnel.GOOGLE) as environment:
        yield endpoint, environment


def test_google_clouds_own_modules_make_find_and_remove(google: tuple[gcp.Endpoint, dict[str, str]], tmp_path: Path) -> None:
    endpoint, environment = google
    login = {"project": PROJECT, "auth_kind": "accesstoken", "access_token": "fake-token-other"}
    root = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}"
    network, subnet = {"selfLink": f"{root}/global/networks/theirs"}, {"selfLink": f"{root}/regions/{REGION}/subnetworks/theirs"}
    disk = {"auto_delete": True, "boot": True, "initialize_params": {"source_image": IMAGES[0], "disk_size_gb": 20}}
    allowed = [{"ip_protocol": "tcp", "ports": ["22"]}]
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("network", {"auto_create_subnetworks": False}),
        ("subnetwork", {"region": REGION, "ip_cidr_range": "10.98.0.0/24", "network": network}),
        ("address", {"region": REGION}),
        ("firewall", {"network": network, "allowed": allowed, "source_ranges": ["10.0.0.0/8"], "target_tags": ["theirs"]}),
        ("region_health_check", {"region": REGION, "type": "HTTPS", "https_health_check": {"port": 6443, "request_path": "/readyz"}}),
        (
            "instance",
            {
                "zone": ZONE,
                "machine_type": SIZE,
                "disks": [disk],
                "network_interfaces": [{"subnetwork": subnet}],
                "labels": {"fleet": "theirs"},
                "metadata": {"ssh-keys": f"ops:{KEY}"},
            },
        ),
    ]
    tasks = [{f"google.cloud.gcp_compute_{kind}": {"name": "theirs", **login, **options}} for kind, options in kinds]
    assert peers.play(tmp_path / "play.yml", tasks, environment) == {"ok": 6, "changed": 6}
    assert {key.split("/")[-2] for key in endpoint.world.things} == {
        *("networks", "subnetworks", "addresses", "firewalls", "healthChecks", "instances", "disks"),
    }
    assert peers.play(tmp_path / "play.yml", tasks, environment) == {"ok": 6, "changed": 0}
    found = [
        {"google.cloud.gcp_compute_instance_info": {"zone": ZONE, "filters": ["labels.fleet = theirs"], **login}, "register": "instances"},
        {"google.cloud.gcp_compute_subnetwork_info": {"region": REGION, "filters": ["name = theirs"], **login}, "register": "subnetworks"},
        {
            "ansible.builtin.assert": {
                "that": [
                    "instances.resources | map(attribute='status') | list == ['RUNNING']",
                    "subnetworks.resources | map(attribute='ipCidrRange') | list == ['10.98.0.0/24']",
                ]
            }
        },
    ]
    assert peers.play(tmp_path / "play.yml", found, environment) == {"ok": 3, "changed": 0}
    gone = [{key: {**options, "state": "absent"} for key, options in task.items()} for task in reversed(tasks)]
    assert peers.play(tmp_path / "play.yml", gone, environment) == {"ok": 6, "changed": 6}
    assert not endpoint.world.things


@pytest.fixture
def resource_manager(tmp_path: Path) -> azure.Endpoint:
    return azure.Endpoint(Clock.create(tmp_path / "clock", speed=20))


def test_azcollections_modules_make_find_and_remove(resource_manager: azure.Endpoint, tmp_path: Path) -> None:
    """They are told of another cloud by its URL in vain: azure-cli-core has not got any more what they ask for it."""
    with tunnel.proxied(resource_manager, tmp_path, *tunnel.AZURE) as environment:
        make_find_and_remove(resource_manager, tmp_path, {**environment, **offers.LOGIN})


def make_find_and_remove(endpoint: azure.Endpoint, tmp_path: Path, environment: dict[str, str]) -> None:
    own = {"resource_group": "theirs", "name": "theirs"}
    rule = {"name": "ssh", "protocol": "Tcp", "destination_port_range": 22, "source_address_prefix": "10.0.0.0/8"}
    machine = {
        "vm_size": "Standard_D2s_v5",
        "admin_username": "ops",
        "ssh_password_enabled": False,
        "ssh_public_keys": [{"path": "/home/ops/.ssh/authorized_keys", "key_data": KEY}],
        "network_interfaces": ["theirs"],
        "image": {"publisher": "Debian", "offer": "debian-13", "sku": "13-gen2", "version": "0.20261101.1"},
        "managed_disk_type": "Premium_LRS",
        "zones": ["1"],
    }
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("resourcegroup", {"name": "theirs", "location": offers.LOCATION}),
        ("virtualnetwork", {**own, "address_prefixes_cidr": ["10.98.0.0/16"]}),
        ("subnet", {**own, "virtual_network": "theirs", "address_prefix_cidr": "10.98.0.0/24"}),
        ("securitygroup", {**own, "rules": [{**rule, "access": "Allow", "priority": 100, "direction": "Inbound"}]}),
        ("publicipaddress", {**own, "allocation_method": "Static", "sku": "Standard"}),
        (
            "networkinterface",
            {
                **own,
                "virtual_network": "theirs",
                "subnet_name": "theirs",
                "security_group": "theirs",
                "ip_configurations": [{"name": "primary", "primary": True}],
            },
        ),
        ("virtualmachine", {**own, **machine}),
    ]
    python = str(peers.azcollection() / "bin/python")
    tasks = [{f"azure.azcollection.azure_rm_{kind}": options} for kind, options in kinds]
    assert peers.play(tmp_path / "play.yml", tasks, environment, python) == {"ok": 7, "changed": 7}
    assert {item["type"].split("/")[-1] for item in endpoint.state.things.values()} == {
        *("virtualNetworks", "networkSecurityGroups", "publicIPAddresses", "networkInterfaces", "virtualMachines", "disks"),
    }
    assert peers.play(tmp_path / "play.yml", tasks, environment, python) == {"ok": 7, "changed": 0}
    wanted = ["machines.vms | map(attribute='power_state') | list == ['running']", "machines.vms[0].vm_size == 'Standard_D2s_v5'"]
    found = [
        {"azure.azcollection.azure_rm_virtualmachine_info": own, "register": "machines"},
        {"ansible.builtin.assert": {"that": wanted}},
    ]
    assert peers.play(tmp_path / "play.yml", found, environment, python) == {"ok": 2, "changed": 0}
    gone = [{key: {**options, "state": "absent"} for key, options in task.items()} for task in reversed(tasks)]
    # The module for machines takes the interface away as well.
    assert peers.play(tmp_path / "play.yml", gone, environment, python) == {"ok": 7, "changed": 6}
    assert not endpoint.state.things and not endpoint.state.groups


def test_azures_command_line_makes_finds_and_removes(resource_manager: azure.Endpoint, tmp_path: Path) -> None:
    wire = Wire()
    with wire.installed():
        authority, own = tls.make_certificates(tmp_path)
        front = tls.Front(own)
        front.to = urllib.parse.urlsplit(wire.publish(resource_manager)).port or 0
        try:
            use_command_line(resource_manager, tmp_path, front.url, {"REQUESTS_CA_BUNDLE": str(authority), "no_proxy": "127.0.0.1"})
        finally:
            front.close()


def use_command_line(endpoint: azure.Endpoint, tmp_path: Path, url: str, environment: dict[str, str]) -> None:
    program = str(peers.azure_cli() / "bin/az")
    variables = {"AZURE_CONFIG_DIR": str(tmp_path / "az"), "AZURE_CORE_COLLECT_TELEMETRY": "no", "AZURE_CORE_INSTANCE_DISCOVERY": "false"}

    def az(*arguments: str) -> Any:
        done = subprocess.run(
            [program, *arguments, "--only-show-errors", "--output", "json"],
            env={**os.environ, **environment, **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"az {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return json.loads(done.stdout or "null")

    group = ["--resource-group", "theirs"]
    addresses = {"resource-manager": url, "active-directory": url, "active-directory-resource-id": offers.AUDIENCE}
    az("cloud", "register", "--name", "fake", *(word for name, value in addresses.items() for word in (f"--endpoint-{name}", value)))
    az("cloud", "set", "--name", "fake")
    (account,) = az("login", "--service-principal", "-u", offers.CLIENT, "-p", offers.SECRET, "--tenant", offers.TENANT)
    assert account["id"] == offers.SUBSCRIPTION
    az("group", "create", "--name", "theirs", "--location", offers.LOCATION)
    network = ["--address-prefixes", "10.98.0.0/16", "--subnet-name", "theirs", "--subnet-prefixes", "10.98.0.0/24"]
    made = az("network", "vnet", "create", *group, "--name", "theirs", *network)["newVNet"]
    assert made["subnets"][0]["addressPrefix"] == "10.98.0.0/24"
    az("network", "nsg", "create", *group, "--name", "theirs")
    rule = ["--priority", "100", "--protocol", "Tcp", "--destination-port-ranges", "22", "--source-address-prefixes", "10.0.0.0/8"]
    az("network", "nsg", "rule", "create", *group, "--nsg-name", "theirs", "--name", "ssh", *rule)
    az("network", "public-ip", "create", *group, "--name", "theirs", "--sku", "Standard")
    place = ["--vnet-name", "theirs", "--subnet", "theirs", "--network-security-group", "theirs"]
    interface = az("network", "nic", "create", *group, "--name", "theirs", *place)["NewNIC"]
    assert interface["ipConfigurations"][0]["privateIPAddress"] == "10.98.0.4"
    rules = az("network", "nsg", "rule", "list", *group, "--nsg-name", "theirs")
    assert [(one["name"], one["destinationPortRange"]) for one in rules] == [("ssh", "22")]
    assert [one["name"] for one in az("network", "vnet", "list", *group)] == ["theirs"]
    assert [one["name"] for one in az("network", "nic", "list", *group)] == ["theirs"]
    az("network", "nic", "delete", *group, "--name", "theirs")
    assert not any(item["type"].endswith("networkInterfaces") for item in endpoint.state.things.values())
    az("group", "delete", "--name", "theirs", "--yes")
    assert not endpoint.state.things and not endpoint.state.groups
