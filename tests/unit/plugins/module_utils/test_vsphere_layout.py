# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where machines of a role get their addresses, with networks of the user's and with segments of NSX."""

from __future__ import annotations

import ipaddress
import json

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.vsphere import layout
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError

DEFINITION = {
    "name": "web",
    "api_endpoint": {"address": "10.20.0.5"},
    "site": {"dns": {"servers": ["10.0.0.53"], "search": ["example.com"]}},
    "vsphere": {"datacenter": "dc-1", "cluster": "compute-1"},
}


def network(dhcp, cidr="10.20.0.0/28"):
    parts = {
        "control_plane": {"name": "flotilla-web-control-plane", "path": "/infra/segments/flotilla-web-control-plane"},
        "worker": {"name": "flotilla-web-worker", "path": "/infra/segments/flotilla-web-worker"},
    }
    for part in parts.values():
        part.update(cidr=cidr, gateway=str(ipaddress.ip_network(cidr)[1]) if cidr else None)
    return {"segments": parts, "dhcp": dhcp, "dns_servers": []}


def test_nsx_gives_addresses_by_dhcp():
    where = layout.place(DEFINITION, network(True))
    assert where.segments["worker"].path == "/infra/segments/flotilla-web-worker" and where.addresses_of("worker") is None


def test_without_dhcp_machines_have_addresses_of_their_segment():
    where = layout.place(DEFINITION, network(False))
    free = list(where.addresses_of("control_plane"))
    # Neither the gateway's, nor the API endpoint's, which moves among the control planes, nor the broadcast's.
    assert free == [f"10.20.0.{number}" for number in (2, 3, 4, *range(6, 15))]
    assert "10.20.0.5" in list(where.addresses_of("worker"))
    given = where.addresses_of("worker")
    told = json.loads(layout.metadata("web-a", "1", "10.20.0.7", given))["network"]["ethernets"]["primary"]
    assert told["addresses"] == ["10.20.0.7/28"] and told["routes"] == [{"to": "0.0.0.0/0", "via": "10.20.0.1"}]
    assert told["nameservers"] == {"addresses": ["10.0.0.53"], "search": ["example.com"]}
    with pytest.raises(FlotillaError, match=r"nsx\.segments\.worker has 13 free addresses, and 14"):
        given.choose([], 14)


def test_a_network_that_a_block_has_not_given_yet_has_no_addresses():
    assert layout.place(DEFINITION, network(False, cidr=None)).addresses_of("worker") is None


def test_without_nsx_all_roles_have_the_same():
    own = {"cidr": "10.9.0.0/24", "gateway": "10.9.0.1", "ranges": ["10.9.0.20-10.9.0.21"]}
    where = layout.place({**DEFINITION, "vsphere": {**DEFINITION["vsphere"], "addresses": own}})
    assert where.addresses_of("worker") is where.addresses_of("control_plane") is where.addresses and where.segments == {}
