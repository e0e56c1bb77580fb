# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Google says things on the wire, for the proxy."""

from __future__ import annotations

import json
import urllib.parse
from dataclasses import dataclass
from typing import Any

from clouds.faults import Answer, Call, Request
from clouds.gcp import schema
from clouds.gcp.endpoint import error
from clouds.gcp.rules import ROOT

READS = ("wait", "getHealth", "listInstances")
"""Methods that are sent as POST and change nothing."""


@dataclass(frozen=True)
class GcpCall(Call):
    """:param makes: URLs, without their beginning, of what it makes if it is done."""

    makes: frozenset[str] = frozenset()


class GcpDialect:
    def call(self, request: Request) -> GcpCall:
        path, _mark, query = request.path.partition("?")
        if path == "/token":
            return GcpCall("oauth2.token", False, f"token {request.body!r}")
        try:
            method, _place, _query, body = schema.understand(request.method, request.path, request.body)
        except schema.Refusal:
            return GcpCall(f"unknown {request.method}", request.method != "GET", "" if request.method != "GET" else request.path)
        name, place = f"{method.resource}.{method.name}", path.removeprefix(schema.PREFIX)
        if request.method == "GET" or method.name in READS:
            asked = urllib.parse.urlencode(sorted(urllib.parse.parse_qsl(query)))
            return GcpCall(name, False, f"{request.method} {place} {asked} {request.body!r}")
        makes = set[str]()
        if method.name == "insert":
            makes = {f"{place}/{body.get('name')}"}
        elif method.name == "bulkInsert":
            makes = {f"{place.removesuffix('/bulkInsert')}/{made}" for made in body.get("perInstanceProperties", {})}
        return GcpCall(name, True, "", frozenset(makes))

    def throttled(self, call: Call) -> Answer:
        return error(403, "rateLimitExceeded", "Rate Limit Exceeded")

    def broken(self, call: Call) -> Answer:
        if call.action == "oauth2.token":
            return Answer(503, {"Content-Type": "application/json"}, b'{"error": "internal_failure"}')
        return error(503, "backendError", "Internal error. Please try again or contact Google Support.")

    def created(self, call: Call, answer: Answer) -> set[str]:
        return set(call.makes) if isinstance(call, GcpCall) else set()

    def hide(self, call: Call, request: Request, answer: Answer, young: set[str]) -> Answer:
        if answer.status >= 400 or ".wait" in call.action or "perations" in call.action or call.action == "oauth2.token":
            return answer
        path = request.path.partition("?")[0].removeprefix(schema.PREFIX)
        if path in young:
            return error(404, "notFound", f"The resource '{path}' was not found")
        body = json.loads(answer.body)
        items = body.get("items")
        if isinstance(items, list):
            body["items"] = [item for item in items if not _young(item, young)]
        elif isinstance(items, dict):
            for scope in items.values():
                for name, value in scope.items():
                    if isinstance(value, list):
                        scope[name] = [item for item in value if not _young(item, young)]
        return Answer(answer.status, answer.headers, json.dumps(body).encode())


def _young(item: dict[str, Any], young: set[str]) -> bool:
    return str(item.get("selfLink", "")).removeprefix(ROOT) in young
