# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look at the policies becomes for people."""

from __future__ import annotations

from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._policies import policy_findings, refused_pods

REFUSED = {"namespace": "shop", "level": "restricted:latest", "workloads": ["a: x", "b: x", "c: x", "d: x"], "complete": True}


def test_nothing_is_said_where_nothing_differs_or_nobody_looked() -> None:
    assert policy_findings({"differences": [], "refused": []}) == []
    assert policy_findings({}) == [] and policy_findings(None) == [] and policy_findings({"skipped": True}) == []


def test_drift_and_what_a_level_would_refuse_are_findings() -> None:
    differences = [{"object": f"role/shop/{name}", "action": "change", "fields": []} for name in "abcd"]
    drift, refused = policy_findings({"differences": differences, "refused": [REFUSED]})
    assert drift["code"] == "POLICIES_DRIFT"
    assert drift["message"].startswith("4 objects are not as the policies say: change role/shop/a, ") and "and 1 more" in drift["message"]
    assert refused["code"] == "POLICIES_PODS_REFUSED" and "flotilla_policies_consent=shop" in refused["remedy"]
    (one,) = policy_findings({"differences": differences[:1]})
    assert one["message"] == "1 object is not as the policies say: change role/shop/a."


def test_a_look_that_failed_is_a_finding() -> None:
    (found,) = policy_findings(
        {"msg": "Somebody else made role/shop/a. Take another name.", "code": "POLICIES_FOREIGN", "remedy": "Take another name."}
    )
    assert found == {"code": "POLICIES_FOREIGN", "message": "Somebody else made role/shop/a.", "remedy": "Take another name."}


def test_a_long_list_of_pods_is_cut_and_says_what_was_not_looked_at() -> None:
    assert refused_pods(REFUSED) == "the level restricted:latest would refuse pods that run: a: x; b: x; c: x; and 1 more"
    assert "and perhaps others" in refused_pods({**REFUSED, "complete": False, "workloads": []})
