# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of turning encryption at rest on: several API servers, one etcd, and nobody may meet what it can not read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import encryption
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.client import ApiError, Client

NODES = "/api/v1/nodes"
SECRETS = "/api/v1/namespaces/kube-system/secrets"


class Etcd:
    """What is stored: name -> (key that it is encrypted with or nothing, content)."""

    def __init__(self, control_planes: list[str]) -> None:
        self.secrets: dict[str, tuple[str, dict[str, Any]]] = {f"{SECRETS}/old-{n}": ("", {"metadata": meta(f"old-{n}")}) for n in range(3)}
        self.annotations: dict[str, dict[str, str]] = {name: {} for name in control_planes}


def meta(name: str) -> dict[str, str]:
    return {"name": name, "namespace": "kube-system"}


class ApiServer(Client):
    """An API server that uses its file as it was at its last restart, as a client sees it."""

    def __init__(self, etcd: Etcd, folder: Path) -> None:
        self.etcd = etcd
        self.file = folder / "encryption.json"
        self.providers: list[str] = [""]
        self.restarts = 0

    def restart(self) -> None:
        configuration = json.loads(self.file.read_text())
        providers = configuration["resources"][0]["providers"]
        self.providers = [entry["secretbox"]["keys"][0]["name"] if "secretbox" in entry else "" for entry in providers]
        self.restarts += 1

    def read(self, path: str) -> dict[str, Any]:
        key, content = self.etcd.secrets[path]
        assert key in self.providers, f"{path} is encrypted with {key!r}, which this API server can not read ({self.providers})"
        return content

    def get(self, path: str) -> dict[str, Any]:
        if path not in self.etcd.secrets:
            raise ApiError(404, "GET", path, "not found")
        return self.read(path)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        full = f"{path}/{body['metadata']['name']}"
        if full in self.etcd.secrets:
            raise ApiError(409, "POST", full, "is there")
        self.etcd.secrets[full] = (self.providers[0], {**body, "metadata": {**body["metadata"], "namespace": "kube-system"}})
        return body

    def items(self, path: str) -> Iterator[dict[str, Any]]:
        if path.startswith(NODES):
            return iter([{"metadata": {"name": name, "annotations": dict(found)}} for name, found in self.etcd.annotations.items()])
        return iter([self.read(name) for name in list(self.etcd.secrets)])

    def request(self, method: str, path: str, body: Any = None, content_type: str = "") -> str:
        if path.startswith(NODES):
            (key, value), *_rest = body["metadata"]["annotations"].items()
            found = self.etcd.annotations[path.rsplit("/", 1)[1]]
            found.pop(key, None)
            if value is not None:
                found[key] = value
        elif method == "DELETE":
            del self.etcd.secrets[path]
        else:
            assert body["kind"] == "Secret"
            self.etcd.secrets[path] = (self.providers[0], body)
        return "{}"


class Fleet:
    def __init__(self, folder: Path, names: list[str]) -> None:
        self.etcd = Etcd(names)
        self.key = folder / "sa.key"
        self.key.write_text("the service account key")
        self.servers = {name: ApiServer(self.etcd, folder / name) for name in names}

    def everybody_reads(self) -> None:
        for server in self.servers.values():
            for path in self.etcd.secrets:
                server.read(path)

    def visit(self, name: str) -> bool:
        """What `ControlPlane.apply` does on one machine."""
        server = self.servers[name]
        conversion = encryption.Conversion(server, name, server.file, self.key)
        in_use = server.restarts > 0
        conversion.prepare(in_use)
        if not in_use:
            server.restart()
        self.everybody_reads()

        def restart() -> None:
            server.restart()
            # Somebody writes through it at once.
            server.request("PUT", f"{SECRETS}/new-{name}", {"kind": "Secret", "metadata": meta(f"new-{name}")})
            self.everybody_reads()

        return conversion.proceed(restart)

    def stored_with(self) -> set[str]:
        return {key for key, _content in self.etcd.secrets.values()}


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"], ["a", "b", "c", "d", "e"]])
def test_every_api_server_reads_everything_at_every_moment_and_all_is_encrypted_in_the_end(tmp_path: Path, names: list[str]) -> None:
    fleet = Fleet(tmp_path, names)
    first = [fleet.visit(name) for name in names]
    if len(names) > 1:
        assert not any(first)
        for name in names:
            fleet.visit(name)
    fleet.everybody_reads()
    (key,) = fleet.stored_with()
    assert key.startswith("key-")
    assert len({server.file.read_text() for server in fleet.servers.values()}) == 1
    assert f"{SECRETS}/{encryption.CONVERSION}" not in fleet.etcd.secrets
    assert all(found == {} for found in fleet.etcd.annotations.values())
    restarts = [server.restarts for server in fleet.servers.values()]
    assert all(fleet.visit(name) for name in names)
    assert restarts == [server.restarts for server in fleet.servers.values()]


def test_a_file_of_an_earlier_cluster_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, ["a", "b", "c"])
    encryption.write_new(fleet.servers["b"].file)
    for _round in range(2):
        for name in ("a", "b", "c"):
            fleet.visit(name)
    assert len({server.file.read_text() for server in fleet.servers.values()}) == 1
    assert len(fleet.stored_with()) == 1


def test_one_that_writes_too_early_would_be_noticed(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, ["a", "b"])
    encryption.write_new(fleet.servers["a"].file)
    fleet.servers["a"].restart()
    fleet.servers["a"].request("PUT", f"{SECRETS}/new", {"kind": "Secret", "metadata": meta("new")})
    with pytest.raises(AssertionError, match="can not read"):
        fleet.everybody_reads()


def test_the_key_is_sealed_while_the_cluster_carries_it(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, ["a", "b"])
    fleet.visit("a")
    carried = json.dumps(fleet.etcd.secrets[f"{SECRETS}/{encryption.CONVERSION}"][1])
    secret = json.loads(fleet.servers["a"].file.read_text())["resources"][0]["providers"][1]["secretbox"]["keys"][0]["secret"]
    assert secret not in carried
