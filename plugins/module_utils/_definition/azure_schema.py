# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The section `azure` of a definition (private to flotilla.kubernetes). What only Azure can know, such as locations, is plain text."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.schema_parts import CIDR, mapping, pattern

_GUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_GROUP = "[-A-Za-z0-9_.()]{0,89}[-A-Za-z0-9_()]"
_NAME = "[A-Za-z0-9][-A-Za-z0-9_.]{0,79}"


def _id(kind: str, description: str, null: bool = False) -> dict[str, Any]:
    """Return the part for the id of a resource of a kind, such as ``Microsoft.Network/natGateways``."""
    provider, *types = kind.split("/")
    path = "".join(f"/{part}/{_NAME}" for part in types)
    example = "".join(f"/{part}/..." for part in types)
    return {
        "type": ["string", "null"] if null else "string",
        "pattern": pattern(f"/subscriptions/{_GUID}/resourceGroups/{_GROUP}/providers/{provider.replace('.', '[.]')}{path}"),
        "x-allowed": f"an id such as /subscriptions/.../resourceGroups/.../providers/{provider}{example}",
        "description": description,
        **({"default": None} if null else {}),
    }


_SUBNET = "Microsoft.Network/virtualNetworks/subnets"
_SECURITY_GROUP = "Microsoft.Network/networkSecurityGroups"
_IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
_SIZE = {
    "type": "string",
    "pattern": pattern("[A-Za-z][A-Za-z0-9_-]{1,79}"),
    "x-allowed": "a machine size such as Standard_D4as_v5",
}

AZURE = mapping(
    {
        "location": {
            "type": "string",
            "pattern": pattern("[a-z][a-z0-9]{2,29}"),
            "x-allowed": "a location such as westeurope",
            "description": "Location (region) of the machines.",
        },
        "subscription_id": {
            "type": ["string", "null"],
            "pattern": pattern(_GUID),
            "x-allowed": "the id of a subscription",
            "description": "Id of the subscription; `null`: the environment variable AZURE_SUBSCRIPTION_ID, which AWX sets.",
            "default": None,
        },
        "cloud_environment": {
            "type": ["string", "null"],
            "pattern": pattern("[A-Za-z]+|https://[A-Za-z0-9.:-]+/?"),
            "x-allowed": "AzureCloud, AzureUSGovernment, AzureChinaCloud, or the URL of a Resource Manager",
            "description": "Which Azure: `AzureCloud`, `AzureUSGovernment`, `AzureChinaCloud`, or the URL of a Resource Manager; "
            "`null`: the environment variable AZURE_CLOUD_ENVIRONMENT, else `AzureCloud`.",
            "default": None,
        },
        "resource_group": {
            "type": ["string", "null"],
            "pattern": pattern(_GROUP),
            "x-allowed": "the name of a resource group",
            "description": "A resource group of yours, which is never made or deleted; `null`: `flotilla-<cluster>` is made.",
            "default": None,
        },
        "vnet_cidr": {
            **CIDR,
            "description": "IPv4 network that is made, /16 to /24; its first half is the machines' subnet. 10.20.0.0/16 when left out. "
            "Not with `subnets`.",
            "x-allowed": "an IPv4 network between /16 and /24 such as 10.20.0.0/16",
        },
        "outbound": {
            "type": "string",
            "enum": ["nat_gateway", "none"],
            "description": "How machines reach the internet: a NAT gateway, or `none`. `nat_gateway` when left out, `none` with "
            "`public_machines`. Not with `subnets`.",
        },
        "public_machines": {
            "type": "boolean",
            "description": "Whether machines have public addresses, which needs no NAT gateway.",
            "default": False,
        },
        "subnets": mapping(
            {
                "machines": _id(_SUBNET, "The machines'."),
                "load_balancer": _id(_SUBNET, "The load balancer's, of the same network; that of the machines when left out."),
            },
            "Subnets of yours, which are checked and never changed.",
            default={},
        ),
        "security_groups": mapping(
            {"control_plane": _id(_SECURITY_GROUP, "That of control planes."), "worker": _id(_SECURITY_GROUP, "That of workers.")},
            "Network security groups of yours, which are never changed: both or none.",
            default={},
        ),
        "identities": mapping(
            {
                "control_plane": _id(_IDENTITY, "That of control planes; `null`: none.", null=True),
                "worker": _id(_IDENTITY, "That of workers; `null`: none.", null=True),
            },
            "User-assigned identities: what machines may do in Azure by themselves.",
            default={},
        ),
        "other_sizes": {
            "type": "object",
            "description": "Machine size to a list of sizes, which are taken in this order where Azure has none of that size to give.",
            "x-entries": "machine sizes and lists of machine sizes",
            "propertyNames": {"pattern": _SIZE["pattern"], "x-allowed": _SIZE["x-allowed"]},
            "additionalProperties": {"type": "array", "items": _SIZE, "minItems": 1, "uniqueItems": True},
            "default": {},
        },
        "disk_type": {
            "type": "string",
            "enum": ["Premium_LRS", "Premium_ZRS", "StandardSSD_LRS", "StandardSSD_ZRS"],
            "description": "Type of the root disks, which Azure always encrypts.",
            "default": "Premium_LRS",
        },
        "disk_encryption_set_id": _id(
            "Microsoft.Compute/diskEncryptionSets", "Set with a key of yours; `null`: Azure's own keys.", null=True
        ),
        "encryption_at_host": {
            "type": "boolean",
            "description": "Whether hosts encrypt temporary disks and caches, too; a feature to be registered for the subscription.",
            "default": False,
        },
        "trusted_launch": {
            "type": "boolean",
            "description": "Whether machines start by Secure Boot and have a vTPM. `false` for images that do not.",
            "default": True,
        },
        "tags": {
            # https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources#limitations
            "type": "object",
            "description": "Tags of everything that is made, next to the collection's own.",
            "x-entries": "tag names and tag values",
            "propertyNames": {"pattern": pattern("[^<>%&\\\\?/\\n]{1,512}"), "x-allowed": "a tag name without any of <>%&\\?/"},
            "additionalProperties": {
                "type": "string",
                "pattern": pattern("[^\\n]{0,256}"),
                "x-allowed": "a tag value of at most 256 characters; quote numbers",
            },
            "maxProperties": 30,
            "default": {},
        },
    },
    "Settings of the cloud `azure`.",
    required=("location",),
)
