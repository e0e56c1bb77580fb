# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that answers for a cloud's own addresses, for programs that know no others: it is their proxy."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from clouds import tls
from clouds.faults import Request
from clouds.wire import Handler

GOOGLE = ("compute.googleapis.com", "www.googleapis.com")
AZURE = ("management.azure.com", "login.microsoftonline.com")


def make_certificate(folder: Path, *hosts: str) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate of these addresses; return the file of who vouches for it, and what shows it."""
    authority, own = tls.make_certificates(folder, *hosts)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    return authority, context


def serve(handler: Handler, context: ssl.SSLContext) -> ThreadingHTTPServer:
    """Return a server that is a proxy as well, and itself at the end of every tunnel."""

    class Tunnel(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_CONNECT(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
            self.close_connection = False

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply = handler(Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            assert reply
            self.send_response(reply.status)
            for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)
            self.wfile.flush()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    return Server(("127.0.0.1", 0), Tunnel)


def environment(url: str, authority: Path) -> dict[str, str]:
    """Return what a program has to have in its environment to find a cloud's own addresses at such a server."""
    both = {"https_proxy": url, "no_proxy": "127.0.0.1"}
    return {**both, **{name.upper(): value for name, value in both.items()}, "REQUESTS_CA_BUNDLE": str(authority)}


@contextlib.contextmanager
def proxied(handler: Handler, folder: Path, *hosts: str) -> Iterator[dict[str, str]]:
    """Serve a cloud's addresses by a thread of this process; give the environment for programs that know no others."""
    authority, context = make_certificate(folder, *hosts)
    server = serve(handler, context)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield environment(f"http://127.0.0.1:{server.server_port}", authority)
    finally:
        server.shutdown()
        server.server_close()
