# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a drain bears with an API server that is busy, restarts or refuses; what a real one does is in tests/integration/kubernetes."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import drain
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.client import ApiError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.drain import DRAIN_ANNOTATION, Drain, Options


class Server:
    """An API server with one node, on a clock that only sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        # Of a Job, so that nobody asks about its other pods.
        self.pods, self.owner = ["web-1"], {"apiVersion": "batch/v1", "kind": "Job", "name": "web", "uid": "u", "controller": True}
        self.node: dict[str, Any] = {"metadata": {"name": "n1", "annotations": {}}, "spec": {}}
        # What comes instead of an answer, call by call, and when evictions were asked for.
        self.answers: dict[str, list[Exception | None]] = {"evict": [], "list": []}
        self.evictions: list[float] = []
        really_sleep = time.sleep

        def sleep(seconds: float) -> None:
            self.now += seconds
            # The threads that evict live in real time, and on a busy machine a deadline could be over before they had a turn.
            really_sleep(0.005)

        monkeypatch.setattr(drain.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(drain.time, "sleep", sleep)

    def another(self) -> Server:
        return self

    def disconnect(self) -> None:
        pass

    def get(self, path: str) -> dict[str, Any]:
        if "/nodes/" in path:
            return json.loads(json.dumps(self.node))
        error = self.answers["list"].pop(0) if self.answers["list"] else None
        if isinstance(error, Exception):
            raise error  # pylint: disable=raising-bad-type
        metadata = {"namespace": "shop", "labels": {}, "ownerReferences": [self.owner]}
        return {"items": [{"metadata": {**metadata, "name": name, "uid": name}, "spec": {"containers": []}} for name in self.pods]}

    def items(self, path: str) -> Iterator[dict[str, Any]]:
        return iter(())  # no budgets

    def merge(self, path: str, body: dict[str, Any]) -> None:
        self.node["spec"]["unschedulable"] = body["spec"]["unschedulable"]
        mark = body["metadata"]["annotations"][DRAIN_ANNOTATION]
        self.node["metadata"]["annotations"] = {DRAIN_ANNOTATION: mark} if mark else {}

    def request(self, method: str, path: str, body: Any) -> str:
        self.evictions.append(self.now)
        if self.answers["evict"]:
            raise self.answers["evict"].pop(0)
        name = path.split("/")[-2]
        if name not in self.pods:
            raise refusal(404)
        self.pods.remove(name)
        return "{}"

    def drain(self, timeout: int = 600, slice_of: float = 10.0, **options: Any) -> dict[str, Any]:
        token = None
        while True:
            answer = Drain(self, "n1", Options(timeout, **options)).advance(token, slice_of)
            if answer["finished"]:
                return answer
            token = answer["progress_token"]


def refusal(status: int, retry_after: str | None = None, message: str = "no") -> ApiError:
    return ApiError(status, "POST", "/eviction", json.dumps({"message": message}), retry_after)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(monkeypatch)


@pytest.mark.parametrize("slice_of", [1.0, 10.0, 100.0])
def test_retry_after_holds_from_slice_to_slice(server: Server, slice_of: float) -> None:
    server.answers["evict"] = [refusal(429, "30"), refusal(429)]
    assert server.drain(slice_of=slice_of)["drained"]
    first, second, third = server.evictions
    # The clock runs on while a thread waits for its turn.
    assert 30 <= second - first < 60 and drain.BLOCKED_PAUSE <= third - second < 30


@pytest.mark.parametrize("error", [OSError("connection refused"), refusal(503, message="shutting down")])
@pytest.mark.parametrize("call", ["evict", "list"])
@pytest.mark.parametrize("slice_of", [1.0, 100.0])
def test_an_api_server_that_restarts_is_waited_for(server: Server, error: Exception, call: str, slice_of: float) -> None:
    server.answers[call] = [*([None] if call == "list" else []), *[error] * 5]
    assert server.drain(slice_of=slice_of)["drained"] and server.node["spec"]["unschedulable"]
    assert server.answers == {"evict": [], "list": []}


def test_an_api_server_that_refuses_to_list_is_not_waited_for(server: Server) -> None:
    server.answers["list"] = [None, refusal(401)]
    with pytest.raises(ApiError):
        server.drain()
    assert server.now < 1060 and not server.node["spec"]["unschedulable"]


def test_an_api_server_that_does_not_come_back_is_the_deadline(server: Server) -> None:
    server.answers["evict"] = [OSError("connection refused")] * 1000
    with pytest.raises(FlotillaError) as caught:
        server.drain(timeout=60)
    assert caught.value.code == "DRAIN_TIMEOUT" and "shop/web-1: the API server does not answer: connection refused" in str(caught.value)
    assert not server.node["spec"]["unschedulable"]


@pytest.mark.parametrize("foreign", [False, True])
def test_whatever_fails_gives_the_node_back_to_who_had_it(server: Server, foreign: bool) -> None:
    server.node["spec"]["unschedulable"] = foreign or None
    server.answers["evict"] = [refusal(400)]
    with pytest.raises(FlotillaError) as caught:
        server.drain()
    assert bool(server.node["spec"]["unschedulable"]) is foreign
    assert ("stays unschedulable" if foreign else "takes pods again") in str(caught.value)


def test_progress_names_the_pods_that_are_held_and_why(server: Server) -> None:
    server.pods = [f"web-{number}" for number in range(5)]
    server.answers["evict"] = [refusal(429, message=f"budget {number}") for number in range(5)]
    answer = Drain(server, "n1", Options(600)).advance(None, 0)
    (line,) = answer["progress"]
    assert re.match(r"node n1: 5 pods to go \(\d+ s\), 5 held back, such as shop/web-0: budget", line)
    assert line.count("budget") == drain.NAMED
