# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resource Manager of the tests for benchmarks (`late`): `python azure_endpoint.py <file>`."""

from __future__ import annotations

import sys
from pathlib import Path

import late
from clouds import tunnel
from clouds.azure import endpoint
from clouds.azure.dialect import AzureDialect
from clouds.clock import Clock

PAGE = 200

if __name__ == "__main__":
    ready = Path(sys.argv[1])
    made = endpoint.Endpoint(Clock.create(ready.with_name("clock"), speed=1))

    def empty(seconds: float) -> None:
        name, code, _make, _delete = endpoint.KINDS[endpoint.VM]
        endpoint.KINDS[endpoint.VM] = (name, code, seconds, seconds)
        made.state = endpoint.State(page=PAGE)

    late.serve(ready, late.Late(made, AzureDialect(), empty), *tunnel.AZURE)
