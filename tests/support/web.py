# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real site has in front of its machines: a certificate authority, web servers with a login, and a proxy that asks for one.

Imports nothing of plugins/, so that a test judges the product by what these have seen.
"""

from __future__ import annotations

import base64
import http.client
import http.server
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


class Authority:
    """A private certificate authority in a folder."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self._folder = folder
        self.certificate, self._key = folder / "ca.pem", folder / "ca.key"
        folder.mkdir(parents=True, exist_ok=True)
        _openssl("req", "-x509", *_NEW_KEY, "-days", "2", "-subj", f"/CN={name}", "-keyout", str(self._key), "-out", str(self.certificate))

    def issue(self, *addresses: str) -> tuple[Path, Path]:
        """Return certificate and key of a server with these names or addresses."""
        stem = addresses[0].replace(":", "_")
        certificate, key, request = (self._folder / f"{stem}.{suffix}" for suffix in ("pem", "key", "csr"))
        names = ",".join(f"{'IP' if text.replace('.', '').isdigit() else 'DNS'}:{text}" for text in addresses)
        extensions = self._folder / f"{stem}.ext"
        extensions.write_text(f"subjectAltName={names}\n", encoding="ascii")
        _openssl("req", *_NEW_KEY, "-subj", f"/CN={addresses[0]}", "-keyout", str(key), "-out", str(request))
        _openssl(
            "x509", "-req", "-in", str(request), "-days", "2", "-CA", str(self.certificate), "-CAkey", str(self._key),
            "-CAcreateserial", "-extfile", str(extensions), "-out", str(certificate),
        )  # fmt: skip
        return certificate, key


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@contextmanager
def serving(server: Any) -> Iterator[Any]:
    """Run a server in a thread."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    context: ssl.SSLContext | None = None

    def server_bind(self) -> None:
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.context:
            request = self.context.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass

    @property
    def port(self) -> int:
        return self.server_address[1]


class WebServer(_Server):
    """Serves a folder as it is and counts; ``requests`` are (path, status, range), ``sent`` is bytes.

    :param login: user name and password that it asks for.
    :param tls: certificate and key.
    :param ranges: whether it can go on where a client stopped.
    :param spoil: called with the path and the content of each answer; returns what is sent, which may be shorter.
    """

    def __init__(
        self,
        folder: Path,
        address: str = "127.0.0.1",
        port: int = 0,
        login: tuple[str, str] | None = None,
        tls: tuple[Path, Path] | None = None,
        ranges: bool = True,
        spoil: Callable[[str, bytes], bytes] | None = None,
    ) -> None:
        self.folder, self.login, self.ranges, self.spoil = folder, login, ranges, spoil
        self.requests: list[tuple[str, int, str]] = []
        self.clients: list[str] = []
        self.sent = 0
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*tls)
        super().__init__((address, port), _Files)


class _Files(http.server.BaseHTTPRequestHandler):
    server: WebServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        server.clients.append(self.client_address[0])
        asked = self.headers.get("Range", "")
        path = server.folder / urlsplit(self.path).path.lstrip("/")
        if server.login and self.headers.get("Authorization") != basic(*server.login):
            return self._answer(401, b"", asked, {"WWW-Authenticate": 'Basic realm="test"'})
        if not path.is_file():
            return self._answer(404, b"", asked)
        content, more, status = path.read_bytes(), {}, 200
        if asked and server.ranges:
            offset = int(asked.removeprefix("bytes=").rstrip("-"))
            if offset >= len(content):
                return self._answer(416, b"", asked)
            more, status = {"Content-Range": f"bytes {offset}-{len(content) - 1}/{len(content)}"}, 206
            content = content[offset:]
        return self._answer(status, content, asked, more)

    def _answer(self, status: int, content: bytes, asked: str, more: dict[str, str] | None = None) -> None:
        self.server.requests.append((self.path, status, asked))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Connection": "close", **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if status in (200, 206) and self.server.spoil:
            content = self.server.spoil(self.path, content)
        self.server.sent += len(content)
        self.wfile.write(content)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Proxy(_Server):
    """An HTTP proxy that asks for a login; ``seen`` are (method, target, status) of every request.

    :param hosts: names that only the proxy knows -> address and port.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        port: int = 0,
        login: tuple[str, str] | None = None,
        hosts: dict[str, tuple[str, int]] | None = None,
    ) -> None:
        self.login, self.hosts = login, hosts or {}
        self.seen: list[tuple[str, str, int]] = []
        super().__init__((address, port), _Tunnel)


class _Tunnel(http.server.BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def do_CONNECT(self) -> None:
        host, _colon, port = self.path.rpartition(":")
        self._pass_on(host.strip("[]"), int(port), b"")

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        keep = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
        lines = [f"{self.command} {parts.path or '/'}{'?' + parts.query if parts.query else ''} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in keep.items()]
        self._pass_on(parts.hostname or "", parts.port or 80, ("\r\n".join(lines) + "\r\n\r\n").encode())

    do_HEAD = do_GET

    def _pass_on(self, host: str, port: int, first: bytes) -> None:
        self.close_connection = True
        if self.server.login and self.headers.get("Proxy-Authorization") != basic(*self.server.login):
            self.server.seen.append((self.command, self.path, 407))
            self.wfile.write(
                b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="test"\r\nContent-Length: 0\r\n\r\n'
            )
            return
        try:
            there = socket.create_connection(self.server.hosts.get(host, (host, port)), timeout=20)
        except OSError:
            self.server.seen.append((self.command, self.path, 502))
            self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        self.server.seen.append((self.command, self.path, 200))
        with there:
            if first:
                there.sendall(first)
            else:
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _pump(self.connection, there)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Gate(_Server):
    """Stands before a server that knows neither TLS nor logins; ``seen`` are (path, status) of every request."""

    def __init__(self, behind: tuple[str, int], tls: tuple[Path, Path], login: tuple[str, str], address: str = "127.0.0.1") -> None:
        self.behind, self.login = behind, login
        self.seen: list[tuple[str, int]] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*tls)
        super().__init__((address, 0), _Guard)


class _Guard(http.server.BaseHTTPRequestHandler):
    server: Gate
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        headers = dict(self.headers.items())
        if headers.pop("Authorization", "") != basic(*self.server.login):
            return self._answer(401, {"WWW-Authenticate": 'Basic realm="test"'}, b"")
        connection = http.client.HTTPConnection(*self.server.behind, timeout=60)
        connection.request(self.command, self.path, headers=headers)
        response = connection.getresponse()
        return self._answer(response.status, dict(response.getheaders()), response.read())

    do_HEAD = do_GET

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.server.seen.append((self.path, status))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers, "Connection": "close"}.items():
            if name.lower() != "transfer-encoding":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Hand on what comes until one side ends."""
    while True:
        ready, _write, _bad = select.select([one, other], [], [], 60)
        if not ready:
            return
        for source in ready:
            data = source.recv(1 << 16)
            if not data:
                return
            (other if source is one else one).sendall(data)
