# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: fulfilled_plan
short_description: What became of the clusters of a plan
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Compares a plan that P(flotilla.kubernetes.carry_plan#filter) made text with what a play has seen of its clusters now. It takes nobody's
    word for what a job did.
positional: hostvars
options:
  _input:
    description: The text.
    type: str
    required: true
  hostvars:
    description: Variables of all hosts.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Tell what became of it
  ansible.builtin.debug:
    msg: "{{ flotilla_carried_plan | flotilla.kubernetes.fulfilled_plan(hostvars) }}"
"""

RETURN = r"""
_value:
  description: Every cluster of the plan with its C(name), C(result), which is V(done) or V(not done), and C(why) it is not.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils._awx.plan import carried, clusters_of, fulfilled
from ..module_utils._definition.hosts import cluster_host_name
from ..module_utils._errors import FlotillaError
from ..plugin_utils._fleet_seen import seen_of


def fulfilled_plan(text: Any, hostvars: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what became of every cluster."""
    try:
        plan = carried(str(text or ""))
    except FlotillaError as error:
        raise AnsibleFilterError(str(error)) from error
    hosts = {str(one["name"]): cluster_host_name(str(one["name"])) for one in clusters_of(plan["waves"])}
    seen = {name: seen_of(hostvars, host) for name, host in hosts.items() if host in hostvars}
    return fulfilled(plan, seen)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"fulfilled_plan": fulfilled_plan}
