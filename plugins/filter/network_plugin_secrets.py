# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: network_plugin_secrets
short_description: The Secrets that a network plugin logs in with
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Makes the Secrets of a network plugin of what it logs in with. For V(ncp) those are a principal identity of NSX.
  - Hand the result to O(flotilla.kubernetes.kubernetes_manifest#module:secrets), of which nothing is shown.
options:
  _input:
    description: >-
      What it logs in with: C(certificate), C(private_key), and C(authority) that vouches for the other side, each as the text of a file in
      PEM form.
    type: dict
    required: true
  name:
    description: Name of the network plugin.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Make NCP's Secret
  flotilla.kubernetes.kubernetes_manifest:
    address: 10.0.0.11
    content: "{{ lookup('ansible.builtin.file', 'ncp.yaml') }}"
    secrets: "{{ ncp_credentials | flotilla.kubernetes.network_plugin_secrets('ncp') }}"
"""

RETURN = r"""
_value:
  description: The Secrets, documents of YAML; empty for a plugin that has none.
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError

from ..module_utils._kubernetes.network_plugins.model import Settings
from ..module_utils._kubernetes.network_plugins.table import PLUGINS


def network_plugin_secrets(credentials: Mapping[str, str], name: str) -> str:
    """Return the Secrets of a network plugin.

    :raises AnsibleFilterError: a part of the credentials is missing. It names the part, and shows none.
    """
    plugin = PLUGINS.get(name)
    if plugin is None or plugin.secrets is None:
        return ""
    try:
        objects = plugin.secrets(Settings(credentials=credentials))
    except KeyError as error:
        raise AnsibleFilterError(
            f"network_plugin_credentials has no {error.args[0]}, which the network plugin {name} logs in with. Set it in a vault, as"
            " docs/network_plugins.md shows."
        ) from None
    return yaml.safe_dump_all(objects, sort_keys=False)


class FilterModule:
    """The filter's plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"network_plugin_secrets": network_plugin_secrets}
