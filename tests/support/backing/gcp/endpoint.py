# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoint of the contract suite, for machines that are real: `python -m backing.gcp.endpoint --help`.

Backends are as the backing says: ``PUT /_backing/health`` sets ``{URL of a backend service: {instance: [state, ...]}}``. What left a group
goes on with its open connections for as long as the backend service says, which the API itself does not show: ``GET /_backing/draining``
gives ``{URL of a group: [instance, ...]}``.
"""

from __future__ import annotations

import json
from typing import Any

from clouds.clock import Clock
from clouds.cloud import serve
from clouds.faults import Answer, Request
from clouds.gcp import endpoint, schema
from clouds.gcp.rules import ROOT, Body, short
from clouds.gcp.world import World

from backing.picture import HEALTHY


class RealWorld(World):
    def clear(self) -> None:
        super().clear()
        self.said: dict[str, dict[str, list[str]]] = {}
        # (URL of a group, instance) -> when it left
        self.left: dict[tuple[str, str], float] = {}

    def answers(self, service: str, group: str, link: str) -> bool:
        said = self.said.get(ROOT + service, {}).get(short(link))
        return bool(said) and said[0] == HEALTHY

    def _members(self, key: str, body: Body, add: bool) -> Body:
        operation = super()._members(key, body, add)
        for item in body["instances"]:
            at = (ROOT + key, short(item["instance"]))
            if add:
                self.left.pop(at, None)
            else:
                self.left[at] = self.clock.now()
        return operation

    def draining(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for _key, service in self.of("backendServices"):
            lasts = float(service["connectionDraining"].get("drainingTimeoutSec") or 0)
            for backend in service.get("backends", ()):
                for (group, name), since in self.left.items():
                    if group == backend["group"] and self.clock.now() - since < lasts:
                        found.setdefault(group, []).append(name)
        return found


class Endpoint(endpoint.Endpoint):
    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.world: RealWorld = RealWorld(clock)

    def __call__(self, request: Request) -> Answer:
        if not request.path.startswith("/_backing/"):
            return super().__call__(request)
        with self.lock:
            reply: Any = {}
            if request.path == "/_backing/health":
                self.world.said = json.loads(request.body)
            elif request.path == "/_backing/draining":
                reply = self.world.draining()
            return Answer(200, {"Content-Type": "application/json"}, json.dumps(reply).encode())


def create(clock: Clock) -> Endpoint:
    # Read the description before anybody waits for it.
    schema.description()
    return Endpoint(clock)


if __name__ == "__main__":
    serve(create)
