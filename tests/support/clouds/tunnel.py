# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that answers for a cloud's own addresses, for programs that know no others: it is their proxy."""

from __future__ import annotations

import ssl
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
