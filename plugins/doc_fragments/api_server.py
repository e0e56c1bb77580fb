# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What modules take that ask the API server of the control plane on which they run."""

    ADDRESS = r"""
options:
  address:
    description: This control plane's own address, on which its API server listens.
    type: str
    required: true
"""

    USER = r"""
options:
  user:
    description: Name under which the API server's audit log records the calls.
    type: str
    default: flotilla
"""
