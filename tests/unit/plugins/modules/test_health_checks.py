# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a definition, against a real HTTP server and real programs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._checks import ask as ask_all
from ansible_collections.flotilla.kubernetes.plugins.module_utils._checks import failures
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.modules import health_checks


class Site(BaseHTTPRequestHandler):
    """What a shop and its Prometheus answer; ``down`` of the server takes the shop down."""

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        status, body = 200, "all is well"
        if asked.path == "/api/v1/query":
            query = parse_qs(asked.query)["query"][0]
            result: Any = {"up == 1": [{"metric": {}, "value": [0, "1"]}], "vector": []}.get(query)
            kind = "vector"
            if query == "1":
                kind, result = "scalar", [0, "1"]
            answer = {"status": "success", "data": {"resultType": kind, "result": result}} if result is not None else {"status": "error"}
            body = json.dumps(answer)
        elif getattr(self.server, "down", False):
            status, body = 503, "down"
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def url(site: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{site.server_address[1]}"


def ask(folder: Path, **check: Any) -> str:
    return " ".join(failures(ask_all([{"name": "it", **check}], 5, str(folder), {"FLOTILLA_CLUSTER": "demo"})))


def test_what_holds_says_nothing(url: str, tmp_path: Path) -> None:
    assert ask(tmp_path, http={"url": f"{url}/healthz", "contains": "well"}) == ""
    assert ask(tmp_path, promql={"url": f"{url}/", "query": "up == 1"}) == ""
    assert ask(tmp_path, command=["sh", "-c", 'test "$FLOTILLA_CLUSTER" = demo && test "$PWD" = "$0"', str(tmp_path)]) == ""


def test_what_does_not_hold_says_what_was_seen(site: ThreadingHTTPServer, url: str, tmp_path: Path) -> None:
    assert ask(tmp_path, http={"url": url, "contains": "ill"}) == f"it: {url} answered without 'ill': all is well"
    assert ask(tmp_path, http={"url": url, "status": 204}) == f"it: {url} answered 200 instead of 204"
    site.down = True  # type: ignore[attr-defined]
    assert ask(tmp_path, http={"url": url}) == f"it: {url} answered 503 instead of 200"
    assert ask(tmp_path, http={"url": url, "status": 503}) == ""
    assert ask(tmp_path, promql={"url": url, "query": "vector"}) == "it: vector gives nothing"
    assert "which always holds" in ask(tmp_path, promql={"url": url, "query": "1"})
    assert ask(tmp_path, promql={"url": url, "query": "("}).startswith(f"it: {url} answered 200")
    assert ask(tmp_path, command=["sh", "-c", "echo no stock >&2; exit 3"]) == "it: sh ended with 3: no stock"
    assert "No such file" in ask(tmp_path, command=["./no-such-program"])
    assert "refused" in ask(tmp_path, http={"url": "http://127.0.0.1:9"})


def params(checks: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"checks": checks, "timeout": "2s", "hold": "0s", "folder": ".", "environment": {}, "progress_token": None, **more}


def test_a_prediction_runs_no_program(tmp_path: Path) -> None:
    made = tmp_path / "made"
    checks = [{"name": "it", "command": ["touch", str(made)]}]
    assert health_checks.run(params(checks), check_mode=True)["failures"] == []
    assert not made.exists()
    assert health_checks.run(params(checks), check_mode=False)["failures"] == []
    assert made.exists()


def test_what_does_not_hold_in_time_is_an_error_that_names_it(url: str) -> None:
    checks = [{"name": "well", "http": {"url": url}}, {"name": "shop", "http": {"url": url, "status": 204}}]
    with pytest.raises(FlotillaError, match=r"Of 2 checks, 1 did not hold for 2s: shop: .* instead of 204") as caught:
        health_checks.run(params(checks), check_mode=False)
    assert caught.value.code == "CHECK_FAILED"


def test_what_holds_again_in_time_is_none(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    program = ["sh", "-c", 'echo x >>"$0"; test "$(wc -l <"$0")" -ge 3', str(counter)]
    assert health_checks.run(params([{"name": "it", "command": program}], timeout="60s"), check_mode=False)["failures"] == []
    assert len(counter.read_text().splitlines()) == 3


def test_a_break_begins_the_time_to_hold_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1000.0
    answers = iter([[], [], ["it: broken"], [], [], [], []])

    def tick(seconds: float) -> None:
        nonlocal clock
        clock += seconds

    monkeypatch.setattr(health_checks, "ask", lambda *_arguments: [])
    monkeypatch.setattr(health_checks, "failures", lambda *_arguments: next(answers))
    monkeypatch.setattr(health_checks.time, "time", lambda: clock)
    monkeypatch.setattr(health_checks.time, "monotonic", lambda: clock)
    monkeypatch.setattr(health_checks.time, "sleep", tick)
    assert health_checks.run(params([{}], hold="3s"), check_mode=False)["failures"] == []
    # Two before the break, one that breaks, and three seconds without one.
    assert clock == 1006.0


def test_a_slice_ends_with_a_line_and_the_next_one_goes_on(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(health_checks, "SLICE", 0.0)
    given = params([{"name": "shop", "http": {"url": url}}], hold="1h")
    first = health_checks.run(given, check_mode=False)
    assert not first["finished"] and first["progress"] == ["All checks hold, for another 3600 s"]
    second = health_checks.run({**given, "hold": "0s", "progress_token": first["progress_token"]}, check_mode=False)
    assert second["failures"] == []
