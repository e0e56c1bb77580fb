# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a play over a fleet has seen of its clusters (private to flotilla.kubernetes)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def seen_of(hostvars: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return what the play has seen of a cluster; without the results of tasks, which are Ansible's."""
    variables = hostvars[host]
    problem = variables.get("flotilla_unseen", "")
    if problem or "flotilla_versions" not in variables:
        return {"problem": problem}
    versions = {key: variables["flotilla_versions"][key] for key in ("oldest", "control_planes", "kubelets", "interrupted")}
    findings = variables.get("flotilla_preflight", {}).get("findings", [])
    return {"versions": versions, "hops": variables["flotilla_upgrade_hops"], "findings": findings}
