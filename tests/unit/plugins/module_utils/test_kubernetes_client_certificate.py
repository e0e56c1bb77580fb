# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signing through the cluster's API: asked for, approved, read, and nothing left behind."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import client_certificate


class Api:
    """An API server that signs after some looks, or answers with a condition."""

    def __init__(self, conditions=(), looks=1) -> None:
        self.objects, self.conditions, self.looks, self.calls = {}, conditions, looks, []

    def post(self, path, body):
        self.calls.append("POST")
        name = body["metadata"]["name"]
        self.objects[f"{path}/{name}"] = body
        return dict(body)

    def request(self, method, path, body=None):
        self.calls.append(f"{method} {path.rsplit('/', 1)[-1]}" if method == "PUT" else method)
        if method == "PUT":
            assert body["status"]["conditions"][0]["type"] == "Approved" and body["metadata"]["name"] in path
            self.approved = True
        if method == "DELETE":
            del self.objects[path]
        return "{}"

    def get(self, path):
        assert self.approved
        self.looks -= 1
        signed = {"certificate": base64.b64encode(b"CERT").decode()} if self.looks < 0 and not self.conditions else {}
        return {"status": {"conditions": list(self.conditions), **signed}}


def test_the_certificate_comes_and_the_request_goes() -> None:
    api = Api()
    assert client_certificate.sign(api, "CSR", 3600) == "CERT"
    assert api.calls == ["POST", "PUT approval", "DELETE"] and api.objects == {}


def test_asks_for_a_client_certificate_of_that_time(monkeypatch) -> None:
    api = Api()
    asked = []
    monkeypatch.setattr(api, "post", lambda path, body: (asked.append(body["spec"]), Api.post(api, path, body))[1])
    client_certificate.sign(api, "CSR", 3600)
    assert asked == [
        {"request": "Q1NS", "signerName": "kubernetes.io/kube-apiserver-client", "expirationSeconds": 3600, "usages": ["client auth"]}
    ]


@pytest.mark.parametrize(
    ("api", "timeout", "code"),
    [(Api([{"type": "Failed", "message": "no"}]), 5, "CERTIFICATE_REFUSED"), (Api(looks=1000), 0.3, "CERTIFICATE_NOT_SIGNED")],
)
def test_a_refusal_and_a_silent_signer_are_said(api, timeout, code) -> None:
    with pytest.raises(FlotillaError) as caught:
        client_certificate.sign(api, "CSR", 3600, timeout=timeout)
    assert caught.value.code == code
    assert api.objects == {}, "nothing stays in the cluster"
