# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The section `nsx` of a definition or of a network profile (private to flotilla.kubernetes)."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.schema_parts import CIDR, mapping, pattern

_PATH = "/infra(/[A-Za-z0-9_.-]+)+"
# NSX takes nearly anything as a display name.
_REFERENCE = pattern(f"{_PATH}|[^/\\n][^\\n]{{0,254}}")
_ADDRESS = {"type": "string", "pattern": pattern("[0-9]+([.][0-9]+){3}"), "x-allowed": "an IPv4 address"}
SIZES = [2**bits for bits in range(4, 13)]


def _thing(description: str) -> dict[str, Any]:
    """Return the part for something in NSX, which people know by its name, programs by its id or path."""
    return {
        "type": ["string", "null"],
        "pattern": _REFERENCE,
        "x-allowed": "a name, an id or a policy path such as /infra/tier-0s/tenant-a",
        "description": description,
        "default": None,
    }


def _segment(whose: str) -> dict[str, Any]:
    return mapping(
        {
            "cidr": {**CIDR, "description": "Its IPv4 network, /20 to /28; its first address is the gateway's. Not with `ip_block`."},
            "size": {
                "type": "integer",
                "enum": SIZES,
                "description": "How many addresses it takes from `ip_block`; "
                + ("16" if whose == "control planes" else "256")
                + " when left out. Not without `ip_block`.",
            },
        },
        f"The segment of {whose}.",
        default={},
    )


NSX = mapping(
    {
        "manager": {
            "type": ["string", "null"],
            "pattern": pattern("[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?"),
            "x-allowed": "host or host:port",
            "description": "The NSX manager, or the virtual address of several; `null`: the environment variable NSXT_MANAGER_HOST.",
            "default": None,
        },
        "tier0": _thing("The Tier-0 that the cluster's Tier-1 is attached to: that of its tenant. Needed unless `tier1` is there."),
        "tier1": _thing("A Tier-1 of yours, which is checked and never changed; `null`: one is made for the cluster."),
        "edge_cluster": _thing("The edge cluster of the Tier-1 that is made; `null`: that of the Tier-0. Not with `tier1`."),
        "transport_zone": _thing("The overlay transport zone of the segments; `null`: NSX's default."),
        "ip_block": _thing("The IP block that segments take their networks from, one for many clusters; `null`: `segments` has them."),
        "segments": mapping(
            {"control_plane": _segment("control planes"), "worker": _segment("workers")},
            "The segments that are made: firewall rules know machines by where they are, not by their names.",
            default={},
        ),
        "addresses": {
            "type": "string",
            "enum": ["dhcp", "static"],
            "description": "Who gives machines the addresses of their segment: NSX by DHCP, or the collection by cloud-init (`static`).",
            "default": "dhcp",
        },
        "dns_servers": {
            "type": "array",
            "items": _ADDRESS,
            "maxItems": 3,
            "uniqueItems": True,
            "description": "Name servers that machines are told.",
            "default": [],
        },
        "domain_name": {
            "type": ["string", "null"],
            "maxLength": 253,
            "pattern": pattern("[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?"),
            "x-allowed": "a DNS domain",
            "description": "DNS domain that DHCP tells machines.",
            "default": None,
        },
        "outbound": {
            "type": "string",
            "enum": ["snat", "routed"],
            "description": "Under which addresses machines, and pods behind them, reach others: one of `floating_ip_pool` for all "
            "(`snat`), or their own (`routed`). Under their own they are reached in both cases, by whom the firewall lets in.",
            "default": "snat",
        },
        "floating_ip_pool": _thing("The IP pool that the outbound address and that of the API load balancer come from."),
        "load_balancer_size": {
            "type": "string",
            "enum": ["SMALL", "MEDIUM", "LARGE", "XLARGE"],
            "description": "Size of the load balancer service that is made.",
            "default": "SMALL",
        },
        "load_balancer_address": {
            **_ADDRESS,
            "type": ["string", "null"],
            "description": "Address of the API load balancer; `null`: one of `floating_ip_pool`.",
            "default": None,
        },
        "load_balancer_service": _thing("The load balancer service that `tier1` has already, as a Tier-1 has one; `null`: one is made."),
        "firewall": {
            "type": "boolean",
            "description": "Whether a section of the distributed firewall is made: it lets in what Kubernetes needs and nothing else.",
            "default": True,
        },
        "container_ip_blocks": {
            "type": "array",
            "items": {
                "type": "string",
                "pattern": pattern(f"{_PATH}|[A-Za-z0-9_.-]+"),
                "x-allowed": "an id or a policy path such as /infra/ip-blocks/pods-a",
            },
            "uniqueItems": True,
            "description": "With the network plugin `ncp`: IP blocks that networks of pods are taken from, which `network.pod_cidrs` has "
            "to cover; none: NCP makes one of `network.pod_cidrs`.",
            "default": [],
        },
        "ncp_options": {
            "type": "object",
            "description": "With the network plugin `ncp`: further options of its `ncp.ini`, section to option to value. They win.",
            "x-entries": "sections of ncp.ini and their options",
            "propertyNames": {"pattern": pattern("[a-z0-9_]{1,64}"), "x-allowed": "a section of ncp.ini such as nsx_v3"},
            "additionalProperties": {
                "type": "object",
                "propertyNames": {"pattern": pattern("[a-z0-9_]{1,64}"), "x-allowed": "an option of ncp.ini such as subnet_prefix"},
                "additionalProperties": {
                    "type": ["string", "integer", "boolean"],
                    "pattern": pattern("[^\\n]*"),
                    "x-allowed": "a value of one line",
                },
            },
            "default": {},
        },
        "tags": {
            # https://techdocs.broadcom.com: a scope has at most 128 characters, a tag 256.
            "type": "object",
            "description": "Tags (scope to tag) of everything that is made, next to the collection's own.",
            "x-entries": "scopes and tags",
            "propertyNames": {"pattern": pattern("[^\\n]{1,128}"), "x-allowed": "a scope of at most 128 characters"},
            "additionalProperties": {
                "type": "string",
                "pattern": pattern("[^\\n]{0,256}"),
                "x-allowed": "a tag of at most 256 characters; quote numbers",
            },
            "maxProperties": 20,
            "default": {},
        },
    },
    "Network in NSX, for the cloud `vsphere`. Mostly in a network profile, one for each tenant.",
)
