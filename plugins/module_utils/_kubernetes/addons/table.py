# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-ons that this release installs (private to flotilla.kubernetes). Pure; Python 3.9, standard library only.

Adding one is one file next to this one, one entry below, its version in the bundle's catalogue and how it is compiled.
"""

from __future__ import annotations

from .local_path import LOCAL_PATH
from .metallb import METALLB
from .metrics_server import METRICS_SERVER
from .model import Addon
from .prometheus import NODE_EXPORTER, PROMETHEUS

# Where definitions have those of the users' own, which a bundle has nothing of.
OWN = "own"
# In the order in which they are installed; they are removed in the opposite one.
ADDONS: dict[str, Addon] = {addon.name: addon for addon in (METRICS_SERVER, LOCAL_PATH, METALLB, NODE_EXPORTER, PROMETHEUS)}
