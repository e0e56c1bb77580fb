# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The section `gcp` of a definition (private to flotilla.kubernetes). What only Google can know, such as regions, is plain text."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.schema_parts import CIDR, mapping, pattern

_NAME = "[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
# https://cloud.google.com/resource-manager/docs/creating-managing-projects
_PROJECT = {
    "type": "string",
    "pattern": pattern("([a-z0-9][-a-z0-9.]*:)?[a-z][-a-z0-9]{4,28}[a-z0-9]"),
    "x-allowed": "the id of a project such as payments-production",
}


def _name(description: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern(_NAME), "x-allowed": "a name such as shared-vpc", "description": description}


def _account(role: str) -> dict[str, Any]:
    return {
        "type": ["string", "null"],
        "maxLength": 253,
        "pattern": pattern("[a-z0-9][-a-z0-9.]*@[a-z0-9][-a-z0-9.]*\\.[a-z]+"),
        "x-allowed": "the e-mail address of a service account, such as nodes@payments-production.iam.gserviceaccount.com",
        "description": f"Service account of {role}; `null`: none, so that they may do nothing in Google Cloud.",
        "default": None,
    }


GCP = mapping(
    {
        "project": {**_PROJECT, "description": "Project of the machines."},
        "region": {
            "type": "string",
            "pattern": pattern("[a-z]+(-[a-z0-9]+)+"),
            "x-allowed": "a region such as europe-west1",
            "description": "Region of the machines.",
        },
        "subnet_cidr": {
            **CIDR,
            "description": "IPv4 network of the subnetwork that is made, /16 to /28; 10.20.0.0/20 when left out. Not with `network`.",
            "x-allowed": "an IPv4 network between /16 and /28 such as 10.20.0.0/20",
        },
        "secondary_ranges": {
            "type": "object",
            "description": "Further networks of the subnetwork that is made, for what takes addresses of it by itself: name to network.",
            "x-entries": "names and networks",
            "propertyNames": {"pattern": pattern(_NAME), "x-allowed": "a name such as pods"},
            "additionalProperties": CIDR,
            "maxProperties": 30,
            "default": {},
        },
        "nat": {
            "type": "boolean",
            "description": "Whether machines reach the internet through Cloud NAT, from an address that stays; `true` when left out, "
            "`false` with `public_machines`. Not with `network`.",
        },
        "public_machines": {
            "type": "boolean",
            "description": "Whether machines have public addresses, which needs no Cloud NAT.",
            "default": False,
        },
        "network": mapping(
            {
                "name": _name("Name of the network."),
                "subnetwork": _name("Name of the subnetwork of the machines, in `region`."),
                "project": {**_PROJECT, "description": "Project that shares the network (shared VPC); that of the machines when left out."},
                "firewall_rules": {
                    "type": "boolean",
                    "description": "Whether the cluster's firewall rules are made in it; `false`: they are yours, see the page on Google "
                    "Cloud. `true` when left out.",
                },
            },
            "A network of yours, which is checked and never changed but for the cluster's own firewall rules.",
            required=("name", "subnetwork"),
        ),
        "service_accounts": mapping(
            {"control_plane": _account("control planes"), "worker": _account("workers")},
            "What machines may do in Google Cloud by themselves.",
            default={},
        ),
        "scopes": {
            "type": "array",
            "items": {
                "type": "string",
                "pattern": pattern("https://www\\.googleapis\\.com/auth/[a-z._-]+"),
                "x-allowed": "a scope such as https://www.googleapis.com/auth/compute",
            },
            "minItems": 1,
            "uniqueItems": True,
            "description": "What tokens of the service accounts are good for, at most.",
            "default": ["https://www.googleapis.com/auth/compute", "https://www.googleapis.com/auth/devstorage.read_only"],
        },
        "disk_type": {
            "type": "string",
            "enum": ["pd-balanced", "pd-ssd", "pd-standard", "hyperdisk-balanced"],
            "description": "Type of the disks.",
            "default": "pd-balanced",
        },
        "kms_key": {
            "type": ["string", "null"],
            "pattern": pattern("projects/[^/\\s]+/locations/[^/\\s]+/keyRings/[^/\\s]+/cryptoKeys/[^/\\s]+"),
            "x-allowed": "a key such as projects/keys/locations/europe-west1/keyRings/disks/cryptoKeys/nodes",
            "description": "Cloud KMS key of the disks; `null`: Google's own.",
            "default": None,
        },
        "secure_boot": {
            "type": "boolean",
            "description": "Whether machines start signed software only; `false` for kernel modules of your own. They have a virtual TPM "
            "and integrity monitoring anyway.",
            "default": True,
        },
        "labels": {
            "type": "object",
            "description": "Labels of machines and disks, next to the collection's own.",
            "x-entries": "label keys and label values",
            # https://cloud.google.com/compute/docs/labeling-resources#requirements
            "propertyNames": {
                "pattern": pattern("[a-z][-_a-z0-9]{0,62}"),
                "x-allowed": "a label key of small letters, digits, '-' and '_'",
            },
            "additionalProperties": {
                "type": "string",
                "pattern": pattern("[-_a-z0-9]{0,63}"),
                "x-allowed": "a label value of at most 63 small letters, digits, '-' and '_'; quote numbers",
            },
            # Of the 64 that a resource may have, some are the collection's and some a cloud controller's.
            "maxProperties": 40,
            "default": {},
        },
    },
    "Settings of the cloud `gcp`.",
    required=("project", "region"),
)
