# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kubeconfig of the audit webhook; tests/integration/kubernetes gives it to a real API server."""

from __future__ import annotations

import base64

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.kubernetes.plugins.filter.audit_webhook import audit_webhook

SERVER = {"server": "https://audit.example.com/kubernetes"}
SECRET = "planted-secret"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("kind", "credentials", "user"),
    [
        (None, {"token": f"{SECRET}\n"}, {"token": SECRET}),
        ("token", {"token": SECRET}, {"token": SECRET}),
        ("password", {"username": "audit", "password": f" {SECRET}"}, {"username": "audit", "password": f" {SECRET}"}),
        (
            "certificate",
            {"client_certificate": "PEM", "client_key": SECRET},
            {"client-certificate-data": encoded("PEM"), "client-key-data": encoded(SECRET)},
        ),
        ("none", {}, {}),
    ],
)
def test_each_kind_of_login_is_a_user_of_the_kubeconfig(kind, credentials, user):
    made = audit_webhook({**SERVER, **({"authentication": kind} if kind else {})}, credentials)
    assert made["users"] == [{"name": "kube-apiserver", "user": user}]
    assert made["clusters"] == [{"name": "audit", "cluster": {"server": SERVER["server"]}}]
    assert made["current-context"] == made["contexts"][0]["name"]


@pytest.mark.parametrize(
    ("kind", "credentials", "told"),
    [
        ("token", {}, "authentication is token.*lacks token"),
        ("token", {"token": " "}, "lacks token"),
        ("password", {"username": "audit"}, "lacks password"),
        ("certificate", {"token": SECRET}, "lacks client_certificate, client_key; it has token"),
        ("none", {"token": SECRET}, "it has token, which that does not use"),
    ],
)
def test_secrets_that_do_not_fit_are_told_and_not_repeated(kind, credentials, told):
    with pytest.raises(AnsibleFilterError, match=told) as refused:
        audit_webhook({**SERVER, "authentication": kind}, credentials)
    assert SECRET not in str(refused.value) and "kubernetes_control_plane_audit_webhook_credentials" in str(refused.value)


def test_the_authority_is_in_it_and_has_to_be_one(tmp_path):
    authority = tmp_path / "ca.pem"
    with pytest.raises(AnsibleFilterError, match=r"ca\.pem of security\.audit\.webhook can not be read"):
        audit_webhook({**SERVER, "ca_file": str(authority), "authentication": "none"}, {})
    authority.write_text("no certificate")
    with pytest.raises(AnsibleFilterError, match="holds no certificate"):
        audit_webhook({**SERVER, "ca_file": str(authority), "authentication": "none"}, {})
    authority.write_text("-----BEGIN CERTIFICATE-----\n")
    made = audit_webhook({**SERVER, "ca_file": str(authority), "authentication": "none"}, {})
    assert made["clusters"][0]["cluster"]["certificate-authority-data"] == encoded("-----BEGIN CERTIFICATE-----\n")
