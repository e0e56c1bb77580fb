# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images for machines in Google Cloud (private to flotilla.kubernetes)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..._errors import FlotillaError
from .session import ROOT, Entry, Session

# family -> architecture -> where its publisher keeps it. https://wiki.debian.org/Cloud/GoogleComputeEngineImage
FAMILIES = {
    "debian-13": {
        "amd64": "projects/debian-cloud/global/images/family/debian-13",
        "arm64": "projects/debian-cloud/global/images/family/debian-13-arm64",
    }
}
_ARCHITECTURES = {"X86_64": "amd64", "ARM64": "arm64"}


@dataclass(frozen=True)
class Image:
    """An image as Google describes it.

    :param id: its URL without the beginning, which is what definitions name it by.
    """

    id: str
    name: str = ""
    family: str = ""
    created: str = ""
    project: str = ""
    architecture: str = ""


def architecture_of(size: str) -> str:
    """Return the architecture of a machine type: a few series are Arm.

    https://cloud.google.com/compute/docs/instances/arm-on-compute
    """
    return "arm64" if re.match(r"^(t2a|c4a|n4a|a4x)-", size) else "amd64"


def _entry(found: Entry) -> Image:
    link = str(found["selfLink"]).removeprefix(ROOT)
    link = re.sub(r"^https?://[^/]+/compute/v1/", "", link)
    return Image(
        id=link,
        name=str(found.get("name") or ""),
        family=str(found.get("family") or ""),
        created=str(found.get("creationTimestamp") or ""),
        project=link.split("/")[1],
        architecture=_ARCHITECTURES.get(str(found.get("architecture") or ""), ""),
    )


def resolve(session: Session, wanted: dict[str, Any], architecture: str = "amd64") -> Image:
    """Return the image that a definition asks for, as it is now.

    :param wanted: ``family``, or ``id``: ``projects/<project>/global/images/<name>`` or ``.../images/family/<family>``, whose newest is
        taken; without the project one of the machines' own.
    :raises FlotillaError: ``GCP_IMAGE_NONE``, ``GCP_IMAGE_ARCHITECTURE`` or ``GCP_IMAGE_FAMILY``.
    """
    link = str(wanted.get("id") or "")
    if not link:
        published = FAMILIES.get(str(wanted.get("family")))
        if published is None:
            raise FlotillaError(
                "GCP_IMAGE_FAMILY",
                f"Nobody is known to publish images of {wanted.get('family')} in Google Cloud.",
                f"Use image.family {' or '.join(FAMILIES)}, or an exact image.id.",
            )
        link = published[architecture]
    link = re.sub(r"^https?://[^/]+/compute/[a-z0-9]+/", "", link)
    parts = re.fullmatch(r"(?:projects/([^/]+)/)?(?:global/images/)?(family/)?([^/]+)", link)
    if not parts:
        raise FlotillaError(
            "GCP_IMAGE_NONE",
            f"'{link}' names no image.",
            "Set image.id for example to projects/debian-cloud/global/images/family/debian-13.",
        )
    project = parts.group(1) or session.project
    if parts.group(2):
        found = session.get("images", "get_from_family", project=project, family=parts.group(3))
    else:
        found = session.get("images", project=project, image=parts.group(3))
    if not found:
        raise FlotillaError("GCP_IMAGE_NONE", f"There is no image {link} in project {project}.", "Correct image in the definition.")
    image = _entry(found)
    if image.architecture and image.architecture != architecture:
        raise FlotillaError(
            "GCP_IMAGE_ARCHITECTURE",
            f"The image {image.id} is for {image.architecture}, and the machines are {architecture}.",
            "Use another image, or another machine size.",
        )
    return image
