# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API servers' authentication file; tests/integration/kubernetes tries it on a real one."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.kubernetes.plugins.filter.authentication_configuration import authentication_configuration

ISSUER = {"issuer_url": "https://login.example.com", "audiences": ["kubernetes"]}


def test_without_issuers_anonymous_requests_are_limited_all_the_same():
    made = authentication_configuration([])
    assert made["jwt"] == [] and made["anonymous"]["enabled"]
    paths = {condition["path"] for condition in made["anonymous"]["conditions"]}
    assert {"/livez", "/readyz", "/api/v1/namespaces/kube-public/configmaps/cluster-info"} <= paths


def test_an_issuer_has_safe_defaults():
    (made,) = authentication_configuration([ISSUER])["jwt"]
    assert made["issuer"] == {"url": "https://login.example.com", "audiences": ["kubernetes"]}
    assert made["claimMappings"] == {"username": {"claim": "sub", "prefix": "oidc:"}, "groups": {"claim": "groups", "prefix": "oidc:"}}
    assert made["claimValidationRules"] == [] and len(made["userValidationRules"]) == 2


def test_everything_can_be_said(tmp_path):
    (tmp_path / "ca.pem").write_text("PEM")
    given = {**ISSUER, "audiences": ["a", "b"], "username_claim": "email", "username_prefix": "", "groups_claim": "roles"}
    given.update(groups_prefix="x:", required_claims={"hd": "example.com"}, ca_file=str(tmp_path / "ca.pem"))
    (made,) = authentication_configuration([given])["jwt"]
    assert made["issuer"]["audienceMatchPolicy"] == "MatchAny" and made["issuer"]["certificateAuthority"] == "PEM"
    assert made["claimMappings"] == {"username": {"claim": "email", "prefix": ""}, "groups": {"claim": "roles", "prefix": "x:"}}
    assert made["claimValidationRules"] == [{"claim": "hd", "requiredValue": "example.com"}]


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(AnsibleFilterError, match=r"gone\.pem of the issuer https://login\.example\.com"):
        authentication_configuration([{**ISSUER, "ca_file": str(tmp_path / "gone.pem")}])
