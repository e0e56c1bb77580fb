# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How calls sign in, and what they make of what comes back."""

from __future__ import annotations

import pytest
import requests
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.nsx import session as sessions
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.nsx.session import Session
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from clouds.faults import Answer


def test_one_session_serves_all_calls_and_is_begun_anew_when_it_ends(nsx, front, session):
    sign_ins = []
    front.before += [("POST /api/session/create", lambda: sign_ins.append(1))] * 9
    for _number in range(3):
        session.find("/infra/tier-0s/tenant-a")
    assert len(sign_ins) == 1
    nsx.end_sessions()
    assert session.find("/infra/tier-0s/tenant-b")["display_name"] == "Tenant B" and len(sign_ins) == 2


def test_a_wrong_password_is_tried_once_as_accounts_are_locked_after_a_few(front, session, monkeypatch):
    monkeypatch.setenv(sessions.PASSWORD, "wrong")
    tried = []
    front.before += [("POST /api/session/create", lambda: tried.append(1))] * 9
    with pytest.raises(FlotillaError, match="account specified has been locked") as caught:
        session.find("/infra/tier-0s/tenant-a")
    assert caught.value.code == "NSX_UNAUTHORISED" and len(tried) == 1
    assert "wrong" not in str(caught.value.as_result())


def test_a_right_that_is_missing_is_told_and_not_taken_for_an_end_of_the_session(front, session):
    body = b'{"error_code": 289, "module_name": "common-services", "error_message": "The user does not have permission."}'
    front.answers.append(("GET /policy", Answer(403, {"Content-Type": "application/json"}, body), False))
    with pytest.raises(FlotillaError, match="does not have permission") as caught:
        session.find("/infra/tier-0s/tenant-a")
    assert caught.value.code == "NSX_FORBIDDEN" and "docs/nsx.md" in caught.value.remedy


def test_without_anything_to_sign_in_with_it_says_what_to_set(session, monkeypatch):
    monkeypatch.delenv(sessions.PASSWORD)
    with pytest.raises(FlotillaError, match="nothing to sign in") as caught:
        session.find("/infra/tier-0s/tenant-a")
    assert sessions.CERTIFICATE in caught.value.remedy
    monkeypatch.setenv(sessions.CERTIFICATE, "/tmp/c.pem")
    with pytest.raises(FlotillaError, match="only one is set"):
        Session("nsx.example.com")


def test_a_principal_identity_shows_its_certificate_and_needs_no_session(monkeypatch):
    sent = []

    def request(_self, method, url, **options):
        sent.append((method, url, options["cert"], options["verify"]))
        answer = requests.Response()
        answer.status_code, answer._content = 200, b'{"id": "tenant-a"}'
        return answer

    monkeypatch.setattr(requests.Session, "request", request)
    monkeypatch.setenv(sessions.CERTIFICATE, "/pki/c.pem")
    monkeypatch.setenv(sessions.KEY, "/pki/k.pem")
    monkeypatch.setenv(sessions.AUTHORITY, "/pki/ca.pem")
    # Else requests would take it instead of what is given for a session.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/elsewhere.pem")
    assert Session("nsx.example.com:8443").find("/infra/tier-0s/tenant a") == {"id": "tenant-a"}
    url = "https://nsx.example.com:8443/policy/api/v1/infra/tier-0s/tenant%20a"
    assert sent == [("GET", url, ("/pki/c.pem", "/pki/k.pem"), "/pki/ca.pem")]


def test_an_address_where_nobody_is_ends_soon(session):
    session._root = "http://127.0.0.1:9"
    with pytest.raises(FlotillaError, match="did not answer") as caught:
        session.find("/infra/tier-0s/tenant-a")
    assert caught.value.code == "NSX_UNREACHABLE" and session.clock.slept < 60


def test_the_manager_comes_from_the_definition_or_the_environment(monkeypatch):
    monkeypatch.delenv(sessions.MANAGER, raising=False)
    with pytest.raises(FlotillaError) as caught:
        sessions.session_for({"nsx": {"manager": None, "tier0": "a"}})
    assert caught.value.code == "NSX_MANAGER"
    monkeypatch.setenv(sessions.MANAGER, "two.example.com")
    assert sessions.session_for({"nsx": {"manager": None, "tier0": "a"}})._root == "https://two.example.com"
    assert sessions.session_for({"nsx": {"manager": "one.example.com"}})._root == "https://one.example.com"
