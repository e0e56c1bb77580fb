# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images for machines in Azure (private to flotilla.kubernetes)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ..._errors import FlotillaError
from ..._machines.cloud import NotFound
from .session import Session

ARCHITECTURES = {"x64": "amd64", "arm64": "arm64"}
# family -> architecture -> (publisher, offer, sku). https://wiki.debian.org/Cloud/MicrosoftAzure
FAMILIES = {"debian-13": {"amd64": ("Debian", "debian-13", "13-gen2"), "arm64": ("Debian", "debian-13", "13-arm64")}}
LATEST = "latest"


@dataclass(frozen=True)
class Image:
    """An image as Azure describes it.

    :param id: ``publisher:offer:sku:version`` of the marketplace, or the id of a gallery's or an account's own image.
    :param plan: what a machine that is made from it has to name, where its publisher sells it.
    """

    id: str
    name: str = ""
    architecture: str = ""
    plan: dict[str, str] = field(default_factory=dict)
    generation: str = ""


def architecture_of(size: str) -> str:
    """Return the architecture of a machine size: those of ARM have a ``p`` among the features.

    https://learn.microsoft.com/azure/virtual-machines/vm-naming-conventions
    """
    return "arm64" if re.match(r"^Standard_[A-Z]+[0-9]+(-[0-9]+)?[a-z]*p[a-z]*(_|$)", size) else "amd64"


def reference(image_id: str) -> dict[str, str]:
    """Return an image's id as a machine's document names it."""
    if not image_id.startswith("/"):
        publisher, offer, sku, version = image_id.split(":")
        return {"publisher": publisher, "offer": offer, "sku": sku, "version": version}
    if image_id.lower().startswith("/communitygalleries/"):
        return {"communityGalleryImageId": image_id}
    if image_id.lower().startswith("/sharedgalleries/"):
        return {"sharedGalleryImageId": image_id}
    return {"id": image_id}


def id_of(reference: dict[str, Any]) -> str:
    """Return the id of the image that a machine's document names, the exact one."""
    own = reference.get("id") or reference.get("communityGalleryImageId") or reference.get("sharedGalleryImageId")
    if own:
        return str(own)
    parts = [str(reference.get(part) or "") for part in ("publisher", "offer", "sku")]
    version = str(reference.get("version") or "")
    return ":".join([*parts, str(reference.get("exactVersion") or version) if version == LATEST else version]) if parts[0] else ""


def resolve(session: Session, location: str, wanted: dict[str, Any], architecture: str = "amd64") -> Image:
    """Return the image that a definition asks for, as it is now.

    :param wanted: ``id`` or ``family``.
    :raises FlotillaError: ``AZURE_IMAGE_FAMILY``, ``AZURE_IMAGE_ID``, ``AZURE_IMAGE_NONE`` or ``AZURE_IMAGE_ARCHITECTURE``.
    """
    if wanted.get("family"):
        if wanted["family"] not in FAMILIES:
            raise FlotillaError(
                "AZURE_IMAGE_FAMILY",
                f"Nobody is known to publish images of {wanted['family']} in Azure.",
                f"Use image.family {' or '.join(FAMILIES)}, or an exact image.id.",
            )
        parts = [*FAMILIES[wanted["family"]][architecture], LATEST]
    else:
        image_id = str(wanted.get("id") or "")
        if image_id.startswith("/"):
            return Image(image_id, image_id.rpartition("/")[2])
        parts = image_id.split(":")
        if len(parts) != 4 or not all(parts):
            raise FlotillaError(
                "AZURE_IMAGE_ID",
                f"image.id '{image_id}' is no image of Azure.",
                "Use publisher:offer:sku:version, such as Debian:debian-13:13-gen2:latest, or the id of an image of yours.",
            )
    return _of_marketplace(session, location, parts, architecture)


def _of_marketplace(session: Session, location: str, parts: list[str], architecture: str) -> Image:
    publisher, offer, sku, version = parts
    try:
        if version == LATEST:
            found = session.pages("compute", "virtual_machine_images.list", location, publisher, offer, sku, top=1, orderby="name desc")
            version = str(found[0]["name"]) if found else ""
        about = session.repeat("compute", "virtual_machine_images.get", location, publisher, offer, sku, version) if version else {}
    except NotFound:
        about = {}
    if not about:
        raise FlotillaError(
            "AZURE_IMAGE_NONE",
            f"There is no image {':'.join(parts)} in {location}.",
            "Correct image in the definition, or azure.location ('az vm image list --all --publisher ...').",
        )
    inner = about.get("properties") or {}
    found_for = ARCHITECTURES.get(str(inner.get("architecture") or "").lower(), "")
    if found_for and found_for != architecture:
        raise FlotillaError(
            "AZURE_IMAGE_ARCHITECTURE",
            f"The image {':'.join(parts)} is for {found_for}, and the machines are {architecture}.",
            "Use another image, or another machine size.",
        )
    plan = inner.get("plan") or {}
    return Image(
        id=":".join([publisher, offer, sku, version]),
        name=f"{offer} {version}",
        architecture=found_for,
        plan={key: str(plan[key]) for key in ("name", "product", "publisher") if plan.get(key)},
        generation=str(inner.get("hyperVGeneration") or ""),
    )
