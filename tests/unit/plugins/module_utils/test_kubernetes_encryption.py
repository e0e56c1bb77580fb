# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the key of encryption at rest on its way to a joining control plane, against a small API server with TLS."""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import encryption
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.client import Client

TOKEN = "abcdef.0123456789abcdef"
KEY = "5f" * 32
TOKEN_SECRET = {"metadata": {"name": "bootstrap-token-abcdef", "uid": "1-2-3"}}


class ApiServer:
    """Serves `cluster-info` to everybody and what was applied to the bearer of the token."""

    def __init__(self, folder: Path) -> None:
        self.certificate, key = folder / "server.crt", folder / "server.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=kubernetes", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(self.certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
        self.shown_ca = self.certificate.read_text()
        self.applied: dict[str, dict[str, Any]] = {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.endswith("/configmaps/cluster-info"):
                    ca = base64.b64encode(outer.shown_ca.encode()).decode()
                    self.answer(200, {"data": {"kubeconfig": f"clusters:\n- cluster:\n    certificate-authority-data: {ca}\n"}})
                elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    self.answer(403, {"message": "no"})
                elif self.path in outer.applied:
                    self.answer(200, outer.applied[self.path])
                else:
                    self.answer(404, {"message": "not found"})

            def do_PATCH(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.applied[self.path.split("?")[0]] = body
                self.answer(200, {})

            def answer(self, status: int, body: dict[str, Any]) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def hashes(self) -> list[str]:
        return [encryption.public_key_hash(self.certificate.read_text())]

    def client(self) -> Client:
        context = ssl.create_default_context(cafile=str(self.certificate))
        return Client("127.0.0.1", self.server.server_port, context, token=TOKEN)


@pytest.fixture
def api_server(tmp_path: Path) -> Iterator[ApiServer]:
    server = ApiServer(tmp_path)
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_a_joining_control_plane_gets_the_same_key_and_keeps_it_private(api_server: ApiServer, tmp_path: Path) -> None:
    first, second = tmp_path / "first/encryption.json", tmp_path / "second/encryption.json"
    encryption.write_new(first)
    encryption.attach(api_server.client(), KEY, TOKEN_SECRET, first)
    assert encryption.fetch(api_server.address, TOKEN, api_server.hashes, KEY, second) is True
    assert second.read_bytes() == first.read_bytes()
    assert [path.stat().st_mode & 0o777 for path in (first, second)] == [0o600, 0o600]


def test_the_key_is_not_readable_in_the_secret(api_server: ApiServer, tmp_path: Path) -> None:
    path = tmp_path / "encryption.json"
    encryption.write_new(path)
    secret = json.loads(path.read_text())["resources"][0]["providers"][0]["secretbox"]["keys"][0]["secret"]
    encryption.attach(api_server.client(), KEY, TOKEN_SECRET, path)
    carried = base64.b64decode(api_server.applied[encryption.SECRET_PATH]["data"][encryption.ENTRY]).decode()
    # With the right key it is there, so the search below would find it.
    assert secret in encryption.unseal(carried, KEY)
    for layer in (carried, base64.b64decode(carried.split(".")[0]).decode("latin-1")):
        assert secret not in layer


def test_the_secret_ends_with_the_token_and_only_who_joins_may_read_it(api_server: ApiServer, tmp_path: Path) -> None:
    path = tmp_path / "encryption.json"
    encryption.write_new(path)
    encryption.attach(api_server.client(), KEY, TOKEN_SECRET, path)
    assert api_server.applied[encryption.SECRET_PATH]["metadata"]["ownerReferences"][0]["uid"] == "1-2-3"
    rights = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system"
    (rule,) = api_server.applied[f"{rights}/roles/flotilla:encryption"]["rules"]
    assert (rule["resourceNames"], rule["verbs"]) == ([encryption.SECRET], ["get"])
    (subject,) = api_server.applied[f"{rights}/rolebindings/flotilla:encryption"]["subjects"]
    assert subject["name"] == encryption.BOOTSTRAP_GROUP


def test_a_cluster_without_encryption_gives_none(api_server: ApiServer, tmp_path: Path) -> None:
    path = tmp_path / "encryption.json"
    encryption.attach(api_server.client(), KEY, TOKEN_SECRET, path)
    assert encryption.fetch(api_server.address, TOKEN, api_server.hashes, KEY, path) is False
    assert not path.exists()


def test_another_authority_is_not_trusted_and_gets_no_token(api_server: ApiServer, tmp_path: Path) -> None:
    with pytest.raises(FlotillaError) as caught:
        encryption.fetch(api_server.address, TOKEN, ["sha256:" + "0" * 64], KEY, tmp_path / "encryption.json")
    assert caught.value.code == "CA_NOT_TRUSTED"


def test_of_two_authorities_each_has_to_be_the_clusters(api_server: ApiServer, tmp_path: Path) -> None:
    """There are two while the authority is rotated."""
    own, other = api_server.shown_ca, tmp_path / "other.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"]
    subprocess.run([*command, "-keyout", tmp_path / "other.key", "-out", other], check=True, capture_output=True)
    api_server.shown_ca = own + other.read_text()
    both = [*api_server.hashes, encryption.public_key_hash(other.read_text())]
    assert encryption.fetch(api_server.address, TOKEN, both, KEY, tmp_path / "encryption.json") is False
    with pytest.raises(FlotillaError) as caught:
        encryption.fetch(api_server.address, TOKEN, api_server.hashes, KEY, tmp_path / "encryption.json")
    assert caught.value.code == "CA_NOT_TRUSTED"
    api_server.shown_ca = own + "-----BEGIN TRUSTED CERTIFICATE-----\nMA==\n-----END TRUSTED CERTIFICATE-----\n"
    with pytest.raises(FlotillaError) as caught:
        encryption.fetch(api_server.address, TOKEN, api_server.hashes, KEY, tmp_path / "encryption.json")
    assert caught.value.code == "CA_NOT_TRUSTED"


@pytest.mark.parametrize("place", [0, 10, -1])
def test_what_was_changed_on_the_way_is_refused(place: int) -> None:
    sealed = encryption.seal("text", KEY)
    assert encryption.unseal(sealed, KEY) == "text"
    changed = list(sealed)
    changed[place] = "B" if changed[place] != "B" else "C"
    with pytest.raises(FlotillaError) as caught:
        encryption.unseal("".join(changed), KEY)
    assert caught.value.code == "ENCRYPTION_KEY_SEALED"


def test_another_certificate_key_does_not_open_it() -> None:
    with pytest.raises(FlotillaError):
        encryption.unseal(encryption.seal("text", KEY), "60" * 32)


def test_every_key_is_new() -> None:
    one, other = encryption.new_configuration(), encryption.new_configuration()
    assert one != other
    providers = one["resources"][0]["providers"]
    assert [next(iter(provider)) for provider in providers] == ["secretbox", "identity"]
    assert len(base64.b64decode(providers[0]["secretbox"]["keys"][0]["secret"])) == 32
