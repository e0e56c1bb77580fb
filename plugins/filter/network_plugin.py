# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: network_plugin
short_description: What is known of a network plugin
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Looks a network plugin up in the table of those that this collection installs.
options:
  _input:
    description: Its name, as C(network.plugin) of a cluster definition has it.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Say whether NetworkPolicy is enforced
  ansible.builtin.debug:
    msg: "{{ ('kube-router' | flotilla.kubernetes.network_plugin).network_policy }}"
"""

RETURN = r"""
_value:
  description: What is known of it. For C(manifests) and C(none), which are the user's own, everything but the namespaces is empty.
  type: dict
  contains:
    manifest:
      description: Name of its manifest in a bundle.
      type: str
      sample: kube-flannel.yml
    network_policy:
      description: Whether it enforces NetworkPolicy; V(none) where that is not known.
      type: bool
    has_secrets:
      description: Whether it logs in somewhere, so that it needs credentials.
      type: bool
    system_namespaces:
      description: Namespaces of the cluster's own parts, for which no rules about pods hold.
      type: list
      elements: str
      sample: [kube-system, kube-flannel]
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils._kubernetes.network_plugins.table import CHOICES, PLUGINS, system_namespaces


def network_plugin(name: str) -> dict[str, Any]:
    """Return what is known of a network plugin.

    :raises AnsibleFilterError: there is none of that name.
    """
    if name not in CHOICES:
        raise AnsibleFilterError(f"There is no network plugin {name} in this release; take one of {', '.join(CHOICES)}.")
    plugin = PLUGINS.get(name)
    return {
        "manifest": plugin.manifest if plugin else "",
        "network_policy": plugin.network_policy if plugin else None,
        "has_secrets": bool(plugin and plugin.secrets),
        "system_namespaces": system_namespaces(name),
    }


class FilterModule:
    """The filter's plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"network_plugin": network_plugin}
