# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: awx_objects
short_description: What AWX holds of a fleet
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Returns every object that the role C(awx_setup) makes on an AWX, from its project to its schedules, under the names and in the shape
    that infra.aap_configuration reads. Each is a dictionary of parameters of its module of awx.awx.
  - Secrets are no part of it.
options:
  _input:
    description: The variables of the role C(awx_setup), without C(awx_setup_).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Make them
  flotilla.kubernetes.awx_objects:
    objects: "{{ settings | flotilla.kubernetes.awx_objects }}"
"""

RETURN = r"""
_value:
  description: Lists of objects.
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils._awx.objects import objects
from ..module_utils._errors import FlotillaError
from ..plugin_utils._untrusted import as_data


def awx_objects(settings: Mapping[str, Any]) -> Any:
    """Return all objects as data: injectors of credential types are templates of AWX, never of Ansible."""
    try:
        return as_data(objects(settings))
    except FlotillaError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"awx_objects": awx_objects}
