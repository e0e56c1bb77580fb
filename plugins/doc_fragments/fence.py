# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  fence:
    description:
      - The run that this task belongs to, as the filter P(flotilla.kubernetes.run_fence#filter) returns it. It is refused when a later
        run has taken the node with M(flotilla.kubernetes.node_fence). Without it nothing is checked.
      - Playbooks set it once, by C(module_defaults) for the group C(flotilla.kubernetes.fenced).
    type: dict
    default: {}
    suboptions:
      run:
        description: Name of the run.
        type: str
        default: ""
      generation:
        description: How many runs took the cluster before it, and one.
        type: int
        default: 0
"""
