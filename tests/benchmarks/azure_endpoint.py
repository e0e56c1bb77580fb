# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resource Manager of the tests, as a server that answers each call late: `python azure_endpoint.py <file>`.

The file gets its URL and that of the authority that vouches for it. ``POST /_bench/<milliseconds>/<seconds>`` empties it, and sets how late
answers are and how long operations on machines take from then on; ``GET /_bench`` gives the number of calls since it was last asked.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from clouds import tls
from clouds.azure import endpoint, offers
from clouds.clock import Clock
from clouds.faults import Answer, Request
from clouds.wire import Wire


class Late:
    """:param endpoint: what answers."""

    def __init__(self, made: endpoint.Endpoint) -> None:
        self.endpoint = made
        self.latency = 0.0
        self.calls = 0
        self.lock = threading.Lock()

    def __call__(self, request: Request) -> Answer | None:
        if request.path == "/_bench":
            with self.lock:
                calls, self.calls = self.calls, 0
            return Answer(200, {}, json.dumps(calls).encode())
        if request.path.startswith("/_bench"):
            latency, seconds = (float(part) for part in request.path.split("/")[2:])
            self.latency = latency / 1000
            name, code, _make, _delete = endpoint.KINDS[endpoint.VM]
            endpoint.KINDS[endpoint.VM] = (name, code, seconds, seconds)
            self.endpoint.state = endpoint.State(page=200)
            return Answer(200, {}, b"")
        with self.lock:
            self.calls += 1
        time.sleep(self.latency)
        return self.endpoint(request)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        authority, own = tls.make_certificates(Path(folder))
        url = Wire().publish(Late(endpoint.Endpoint(Clock.create(Path(folder) / "clock", speed=1))))
        front = tls.Front(own)
        front.to = urllib.parse.urlsplit(url).port or 0
        environment = {
            "AZURE_CLOUD_ENVIRONMENT": front.url,
            "AZURE_TENANT": offers.TENANT,
            "AZURE_CLIENT_ID": offers.CLIENT,
            "AZURE_SECRET": offers.SECRET,
            "REQUESTS_CA_BUNDLE": str(authority),
        }
        ready = Path(sys.argv[1])
        new = ready.with_suffix(".new")
        new.write_text(json.dumps({"url": url, "environment": environment, "subscription": offers.SUBSCRIPTION}), encoding="utf-8")
        new.rename(ready)
        while True:
            time.sleep(3600)
