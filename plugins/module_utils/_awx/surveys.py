# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The surveys of job templates and workflows, as AWX keeps them (private to flotilla.kubernetes). Pure.

Only what nobody can guess is required: AWX refuses schedules and launches through its API that leave a required question open, even if it
has a default.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

LATEST_PATCH = "latest-patch"
DRAIN_MODES = ("wait", "skip")


def _question(variable: str, text: str, description: str, kind: str = "text", required: bool = False, **more: Any) -> dict[str, Any]:
    return {
        "variable": variable,
        "question_name": text,
        "question_description": description,
        "type": kind,
        "required": required,
        "default": "",
        **more,
    }


KUBERNETES_VERSION = _question(
    "kubernetes_version",
    "Kubernetes version",
    f"Clusters whose definitions say it are upgraded; {LATEST_PATCH}: those whose definitions say another patch of their minor.",
    required=True,
)
CLUSTERS = _question("flotilla_clusters", "Clusters", "Names or patterns like shop-*, separated by commas. Empty for all.")
MAX_UNAVAILABLE = _question(
    "flotilla_max_unavailable", "Workers at a time", "A number or a part like 10% of each pool. Empty for what the definitions say."
)
DRAIN_MODE = _question(
    "flotilla_drain_mode",
    "Pods that do not go",
    "wait until the deadline and fail, or skip the node.",
    "multiplechoice",
    choices="\n".join(DRAIN_MODES),
)
SOAK_MINUTES = _question(
    "flotilla_soak_minutes",
    "Soak (minutes)",
    "How long a wave is watched. Empty for what the fleet file says.",
    "integer",
    min=0,
    max=10080,
)
MAX_FAILED = _question(
    "flotilla_max_failed_clusters",
    "Clusters of a wave that may fail",
    "Of a canary wave none may. Empty for what the fleet file says.",
    "integer",
    min=0,
    max=10000,
)
CHANGE_TICKET = _question("flotilla_change_ticket", "Change ticket", "Is told in the log of every job.")
WINDOW_END = _question("flotilla_window_end", "End of the window", "No cluster is begun after it, like 2026-12-01T06:00:00+01:00.")
CLUSTER = _question("flotilla_cluster_name", "Cluster", "Its name.", required=True)
PLAN = _question("flotilla_carried_plan", "Plan", "The artifact flotilla_carried_plan of a preflight job.", "textarea", required=True)
MACHINE = _question("flotilla_machine_name", "Machine", "The name of its Node.", required=True)
TAKEOVER = _question("flotilla_takeover", "Run to take over from", "Only if you know that it is dead. Else empty.")


def survey(questions: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return a survey's ``survey_spec``."""
    return {"name": "", "description": "", "spec": [dict(question) for question in questions]}
