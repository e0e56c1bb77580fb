# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of the module `node_files`: copies what the machine lacks between the module's two calls."""

from __future__ import annotations

from ..plugin_utils._delivery import DeliveryAction


class ActionModule(DeliveryAction):
    module = "flotilla.kubernetes.node_files"
