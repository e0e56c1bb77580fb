# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`policies` in a definition: what comes out, how it is inherited, and the exact text of what is wrong."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import DefinitionErrors

DEMO = """\
plugin: flotilla.kubernetes.cluster
schema: 1
name: demo
cloud: local
kubernetes_version: "1.36.3"
control_plane: {count: 1}
local: {network_cidr: 172.30.86.0/24}
"""
READ = {"api_groups": [""], "resources": ["pods"], "verbs": ["get"]}


@pytest.fixture
def read(tmp_path):
    folder = tmp_path / "production"
    path = folder / "clusters/demo.yml"
    path.parent.mkdir(parents=True)

    def of(policies, cluster_class=None, more=""):
        text = DEMO + more + yaml.safe_dump({"policies": policies}, sort_keys=False)
        if cluster_class is not None:
            (folder / "cluster_classes").mkdir(exist_ok=True)
            head = "plugin: flotilla.kubernetes.cluster\nschema: 1\nkind: cluster_class\n"
            (folder / "cluster_classes/production.yml").write_text(head + yaml.safe_dump({"policies": cluster_class}), encoding="utf-8")
            text += "class: production\n"
        path.write_text(text, encoding="utf-8")
        return load.load_file(path)["policies"]

    return of


def wrong(read, policies, more="", cluster_class=None):
    """Return path and text of each problem."""
    with pytest.raises(DefinitionErrors) as caught:
        read(policies, cluster_class, more)
    return {problem.path.removeprefix("policies."): problem.message for problem in caught.value.problems}


def test_without_them_all_lists_are_empty(read):
    assert read({}) == {"namespaces": [], "cluster_roles": [], "cluster_role_bindings": []}


def test_what_was_left_out_has_its_default(read):
    binding = {"name": "dev", "cluster_role": "edit", "groups": ["oidc:dev"]}
    found = read({"namespaces": [{"name": "shop", "role_bindings": [binding]}]})
    nobody = {"users": [], "service_accounts": []}
    assert found["namespaces"] == [
        {"name": "shop", "labels": {}, "pod_security": {}, "roles": [], "role_bindings": [{**binding, **nobody}]}
    ]


def test_a_cluster_adds_to_what_its_class_says_by_name(read):
    base = {
        "cluster_role_bindings": [{"name": "ops", "cluster_role": "view", "groups": ["oidc:ops"]}],
        "namespaces": [
            {
                "name": "shop",
                "labels": {"team": "shop"},
                "pod_security": {"enforce": "restricted"},
                "roles": [{"name": "a", "rules": [READ]}],
            },
            {"name": "web"},
        ],
    }
    own = {
        "cluster_role_bindings": [{"name": "ops", "groups": ["oidc:ops", "oidc:night"]}],
        "namespaces": [
            {"name": "batch"},
            {"name": "shop", "pod_security": {"warn": "baseline"}, "roles": [{"name": "b", "rules": [READ]}]},
        ],
    }
    found = read(own, base)
    assert [one["name"] for one in found["namespaces"]] == ["shop", "web", "batch"]
    shop = found["namespaces"][0]
    assert shop["labels"] == {"team": "shop"} and shop["pod_security"] == {"enforce": "restricted", "warn": "baseline"}
    assert [role["name"] for role in shop["roles"]] == ["a", "b"]
    assert found["cluster_role_bindings"][0]["groups"] == ["oidc:ops", "oidc:night"]
    assert found["cluster_role_bindings"][0]["cluster_role"] == "view"


PROFILE = "plugin: flotilla.kubernetes.cluster\nschema: 1\nkind: policy_profile\n"


def test_foundations_share_a_profile_in_the_folder_above_them_and_one_of_their_own_wins(read, tmp_path):
    shared = tmp_path / "policy_profiles"
    shared.mkdir()
    company = {"policies": {"cluster_role_bindings": [{"name": "ops", "cluster_role": "view", "groups": ["oidc:ops"]}]}}
    (shared / "company.yml").write_text(PROFILE + yaml.safe_dump(company), encoding="utf-8")
    found = read({"namespaces": [{"name": "shop"}]}, {"profile": "company", "namespaces": [{"name": "web"}]})
    assert [one["name"] for one in found["cluster_role_bindings"]] == ["ops"]
    assert [one["name"] for one in found["namespaces"]] == ["web", "shop"]
    own = tmp_path / "production/policy_profiles"
    own.mkdir()
    (own / "company.yml").write_text(PROFILE, encoding="utf-8")
    assert read({"profile": "company"})["cluster_role_bindings"] == []
    text = wrong(read, {"profile": "compny"})["profile"]
    assert 'Did you mean "company"?' in text and text.count("policy_profiles/compny.yml") == 2
    (own / "company.yml").write_text(PROFILE + "network: {}\npolicies: {profile: other}\n", encoding="utf-8")
    found = {problem.split(":", 1)[0] for problem in wrong(read, {"profile": "company"}).values()}
    assert len(found) == 1 and found.pop().startswith("unknown key")


def test_all_problems_come_at_once_with_a_way_out(read):
    found = wrong(
        read,
        {
            "cluster_roles": [
                {"name": "edit", "rules": [READ]},
                {"name": "paths", "rules": [{"non_resource_urls": ["/metrics"], "resources": ["pods"], "verbs": ["get"]}]},
                {"name": "half", "labels": {"flotilla.kubernetes/x": "y"}, "rules": [{"resources": ["pods"], "verbs": ["get"]}]},
            ],
            "cluster_role_bindings": [
                {"name": "all", "cluster_role": "view", "groups": ["system:unauthenticated"]},
                {"name": "nobody", "cluster_role": "view"},
            ],
            "namespaces": [
                {
                    "name": "shop",
                    "labels": {"pod-security.kubernetes.io/enforce": "baseline"},
                    "pod_security": {"enforce": "baseline", "enforce_version": "1.99", "warn_version": "latest"},
                    "roles": [{"name": "deployer", "rules": [READ]}],
                    "role_bindings": [
                        {"name": "a", "role": "deploier", "users": ["jane"]},
                        {"name": "b", "role": "deployer", "cluster_role": "view", "users": ["jane"]},
                        {"name": "c", "users": ["jane"]},
                    ],
                },
                {"name": "shop"},
                {"name": "kube-system", "pod_security": {"enforce": "baseline"}},
                {"name": "store", "pod_security": {"warn": "baseline"}},
            ],
        },
        "security: {pod_security: {exempt_namespaces: [store]}}\n",
    )
    both = "grants one role: write either role or cluster_role."
    assert found == {
        "cluster_roles[0].name": "is edit, a role of Kubernetes' own; take another name.",
        "cluster_roles[1].rules[0]": "is about paths and about resources; make it two rules.",
        "cluster_roles[2].labels.flotilla.kubernetes/x": "has the prefix flotilla.kubernetes/, which the collection keeps for itself; "
        "choose another prefix.",
        "cluster_roles[2].rules[0]": 'needs api_groups; the core group is api_groups: [""].',
        "cluster_role_bindings[0].groups[0]": "is system:unauthenticated, anybody without credentials; name a group such as "
        "system:authenticated.",
        "cluster_role_bindings[1]": "grants nobody anything; name somebody in users, groups, service_accounts.",
        "namespaces[0].labels.pod-security.kubernetes.io/enforce": "is what pod_security sets; write the level there.",
        "namespaces[0].pod_security.enforce_version": "is 1.99, newer than the cluster, which has 1.36; take that, an older one or latest.",
        "namespaces[0].pod_security.warn_version": "has no effect without warn; add the level.",
        "namespaces[0].role_bindings[0].role": 'is deploier, which is none of the namespace\'s roles. Did you mean "deployer"? Roles of '
        "the cluster go into cluster_role.",
        "namespaces[0].role_bindings[1]": both,
        "namespaces[0].role_bindings[2]": both,
        "namespaces[1].name": "is shop, as in line 44; names are unique here.",
        "namespaces[2].pod_security": "has no effect: the namespace kube-system is exempt from pod security; remove it.",
        "namespaces[3].pod_security": "has no effect: the namespace store is exempt from pod security; remove it.",
    }


@pytest.mark.parametrize(
    ("policies", "path", "text"),
    [
        ({"namespace": []}, "namespace", 'did you mean "namespaces"?'),
        ({"namespaces": [{"labels": {}}]}, "namespaces[0].name", "is missing"),
        (
            {"namespaces": [{"name": "shop", "pod_security": {"enforce": "restrictd"}}]},
            "namespaces[0].pod_security.enforce",
            '"restricted"?',
        ),
        ({"cluster_roles": [{"name": "system:own", "rules": [READ]}]}, "cluster_roles[0].name", "does not begin with system:"),
        ({"cluster_roles": [{"name": "own"}]}, "cluster_roles[0].rules", "is missing"),
        ({"cluster_role_bindings": [{"name": "own", "users": ["x"]}]}, "cluster_role_bindings[0].cluster_role", "is missing"),
    ],
)
def test_what_has_a_wrong_shape_is_told_with_its_place(read, policies, path, text):
    assert text in wrong(read, policies)[path]


def test_a_slip_in_a_class_is_told_at_its_place_there(read, tmp_path):
    with pytest.raises(DefinitionErrors) as caught:
        read({}, {"namespaces": [{"name": "shop", "role_bindings": [{"name": "a", "role": "none", "users": ["jane"]}]}]})
    (problem,) = caught.value.problems
    assert problem.file.endswith("production.yml") and problem.path == "policies.namespaces[0].role_bindings[0].role"
