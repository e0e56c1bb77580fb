# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an Azure subscription offers before anybody made anything, and who may sign in. For tests only."""

from __future__ import annotations

from typing import Any

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
TENANT = "66666666-7777-8888-9999-000000000000"
CLIENT, SECRET = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "contract-secret"
# As AWX's credential type gives it.
LOGIN = {"AZURE_SUBSCRIPTION_ID": SUBSCRIPTION, "AZURE_TENANT": TENANT, "AZURE_CLIENT_ID": CLIENT, "AZURE_SECRET": SECRET}
AUDIENCE = "https://management.azure.com"
LOCATION = "westeurope"
# location -> zones
LOCATIONS: dict[str, tuple[str, ...]] = {"westeurope": ("1", "2", "3"), "northeurope": ("1", "2", "3"), "westus": ()}
# size -> (vCPUs, zones without it, why nobody gets it)
SIZES: dict[str, tuple[int, tuple[str, ...], str]] = {
    "Standard_D2s_v5": (2, (), ""),
    "Standard_D2as_v5": (2, (), ""),
    "Standard_D4s_v5": (4, (), ""),
    "Standard_D2ps_v5": (2, ("3",), ""),
    "Standard_M128s": (128, (), "NotAvailableForSubscription"),
}
# (publisher, offer, sku) -> versions; "plan" is what its publisher sells.
IMAGES: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {
    ("Debian", "debian-13", "13-gen2"): {"0.20260801.1": {}, "0.20261101.1": {}},
    ("Debian", "debian-13", "13-arm64"): {"0.20261101.1": {"architecture": "Arm64"}},
    ("Debian", "debian-13", "13"): {"0.20261101.1": {"hyperVGeneration": "V1"}},
    ("acme", "hardened", "node"): {"1.0.0": {"plan": {"publisher": "acme", "product": "hardened", "name": "node"}}},
}
DISK_GB = 30


def subscription_document() -> dict[str, Any]:
    """Return the subscription as Azure lists it."""
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}",
        "subscriptionId": SUBSCRIPTION,
        "tenantId": TENANT,
        "displayName": "contract",
        "state": "Enabled",
        "subscriptionPolicies": {"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"},
        "authorizationSource": "RoleBased",
    }


def image_document(location: str, key: tuple[str, str, str], version: str, full: bool) -> dict[str, Any]:
    """Return a version of a marketplace image as Azure lists it, or with ``full`` describes it."""
    publisher, offer, sku = key
    path = f"Publishers/{publisher}/ArtifactTypes/VMImage/Offers/{offer}/Skus/{sku}/Versions/{version}"
    found = {
        "location": location,
        "name": version,
        "id": f"/Subscriptions/{SUBSCRIPTION}/Providers/Microsoft.Compute/Locations/{location}/{path}",
    }
    if not full:
        return found
    about = IMAGES[key][version]
    properties = {
        "osDiskImage": {"operatingSystem": "Linux", "sizeInGb": DISK_GB},
        "dataDiskImages": [],
        "hyperVGeneration": about.get("hyperVGeneration", "V2"),
        "architecture": about.get("architecture", "x64"),
        "features": [{"name": "SecurityType", "value": "TrustedLaunchSupported"}] if "hyperVGeneration" not in about else [],
    }
    return {**found, "properties": {**properties, **({"plan": about["plan"]} if "plan" in about else {})}}


def size_document(size: str) -> dict[str, Any]:
    """Return a machine size as the older list of sizes has it."""
    cores, _without, _reason = SIZES[size]
    sizes = {"memoryInMB": cores * 4096, "osDiskSizeInMB": 1047552, "resourceDiskSizeInMB": 0}
    return {"name": size, "numberOfCores": cores, "maxDataDiskCount": 2 * cores, **sizes}


def sku_document(location: str, size: str) -> dict[str, Any]:
    """Return a machine size as the list of SKUs has it."""
    cores, without, reason = SIZES[size]
    zones = [zone for zone in LOCATIONS[location] if zone not in without]
    restrictions = (
        [{"type": "Location", "values": [location], "restrictionInfo": {"locations": [location]}, "reasonCode": reason}] if reason else []
    )
    return {
        "resourceType": "virtualMachines",
        "name": size,
        "tier": "Standard",
        "size": size.removeprefix("Standard_"),
        "family": "standardDFamily",
        "locations": [location],
        "locationInfo": [{"location": location, "zones": zones, "zoneDetails": []}],
        "capabilities": [
            {"name": "vCPUs", "value": str(cores)},
            {"name": "CpuArchitectureType", "value": "Arm64" if "ps_" in size else "x64"},
            {"name": "HyperVGenerations", "value": "V1,V2"},
        ],
        "restrictions": restrictions,
    }
