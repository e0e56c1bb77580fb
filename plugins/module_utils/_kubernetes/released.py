# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found and changed in manifests of released software (private to flotilla.kubernetes). Pure; Python 3.9, standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any


def opened(documents: Iterable[Any]) -> list[dict[str, Any]]:
    """Return the objects of a manifest's documents, and those of lists instead of the lists.

    :raises KeyError, TypeError: they are no objects of Kubernetes.
    """
    return [item for document in documents if document for item in (document["items"] if document["kind"] == "List" else [document])]


def one(objects: Any, kind: str, name: str = "") -> dict[str, Any]:
    """Return the object of a kind, and of a name if one is given.

    :raises KeyError: there is none.
    """
    for item in objects:
        if item["kind"] == kind and name in ("", item["metadata"]["name"]):
            return item
    raise KeyError(f"{kind} {name}".strip())


def all_containers(workload: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the containers of a DaemonSet or Deployment, those of its start first."""
    spec = workload["spec"]["template"]["spec"]
    return [*spec.get("initContainers", ()), *spec["containers"]]


def set_environment(container: dict[str, Any], values: Mapping[str, str]) -> None:
    """Give a container variables; those of the same names go."""
    kept = [entry for entry in container.get("env", []) if entry["name"] not in values]
    container["env"] = [{"name": name, "value": value} for name, value in values.items()] + kept


def pinned(manifest: str, images: Mapping[str, str], version: str) -> str:
    """Return a released manifest with the images that a bundle has: as tags of development it may name what changes.

    :param images: image as the manifest names it -> as the bundle does; ``{version}`` is filled in.
    """
    for released, wanted in images.items():
        pattern = rf"(\bimage: *[\"']?){re.escape(released)}(?=[\"']?\s*$)"
        manifest = re.sub(pattern, rf"\g<1>{wanted.format(version=version)}", manifest, flags=re.MULTILINE)
    return manifest
