# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of an adopted cluster become its own in their cloud: shown, agreed to, tagged (private to flotilla.kubernetes)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..module_utils import _clouds
from ..module_utils._clouds.claim import Claim, Wanted, plan_id
from ..module_utils._errors import Finding, FlotillaError
from ..module_utils._machines.model import CONTROL_PLANE, CONTROL_PLANE_POOL, WORKER
from ._table import table


def claim(
    definition: dict[str, Any],
    adopted: Mapping[str, Any],
    consent: str,
    *,
    check_mode: bool = False,
    show: Callable[[str], None] = lambda _line: None,
    session: Any = None,
) -> dict[str, Any]:
    """Tag the machines of a cluster, or say what would be done; nothing is tagged without consent to this very plan.

    :param definition: the merged definition that the machines are to be of, with the cloud that they run on.
    :param adopted: the definition that `adopt` made of what the cluster shows.
    :param consent: id of the plan that somebody has agreed to, or nothing.
    :param session: of the cloud; made when left out.
    :return: ``changed``, ``plan_id`` and ``claims``.
    """
    claimer = _clouds.claimer(definition["cloud"])
    session = session or claimer.session_for(definition)
    refuse(_differences(definition, adopted))
    claims, findings = claimer.plan(session, definition, wanted(adopted))
    refuse(findings)
    due, identity = [entry for entry in claims if entry.missing], plan_id(claims)
    for line in shown(definition["name"], claims, identity):
        show(line)
    if due and not check_mode:
        if not consent:
            raise FlotillaError(
                "CLAIM_NOT_AGREED",
                f"{len(due)} machines would become cluster '{definition['name']}'; nothing was tagged, because nobody has agreed to it.",
                f"To agree to what is shown above: -e flotilla_plan_id={identity}",
                details={"plan_id": identity},
            )
        if consent != identity:
            raise FlotillaError(
                "CLAIM_PLAN_CHANGED",
                f"The plan {consent} was agreed to, but machines or definition have changed: it is {identity} now. Nothing was tagged.",
                f"Read what is shown above; to agree to it: -e flotilla_plan_id={identity}",
                details={"plan_id": identity},
            )
        claimer.apply(session, due)
    entries = [{"id": entry.machine_id, "node": entry.node, "pool": entry.pool, "tags": entry.missing} for entry in claims]
    return {"changed": bool(due), "plan_id": identity, "claims": entries}


def wanted(adopted: Mapping[str, Any]) -> list[Wanted]:
    """Return the machines of a definition with ``cloud: existing``."""
    return [
        Wanted(
            machine["address"],
            machine["node_name"],
            machine.get("pool", CONTROL_PLANE_POOL),
            WORKER if "pool" in machine else CONTROL_PLANE,
        )
        for machine in adopted["existing"]["machines"]
    ]


def refuse(findings: Sequence[Finding]) -> None:
    """Fail with all findings, if there are any."""
    if findings:
        listed = " ".join(f"[{finding.code}] {finding.object}: {finding.message} {finding.remedy}" for finding in findings)
        details = {"refusals": [finding.as_dict() for finding in findings]}
        raise FlotillaError("CLAIM_REFUSED", f"The machines can not be claimed, and nothing was tagged. {listed}", details=details)


def shown(cluster: str, claims: Sequence[Claim], identity: str) -> list[str]:
    """Return the lines that people see."""
    rows = [
        (entry.machine_id, entry.node, entry.pool, ", ".join(f"{key}={value}" for key, value in sorted(entry.missing.items())))
        for entry in claims
        if entry.missing
    ]
    if not rows:
        return ["", f"All {len(claims)} machines are those of cluster {cluster}.", ""]
    return ["", f"Cluster {cluster}: what would be tagged (plan {identity})", "", *table(("MACHINE", "NODE", "POOL", "TAGS"), rows), ""]


def _differences(definition: Mapping[str, Any], adopted: Mapping[str, Any]) -> list[Finding]:
    """Return where a definition is of another cluster than the one that was looked at: it would be bent to it later."""
    pairs = {
        "kubernetes_version": (definition["kubernetes_version"], adopted["kubernetes_version"]),
        "network.pod_cidrs": (definition["network"]["pod_cidrs"], adopted["network"].get("pod_cidrs", definition["network"]["pod_cidrs"])),
        "network.service_cidrs": (definition["network"]["service_cidrs"], adopted["network"]["service_cidrs"]),
        "api_endpoint.address": (definition["api_endpoint"].get("address"), adopted["api_endpoint"]["address"]),
    }
    return [
        Finding("CLAIM_DEFINITION_DIFFERS", key, f"The definition says {ours}, the cluster {theirs}.", "Write what the cluster has.")
        for key, (ours, theirs) in pairs.items()
        if ours != theirs
    ]
