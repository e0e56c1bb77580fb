# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: network_plugin_manifest
short_description: A network plugin's own manifest with a cluster's settings
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Puts a cluster's settings into the manifest that a network plugin is released with. Everything else stays as its makers have it.
  - With the API's stable address a plugin does not need the Service C(kubernetes), which works on a node only once kube-proxy has set it
    up. Both start at the same time, and a plugin that is first waits for nothing.
options:
  _input:
    description: The manifest, documents of YAML.
    type: str
    required: true
  name:
    description: Name of the network plugin.
    type: str
    required: true
  settings:
    description: What it is rendered from.
    type: dict
    required: true
    suboptions:
      cluster:
        description: Name of the cluster.
        type: str
        default: ""
      pod_cidr:
        description: Address range of the pods.
        type: str
        default: ""
      api_endpoint:
        description: C(host) and C(port) of the API's stable address. Without it plugins use the Service.
        type: dict
        default: {}
      overlay:
        description: Whether packets of pods travel inside of packets of nodes, for C(kube-router).
        type: bool
        default: true
      nsx:
        description: Section C(nsx) of the cluster definition, for C(ncp).
        type: dict
        default: {}
"""

EXAMPLES = r"""
- name: What is applied
  ansible.builtin.debug:
    msg: >-
      {{ lookup('ansible.builtin.file', 'kube-flannel.yml')
         | flotilla.kubernetes.network_plugin_manifest(
           'flannel', {'pod_cidr': '10.244.0.0/16', 'api_endpoint': {'host': '10.0.0.5', 'port': 6443}}) }}
"""

RETURN = r"""
_value:
  description: The manifest, documents of YAML.
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError

from ..module_utils._kubernetes.network_plugins.model import Settings
from ..module_utils._kubernetes.network_plugins.table import PLUGINS


def network_plugin_manifest(manifest: str, name: str, settings: Mapping[str, Any]) -> str:
    """Return the manifest with the settings.

    :raises AnsibleFilterError: it is no manifest of that plugin's.
    """
    plugin = PLUGINS[name]
    try:
        objects = [entry for entry in yaml.safe_load_all(manifest) if entry]
        plugin.render(objects, Settings(**settings))
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        remedy = (
            "Name another one in bundle.network_plugin.manifest." if plugin.provided else "Build it again with the playbook bundle_build."
        )
        raise AnsibleFilterError(f"{plugin.manifest} of the bundle is no manifest of {name} ({error!r}). {remedy}") from error
    return yaml.safe_dump_all(objects, sort_keys=False)


class FilterModule:
    """The filter's plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"network_plugin_manifest": network_plugin_manifest}
