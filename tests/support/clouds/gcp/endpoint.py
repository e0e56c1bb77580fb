# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A strict Compute Engine.

``PUT /_endpoint/limits`` sets ``{"capacity": {zone: machines that still fit}, "quota": {metric: limit}, "page": things per page}``;
``PUT /_endpoint/reset`` empties all projects; ``GET /_endpoint/inventory`` gives everything that there is, ready or not.
"""

from __future__ import annotations

import base64
import json
import threading
import urllib.parse
from collections.abc import Callable
from typing import Any

from clouds.clock import Clock
from clouds.faults import Answer, Request
from clouds.gcp import schema
from clouds.gcp.schema import PREFIX, Refusal
from clouds.gcp.world import World

TOKEN = "fake-token-"
WAIT = 120.0
"""Seconds that a ``wait`` takes at most."""


def _json(status: int, body: Any) -> Answer:
    return Answer(status, {"Content-Type": "application/json; charset=UTF-8"}, json.dumps(body).encode())


def error(status: int, reason: str, message: str) -> Answer:
    """Return an error as Google writes it."""
    first = {"message": message, "domain": "usageLimits" if "ateLimit" in reason else "global", "reason": reason}
    return _json(status, {"error": {"code": status, "message": message, "errors": [first]}})


def _claims(token: str) -> dict[str, Any]:
    """Return what a token says that is signed by RSA, or nothing for one that is none."""
    try:
        header, claims, _signature = token.split(".")
        parts = [json.loads(base64.urlsafe_b64decode(part + "==")) for part in (header, claims)]
    except ValueError:
        return {}
    return dict(parts[1]) if parts[0].get("alg") == "RS256" else {}


class Endpoint:
    """:param clock: by which everything here lasts."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.world = World(clock)
        self.lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        path = request.path.partition("?")[0]
        try:
            if path == "/token":
                return self._sign_in(request)
            if path.startswith("/_endpoint/"):
                return self._arrange(path, request)
            if not self._known(request.headers.get("authorization", "")):
                raise Refusal(401, "required", "Login Required.")
            method, place, query, body = schema.understand(request.method, request.path, request.body)
            key = urllib.parse.unquote(path.removeprefix(PREFIX))
            if method.name == "wait":
                self._wait(key)
            with self.lock:
                return _json(200, self.world.answer(method, place, query, body, key))
        except Refusal as refusal:
            return error(refusal.status, refusal.reason, refusal.message)

    def _wait(self, key: str) -> None:
        end = self.clock.now() + WAIT
        while True:
            with self.lock:
                left = min(self.world.unfinished(key), end - self.clock.now())
            if left <= 0:
                return
            self.clock.sleep(left)

    def _known(self, authorization: str) -> bool:
        """Tell whether a request shows a token from here, or one that a service account has signed for itself.

        https://google.aip.dev/auth/4111
        """
        token = authorization.removeprefix("Bearer ")
        if token.startswith(TOKEN):
            return True
        claims = _claims(token)
        # When it ends is not looked at: google-auth goes by a clock that tests do not have in hand.
        return "@" in str(claims.get("iss")) and bool(claims.get("scope") or claims.get("aud"))

    def _sign_in(self, request: Request) -> Answer:
        """Give a token for a signed statement: https://developers.google.com/identity/protocols/oauth2/service-account."""
        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        said = _claims(form.get("assertion", ""))
        good = said.get("iss") and "auth/" in str(said.get("scope"))
        if not good or form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return _json(400, {"error": "invalid_grant", "error_description": "Invalid JWT."})
        return _json(200, {"access_token": f"{TOKEN}{said['iss']}", "expires_in": 3599, "token_type": "Bearer"})

    def _arrange(self, path: str, request: Request) -> Answer:
        with self.lock:
            world = self.world
            if path == "/_endpoint/limits":
                limits = json.loads(request.body)
                world.capacity, world.quota = limits.get("capacity", {}), limits.get("quota", {})
                world.page = limits.get("page", world.page)
            elif path == "/_endpoint/reset":
                world.clear()
            elif path == "/_endpoint/inventory":
                world.settle()
                return _json(200, {key: {**thing.body, "_users": sorted(thing.users)} for key, thing in world.things.items()})
            return _json(200, {})


def create(clock: Clock) -> Callable[[Request], Answer]:
    """Return an endpoint for this process."""
    return Endpoint(clock)
