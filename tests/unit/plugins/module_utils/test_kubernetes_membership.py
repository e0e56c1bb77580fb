# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what a kubelet says of itself."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.membership import kubelet_problem


def test_a_kubelet_is_healthy_by_its_own_word_only() -> None:
    answers = iter((200, 500))

    class Kubelet(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            self.send_response(next(answers) if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Kubelet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        assert kubelet_problem(server.server_port) == ""
        assert kubelet_problem(server.server_port) == "it answers 500"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert kubelet_problem(server.server_port) != "", "nobody answers"
