# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: upgrade_hops
short_description: The upgrades that lead a cluster from its version to another
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - The control plane passes every minor, each at the newest patch that this release knows. Workers skip the minors that Kubernetes' skew
    policy lets them skip. See U(https://kubernetes.io/releases/version-skew-policy/).
  - Fails for a downgrade, and when no version of a minor on the way is known.
positional: version
options:
  _input:
    description: What M(flotilla.kubernetes.cluster_versions) returned.
    type: dict
    required: true
  version:
    description: Version that the whole cluster is to have.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the way
  ansible.builtin.debug:
    msg: "{{ versions | flotilla.kubernetes.upgrade_hops('1.36.3') }}"
"""

RETURN = r"""
_value:
  description: One entry per upgrade, in order; none when everything has the version already. C(workers) says whether workers come along.
  type: list
  elements: dict
  sample: [{version: 1.35.4, workers: false}, {version: 1.36.3, workers: true}]
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils._bundle.catalogue import RELEASES
from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.versions import hops


def upgrade_hops(live: Mapping[str, Any], version: str) -> list[dict[str, Any]]:
    """Return the hops; kubelets of control planes are upgraded with them and do not count as workers."""
    kubelets = [live["kubelets"][node] for node in live["kubelets"] if node not in live["control_planes"]]
    outdated = [live["kubelets"][node] for node in live["control_planes"] if node in live["kubelets"]]
    available = [release.kubernetes for release in RELEASES]
    try:
        path = [hop.as_dict() for hop in hops(live["oldest"], version, available, kubelets)]
        # A run that was stopped on its last node.
        if not path and (live["interrupted"] or any(one != version for one in outdated)):
            path = [{"version": version, "workers": True}]
    except FlotillaError as error:
        raise AnsibleFilterError(str(error)) from error
    return path


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"upgrade_hops": upgrade_hops}
