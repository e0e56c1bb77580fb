# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The section `vsphere` of a definition (private to flotilla.kubernetes). Names are those of the vSphere Client."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.schema_parts import CIDR, HOST, LABEL_VALUE, mapping, pattern

_ADDRESS = {"type": "string", "pattern": pattern("[0-9]+([.][0-9]+){3}"), "x-allowed": "an IPv4 address"}


def _named(description: str, example: str) -> dict[str, Any]:
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": 512,
        "pattern": pattern("[^\\n]*[^\\s/][^\\n]*"),
        "x-allowed": f"a name or a path such as {example}",
        "description": description,
    }


_PLACES = {
    "cluster": _named("Compute cluster of the machines.", "compute-1"),
    "resource_pool": _named("Resource pool of the machines; the cluster's own when left out.", "kubernetes/payments"),
    "datastore": _named("Datastore of their disks; the template's own when left out, with `datastore_cluster` none.", "vsan-1"),
    "datastore_cluster": _named("Datastore cluster of their disks: of its datastores the one with the most room is taken.", "ssd"),
    "storage_policy": _named(
        "VM storage policy of their disks: of `datastore_cluster`, or else of all datastores of the compute cluster, those that fit it are "
        "taken; none when left out.",
        "Gold",
    ),
    "network": _named("Port group, or segment of NSX, that their network card is connected to.", "k8s-nodes"),
}

VSPHERE = mapping(
    {
        "server": {
            "type": ["string", "null"],
            "maxLength": 253,
            "pattern": pattern(HOST),
            "x-allowed": "a host name such as vcenter.example.com",
            "description": "The vCenter; `null`: the one in `VMWARE_HOST`.",
            "default": None,
        },
        "datacenter": _named("Datacenter of the machines.", "dc-1"),
        **_PLACES,
        "folder": _named("Folder of the machines, which is there already; the datacenter's own when left out.", "kubernetes/payments"),
        "zones": {
            "type": "object",
            "description": "What is different in a zone of `control_plane.zones` and `pools[].zones`: name of the zone to its place.",
            "x-entries": "names of zones and their places",
            "propertyNames": {
                "maxLength": 63,
                "pattern": pattern(LABEL_VALUE),
                "x-allowed": "a zone name of at most 63 letters, digits, '-', '_' and '.'",
            },
            "additionalProperties": mapping(
                {
                    **_PLACES,
                    "host_group": _named("Host group of the cluster whose hosts the machines run on; all hosts when left out.", "rack-1"),
                },
                "Place of one zone; what is not here is as for all.",
            ),
            "default": {},
        },
        "clone": {
            "type": "string",
            "enum": ["full", "linked"],
            "description": "Whether machines have disks of their own, or build on a snapshot of the template, which then has to stay.",
            "default": "full",
        },
        "anti_affinity": {
            "type": "string",
            "enum": ["preferred", "required", "none"],
            "description": "Whether DRS keeps machines of a pool on different hosts: as far as it can, always (one that finds no host "
            "of its own does not start), or not.",
            "default": "preferred",
        },
        "firmware": {
            "type": ["string", "null"],
            "enum": ["bios", "efi", None],
            "description": "Boot firmware; `null`: that of the template.",
            "default": None,
        },
        "secure_boot": {
            "type": ["boolean", "null"],
            "description": "Whether machines start signed software only, with `efi`; `null`: as the template does.",
            "default": None,
        },
        "tags": {
            # https://developer.broadcom.com/xapis/vsphere-automation-api/latest/cis/tagging/
            "type": "object",
            "description": "Tags of the machines, for people, backup and the like: category to tag. A category that is not there is made, "
            "with its tag; in one of yours the tag has to be there.",
            "x-entries": "categories and tags",
            "propertyNames": {"pattern": pattern("[^\\n/]{1,256}"), "x-allowed": "the name of a category of at most 256 characters"},
            "additionalProperties": {
                "type": "string",
                "pattern": pattern("[^\\n/]{1,256}"),
                "x-allowed": "the name of a tag of at most 256 characters; quote numbers",
            },
            "maxProperties": 15,
            "default": {},
        },
        "addresses": mapping(
            {
                "cidr": {**CIDR, "description": "Network of the machines.", "x-allowed": "an IPv4 network such as 10.20.0.0/24"},
                "gateway": {**_ADDRESS, "description": "Gateway of the network."},
                "ranges": {
                    "type": "array",
                    "items": {
                        "type": "string",
                        "pattern": pattern("[0-9]+([.][0-9]+){3}(-[0-9]+([.][0-9]+){3})?"),
                        "x-allowed": "a range of addresses such as 10.20.0.20-10.20.0.60",
                    },
                    "minItems": 1,
                    "uniqueItems": True,
                    "description": "Addresses for machines, which nobody else uses. Several clusters may have the same.",
                },
                "name_servers": {
                    "type": "array",
                    "items": _ADDRESS,
                    "description": "Name servers for their first start; those of `site.dns` when left out.",
                    "default": [],
                },
            },
            "Addresses that machines get from here; without it they ask a DHCP server.",
            required=("cidr", "gateway", "ranges"),
        ),
    },
    "Settings of the cloud `vsphere`. What is named may be written as a name, or as a path where several have that name.",
    required=("datacenter",),
)
