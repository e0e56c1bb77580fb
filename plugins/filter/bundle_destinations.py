# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: bundle_destinations
short_description: Say where files of a bundle go on a machine
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Turns entries of a bundle's manifest into the O(flotilla.kubernetes.node_files#module:bundle_files) of
    M(flotilla.kubernetes.node_files).
positional: directory, architecture
options:
  _input:
    description: Entries of C(files) of a bundle's manifest.
    type: list
    elements: dict
    required: true
  directory:
    description: The directory on the machine.
    type: str
    required: true
  architecture:
    description: The machine's architecture, C(amd64) or C(arm64). A bundle without anything for it is an error.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Install kubectl
  flotilla.kubernetes.node_files:
    bundle: "{{ flotilla_bundle.directory }}"
    bundle_files: "{{ kubectl | flotilla.kubernetes.bundle_destinations('/usr/local/bin', 'amd64') }}"
  vars:
    kubectl: "{{ flotilla_bundle.manifest.files | selectattr('name', 'eq', 'kubectl') }}"
"""

RETURN = r"""
_value:
  description: One entry per file, with C(path), C(dest), C(sha256) and C(mode).
  type: list
  elements: dict
"""

from typing import Any, Callable

from ..plugin_utils._architecture import of_architecture


def bundle_destinations(files: list[dict[str, Any]], directory: str, architecture: str) -> list[dict[str, str]]:
    """Return where each file of a manifest goes below ``directory``."""
    return [
        {"path": file["path"], "dest": f"{directory}/{file['name']}", "sha256": file["sha256"], "mode": file["mode"]}
        for file in of_architecture(files, architecture)
    ]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"bundle_destinations": bundle_destinations}
