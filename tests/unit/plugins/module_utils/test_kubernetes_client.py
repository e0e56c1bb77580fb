# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of the Kubernetes API, where a server is busy."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import client as client_module
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.client import ApiError, Client


class Busy(HTTPServer):
    """A server that asks to come again so many times before it answers."""

    busy, asked, retry_after = 0, 0, "1"


class Handler(BaseHTTPRequestHandler):
    server: Busy

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked += 1
        refused = self.server.asked <= self.server.busy
        self.send_response(429 if refused else 200)
        if refused and self.server.retry_after:
            self.send_header("Retry-After", self.server.retry_after)
        body = json.dumps({"message": "storage is (re)initializing"} if refused else {"kind": "Node"}).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PATCH = do_DELETE = do_POST = answer

    def log_message(self, *_arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Busy]:
    made = Busy(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()


@pytest.fixture
def client(server: Busy, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(client_module.http.client, "HTTPSConnection", lambda host, port, context, timeout: _plain(host, port, timeout))
    return Client("127.0.0.1", server.server_port, ssl.create_default_context())


def _plain(host: str, port: int, timeout: float) -> Any:
    return client_module.http.client.HTTPConnection(host, port, timeout=timeout)


def test_a_server_that_asks_to_come_again_is_asked_again(server: Busy, client: Client) -> None:
    server.busy = 2
    assert client.get("/api/v1/nodes/a") == {"kind": "Node"} and server.asked == 3


def test_patience_ends(server: Busy, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(client_module.time, "sleep", pauses.append)
    server.busy, server.retry_after = 100, "3600"
    with pytest.raises(ApiError, match="storage is") as caught:
        client.get("/api/v1/nodes/a")
    assert caught.value.status == 429 and server.asked == 6 and pauses == [5] * 5, "nobody waits an hour without a word"


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_an_answer_to_an_eviction_and_one_without_a_time_are_answers(server: Busy, client: Client, method: str) -> None:
    server.busy, server.retry_after = 1, "10" if method == "POST" else ""
    with pytest.raises(ApiError):
        client.request(method, "/api/v1/namespaces/shop/pods/a/eviction", {} if method == "POST" else None)
    assert server.asked == 1


def test_what_is_not_there_is_none(server: Busy, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.find("/api/v1/nodes/a") == {"kind": "Node"}

    def refuse(status: int) -> Any:
        def get(_path: str) -> Any:
            raise ApiError(status, "GET", "/", "{}")

        return get

    monkeypatch.setattr(client, "get", refuse(404))
    assert client.find("/api/v1/nodes/a") is None
    monkeypatch.setattr(client, "get", refuse(403))
    with pytest.raises(ApiError):
        client.find("/api/v1/nodes/a")
