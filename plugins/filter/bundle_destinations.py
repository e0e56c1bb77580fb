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
  - Turns entries of a bundle's manifest into the O(flotilla.kubernetes.bundle_files#module:files) of M(flotilla.kubernetes.bundle_files).
positional: directory
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
"""

EXAMPLES = r"""
- name: Install kubectl
  flotilla.kubernetes.bundle_files:
    directory: "{{ flotilla_bundle.directory }}"
    files: "{{ kubectl | flotilla.kubernetes.bundle_destinations('/usr/local/bin') }}"
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


def bundle_destinations(files: list[dict[str, Any]], directory: str) -> list[dict[str, str]]:
    """Return where each file of a manifest goes below ``directory``."""
    return [{"path": file["path"], "dest": f"{directory}/{file['name']}", "sha256": file["sha256"], "mode": file["mode"]} for file in files]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"bundle_destinations": bundle_destinations}
