# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The subscription of the contract suite at an endpoint that can be backed."""

from __future__ import annotations

import contextlib
from pathlib import Path

from clouds.azure.account import AzureEndpoint
from clouds.clock import Clock
from clouds.cloud import program
from clouds.wire import Handler


class Account(AzureEndpoint):
    def _answering(self, clock: Clock, folder: Path) -> contextlib.AbstractContextManager[Handler | str]:
        return program("backing.azure.endpoint", clock, folder)
