# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute Engine of the tests, as a server that counts calls and answers each of them late: `python gcp_endpoint.py <file>`.

The file gets its address. ``POST /_bench/<milliseconds>/<seconds>`` empties it, forgets what was counted, and sets how late answers are
and how long operations on machines take from then on; ``GET /_bench`` gives the number of calls since it was last asked, by their method.

As a proxy it answers for Google's own addresses, too, for programs that know no others; ``<file>.pem`` gets who vouches for it.
"""

from __future__ import annotations

import collections
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from clouds import tunnel
from clouds.clock import Clock
from clouds.faults import Answer, Request
from clouds.gcp import schema, world
from clouds.gcp.dialect import GcpDialect
from clouds.gcp.endpoint import Endpoint


class Counted:
    """:param endpoint: what answers."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.dialect = GcpDialect()
        self.calls: collections.Counter[str] = collections.Counter()
        self.latency = 0.0
        self.lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        if request.path.startswith("/_bench"):
            with self.lock:
                counted = dict(self.calls)
                self.calls.clear()
                if request.method == "POST":
                    latency, seconds = (float(part) for part in request.path.split("/")[2:])
                    self.latency = latency / 1000
                    world.MACHINE = world.ENDING = seconds
                    self.endpoint.world.clear()
            return Answer(200, {"Content-Type": "application/json"}, json.dumps(counted).encode())
        with self.lock:
            self.calls[self.dialect.call(request).action] += 1
        time.sleep(self.latency)
        return self.endpoint(request)


if __name__ == "__main__":
    schema.description()
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(sys.argv[1])
        endpoint = Counted(Endpoint(Clock.create(Path(folder) / "clock", speed=1)))
        authority, context = tunnel.make_certificate(Path(folder), *tunnel.GOOGLE)
        ready.with_suffix(".pem").write_bytes(authority.read_bytes())
        server = tunnel.serve(endpoint, context)
        url = f"http://127.0.0.1:{server.server_port}"
        new = ready.with_suffix(".new")
        new.write_text(url, encoding="utf-8")
        new.rename(ready)
        server.serve_forever()
