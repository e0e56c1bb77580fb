# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The section `aws` of a definition (private to flotilla.kubernetes). What only AWS can know, such as names of regions, is plain text."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.schema_parts import CIDR, mapping, pattern


def _id(kind: str, description: str) -> dict[str, Any]:
    return {
        "type": "string",
        "pattern": pattern(f"{kind}-[0-9a-f]{{4,40}}"),
        "x-allowed": f"an id such as {kind}-0123456789abcdef0",
        "description": description,
    }


def _tags(description: str) -> dict[str, Any]:
    # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
    return {
        "type": "object",
        "description": description,
        "x-entries": "tag keys and tag values",
        "propertyNames": {"pattern": pattern("[^\\n]{1,128}"), "x-allowed": "a tag key of at most 128 characters"},
        "additionalProperties": {
            "type": "string",
            "pattern": pattern("[^\\n]{0,256}"),
            "x-allowed": "a tag value of at most 256 characters; quote numbers",
        },
    }


def _subnets(description: str) -> dict[str, Any]:
    return mapping(
        {
            "ids": {
                "type": "array",
                "items": {key: value for key, value in _id("subnet", "").items() if key != "description"},
                "minItems": 1,
                "uniqueItems": True,
                "description": "Their ids.",
            },
            "tags": _tags("Tags that they all have, and no other subnets of the VPC."),
        },
        f"{description} Either `ids` or `tags`.",
    )


def _groups(role: str) -> dict[str, Any]:
    return {
        "type": "array",
        "items": {key: value for key, value in _id("sg", "").items() if key != "description"},
        "maxItems": 5,
        "uniqueItems": True,
        "description": f"Ids of the security groups of {role}; empty: one is made.",
        "default": [],
    }


def _profile(role: str) -> dict[str, Any]:
    return {
        "type": ["string", "null"],
        "pattern": pattern("[A-Za-z0-9+=,.@_-]{1,128}"),
        "x-allowed": "the name of an instance profile, not its ARN",
        "description": f"Name of the instance profile of {role}; `null`: none.",
        "default": None,
    }


AWS = mapping(
    {
        "region": {
            "type": "string",
            "pattern": pattern("[a-z0-9]+(-[a-z0-9]+)+"),
            "x-allowed": "a region such as eu-west-1",
            "description": "Region of the machines.",
        },
        "vpc_cidr": {
            **CIDR,
            "description": "IPv4 network of the VPC that is made, /16 to /22; 10.20.0.0/16 when left out. Not with `vpc`.",
            "x-allowed": "an IPv4 network between /16 and /22 such as 10.20.0.0/16",
        },
        "nat_gateways": {
            "type": "string",
            "enum": ["per_zone", "single", "none"],
            "description": "How machines reach the internet: a NAT gateway per zone, a `single` one (cheaper, but it falls with its zone), "
            "or `none`. `per_zone` when left out, `none` with `public_machines`. Not with `vpc`.",
        },
        "public_machines": {
            "type": "boolean",
            "description": "Whether machines stand in public subnets and have public addresses, which needs no NAT gateway.",
            "default": False,
        },
        "vpc": mapping(
            {
                "id": _id("vpc", "Its id."),
                "tags": _tags("Tags that it has, and no other VPC of the region."),
            },
            "A VPC of yours, which is checked and never changed. Either `id` or `tags`.",
        ),
        "subnets": mapping(
            {
                "machines": _subnets("Subnets of the machines, one at least in each of their zones."),
                "load_balancer": _subnets("Subnets of the load balancer; those of the machines when left out."),
            },
            "Your subnets in the VPC that `vpc` names, and needed with it.",
            default={},
        ),
        "security_groups": mapping(
            {
                "control_plane": _groups("control planes"),
                "worker": _groups("workers"),
                "load_balancer": _groups("the load balancer"),
            },
            "Security groups of yours, which are never changed.",
            default={},
        ),
        "instance_profiles": mapping(
            {"control_plane": _profile("control planes"), "worker": _profile("workers")},
            "What machines may do in AWS by themselves.",
            default={},
        ),
        "hosted_zone_id": {
            "type": ["string", "null"],
            "pattern": pattern("[A-Z0-9]{1,32}"),
            "x-allowed": "the id of a hosted zone such as Z0123456789ABCDEFGHIJ",
            "description": "Route 53 zone that gets the record of `api_endpoint.dns_name`; `null`: the record is yours to make.",
            "default": None,
        },
        "kms_key_id": {
            "type": ["string", "null"],
            "pattern": pattern("[A-Za-z0-9:/_-]{1,2048}"),
            "x-allowed": "the id, ARN or alias of a key",
            "description": "KMS key of the root disks; `null`: the account's own for EBS.",
            "default": None,
        },
        "deletion_protection": {
            "type": "boolean",
            "description": "Whether machines (not spot ones, which can not have it) and load balancer refuse to be deleted by anything but "
            "the collection, which lifts it first.",
            "default": True,
        },
        # Of the 50 that a resource may have, some are the collection's and some a cloud controller's.
        "tags": {**_tags("Tags of everything that is made, next to the collection's own."), "maxProperties": 30, "default": {}},
    },
    "Settings of the cloud `aws`.",
    required=("region",),
)
