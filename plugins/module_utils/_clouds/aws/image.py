# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images for machines in AWS (private to flotilla.kubernetes)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..._errors import FlotillaError
from .session import Session

ARCHITECTURES = {"amd64": "x86_64", "arm64": "arm64"}
# family -> (owner, name with {architecture} as the family calls it). https://wiki.debian.org/Cloud/AmazonEC2Image
FAMILIES = {"debian-13": ("136693071363", "debian-13-{architecture}-*")}


@dataclass(frozen=True)
class Image:
    """An image as AWS describes it.

    :param root_device: name of the root disk, under which its size is set.
    """

    id: str
    name: str = ""
    created: str = ""
    owner: str = ""
    architecture: str = ""
    root_device: str = ""


def architecture_of(size: str) -> str:
    """Return the architecture of an instance type: those of Graviton have a ``g`` after the number of their generation.

    https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html
    """
    return "arm64" if re.match(r"^(a1|[a-z]+[0-9]+g[a-z]*)\.", size) else "amd64"


def newest(entries: Sequence[dict[str, Any]]) -> Image | None:
    """Return the newest of the images that AWS described."""
    usable = [entry for entry in entries if entry.get("State", "available") == "available"]
    if not usable:
        return None
    best = max(usable, key=lambda entry: (str(entry.get("CreationDate") or ""), str(entry["ImageId"])))
    return Image(
        id=str(best["ImageId"]),
        name=str(best.get("Name") or ""),
        created=str(best.get("CreationDate") or ""),
        owner=str(best.get("OwnerId") or ""),
        architecture=next((ours for ours, theirs in ARCHITECTURES.items() if theirs == best.get("Architecture")), ""),
        root_device=str(best.get("RootDeviceName") or ""),
    )


def resolve(session: Session, wanted: dict[str, Any], architecture: str = "amd64") -> Image:
    """Return the image that a definition asks for, as it is now.

    :param wanted: ``id``, ``ssm_parameter``, ``family``, or ``name`` (with wildcards) and ``owners``.
    :raises FlotillaError: ``AWS_IMAGE_NONE``, ``AWS_IMAGE_ARCHITECTURE`` or ``AWS_IMAGE_FAMILY``.
    """
    parameters: dict[str, Any]
    if wanted.get("id") or wanted.get("ssm_parameter"):
        image_id = wanted.get("id")
        if not image_id:
            answer = session.repeat("ssm", "get_parameter", Name=wanted["ssm_parameter"])
            image_id = str((answer.get("Parameter") or {}).get("Value") or "")
        parameters, what = {"Filters": [{"Name": "image-id", "Values": [image_id]}]}, f"image {image_id}"
    else:
        owners, name = [str(owner) for owner in wanted.get("owners") or ()], str(wanted.get("name") or "")
        if wanted.get("family"):
            if wanted["family"] not in FAMILIES:
                raise FlotillaError(
                    "AWS_IMAGE_FAMILY",
                    f"Nobody is known to publish images of {wanted['family']} in AWS.",
                    f"Use image.family {' or '.join(FAMILIES)}, or an exact image.id or image.ssm_parameter.",
                )
            owner, pattern = FAMILIES[wanted["family"]]
            owners, name = [owner], pattern.format(architecture=architecture)
        filters = [{"Name": "name", "Values": [name]}, {"Name": "architecture", "Values": [ARCHITECTURES[architecture]]}]
        parameters, what = {"Owners": owners, "Filters": filters}, f"image {name} of {', '.join(owners)}"
    found = newest(session.repeat("ec2", "describe_images", **parameters).get("Images") or ())
    if found is None:
        raise FlotillaError("AWS_IMAGE_NONE", f"There is no {what} in {session.region}.", "Correct image in the definition, or aws.region.")
    if found.architecture and found.architecture != architecture:
        raise FlotillaError(
            "AWS_IMAGE_ARCHITECTURE",
            f"The image {found.id} is for {found.architecture}, and the machines are {architecture}.",
            "Use another image, or another machine size.",
        )
    return found
