# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy in front of a cloud's endpoint that does what networks and clouds do on a bad day: `python -m clouds.proxy --help`.

It is told the weather by ``PUT /_proxy/faults`` and tells every call by ``GET /_proxy/calls``; it knows the cloud by a `Dialect` only.

Reads are eventually consistent: within ``stale_for`` seconds after a change, a read may be answered as it was answered before the change,
and what was just made may not be there. Older than that no answer is ever given, so code that waits so long knows what it sees.
"""

from __future__ import annotations

import argparse
import http.client
import importlib
import json
import socket
import struct
import threading
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from clouds import faults
from clouds.clock import Clock
from clouds.faults import Answer, Call, Dialect, Dice, Faults, Request

DROPPED = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}


@dataclass
class Consistency:
    """Which older answers a read may still get."""

    clock: Clock
    dialect: Dialect
    stale_for: float = 0.0
    _answers: dict[str, tuple[float, Answer]] = field(default_factory=dict)
    _changes: list[float] = field(default_factory=list)
    _young: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def changed(self, call: Call, answer: Answer) -> None:
        with self._lock:
            now = self.clock.now()
            self._changes.append(now)
            for thing in self.dialect.created(call, answer) if answer.status < 400 else ():
                self._young.setdefault(thing, now)

    def remember(self, call: Call, began: float, answer: Answer) -> None:
        """Keep an answer that shows everything that had happened when its call began."""
        with self._lock:
            self._answers[call.read] = (began, answer)

    def older(self, call: Call) -> Answer | None:
        """Return an earlier answer to the same read, if nothing that it lacks is older than the window."""
        with self._lock:
            began, answer = self._answers.get(call.read, (0.0, None))
            missing = [change for change in self._changes if change >= began]
            return answer if missing and min(missing) > self.clock.now() - self.stale_for else None

    def young(self) -> set[str]:
        with self._lock:
            return {thing for thing, made in self._young.items() if made > self.clock.now() - self.stale_for}


class Proxy(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, upstream: str, clock: Clock, dialect: Dialect) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.upstream = urllib.parse.urlsplit(upstream)
        self.clock = clock
        self.dialect = dialect
        self.lock = threading.Lock()
        self.idle = threading.Condition(self.lock)
        self.under_way = 0
        self.calls: list[dict[str, Any]] = []
        self.dice = Dice(Faults())
        self.consistency = Consistency(clock, dialect)

    def change_weather(self, weather: Faults) -> None:
        """Begin a new list of calls. What the cloud has told before stays known."""
        with self.lock:
            self.dice = Dice(weather)
            self.calls = []
            self.consistency.stale_for = weather.stale_for

    def forget(self) -> None:
        self.consistency = Consistency(self.clock, self.dialect, self.consistency.stale_for)

    def wait_until_idle(self) -> None:
        with self.idle:
            self.idle.wait_for(lambda: self.under_way == 0, timeout=60)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what these tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One segment per answer: with several, delayed acknowledgements cost 40 ms.
    wbufsize = -1
    server: Proxy

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        if self.path.startswith("/_proxy/"):
            return self._control(request)
        server = self.server
        call = server.dialect.call(request)
        with server.lock:
            draw = server.dice.roll(call)
            record = {"action": call.action, "mutates": call.mutates, "fault": draw.fault, "at": server.clock.now()}
            server.calls.append(record)
            server.under_way += 1
        try:
            answer = self._through(request, call, draw)
        finally:
            with server.idle:
                server.under_way -= 1
                server.idle.notify_all()
        if answer is None:
            record["status"] = 0
            # RST instead of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.rfile.close()
            self.connection.close()
            return None
        record["status"] = answer.status
        return self._send(answer)

    def _through(self, request: Request, call: Call, draw: faults.Draw) -> Answer | None:
        server = self.server
        server.clock.sleep(draw.latency / 2)
        if draw.fault == faults.THROTTLED:
            answer = server.dialect.throttled(call)
        elif draw.fault == faults.BROKEN:
            answer = server.dialect.broken(call)
        elif call.mutates:
            answer = self._ask(request)
            server.consistency.changed(call, answer)
        else:
            answer = self._read(request, call, draw)
        server.clock.sleep(draw.latency / 2)
        if draw.fault == faults.RESET:
            return None
        return server.dialect.broken(call) if draw.fault == faults.BROKEN_AFTER else answer

    def _read(self, request: Request, call: Call, draw: faults.Draw) -> Answer:
        consistency = self.server.consistency
        stale = draw.stale and consistency.stale_for > 0
        older = consistency.older(call) if stale else None
        if older:
            return older
        began = self.server.clock.now()
        answer = self._ask(request)
        consistency.remember(call, began, answer)
        young = consistency.young() if stale else set()
        return self.server.dialect.hide(call, request, answer, young) if young else answer

    def _ask(self, request: Request) -> Answer:
        upstream = self.server.upstream
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=300)
        headers = {name: value for name, value in request.headers.items() if name not in DROPPED and name != "expect"}
        try:
            connection.request(request.method, request.path, request.body, headers)
            response = connection.getresponse()
            body = response.read()
            return Answer(response.status, {name: value for name, value in response.getheaders() if name.lower() not in DROPPED}, body)
        finally:
            connection.close()

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _control(self, request: Request) -> None:
        reply: Any = {}
        if request.path == "/_proxy/faults":
            fields = json.loads(request.body)
            self.server.change_weather(Faults(**{**fields, "latency": tuple(fields["latency"])}))
        elif request.path == "/_proxy/forget":
            self.server.forget()
        elif request.path == "/_proxy/calls":
            self.server.wait_until_idle()
            with self.server.lock:
                reply = self.server.calls
        self._send(Answer(200, {"Content-Type": "application/json"}, json.dumps(reply).encode()))

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _handle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--clock", required=True, type=Path)
    parser.add_argument("--dialect", required=True, help="module:class")
    parser.add_argument("--ready", required=True, type=Path, help="file that gets the URL")
    options = parser.parse_args()
    module, _colon, name = options.dialect.partition(":")
    proxy = Proxy(0, options.upstream, Clock(options.clock), getattr(importlib.import_module(module), name)())
    ready = options.ready.with_suffix(".new")
    ready.write_text(f"http://127.0.0.1:{proxy.server_address[1]}", encoding="utf-8")
    ready.rename(options.ready)
    proxy.serve_forever()


if __name__ == "__main__":
    main()
