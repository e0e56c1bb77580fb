# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: adoption_targets
short_description: Machines of a foreign cluster by the groups of somebody's own inventory
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Stands in C(hosts) of the playbook that adopts a cluster. It fails where a group is missing or empty, because Ansible skips a play
    without hosts.
  - With C(--syntax-check) and C(--list-*) nothing is checked.
options:
  _terms:
    description: V(control_plane) are the control planes, V(machines) are these and the workers.
    type: list
    elements: str
    choices: [control_plane, machines]
    required: true
  flotilla_control_plane_group:
    description: Group of the control planes; an extra variable.
    type: str
    default: control_plane
    vars:
      - name: flotilla_control_plane_group
  flotilla_worker_group:
    description: Group of the workers; an extra variable. V(workers) if there is such a group. A cluster may have none.
    type: str
    vars:
      - name: flotilla_worker_group
  flotilla_pool_groups:
    description: Group of the workers of each pool, by the pool's name; an extra variable in place of O(flotilla_worker_group).
    type: dict
    default: {}
    vars:
      - name: flotilla_pool_groups
notes:
  - Inventory variables are not visible in C(hosts), extra variables are.
seealso:
  - plugin: flotilla.kubernetes.targets
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Look at the machines
  hosts: "{{ lookup('flotilla.kubernetes.adoption_targets', 'machines') }}"
  gather_facts: false
  tasks: []
"""

RETURN = r"""
_raw:
  description: One host pattern per term.
  type: list
  elements: str
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import nearest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError

_NOT_A_RUN = ("syntax", "listhosts", "listtasks", "listtags")
_WORKERS = "workers"


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        for term in terms:
            if term not in ("control_plane", "machines"):
                raise AnsibleError(f"flotilla.kubernetes.adoption_targets knows no {term!r}; there are: control_plane, machines.")
        if any(context.CLIARGS.get(option) for option in _NOT_A_RUN):
            return ["all" for _term in terms]
        groups = (variables or {}).get("groups") or {}
        control_planes = self.get_option("flotilla_control_plane_group")
        pools, workers = self.get_option("flotilla_pool_groups"), self.get_option("flotilla_worker_group")
        worker_groups = list(pools.values()) or ([workers] if workers else [_WORKERS] if groups.get(_WORKERS) else [])
        try:
            for option, group in [
                ("flotilla_control_plane_group", control_planes),
                *(("flotilla_pool_groups" if pools else "flotilla_worker_group", group) for group in worker_groups),
            ]:
                _check(option, str(group), groups)
        except FlotillaError as error:
            raise AnsibleError(str(error)) from error
        return [str(control_planes) if term == "control_plane" else ":".join(map(str, (control_planes, *worker_groups))) for term in terms]


def _check(option: str, group: str, groups: Mapping[str, Sequence[str]]) -> None:
    if groups.get(group):
        return
    own = sorted(name for name, hosts in groups.items() if hosts and name not in ("all", "ungrouped"))
    guess = nearest(group, own)
    hint = f"Did you mean {guess}?" if guess else f"There are: {', '.join(own) or 'no groups'}."
    what = "has no hosts" if group in groups else "is not in the inventory"
    raise FlotillaError("ADOPT_GROUP_UNKNOWN", f"The group {group} {what}.", f"Name yours with -e {option}=<group>. {hint}")
