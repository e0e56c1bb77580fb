# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of the module cluster_addons: it shows the progress (private to flotilla.kubernetes)."""

from __future__ import annotations

from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._sliced import SlicedAction


class ActionModule(SlicedAction):
    """Add-ons that come up while Ansible waits."""
