# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between policies that are written and a cluster: a small API server that knows field management stands for the real one."""

from __future__ import annotations

import copy
from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import client, policies
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.policies import (
    CREATE,
    DELETE,
    LABEL,
    MANAGER,
    RELEASE,
    REPLACE,
    Change,
    Key,
    changes,
    foreign,
    wanted_objects,
)
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = st.sampled_from(["a", "b", "c"])
RULE = st.fixed_dictionaries(
    {"api_groups": st.lists(st.sampled_from(["", "apps"]), min_size=1, max_size=2), "verbs": st.lists(NAMES, min_size=1, max_size=2)},
    optional={"resources": st.lists(NAMES, min_size=1, max_size=2), "resource_names": st.just([])},
)
ROLE = st.fixed_dictionaries({"name": NAMES, "rules": st.lists(RULE, max_size=2)})
SUBJECTS = {"users": st.lists(NAMES, max_size=2), "groups": st.lists(NAMES, max_size=2), "service_accounts": st.just(["a/robot"])}
LABELS = st.dictionaries(NAMES, NAMES, max_size=2)
LEVEL = st.sampled_from(["privileged", "baseline", "restricted"])


def listed(item: Any) -> Any:
    return st.lists(item, max_size=3, unique_by=lambda one: one["name"])


BINDING = st.fixed_dictionaries({"name": NAMES, "cluster_role": NAMES, **SUBJECTS})
NAMESPACE = st.fixed_dictionaries(
    {"name": NAMES, "labels": LABELS, "roles": listed(ROLE), "role_bindings": listed(BINDING)},
    optional={"pod_security": st.fixed_dictionaries({}, optional={"enforce": LEVEL, "warn": LEVEL, "enforce_version": st.just("1.36")})},
)
WRITTEN = st.builds(
    wanted_objects, listed(NAMESPACE), listed(st.fixed_dictionaries({"name": NAMES, "rules": st.lists(RULE, max_size=2)})), listed(BINDING)
)


class Server:
    """Keeps objects as an API server does after server-side apply, as far as policies are concerned."""

    def __init__(self) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.writes = 0

    def live(self, wanted: dict[Key, Any]) -> dict[Key, dict[str, Any]]:
        return {key: copy.deepcopy(one) for key, one in self.objects.items() if key in wanted or LABEL in one["metadata"]["labels"]}

    def run(self, wanted: dict[Key, dict[str, Any]]) -> list[Change]:
        found = changes(wanted, self.live(wanted))
        for change in found:
            self.writes += 1
            if change.action == RELEASE:
                del self.objects[change.key]["metadata"]["labels"][LABEL]
                continue
            if change.action in (DELETE, REPLACE):
                del self.objects[change.key]
            if change.action != DELETE:
                self._apply(change.key, change.wanted)
        return found

    def _apply(self, key: Key, wanted: dict[str, Any]) -> None:
        held = self.objects.get(key, {"metadata": {"labels": {}}})
        ours = policies.applied_labels(held)
        labels = {name: value for name, value in held["metadata"]["labels"].items() if name not in ours}
        made = copy.deepcopy(wanted)
        fields = {"f:metadata": {"f:labels": {f"f:{name}": {} for name in wanted["metadata"]["labels"]}}}
        made["metadata"]["labels"] = {**labels, **wanted["metadata"]["labels"]}
        made["metadata"]["managedFields"] = [{"manager": MANAGER, "operation": "Apply", "fieldsV1": fields}]
        self.objects[key] = made

    def made_by_others(self, key: Key, **content: Any) -> None:
        self.objects[key] = {"kind": key.kind, "metadata": {"name": key.name, "labels": {}}, **content}


@settings(deadline=None)
@given(WRITTEN, WRITTEN)
def test_any_policies_are_reached_from_any_others_and_then_nothing_is_left_to_do(first: dict[Key, Any], second: dict[Key, Any]) -> None:
    server = Server()
    server.run(first)
    server.run(second)
    before = server.writes
    assert server.run(second) == [] and server.writes == before
    for key, wanted in second.items():
        found = server.objects[key]
        assert wanted["metadata"]["labels"].items() <= found["metadata"]["labels"].items()
        assert all(found[part] == wanted[part] for part in ("rules", "subjects", "roleRef") if part in wanted)
    ours = {key for key, one in server.objects.items() if LABEL in one["metadata"]["labels"]}
    assert ours == set(second)
    assert {key for key in first if key.kind == "Namespace"} <= set(server.objects), "a namespace is never deleted"


@settings(deadline=None)
@given(WRITTEN)
def test_what_others_made_is_never_touched(wanted: dict[Key, Any]) -> None:
    server = Server()
    theirs = [Key("ClusterRole", "", "theirs"), Key("Namespace", "", "theirs"), Key("RoleBinding", "a", "theirs")]
    for key in theirs:
        server.made_by_others(key)
    before = {key: copy.deepcopy(server.objects[key]) for key in theirs}
    server.run(wanted)
    server.run({})
    assert {key: server.objects[key] for key in theirs} == before


@settings(deadline=None)
@given(WRITTEN)
def test_grants_come_after_what_they_need_and_go_before_it(wanted: dict[Key, Any]) -> None:
    server = Server()

    def rank(change: Change) -> int:
        return policies.KINDS.index(change.key.kind)

    made = server.run(wanted)
    assert [rank(one) for one in made] == sorted(rank(one) for one in made) and {one.action for one in made} <= {CREATE}
    gone = server.run({})
    assert [rank(one) for one in gone] == sorted((rank(one) for one in gone), reverse=True) and len(gone) == len(wanted)


def test_a_label_that_somebody_else_set_as_well_is_theirs_too() -> None:
    fields = {"f:metadata": {"f:labels": {"f:team": {}}}}
    found = {"metadata": {"labels": {"team": "a"}, "managedFields": [{"manager": MANAGER, "operation": "Apply", "fieldsV1": fields}]}}
    assert policies.applied_labels(found) == {"team"}
    found["metadata"]["managedFields"].append({"manager": "kubectl", "operation": "Update", "fieldsV1": fields})
    assert policies.applied_labels(found) == set()


def test_a_role_without_our_label_is_foreign_unless_we_applied_it_and_a_namespace_never_is() -> None:
    wanted = wanted_objects([{"name": "a", "roles": [{"name": "a", "rules": []}]}], [], [])
    live = {key: {"metadata": {"name": "a", "labels": {}}} for key in wanted}
    role = Key("Role", "a", "a")
    assert foreign(wanted, live) == [role]
    live[role]["metadata"]["managedFields"] = [{"manager": MANAGER, "operation": "Apply"}]
    assert foreign(wanted, live) == []


def test_rules_that_a_controller_would_write_again_are_replaced() -> None:
    wanted = wanted_objects([], [{"name": "a", "rules": [{"api_groups": [""], "resources": ["pods"], "verbs": ["get"]}]}], [])
    key = next(iter(wanted))
    live = {key: {**copy.deepcopy(wanted[key]), "aggregationRule": {"clusterRoleSelectors": []}}}
    (change,) = changes(wanted, live)
    assert change.action == REPLACE and list(change.before) == ["aggregationRule"]


HEAD = 'existing pods in namespace "shop" violate the new PodSecurity enforce level "restricted:latest"'


def test_what_the_server_warns_of_is_read() -> None:
    found = policies.refusal("shop", [HEAD, "web-1 (and 2 other pods): privileged", "db-0: host namespaces"])
    assert found.level == "restricted:latest" and found.complete
    assert found.workloads == ("web-1 (and 2 other pods): privileged", "db-0: host namespaces")
    assert policies.refusal("shop", []) is None
    assert policies.refusal("shop", ["metadata.name: this is deprecated"]) is None


def test_pods_that_the_server_did_not_look_at_are_not_taken_for_good() -> None:
    partly = "new PodSecurity enforce level only checked against the first 3000 of 5000 existing pods"
    found = policies.refusal("shop", [partly])
    assert found is not None and not found.complete and found.workloads == ()
    found = policies.refusal("shop", [partly, HEAD, "web-1: privileged"])
    assert found.workloads == ("web-1: privileged",) and not found.complete


def test_the_text_of_a_warning_is_taken_out_of_its_header() -> None:
    assert client.warning_text(r'299 - "existing pods in namespace \"shop\" \\ x"') == r'existing pods in namespace "shop" \ x'
    assert client.warning_text("no quotes") == "no quotes"
