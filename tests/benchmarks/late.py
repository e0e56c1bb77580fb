# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An endpoint of the tests as a program that counts calls and answers each of them late, and how a benchmark starts it and talks to it.

``POST /_bench/<milliseconds>/<seconds>`` empties it, forgets what was counted, and sets how late answers are and how long operations on
machines take from then on; ``GET /_bench`` gives the number of calls since it was last asked, by their kind. It is also the proxy of
programs that know no other addresses than the cloud's own (`clouds.tunnel`).
"""

from __future__ import annotations

import collections
import contextlib
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

from clouds import tunnel
from clouds.faults import Answer, Dialect, Request
from clouds.wire import Handler


class Late:
    """:param endpoint: what answers.

    :param dialect: tells kinds of calls apart.
    :param empty: takes everything away, and gets the seconds that operations on machines take from then on.
    """

    def __init__(self, endpoint: Handler, dialect: Dialect, empty: Callable[[float], None]) -> None:
        self.endpoint = endpoint
        self.dialect = dialect
        self.empty = empty
        self.calls: collections.Counter[str] = collections.Counter()
        self.latency = 0.0
        self.lock = threading.Lock()

    def __call__(self, request: Request) -> Answer | None:
        if request.path.startswith("/_endpoint/"):
            return self.endpoint(request)
        if request.path.startswith("/_bench"):
            with self.lock:
                counted = dict(self.calls)
                self.calls.clear()
                if request.method == "POST":
                    latency, seconds = (float(part) for part in request.path.split("/")[2:])
                    self.latency = latency / 1000
                    self.empty(seconds)
            return Answer(200, {"Content-Type": "application/json"}, json.dumps(counted).encode())
        with self.lock:
            self.calls[self.dialect.call(request).action] += 1
        time.sleep(self.latency)
        return self.endpoint(request)


def serve(ready: Path, handler: Handler, *hosts: str) -> None:
    """Answer for these hosts, too; ``ready`` gets what a `Server` has to know."""
    authority, context = tunnel.make_certificate(ready.parent, *hosts)
    server = tunnel.serve(handler, context)
    new = ready.with_suffix(".new")
    new.write_text(json.dumps({"url": f"http://127.0.0.1:{server.server_port}", "authority": str(authority)}), encoding="utf-8")
    new.rename(ready)
    server.serve_forever()


@dataclass(frozen=True)
class Server:
    """:param authority: the file of who vouches for it."""

    url: str
    authority: str

    @property
    def environment(self) -> dict[str, str]:
        return tunnel.environment(self.url, Path(self.authority))

    def reset(self, latency: int, operation: int) -> None:
        """Empty it; from then on answers are so many milliseconds late, and operations on machines take so many seconds."""
        self.ask(f"/_bench/{latency}/{operation}", "POST")

    def counted(self) -> dict[str, int]:
        """Return what was called since the last time."""
        return dict(self.ask("/_bench"))

    def ask(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(f"{self.url}{path}", method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.load(answer)


@contextlib.contextmanager
def started(script: str, folder: Path) -> Iterator[Server]:
    """Run such a program of this folder: `python <script> <ready>`. What it prints is kept."""
    ready = folder / "endpoint"
    ready.unlink(missing_ok=True)
    log = folder / "endpoint.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, str(HERE / script), str(ready)], stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{script} does not start, see {log}")
            time.sleep(0.1)
        yield Server(**json.loads(ready.read_text(encoding="utf-8")))
    finally:
        process.kill()
        process.wait()
