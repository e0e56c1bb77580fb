# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: certificate_table
short_description: The certificates of a cluster as lines for people
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - One line per certificate and node, what ends first at the top, and one per static pod that has to start anew.
options:
  _input:
    description: What M(flotilla.kubernetes.certificate_info) returned, by node.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the certificates
  ansible.builtin.debug:
    msg: "{{ {'node-1': found} | flotilla.kubernetes.certificate_table }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._table import table

# Who renews what is not due here.
OTHERS = {"authority": "a rotation of the certificate authority", "kubelet": "its kubelet"}


def certificate_table(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the lines."""
    every = [(node, one) for node, info in found.items() for one in info["certificates"]]
    every.sort(key=lambda entry: (entry[1]["ends"], entry[0], entry[1]["name"]))
    rows = []
    for node, one in every:
        due = f"yes: {one['reason']}" if one["due"] else "no"
        rows.append((node, one["name"], one["ends"], str(one["days_left"]), due, OTHERS.get(one["kind"], "here")))
    lines = table(("NODE", "CERTIFICATE", "ENDS", "DAYS LEFT", "DUE", "RENEWED BY"), rows)
    return lines + [f"{node}: {name} {why}" for node, info in sorted(found.items()) for name, why in sorted(info["restarts"].items())]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"certificate_table": certificate_table}
