# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of NSX against what there is, as documents."""

from __future__ import annotations

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.nsx import errors, intent, things

HAVE = {
    "id": "x",
    "_revision": 4,
    "_create_user": "admin",
    "description": "theirs",
    "domain_name": "example.com",
    "tags": [{"scope": "cost-centre", "tag": "1"}, {"scope": "team", "tag": "a"}],
    "paths": ["/b", "/a"],
    "rules": [{"id": "one", "_revision": 2, "action": "ALLOW", "logged": True}, {"id": "old", "_revision": 0, "action": "ALLOW"}],
    "members": [{"ip_address": "10.0.0.1", "weight": 7}, {"ip_address": "10.0.0.2", "weight": 9}],
    "subnets": [{"gateway_address": "10.0.0.1/24", "network": "10.0.0.0/24", "dhcp_config": {"options": {"others": []}}}],
}


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        ({}, True),
        ({"domain_name": "example.com"}, True),
        ({"domain_name": None}, False),
        ({"missing": None, "also": []}, True),
        ({"tags": [{"scope": "team", "tag": "a"}]}, True),
        ({"tags": [{"scope": "team", "tag": "b"}]}, False),
        ({"paths": ["/a", "/b"]}, True),
        ({"paths": ["/a"]}, False),
        ({"rules": [{"id": "old", "action": "ALLOW"}, {"id": "one", "action": "ALLOW"}]}, True),
        ({"rules": [{"id": "one", "action": "ALLOW"}]}, False),
        ({"rules": [{"id": "one", "action": "DROP"}, {"id": "old"}]}, False),
        ({"subnets": [{"gateway_address": "10.0.0.1/24", "dhcp_ranges": None}]}, True),
        ({"subnets": []}, False),
    ],
)
def test_only_what_is_decided_is_compared(wanted, holds):
    assert intent.holds(HAVE, wanted) is holds
    assert intent.holds(intent.merged(HAVE, wanted), wanted)


def test_what_is_written_keeps_what_others_decided_and_the_revision_that_was_read():
    wanted = {
        "domain_name": None,
        "tags": [{"scope": "team", "tag": "b"}],
        "rules": [{"id": "new", "action": "DROP"}, {"id": "one", "action": "DROP"}],
        "members": [{"ip_address": "10.0.0.2", "admin_state": "ENABLED"}],
        "subnets": [{"gateway_address": "10.0.0.1/24", "dhcp_config": {"server_address": "10.0.0.2/24"}}],
    }
    assert intent.merged(HAVE, wanted) == {
        "id": "x",
        "_revision": 4,
        "description": "theirs",
        "paths": ["/b", "/a"],
        "tags": [{"scope": "cost-centre", "tag": "1"}, {"scope": "team", "tag": "b"}],
        "rules": [{"id": "new", "action": "DROP"}, {"id": "one", "_revision": 2, "action": "DROP", "logged": True}],
        "members": [{"ip_address": "10.0.0.2", "weight": 9, "admin_state": "ENABLED"}],
        "subnets": [
            {
                "gateway_address": "10.0.0.1/24",
                "network": "10.0.0.0/24",
                "dhcp_config": {"options": {"others": []}, "server_address": "10.0.0.2/24"},
            }
        ],
    }
    shown = intent.shown(HAVE, wanted)
    assert shown["tags"] == {"team": "a"} and shown["domain_name"] == "example.com" and "description" not in shown


def test_what_refers_to_others_goes_before_them():
    paths = [
        "/infra/ip-pools/x",
        "/infra/tier-1s/x",
        "/infra/tier-1s/x/nat/USER/nat-rules/y",
        "/infra/ip-pools/x/ip-subnets/a",
        "/infra/segments/x",
    ]
    paths += ["/infra/domains/default/groups/x", "/infra/domains/default/security-policies/x", "/infra/tier-1s/x/locale-services/default"]
    assert [path.split("/")[-2] for path in things.in_order(paths)] == [
        "security-policies",
        "groups",
        "nat-rules",
        "segments",
        "locale-services",
        "tier-1s",
        "ip-subnets",
        "ip-pools",
    ]


@pytest.mark.parametrize(
    ("status", "code", "name", "again"),
    [
        (429, 98, "NSX_THROTTLED", True),
        (503, 0, "NSX_UNAVAILABLE", True),
        (412, 604, "NSX_STALE", False),
        (400, 500030, "NSX_REFERENCED", True),
        (404, 600, "NSX_NOT_FOUND", False),
        (401, 403, "NSX_UNAUTHORISED", False),
        (403, 289, "NSX_FORBIDDEN", False),
        (400, 287, "NSX_REFUSED", False),
    ],
)
def test_each_answer_says_what_happened_in_the_managers_words_and_what_to_do(status, code, name, again):
    document = {"error_code": code, "error_message": "No.", "related_errors": [{"error_message": "Because."}]}
    error = errors.translate("PUT /infra/x", status, document, 3.0)
    assert (error.code, error.retry, error.retry_after) == (name, again, 3.0)
    assert error.message == "NSX refused PUT /infra/x: No. Because." and error.remedy and error.details["nsx_error"] == code
