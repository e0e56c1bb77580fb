# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""moto's server that counts calls and answers each of them late: `python aws_endpoint.py <file that gets its address>`.

``POST /_bench/<milliseconds>`` empties the account, forgets what was counted, and sets how late answers are from then on; ``GET /_bench``
gives the number of calls since it was last asked, by their action.
"""

from __future__ import annotations

import collections
import io
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

os.environ.update(MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION="1", MOTO_ENABLE_AMI_VALIDATION="1")

from moto.backends import get_backend
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.responses.instances import InstanceResponse
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


class Application:
    """moto, one request at a time: its backends know no locks."""

    def __init__(self) -> None:
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.calls: collections.Counter[str] = collections.Counter()
        self.latency = 0.0
        self.lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path.startswith("/_bench"):
            with self.lock:
                counted = dict(self.calls)
                self.calls.clear()
                if environ["REQUEST_METHOD"] == "POST":
                    self.latency = float(path.rpartition("/")[2]) / 1000
                    for service in ("ec2", "elbv2"):
                        get_backend(service).reset()
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(counted).encode()]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        action = parse_qs(body.decode(errors="replace")).get("Action", ["other"])[0]
        time.sleep(self.latency)
        with self.lock:
            self.calls[action] += 1
            return list(self.moto(environ, start_response))


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


def fill_orders() -> None:
    """EC2 makes MaxCount machines if it can; moto makes MinCount."""
    run = InstanceResponse.run_instances

    def most(self: Any) -> Any:
        ask = self._get_param
        self._get_param = lambda name, *rest, **more: ask("MaxCount" if name == "MinCount" else name, *rest, **more)
        return run(self)

    InstanceResponse.run_instances = most  # type: ignore[method-assign]


def find_tags() -> None:
    """Let a machine find its tags at once: moto reads those of all machines for each, and a thousand take it a minute."""

    def tags(self: Any) -> list[dict[str, str]]:
        return [{"resource_id": self.id, "key": key, "value": value} for key, value in self.ec2_backend.tags[self.id].items()]

    TaggedEC2Resource.get_tags = tags  # type: ignore[method-assign]


if __name__ == "__main__":
    fill_orders()
    find_tags()
    server = make_server("127.0.0.1", 0, Application(), threaded=True, request_handler=Quiet)
    ready = Path(sys.argv[1])
    new = ready.with_suffix(".new")
    new.write_text(f"http://127.0.0.1:{server.server_port}", encoding="utf-8")
    new.rename(ready)
    server.serve_forever()
