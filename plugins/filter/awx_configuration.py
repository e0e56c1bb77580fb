# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: awx_configuration
short_description: Objects of AWX as a file for infra.aap_configuration
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Returns the text of a variables file. It holds no secrets; where one belongs it reads the variables C(flotilla_credential_inputs) and
    C(flotilla_notification_configurations), which map names to what they need.
options:
  _input:
    description: What P(flotilla.kubernetes.awx_objects#filter) returned.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Write it
  ansible.builtin.copy:
    content: "{{ objects | flotilla.kubernetes.awx_configuration }}"
    dest: controller.yml
    mode: "0644"
"""

RETURN = r"""
_value:
  description: YAML.
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from ..plugin_utils._untrusted import as_data

_SECRETS = {
    "controller_credentials": ("inputs", "flotilla_credential_inputs"),
    "controller_notifications": ("notification_configuration", "flotilla_notification_configurations"),
}


def awx_configuration(objects: Mapping[str, Any]) -> Any:
    """Return the text; templates of AWX are written the way in which infra.aap_configuration keeps them from Ansible."""
    lists = {listed: [_escaped(_plain(item)) for item in items] for listed, items in objects.items()}
    for listed, (option, variable) in _SECRETS.items():
        for item in lists.get(listed, []):
            item[option] = f"{{{{ {variable}['{item['name']}'] }}}}"
    text = yaml.safe_dump({listed: items for listed, items in lists.items() if items}, sort_keys=False, width=160, allow_unicode=True)
    return as_data(
        f"---\n# Written by flotilla.kubernetes.awx_setup for infra.aap_configuration. Secrets come from other variables.\n{text}"
    )


def _plain(value: Any) -> Any:
    """Return a copy that is no class of Ansible's, as YAML knows none of these."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return "".join(value) if isinstance(value, str) else value


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return value.replace("{{", "{  {") if isinstance(value, str) else value


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"awx_configuration": awx_configuration}
