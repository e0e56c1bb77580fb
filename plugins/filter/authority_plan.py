# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: authority_plan
short_description: What is left to do to rotate the certificate authorities of a cluster
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Reads it from what the nodes and the cluster show at this moment, so a run that was killed goes on where it stopped.
options:
  _input:
    description: What M(flotilla.kubernetes.certificate_authority_info) returned, by node.
    type: dict
    required: true
  control_planes:
    description: Names of the control planes among them.
    type: list
    elements: str
    required: true
  cluster:
    description: What M(flotilla.kubernetes.certificate_authority_cluster) returned.
    type: dict
    default: {}
  names:
    description: Authorities that may be followed by new ones.
    type: list
    elements: str
    default: [kubernetes, etcd, front-proxy]
  expires_within:
    description: One that ends within this time is to be followed by a new one.
    type: str
    default: 365d
  older_than:
    description: One that was made longer ago than this, too. Empty for any age.
    type: str
    default: ""
  ignored:
    description: Workloads (C(namespace/Kind/name)) that may go without the API afterwards.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show what is left to do
  ansible.builtin.debug:
    msg: "{{ ({'node-1': found} | flotilla.kubernetes.authority_plan(['node-1'])).lines }}"
"""

RETURN = r"""
_value:
  description:
    - C(phase), the first of C(make), C(trust), C(reissue), C(workloads), C(drop) and C(tidy) that has something to do, or nothing;
      C(begun); C(stays), C(successors) and C(make); C(nodes) and C(cluster), what is to be done and why, by phase; C(workloads);
      C(findings); C(certificates), the certificate (PEM) of each successor; C(lines) for people.
  type: dict
"""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.authorities import period
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.authority_plan import PHASES, TITLES, Seen, due, plan
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.certificate_renewal import condition
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.certificates import AUTHORITY_FILES


def authority_plan(
    looks: Mapping[str, Mapping[str, Any]],
    control_planes: Collection[str],
    cluster: Mapping[str, Any] | None = None,
    names: Collection[str] = tuple(AUTHORITY_FILES),
    expires_within: str = "365d",
    older_than: str = "",
    ignored: Collection[str] = (),
) -> dict[str, Any]:
    """Return the plan, with lines for people."""
    unknown = sorted(set(names) - set(AUTHORITY_FILES))
    if unknown:
        raise AnsibleFilterError(f"There is no authority {', '.join(unknown)}; there are {', '.join(AUTHORITY_FILES)}.")
    seen = Seen(looks, control_planes, cluster or {})
    try:
        # Whether a new one would be due at once is asked where it is made: the cluster says for how long it makes them.
        reasons = due(seen, condition(expires_within, older_than, float("inf")), names, time.time())
    except FlotillaError as error:
        raise AnsibleFilterError(str(error)) from error
    found = plan(seen, reasons, ignored)
    known = seen.known()
    return {
        **found,
        "certificates": {new: known[new]["pem"] for new in found["successors"].values()},
        "lines": [*_authorities(seen, found), *_steps(found)],
    }


def _authorities(seen: Seen, found: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, one in sorted(seen.known().items(), key=lambda entry: (entry[1]["name"], entry[1]["begins"])):
        follows = found["successors"].get(one["name"])
        role = "" if follows is None else ", the new one" if follows == key else ", the old one"
        lines.append(f"{one['name']}: {key[:19]}, {period(one)}{role}")
    return lines


def _steps(found: Mapping[str, Any]) -> list[str]:
    lines = []
    for phase in PHASES:
        nodes, cluster = found["nodes"][phase], found["cluster"][phase]
        if nodes or cluster:
            lines.append(f"{phase}: {TITLES[phase]}")
            lines += [f"  {node}: {'; '.join(reasons)}" for node, reasons in nodes.items()] + [f"  {reason}" for reason in cluster]
    return lines or ["nothing is to be done"]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"authority_plan": authority_plan}
