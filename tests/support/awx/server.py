# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's API on a port of 127.0.0.1."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from . import rules
from .jobs import ENDPOINTS, RUNNING, Jobs
from .rules import Refused
from .store import API, HAS, TYPES, Outcome, Store

USER, PASSWORD, TOKEN = "admin", "correct-horse", "token-of-the-tests"
VERSION = "24.6.1"
_PATH = "_path"
_OF_A_LIST = ("page", "page_size", "order_by", _PATH)


@dataclass
class Controller:
    """A controller that runs.

    :param requests: method, path and body of every request, in their order.
    """

    url: str
    store: Store
    jobs: Jobs
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def environment(self) -> dict[str, str]:
        return {"CONTROLLER_HOST": self.url, "CONTROLLER_OAUTH_TOKEN": TOKEN, "CONTROLLER_VERIFY_SSL": "false"}

    def writes(self) -> list[tuple[str, str, Any]]:
        """Return the requests that change something."""
        return [one for one in self.requests if one[0] != "GET" and "/tokens/" not in one[1]]

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Any) -> tuple[int, Any]:
        with self.lock:
            self.requests.append((method, path, body))
            self.jobs.go_on()
            parts = [part for part in path.removeprefix(API).split("/") if part]
            return _route(self, method, parts, {**query, _PATH: path}, body)


def _route(it: Controller, method: str, parts: list[str], query: Mapping[str, str], body: Any) -> tuple[int, Any]:
    endpoint, *rest = parts
    if endpoint == "tokens":
        return (201, {"id": 1, "token": TOKEN}) if method == "POST" else (204, None)
    if endpoint == "roles":
        return _roles(it, method, int(rest[0]), query, body)
    if endpoint in ENDPOINTS.values():
        return _jobs(it, method, endpoint, rest, query)
    if endpoint not in (*it.store.objects, "unified_job_templates"):
        raise Refused({"detail": "Not found."}, 404)
    if not rest:
        if method == "GET":
            return 200, _page([it.store.shown(one) for one in it.store.all(endpoint)], query)
        return 201, it.store.shown(it.store.create(endpoint, body))
    number = int(rest[0])
    one = it.store.get(endpoint, number)
    if len(rest) == 1:
        if method == "GET":
            return 200, it.store.shown(one)
        if method == "PATCH":
            if endpoint == "workflow_approval_templates":
                one.update(body)
                return 200, it.store.shown(one)
            return 200, it.store.shown(it.store.change(endpoint, number, body))
        del it.store.objects[endpoint][number]
        return 204, None
    return _below(it, method, endpoint, number, rest[1], query, body)


def _below(it: Controller, method: str, endpoint: str, number: int, what: str, query: Mapping[str, str], body: Any) -> tuple[int, Any]:
    one = it.store.get(endpoint, number)
    if what == "survey_spec" and "survey_spec" in one:
        if method == "POST":
            it.store.set_survey(endpoint, number, body)
        elif method == "DELETE":
            one["survey_spec"] = {}
        return 200, one["survey_spec"]
    if what == "launch" and endpoint in ("job_templates", "workflow_job_templates"):
        job = it.jobs.launch(endpoint, number, body or {})
        return 201, _shown(job)
    if what == "update" and endpoint in ("projects", "inventory_sources"):
        return 202, _shown(it.jobs.update(endpoint, number))
    if what == "create_approval_template" and endpoint == "workflow_job_template_nodes":
        return 201, it.store.shown(it.store.approval(number, body))
    if what == "jobs" and endpoint == "schedules":
        return 200, _page([_shown(job) for job in it.jobs.scheduled(number)], query)
    if what in HAS.get(endpoint, {}):
        if method == "GET":
            return 200, _page([it.store.shown(it.store.get(HAS[endpoint][what], other)) for other in one["_has"][what]], query)
        it.store.associate(endpoint, number, what, int(body["id"]), bool(body.get("disassociate")))
        return 204, None
    raise Refused({"detail": "Not found."}, 404)


def _jobs(it: Controller, method: str, endpoint: str, rest: list[str], query: Mapping[str, str]) -> tuple[int, Any]:
    if not rest:
        return 200, _page([_shown(job) for job in it.jobs.of(endpoint)], query)
    job = it.jobs.get(endpoint, int(rest[0]))
    if len(rest) == 1:
        return 200, _shown(job)
    if rest[1] == "cancel":
        if method == "POST":
            it.jobs.cancel(job)
            return 202, None
        return 200, {"can_cancel": job["status"] in RUNNING}
    if rest[1] == "relaunch":
        return 201, _shown(it.jobs.relaunch(job))
    if rest[1] in ("approve", "deny"):
        it.jobs.decide(job["id"], rest[1] == "approve")
        return 204, None
    if rest[1] == "workflow_nodes":
        nodes = [
            {
                "id": number,
                "identifier": node["of"]["identifier"],
                "job": node["job"],
                "do_not_run": node["skipped"],
                "related": {"job": it.jobs.jobs[node["job"]]["url"]} if node["job"] else {},
                "job__name": it.jobs.jobs[node["job"]]["name"] if node["job"] else None,
            }
            for number, node in job["_nodes"].items()
        ]
        return 200, _page(nodes, query)
    raise Refused({"detail": "Not found."}, 404)


def _roles(it: Controller, method: str, number: int, query: Mapping[str, str], body: Any) -> tuple[int, Any]:
    role = it.store.roles[number]
    if method == "GET":
        return 200, _page([it.store.shown(it.store.get("teams", team)) for team in role["teams"]], query)
    it.store.get("teams", int(body["id"]))
    role["teams"] = [team for team in role["teams"] if team != body["id"]] + ([] if body.get("disassociate") else [body["id"]])
    return 204, None


def _shown(job: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in job.items() if not key.startswith("_")}


def _page(items: list[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    found = [one for one in items if _fits(one, query)]
    size, page = int(query.get("page_size", 25)), int(query.get("page", 1))
    others = "".join(f"&{key}={value}" for key, value in query.items() if key not in ("page", _PATH))
    rest = f"{query[_PATH]}?page={page + 1}{others}" if len(found) > page * size else None
    return {"count": len(found), "next": rest, "previous": None, "results": found[(page - 1) * size : page * size]}


def _fits(one: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    either = [(key[4:], value) for key, value in query.items() if key.startswith("or__")]
    if either and not any(str(one.get(key)) == value for key, value in either):
        return False
    for key, value in query.items():
        if key in _OF_A_LIST or key.startswith("or__"):
            continue
        if key.endswith("__in"):
            if str(one.get(key[:-4])) not in value.split(","):
                return False
        elif key not in one:
            raise Refused({"detail": f"{one.get('type')} has no field named '{key}'"})
        elif str(one[key]) != value:
            return False
    return True


@contextmanager
def controller(projects: Path, outcome: Outcome = lambda job: ("successful", {})) -> Iterator[Controller]:
    """Run a controller.

    :param projects: the folder that stands behind the project's ``scm_url``.
    :param outcome: says what becomes of jobs.
    """
    store = Store(projects)
    it = Controller("", store, Jobs(store, outcome))
    basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Else each answer waits for an acknowledgement of its head.
        disable_nagle_algorithm = True

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            if self.headers.get("Authorization") not in (basic, f"Bearer {TOKEN}"):
                status, answer = 401, {"detail": "Authentication credentials were not provided."}
            elif not parts.path.startswith(API) or not parts.path.endswith("/"):
                status, answer = 404, {"detail": "Not found."}
            else:
                try:
                    status, answer = it.answer(self.command, parts.path, dict(parse_qsl(parts.query)), json.loads(body or "null"))
                except Refused as refused:
                    status, answer = refused.status, refused.body
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(content)))):
                self.send_header(name, value)
            self.send_header("X-API-Product-Name", "AWX")
            self.send_header("X-API-Product-Version", VERSION)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = _do

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    it.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield it
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


__all__ = ["PASSWORD", "TOKEN", "USER", "Controller", "Refused", "TYPES", "controller", "rules"]
