# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible loads callback plugins that lie beside a playbook, imported or not, without configuration; so every run of ours has a report."""

from __future__ import annotations

DOCUMENTATION = r"""
name: flotilla_run_report
type: notification
short_description: P(flotilla.kubernetes.run_report#callback) for the playbooks that lie here
description:
  - See P(flotilla.kubernetes.run_report#callback).
"""

from pathlib import Path

from ansible_collections.flotilla.kubernetes.plugins.callback import run_report

# They change no cluster themselves, and there is nothing to tell of them.
QUIET = frozenset(
    (
        "bundle_build",
        "bundle_verify",
        "cluster_plan",
        "cluster_status",
        "fleet_plan",
        "fleet_run",
        "fleet_status",
        "fleet_upgrade",
        "kubeconfig",
        "validate",
    )
)


class CallbackModule(run_report.CallbackModule):
    """The report of a run of one of these playbooks."""

    CALLBACK_NAME = "flotilla_run_report"
    CALLBACK_NEEDS_ENABLED = False

    def reports(self, playbook: Path) -> bool:
        """Return whether the playbook is one of those that change a cluster."""
        return playbook.resolve().parent == Path(__file__).resolve().parents[1] and playbook.stem not in QUIET
