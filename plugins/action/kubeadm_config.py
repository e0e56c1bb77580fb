# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of the module kubeadm_config: it checks the configuration (private to flotilla.kubernetes)."""

from __future__ import annotations

from ansible.plugins.action.normal import ActionModule as Module
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._kubeadm_documents import CheckedDocuments


class ActionModule(CheckedDocuments, Module):
    """An API server or kubelet that does not know an argument would not come back after the change."""
