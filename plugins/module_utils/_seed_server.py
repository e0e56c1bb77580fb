# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server by which a node hands files of a bundle on to the others of its zone (private to flotilla.kubernetes).

A program of its own: `_seed.py` writes this file to the node and starts it as a transient systemd unit. It serves what lies in one folder,
by TLS, to whoever has the token, and ends when it is told to or when nobody has come for a while. Python 3.9, standard library only.
"""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import re
import shutil
import socket
import socketserver
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        name = self.path.strip("/")
        if not self._allowed():
            return
        path = self.server.folder / name
        if not re.fullmatch("[0-9a-f]{64}", name) or not path.is_file():
            self._end(404)
            return
        size = path.stat().st_size
        asked = re.fullmatch(r"bytes=([0-9]+)-", self.headers.get("Range", ""))
        offset = int(asked[1]) if asked else 0
        if asked and offset >= size:
            self._end(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(size - offset))
        if asked:
            self.send_header("Content-Range", f"bytes {offset}-{size - 1}/{size}")
        self.end_headers()
        with path.open("rb") as file:
            file.seek(offset)
            for piece in iter(lambda: file.read(1 << 20), b""):
                self.wfile.write(piece)
                self.server.last_seen = time.monotonic()

    def do_DELETE(self) -> None:
        if self._allowed():
            self._end(204)
            threading.Thread(target=self.server.shutdown).start()

    def _allowed(self) -> bool:
        self.server.last_seen = time.monotonic()
        token = self.headers.get("Authorization", "").partition("Bearer ")[2]
        if hmac.compare_digest(hashlib.sha256(token.encode()).hexdigest(), self.server.token_digest):
            return True
        self._end(403)
        return False

    def _end(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a line per file and node helps nobody."""


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def __init__(self, config: dict[str, Any]) -> None:
        self.folder = Path(config["folder"])
        self.token_digest = config["token_digest"]
        self.last_seen = time.monotonic()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(config["certificate"], config["key"])
        self._context = context
        self.address_family = socket.AF_INET6 if ":" in config["address"] else socket.AF_INET
        super().__init__((config["address"], 0), Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In the thread of the connection: somebody who connects and says nothing must not keep the others out.
        request.settimeout(30)
        encrypted = self._context.wrap_socket(request, server_side=True)
        try:
            super().finish_request(encrypted, client_address)
        finally:
            encrypted.close()

    def server_bind(self) -> None:
        """Bind without asking a name server for the machine's name, as HTTPServer does."""
        socketserver.TCPServer.server_bind(self)

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: whoever broke off comes again."""


def main(config_file: str) -> None:
    config = json.loads(Path(config_file).read_text(encoding="utf-8"))
    server = Server(config)

    def end_when_idle() -> None:
        while time.monotonic() - server.last_seen < config["idle_seconds"]:
            time.sleep(1)
        server.shutdown()

    threading.Thread(target=end_when_idle, daemon=True).start()
    Path(config["port_file"]).write_text(str(server.server_address[1]), encoding="ascii")
    try:
        server.serve_forever(poll_interval=0.2)
    finally:
        for folder in config["remove"]:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
