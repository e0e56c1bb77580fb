# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP between the code under test and an endpoint: through memory inside the test's process, through a socket from any other one.

An SDK notices no difference: it writes its requests to what `socket.create_connection` gives it, and reads bytes or a broken connection.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import itertools
import socket
import struct
import threading
import traceback
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock

import urllib3.util.connection

from clouds.faults import Answer, Request

Handler = Callable[[Request], "Answer | None"]
"""Answers a request, or breaks the connection with None."""
_PORTS = itertools.count(1)
"""Nobody listens there. Each is used once, because SDKs keep connections."""


def _answered(handler: Handler, request: Request) -> Answer | None:
    try:
        return handler(request)
    except Exception:  # noqa: BLE001  as a server's
        return Answer(500, {"Content-Type": "text/plain"}, traceback.format_exc().encode())


class _Broken(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: Any) -> int:
        raise ConnectionResetError(104, "Connection reset by peer")


class _Connection:
    """What `http.client` and urllib3 use of a socket. A request is answered as soon as it is there, whether or not its answer is read."""

    # For those who ask whether the other side has closed it.
    _quiet = socket.socketpair()

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._received = b""
        self._answer: Answer | None = None
        self._method = ""

    def sendall(self, data: Any, _flags: int = 0) -> None:
        self._received += bytes(data)
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        first, *lines = head.decode("latin1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _colon, value in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding") or len(body) < int(headers.get("content-length") or 0):
            return
        self._received = b""
        self._method, path, _version = first.split(" ", 2)
        self._answer = _answered(self._handler, Request(self._method, path, headers, body))

    def makefile(self, *_arguments: Any, **_options: Any) -> io.BufferedReader:
        answer, self._answer = self._answer, None
        if answer is None:
            return io.BufferedReader(_Broken())
        lines = [f"HTTP/1.1 {answer.status} {http.HTTPStatus(answer.status).phrase}", f"Content-Length: {len(answer.body)}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin1")
        return io.BufferedReader(io.BytesIO(head + (b"" if self._method == "HEAD" else answer.body)))  # type: ignore[arg-type]

    def fileno(self) -> int:
        return self._quiet[0].fileno()

    def gettimeout(self) -> None:
        return None

    def settimeout(self, _seconds: float | None) -> None:
        """An answer is there before anybody waits for it."""

    def setsockopt(self, *_arguments: Any) -> None:
        """There is nothing to set."""

    def shutdown(self, _how: int) -> None:
        """There is nothing to close."""

    def close(self) -> None:
        """There is nothing to close."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    handler: Handler

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what these tests are about."""


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One segment per answer: with several, delayed acknowledgements cost 40 ms.
    wbufsize = -1
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        answer = _answered(self.server.handler, request)
        if answer is None:
            # RST instead of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.rfile.close()
            self.connection.close()
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _handle


class Wire:
    """The addresses of a test, and who answers there."""

    def __init__(self) -> None:
        self._handlers: dict[tuple[str, int], Handler] = {}
        self._servers: list[_Server] = []

    def publish(self, handler: Handler, private: bool = False) -> str:
        """Return the URL of a handler.

        :param private: whether only this process reaches it.
        """
        if private:
            port = next(_PORTS)
        else:
            server = _Server(("127.0.0.1", 0), _Requests)
            server.handler = handler
            port = server.server_address[1]
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self._servers.append(server)
        self._handlers["127.0.0.1", port] = handler
        return f"http://127.0.0.1:{port}"

    def forget(self) -> None:
        """Use sockets only: for a process that was split off this one."""
        self._handlers.clear()

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        connect, connect_3 = socket.create_connection, urllib3.util.connection.create_connection

        def found(address: tuple[str, int]) -> Handler | None:
            return self._handlers.get((address[0], int(address[1])))

        def create(address: tuple[str, int], *arguments: Any, **options: Any) -> Any:
            handler = found(address)
            return _Connection(handler) if handler else connect(address, *arguments, **options)

        def create_3(address: tuple[str, int], *arguments: Any, **options: Any) -> Any:
            handler = found(address)
            return _Connection(handler) if handler else connect_3(address, *arguments, **options)

        try:
            with mock.patch.object(socket, "create_connection", create):
                with mock.patch.object(urllib3.util.connection, "create_connection", create_3):
                    yield
        finally:
            for server in self._servers:
                server.shutdown()
                server.server_close()


def forward(url: str) -> Handler:
    """Return a handler that asks a server, for endpoints that are programs of their own."""

    class Plain(http.client.HTTPConnection):
        """One that an `edge.Edge` does not watch: it is not the one of the code under test."""

        endheaders, getresponse = http.client.HTTPConnection.endheaders, http.client.HTTPConnection.getresponse

    there = urllib.parse.urlsplit(url)
    dropped = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date", "expect"}

    def ask(request: Request) -> Answer:
        connection = Plain(there.hostname or "", there.port, timeout=300)
        try:
            connection.request(
                request.method, request.path, request.body, {name: value for name, value in request.headers.items() if name not in dropped}
            )
            response = connection.getresponse()
            body = response.read()
            return Answer(response.status, {name: value for name, value in response.getheaders() if name.lower() not in dropped}, body)
        finally:
            connection.close()

    return ask
