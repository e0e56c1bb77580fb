# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project of the contract suite at an endpoint that can be backed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from clouds.clock import Clock
from clouds.cloud import program
from clouds.gcp.account import GcpEndpoint
from clouds.wire import Handler


class Account(GcpEndpoint):
    @contextlib.contextmanager
    def endpoint(self, clock: Clock, folder: Path) -> Iterator[Handler | str]:
        self.folder, self.clock = folder, clock
        with program("backing.gcp.endpoint", clock, folder) as url:
            yield url
