# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoint of the contract suite, for machines that are real: `python -m backing.azure.endpoint --help`.

Members are as the backing says: ``PUT /_backing/healthy`` sets a list of private addresses. Custom data never comes back from the API:
``GET /_backing/custom-data`` gives ``{unique id of a machine: base64}``.
"""

from __future__ import annotations

import json
from typing import Any

from clouds.azure import endpoint
from clouds.clock import Clock
from clouds.cloud import serve
from clouds.faults import Answer, Request


class Endpoint(endpoint.Endpoint):
    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.healthy: set[str] = set()

    def _answers(self, address: str) -> bool:
        return address in self.healthy

    def __call__(self, request: Request) -> Answer | None:
        if not request.path.startswith("/_backing/"):
            return super().__call__(request)
        with self._lock:
            reply: Any = {}
            if request.path == "/_backing/healthy":
                self.healthy = set(json.loads(request.body))
            elif request.path == "/_backing/custom-data":
                machines = [doc for doc in self.state.things.values() if doc["type"].lower() == endpoint.VM]
                reply = {doc["properties"]["vmId"]: doc["_customData"] or "" for doc in machines}
            return Answer(200, {"Content-Type": "application/json"}, json.dumps(reply).encode())


if __name__ == "__main__":
    serve(Endpoint)
