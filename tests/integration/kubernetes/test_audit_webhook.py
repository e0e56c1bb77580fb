# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real kube-apiserver posts its audit events to a server that asks for a token, with the file and the policy of this collection."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import control_plane
import outside
import pytest
import yaml
from ansible_collections.flotilla.kubernetes.plugins.filter.audit_webhook import audit_webhook

TOKEN = "planted-token-of-the-sink"


class Sink:
    """A server that takes lists of audit events from whoever shows the token."""

    def __init__(self, authority: control_plane.Authority) -> None:
        self.port = control_plane.free_port()
        self._pair = authority.issue("sink", "sink")
        self.events: list[dict[str, Any]] = []
        self.refused = 0
        self._server: http.server.ThreadingHTTPServer | None = None

    def open(self) -> None:
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                known = self.headers.get("Authorization") == f"Bearer {TOKEN}" and self.path.startswith("/kubernetes")
                if known:
                    sink.events += json.loads(body)["items"]
                else:
                    sink.refused += 1
                self.send_response(200 if known else 401)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(f"{self._pair}.crt", f"{self._pair}.key")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        self._server = server

    def close(self) -> None:
        """Be away: connections are refused."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def has(self, name: str) -> list[dict[str, Any]]:
        """Return the events about an object."""
        return [event for event in self.events if event.get("objectRef", {}).get("name") == name]


@dataclass
class House:
    """API servers of one cluster, by how they hand on their events."""

    sink: Sink
    batch: control_plane.ApiServer
    strict: control_plane.ApiServer
    stranger: control_plane.ApiServer


def kubeconfig(path: Path, sink: Sink, authority: control_plane.Authority, token: str) -> Path:
    webhook = {"server": f"https://127.0.0.1:{sink.port}/kubernetes", "ca_file": str(authority.file), "authentication": "token"}
    path.write_text(json.dumps(audit_webhook(webhook, {"token": token})))
    return path


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("audited")
    role = yaml.safe_load((outside.ROOT / "roles/kubernetes_control_plane/vars/main.yml").read_text())
    policy = role["__kubernetes_control_plane_audit_policy"]
    processes = control_plane.Processes(folder)
    etcd = control_plane.EtcdMembers(
        processes, control_plane.program(control_plane.bundle(folder), "etcd", programs), control_plane.Authority(folder / "etcd-pki")
    )
    sinks, authority = control_plane.Authority(folder / "sink-pki", "sink-ca"), control_plane.Authority(folder / "pki")
    sink = Sink(sinks)
    right = kubeconfig(folder / "audit-webhook.json", sink, sinks, TOKEN)
    wrong = kubeconfig(folder / "wrong.json", sink, sinks, "another")

    def start(name: str, file: Path, *webhook: str, **changes: Any) -> control_plane.ApiServer:
        rules = folder / f"{name}-policy.json"
        rules.write_text(json.dumps({**policy, **changes}))
        flags = [f"--audit-policy-file={rules}", f"--audit-log-path={folder}/{name}-audit.log", f"--audit-webhook-config-file={file}"]
        return control_plane.start_api_server(folder, programs, authority, etcd, *flags, *webhook, name=name)

    # The flags of the role, but that they wait shorter.
    batch = ("--audit-webhook-mode=batch", "--audit-webhook-initial-backoff=2s", "--audit-webhook-batch-max-wait=1s")
    strict = ("--audit-webhook-mode=blocking-strict", "--audit-webhook-initial-backoff=100ms")

    try:
        etcd.reserve("m1")
        etcd.start("m1", ("m1",))
        sink.open()
        servers = (start("batch", right, *batch), start("strict", right, *strict, omitStages=[]), start("stranger", wrong, *batch))
        yield House(sink, *servers)
    finally:
        processes.end()
        sink.close()


def make(server: control_plane.ApiServer, name: str) -> int:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"password": f"content-of-{name}"}}
    return server.call("POST", "/api/v1/namespaces/default/secrets", body)[0]


def test_events_arrive_with_the_token_and_without_contents(house: House) -> None:
    control_plane.wait_for("the namespace is there", lambda: house.batch.call("GET", "/api/v1/namespaces/default")[0] == 200)
    assert make(house.batch, "arrives") == 201
    control_plane.wait_for("its event arrives", lambda: house.sink.has("arrives"), 60)
    (event,) = house.sink.has("arrives")
    assert (event["verb"], event["user"]["username"], event["level"]) == ("create", "admin", "Metadata")
    assert "content-of-arrives" not in json.dumps(house.sink.events)


def test_an_event_of_a_server_with_another_token_is_refused(house: House) -> None:
    before = house.sink.refused
    assert make(house.stranger, "stranger") == 201
    control_plane.wait_for("it is refused", lambda: house.sink.refused > before, 60)
    assert house.sink.has("stranger") == []


def test_an_outage_of_the_sink_does_not_stop_the_api(house: House) -> None:
    assert make(house.strict, "strict") == 201
    house.sink.close()
    try:
        # What it would be like: each request of the mode that waits for the sink fails.
        assert make(house.strict, "strict-away") == 500
        assert [make(house.batch, f"away-{number}") for number in range(20)] == [201] * 20
        assert house.batch.call("GET", "/readyz")[0] == 200
        assert house.sink.has("away-0") == []
        # It is in the file all the same.
        log = house.batch.processes.folder / "batch-audit.log"
        control_plane.wait_for("the file has it", lambda: "away-19" in log.read_text())
    finally:
        house.sink.open()
    control_plane.wait_for("what happened meanwhile arrives", lambda: all(house.sink.has(f"away-{number}") for number in range(20)), 60)
