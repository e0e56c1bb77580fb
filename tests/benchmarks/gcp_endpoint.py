# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute Engine of the tests, as a server that counts calls and answers each of them late: `python gcp_endpoint.py <file>`.

The file gets its address. ``POST /_bench/<milliseconds>/<seconds>`` empties it, forgets what was counted, and sets how late answers are
and how long operations on machines take from then on; ``GET /_bench`` gives the number of calls since it was last asked, by their method.

As a proxy it answers for Google's own addresses, too, for programs that know no others; ``<file>.pem`` gets who vouches for it.
"""

from __future__ import annotations

import collections
import datetime
import json
import ssl
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from clouds.clock import Clock
from clouds.faults import Answer, Request
from clouds.gcp import schema, world
from clouds.gcp.dialect import GcpDialect
from clouds.gcp.endpoint import Endpoint
from clouds.wire import Handler


class Counted:
    """:param endpoint: what answers."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.dialect = GcpDialect()
        self.calls: collections.Counter[str] = collections.Counter()
        self.latency = 0.0
        self.lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        if request.path.startswith("/_bench"):
            with self.lock:
                counted = dict(self.calls)
                self.calls.clear()
                if request.method == "POST":
                    latency, seconds = (float(part) for part in request.path.split("/")[2:])
                    self.latency = latency / 1000
                    world.MACHINE = world.ENDING = seconds
                    self.endpoint.world.clear()
            return Answer(200, {"Content-Type": "application/json"}, json.dumps(counted).encode())
        with self.lock:
            self.calls[self.dialect.call(request).action] += 1
        time.sleep(self.latency)
        return self.endpoint(request)


def certificate(path: Path) -> ssl.SSLContext:
    """Write a certificate of Google's own addresses, which vouches for itself, and return what shows it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gcp_endpoint")])
    now = datetime.datetime.now(datetime.timezone.utc)
    hosts = x509.SubjectAlternativeName([x509.DNSName(f"{host}.googleapis.com") for host in ("compute", "www")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(hosts, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = path.with_suffix(".key")
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, private)
    return context


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
            self.wfile.write(reply.body)
            self.wfile.flush()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    return Server(("127.0.0.1", 0), Tunnel)


if __name__ == "__main__":
    schema.description()
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(sys.argv[1])
        endpoint = Counted(Endpoint(Clock.create(Path(folder) / "clock", speed=1)))
        server = serve(endpoint, certificate(ready.with_suffix(".pem")))
        url = f"http://127.0.0.1:{server.server_port}"
        new = ready.with_suffix(".new")
        new.write_text(url, encoding="utf-8")
        new.rename(ready)
        server.serve_forever()
