# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: addon_names
short_description: Name the add-ons that a cluster has of its bundle
version_added: "0.2.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Returns those of the section C(addons) that are not switched off, in the order in which they are installed, without those of the users'
    own.
options:
  _input:
    description: Section C(addons) of a cluster definition.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what the bundle is to have
  ansible.builtin.debug:
    msg: "{{ flotilla_cluster.addons | flotilla.kubernetes.addon_names }}"
"""

RETURN = r"""
_value:
  description: Names.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ..module_utils._kubernetes.addons.table import ADDONS


def addon_names(section: Mapping[str, Any]) -> list[str]:
    """Return the names of the section, without those that are switched off."""
    return [name for name in ADDONS if name in section and section[name].get("enabled", True)]


class FilterModule:
    """The filter's plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"addon_names": addon_names}
