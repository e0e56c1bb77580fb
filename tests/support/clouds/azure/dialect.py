# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Azure Resource Manager and its sign-in say things on the wire, for the proxy."""

from __future__ import annotations

import json
import re
import urllib.parse

from clouds.faults import Answer, Call, Request

JSON = {"Content-Type": "application/json; charset=utf-8"}
LOGIN = "login"


class AzureDialect:
    def call(self, request: Request) -> Call:
        url = urllib.parse.urlsplit(request.path)
        path = urllib.parse.unquote(url.path)
        if not path.lower().startswith("/subscriptions/"):
            return Call(f"{LOGIN} {request.method} {path.rpartition('/')[2]}", False, f"{request.method} {path}")
        action = f"{request.method} {_kind(path)}"
        mutates = request.method not in ("GET", "HEAD") and not path.endswith("/health")
        return Call(action, mutates, "" if mutates else f"{request.method} {path.lower()}?{url.query}")

    def _error(self, call: Call, status: int, code: str, message: str) -> Answer:
        body = (
            {"error": code, "error_description": message}
            if call.action.startswith(LOGIN)
            else {"error": {"code": code, "message": message}}
        )
        return Answer(status, {**JSON, "Retry-After": "2"} if status == 429 else JSON, json.dumps(body).encode())

    def throttled(self, call: Call) -> Answer:
        return self._error(call, 429, "TooManyRequests", "The request is being throttled as the limit has been reached.")

    def broken(self, call: Call) -> Answer:
        return self._error(call, 503, "ServiceUnavailable", "The service is temporarily unavailable. Please try again later.")

    def created(self, call: Call, answer: Answer) -> set[str]:
        made = json.loads(answer.body or b"{}") if call.action.startswith("PUT ") and answer.status == 201 else {}
        return {str(made["id"]).lower()} if made.get("id") else set()

    def hide(self, call: Call, request: Request, answer: Answer, young: set[str]) -> Answer:
        if answer.status >= 400 or call.action.startswith(LOGIN):
            return answer
        path = urllib.parse.unquote(urllib.parse.urlsplit(request.path).path).lower()
        hidden = next((number for number in young if path == number or path.startswith(f"{number}/")), None)
        if hidden:
            code = "ResourceNotFound" if "/providers/" in hidden else "ResourceGroupNotFound"
            return self._error(call, 404, code, f"'{hidden}' could not be found.")
        body = json.loads(answer.body or b"{}")
        if not isinstance(body, dict) or not isinstance(body.get("value"), list):
            return answer
        body["value"] = [item for item in body["value"] if str(item.get("id", "")).lower() not in young]
        return Answer(answer.status, answer.headers, json.dumps(body).encode())


def _kind(path: str) -> str:
    """Return what a path is about, without the names in it."""
    if re.search(r"/operations/", path, re.I):
        return "operations"
    head, found, tail = path.rpartition("/providers/")
    if not found:
        parts = path.split("/")
        return "/".join(part for number, part in enumerate(parts[3:]) if number != 1)
    parts = tail.split("/")
    kind = "/".join([parts[0], *parts[1::2]])
    return f"{kind} of all" if len(parts) % 2 == 0 and "/locations/" not in path else kind
