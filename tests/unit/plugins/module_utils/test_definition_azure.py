# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions of clusters on Azure: what comes out, and the exact text of what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import DefinitionErrors

PAYMENTS = """\
plugin: flotilla.kubernetes.cluster
schema: 1
name: payments
cloud: azure
kubernetes_version: "1.36.3"
control_plane:
  count: 3
  machine: {size: Standard_D2s_v5}
  zones: [westeurope-1, westeurope-2, westeurope-3]
pools:
  - name: general
    count: 5
    machine: {size: Standard_D4s_v5, spot: true}
access:
  ssh_private_key_file: ~/.ssh/payments
azure:
  location: westeurope
"""
NETWORK = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/shared/providers/Microsoft.Network"
PATH = Path("/foundation/clusters/payments.yml")


def definition(text=PAYMENTS):
    return load.Loader(read=lambda _path: text).load(PATH).definition


def errors(text):
    with pytest.raises(DefinitionErrors) as caught:
        definition(text)
    return [line.replace("/foundation/clusters/", "") for line in str(caught.value).splitlines()[1:]]


def changed(old, new):
    assert PAYMENTS.count(old) == 1
    return PAYMENTS.replace(old, new)


def test_what_was_left_out_has_its_default():
    found = definition()
    assert found["azure"] == {
        "location": "westeurope",
        "subscription_id": None,
        "cloud_environment": None,
        "resource_group": None,
        "vnet_cidr": "10.20.0.0/16",
        "outbound": "nat_gateway",
        "public_machines": False,
        "subnets": {},
        "security_groups": {},
        "identities": {"control_plane": None, "worker": None},
        "other_sizes": {},
        "disk_type": "Premium_LRS",
        "disk_encryption_set_id": None,
        "encryption_at_host": False,
        "trusted_launch": True,
        "tags": {},
    }
    assert found["pools"][0]["zones"] == ["westeurope-1", "westeurope-2", "westeurope-3"]
    assert found["image"] == {"family": "debian-13"}


def test_own_subnets_are_no_network_that_is_made():
    found = definition(f"{PAYMENTS}  subnets: {{machines: {NETWORK}/virtualNetworks/v/subnets/n}}\n")
    assert "vnet_cidr" not in found["azure"] and "outbound" not in found["azure"]


def test_images_of_the_marketplace_and_of_ones_own():
    for image in ("Debian:debian-13:13-gen2:latest", f"{NETWORK.replace('Network', 'Compute')}/galleries/g/images/i/versions/1.0.0"):
        assert definition(f"{PAYMENTS}image: {{id: '{image}'}}\n")["image"] == {"id": image}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            PAYMENTS[: PAYMENTS.index("azure:\n")],
            "payments.yml:1: azure.location: is missing: the location of the machines, such as westeurope.",
        ),
        (
            changed("[westeurope-1, westeurope-2, westeurope-3]", "[westeurope-1, northeurope-2]"),
            "payments.yml:9: control_plane.zones[1]: is northeurope-2, which is no zone of azure.location westeurope.",
        ),
        (
            changed("  machine: {size: Standard_D2s_v5}\n", ""),
            "payments.yml:6: control_plane.machine.size: is missing: the size of these machines, such as Standard_D4s_v5.",
        ),
        (
            changed("location: westeurope", "location: westeurope\n  vnet_cidr: 10.20.0.0/25"),
            "payments.yml:18: azure.vnet_cidr: is 10.20.0.0/25; must be an IPv4 network between /16 and /24.",
        ),
        (
            changed("count: 5", "count: 200").replace("location: westeurope", "location: westeurope\n  vnet_cidr: 10.20.0.0/24"),
            "payments.yml:18: azure.vnet_cidr: is 10.20.0.0/24, so the machines' subnet is a /25 with room for 122 of them and the load "
            "balancer, but there are 203; choose a larger network.",
        ),
        (
            changed("location: westeurope", f"location: westeurope\n  subnets: {{load_balancer: {NETWORK}/virtualNetworks/v/subnets/n}}"),
            "payments.yml:18: azure.subnets.machines: is missing: the id of the machines' subnet.",
        ),
        (
            changed("location: westeurope", "location: westeurope\n  public_machines: true\n  outbound: nat_gateway"),
            "payments.yml:19: azure.outbound: is nat_gateway, but machines with public addresses need none; remove it, or public_machines.",
        ),
        (
            changed("location: westeurope", f"location: westeurope\n  security_groups: {{worker: {NETWORK}/networkSecurityGroups/w}}"),
            "payments.yml:18: azure.security_groups: names one of control_plane and worker; name both, or none.",
        ),
        (
            changed("~/.ssh/payments", "~/.ssh/payments\n  ssh_user: admin"),
            "payments.yml:16: access.ssh_user: is admin, a login that Azure refuses; choose another one.",
        ),
        (
            changed("location: westeurope", "location: westeurope\n  tags: {Flotilla-pool: x}"),
            "payments.yml:18: azure.tags.Flotilla-pool: begins with flotilla-, which is kept for others; choose another key.",
        ),
        (
            f"{PAYMENTS}image: {{ssm_parameter: /aws/x}}\n",
            "payments.yml:18: image.ssm_parameter: has no effect with cloud: azure; remove it.",
        ),
    ],
)
def test_a_wrong_definition_gives_one_clear_error(text, message):
    assert errors(text) == [message]


def test_a_network_of_two_halves_is_refused():
    subnets = f"{{machines: {NETWORK}/virtualNetworks/v/subnets/n, load_balancer: {NETWORK}/virtualNetworks/w/subnets/n}}"
    (message,) = errors(f"{PAYMENTS}  subnets: {subnets}\n")
    assert "azure.subnets.load_balancer: is a subnet of another network than that of the machines" in message


def test_a_public_endpoint_says_who_reaches_it():
    (message,) = errors(f"{PAYMENTS}api_endpoint: {{visibility: public}}\n")
    assert "api_endpoint.allowed_cidrs: is empty, so nobody outside the virtual network would reach the API" in message
