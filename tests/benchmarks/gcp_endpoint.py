# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute Engine of the tests for benchmarks (`late`): `python gcp_endpoint.py <file>`."""

from __future__ import annotations

import sys
from pathlib import Path

import late
from clouds import tunnel
from clouds.clock import Clock
from clouds.gcp import schema, world
from clouds.gcp.dialect import GcpDialect
from clouds.gcp.endpoint import Endpoint

if __name__ == "__main__":
    schema.description()
    ready = Path(sys.argv[1])
    endpoint = Endpoint(Clock.create(ready.with_name("clock"), speed=1))

    def empty(seconds: float) -> None:
        world.MACHINE = world.ENDING = seconds
        endpoint.world.clear()

    late.serve(ready, late.Late(endpoint, GcpDialect(), empty), *tunnel.GOOGLE)
