# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module cluster_policies found, in words (private to flotilla.kubernetes)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOST = 3


def refused_pods(refused: Mapping[str, Any]) -> str:
    """Return which pods of a namespace a stricter level would refuse, from an entry of ``refused``."""
    workloads = list(refused["workloads"])
    more = "" if refused["complete"] else ", and perhaps others"
    shown = "; ".join(workloads[:_MOST]) + (f"; and {len(workloads) - _MOST} more" if len(workloads) > _MOST else "")
    return f"the level {refused['level'] or 'that is asked for'} would refuse pods that run{more}{': ' if shown else ''}{shown}"


def policy_findings(policies: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Return what there is to say of a look at the policies; nothing where nobody looked or nothing differs."""
    if not policies or policies.get("skipped"):
        return []
    if "differences" not in policies:
        remedy = str(policies.get("remedy") or "cluster_policies --check says more.")
        message = str(policies.get("msg", "The policies could not be compared.")).removesuffix(remedy).strip()
        return [{"code": str(policies.get("code", "POLICIES_UNKNOWN")), "message": message, "remedy": remedy}]
    found = []
    differences = policies["differences"]
    if differences:
        shown = [f"{one['action']} {one['object']}" for one in differences]
        names = ", ".join(shown[:_MOST]) + (f" and {len(shown) - _MOST} more" if len(shown) > _MOST else "")
        message = f"{len(shown)} object{'s are' if len(shown) > 1 else ' is'} not as the policies say: {names}."
        remedy = "cluster_policies brings them in line; with --check --diff it shows what differs."
        found.append({"code": "POLICIES_DRIFT", "message": message, "remedy": remedy})
    for one in policies.get("refused") or ():
        found.append(
            {
                "code": "POLICIES_PODS_REFUSED",
                "message": f"In the namespace {one['namespace']} {refused_pods(one)}.",
                "remedy": f"Mend them, or agree to it: cluster_policies -e flotilla_policies_consent={one['namespace']}.",
            }
        )
    return found
