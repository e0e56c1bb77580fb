# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: bundle_images
short_description: Choose the images of a bundle that one kind of node runs
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Turns entries of a bundle's manifest into the O(flotilla.kubernetes.node_files#module:images) of
    M(flotilla.kubernetes.node_files).
positional: role, architecture, addons
options:
  _input:
    description: Entries of C(images) of a bundle's manifest.
    type: list
    elements: dict
    required: true
  role:
    description: What the node is.
    type: str
    choices: [control_plane, worker]
    required: true
  architecture:
    description: The machine's architecture, C(amd64) or C(arm64). A bundle without anything for it is an error.
    type: str
    required: true
  addons:
    description: The add-ons of the cluster. Without it images of add-ons are left out.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Import what a worker runs
  flotilla.kubernetes.node_files:
    bundle: "{{ flotilla_bundle.directory }}"
    images: "{{ flotilla_bundle.manifest.images | flotilla.kubernetes.bundle_images('worker', 'amd64') }}"
"""

RETURN = r"""
_value:
  description: One entry per image, with C(name), C(path) and C(sha256).
  type: list
  elements: dict
"""

from collections.abc import Iterable
from typing import Any, Callable

from ..plugin_utils._architecture import of_architecture


def bundle_images(images: list[dict[str, Any]], role: str, architecture: str, addons: Iterable[str] = ()) -> list[dict[str, str]]:
    """Return the images of a manifest that a node of ``role`` in a cluster with these add-ons runs."""
    wanted = set(addons)
    return [
        {key: image[key] for key in ("name", "path", "sha256")}
        for image in of_architecture(images, architecture)
        if role in image["roles"] and (not image.get("addons") or wanted & set(image["addons"]))
    ]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"bundle_images": bundle_images}
