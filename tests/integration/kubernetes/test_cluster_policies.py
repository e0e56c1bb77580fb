# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module cluster_policies against a real kube-apiserver: what it changes, what it leaves alone, and what it refuses to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import client as client_module
from ansible_collections.flotilla.kubernetes.plugins.modules import cluster_policies
from control_plane import wait_for
from nodes import Node

RBAC = "/apis/rbac.authorization.k8s.io/v1"
LABEL = "flotilla.kubernetes/policies"
ENFORCE = "pod-security.kubernetes.io/enforce"
READ = {"api_groups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
SAFE = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass
class House:
    """An API server, a namespace of its own in it, and what is written for it."""

    node: Node
    ask: Callable[..., dict[str, Any]]
    written: dict[str, Any]

    def run(self, check_mode: bool = False, **more: Any) -> dict[str, Any]:
        return self.ask(cluster_policies, check_mode, **self.written, **more)

    def done(self, **more: Any) -> dict[str, Any]:
        result = self.run(**more)
        assert not result.get("failed"), result
        return result

    @property
    def namespace(self) -> dict[str, Any]:
        return self.written["namespaces"][0]

    @property
    def path(self) -> str:
        return f"{RBAC}/namespaces/{self.node.name}"

    def get(self, path: str) -> dict[str, Any] | None:
        status, found = self.node.server.call("GET", path)
        return found if status < 300 else None

    def labels(self) -> dict[str, str]:
        return self.get(f"/api/v1/namespaces/{self.node.name}")["metadata"]["labels"]

    def merge(self, path: str, body: dict[str, Any]) -> None:
        self.node.client().merge(path, body)

    def versions(self) -> dict[str, str]:
        """The resource version of everything that could be changed."""
        kinds = (f"{RBAC}/clusterroles", f"{RBAC}/clusterrolebindings", f"{RBAC}/roles", f"{RBAC}/rolebindings", "/api/v1/namespaces")
        return {
            f"{path}/{one['metadata'].get('namespace', '')}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
            for path in kinds
            for one in self.node.client().items(path)
        }


@pytest.fixture
def house(node: Node, ask: Callable[..., dict[str, Any]]) -> Iterator[House]:
    written: dict[str, Any] = {
        "cluster_roles": [{"name": f"look-{node.name}", "rules": [READ, {"non_resource_urls": ["/metrics"], "verbs": ["get"]}]}],
        "cluster_role_bindings": [{"name": f"ops-{node.name}", "cluster_role": f"look-{node.name}", "groups": ["oidc:ops"]}],
        "namespaces": [
            {
                "name": node.name,
                "labels": {"team": "shop"},
                "pod_security": {"warn": "restricted"},
                "roles": [{"name": "deployer", "rules": [{"api_groups": ["apps"], "resources": ["deployments"], "verbs": ["*"]}]}],
                "role_bindings": [
                    {"name": "deployers", "role": "deployer", "users": ["jane"], "service_accounts": [f"{node.name}/robot"]},
                    {"name": "readers", "cluster_role": f"look-{node.name}", "groups": ["oidc:dev"]},
                ],
            }
        ],
    }
    yield House(node, ask, written)
    # The next test has another namespace, and must not be asked to tidy up this one's.
    ask(cluster_policies)


def test_what_is_written_is_made_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    before = house.versions()
    predicted = house.run(check_mode=True)
    assert predicted["changed"] and house.versions() == before
    made = house.done()
    assert made["differences"] == predicted["differences"]
    assert [(one["object"].split("/")[0], one["action"]) for one in made["differences"]] == [
        ("namespace", "change"),
        ("clusterrole", "create"),
        ("role", "create"),
        ("clusterrolebinding", "create"),
        ("rolebinding", "create"),
        ("rolebinding", "create"),
    ]
    assert house.labels()["team"] == "shop" and house.labels()["pod-security.kubernetes.io/warn"] == "restricted"
    binding = house.get(f"{house.path}/rolebindings/deployers")
    assert binding["roleRef"]["kind"] == "Role" and [one["name"] for one in binding["subjects"]] == ["jane", "robot"]
    monkeypatch.setattr(client_module, "PAGE_SIZE", 1)
    after = house.versions()
    again = house.done()
    assert again["changed"] is False and again["differences"] == [] and house.versions() == after


def test_what_was_changed_by_hand_is_set_back(house: House) -> None:
    house.done()
    house.merge(f"/api/v1/namespaces/{house.node.name}", {"metadata": {"labels": {"team": "thieves", "foreign": "stays"}}})
    house.merge(f"{RBAC}/clusterroles/look-{house.node.name}", {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]})
    mallory = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "mallory"}
    house.merge(f"{house.path}/rolebindings/readers", {"subjects": [mallory], "metadata": {"labels": {LABEL: None}}})
    house.node.server.call("DELETE", f"{house.path}/roles/deployer")
    # Who a binding is for can be changed, what it grants can not.
    house.node.server.call("DELETE", f"{house.path}/rolebindings/deployers")
    other = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    house.node.call(
        "POST", f"{house.path}/rolebindings", {"metadata": {"name": "deployers", "labels": {LABEL: "managed"}}, "roleRef": other}
    )
    result = house.done()
    assert {one["object"]: one["action"] for one in result["differences"]} == {
        f"namespace/{house.node.name}": "change",
        f"clusterrole/look-{house.node.name}": "change",
        f"role/{house.node.name}/deployer": "create",
        f"rolebinding/{house.node.name}/deployers": "replace",
        f"rolebinding/{house.node.name}/readers": "change",
    }
    assert house.labels()["team"] == "shop" and house.labels()["foreign"] == "stays"
    assert len(house.get(f"{RBAC}/clusterroles/look-{house.node.name}")["rules"]) == 2
    assert [one["name"] for one in house.get(f"{house.path}/rolebindings/readers")["subjects"]] == ["oidc:dev"]
    assert house.get(f"{house.path}/rolebindings/deployers")["roleRef"]["name"] == "deployer"
    assert house.done()["changed"] is False


def test_what_is_not_written_any_more_goes_and_a_namespace_stays(house: House) -> None:
    foreign = {"metadata": {"name": "theirs"}, "rules": []}
    house.node.call("POST", f"{house.path}/roles", foreign)
    house.namespace["pod_security"] = {"enforce": "privileged"}
    house.done()
    house.namespace["labels"] = {}
    house.namespace["role_bindings"] = house.namespace["role_bindings"][:1]
    before = house.versions()
    result = house.done()
    assert {one["object"]: (one["action"], one["fields"]) for one in result["differences"]} == {
        f"namespace/{house.node.name}": ("change", ["labels.team"]),
        f"rolebinding/{house.node.name}/readers": ("delete", ["roleRef", "subjects"]),
    }
    assert "team" not in house.labels() and house.get(f"{house.path}/rolebindings/readers") is None
    changed = {path for path, version in house.versions().items() if before.get(path) != version}
    assert changed == {f"/api/v1/namespaces//{house.node.name}"}, "nothing else was touched"
    house.written = {}
    gone = house.done()
    assert {one["action"] for one in gone["differences"]} == {"delete", "release"}
    assert [one["action"] for one in gone["differences"]][-1] == "release", "bindings go before what they grant"
    assert house.labels()[ENFORCE] == "privileged" and LABEL not in house.labels()
    assert house.get(f"{house.path}/roles/theirs") and house.get(f"{house.path}/roles/deployer") is None
    assert house.done()["changed"] is False


def test_what_others_made_is_not_touched_before_somebody_says_so(house: House) -> None:
    path = f"{house.path}/roles/deployer"
    house.node.call("POST", f"{house.path}/roles", {"metadata": {"name": "deployer"}, "rules": []})
    before = house.versions()
    for check_mode in (True, False):
        stopped = house.run(check_mode)
        assert stopped["failed"] and stopped["code"] == "POLICIES_FOREIGN", stopped
        assert stopped["foreign"] == [f"role/{house.node.name}/deployer"] and house.versions() == before
    house.done(adopt=stopped["foreign"])
    assert house.get(path)["rules"][0]["verbs"] == ["*"] and house.get(path)["metadata"]["labels"] == {LABEL: "managed"}


def test_a_binding_to_a_role_that_is_not_there_is_told_before_anything_is_changed(house: House) -> None:
    house.written["cluster_role_bindings"][0]["cluster_role"] = "veiw"
    before = house.versions()
    stopped = house.run()
    assert stopped["code"] == "POLICIES_ROLE_MISSING" and "clusterrole/veiw" in stopped["msg"] and house.versions() == before
    house.written["cluster_role_bindings"][0]["cluster_role"] = "view"
    house.done()


def test_pods_that_a_stricter_level_would_refuse_stop_it_before_anything_is_changed(house: House) -> None:
    image = {"name": "main", "image": "registry.k8s.io/pause:3.10"}
    house.node.pod("safe-1", containers=[{**image, "securityContext": SAFE}])
    house.namespace["pod_security"] = {"enforce": "restricted", "enforce_version": "1.36"}
    fine = house.run(check_mode=True)
    assert fine["changed"] and fine["refused"] == [], "the same level refuses nothing of a pod that meets it"
    house.node.pod("root-1", containers=[{**image, "securityContext": {"privileged": True}}])
    before = house.versions()
    # Admission looks at pods in the server's own cache, which follows, and for a second at most.
    wait_for("the server to see the pod", lambda: [one["complete"] for one in house.run(check_mode=True)["refused"]] == [True], 120)
    tried = house.run(check_mode=True)
    assert [one["namespace"] for one in tried["refused"]] == [house.node.name] and "root-1" in str(tried["warnings"])
    (refused,) = tried["refused"]
    assert refused["level"] == "restricted:v1.36" and refused["complete"]
    assert len(refused["workloads"]) == 1 and refused["workloads"][0].startswith("root-1: ") and "privileged" in refused["workloads"][0]
    stopped = house.run()
    assert stopped["code"] == "POLICIES_PODS_REFUSED" and stopped["refused"] == tried["refused"]
    assert "root-1" in stopped["msg"] and "safe-1" not in stopped["msg"] and house.node.name in stopped["remedy"]
    assert house.versions() == before and ENFORCE not in house.labels()
    house.done(consent=[house.node.name])
    assert house.labels()[ENFORCE] == "restricted"
    assert house.node.pods == ["root-1", "safe-1"], "what runs goes on"
    again = house.done()
    assert again["changed"] is False and again["refused"] == [], "what was agreed to is not asked again"


def test_a_namespace_that_ends_is_told(house: House) -> None:
    path = f"/api/v1/namespaces/{house.node.name}"
    house.node.server.call("DELETE", path)
    stopped = house.run()
    assert stopped["code"] == "POLICIES_NAMESPACE_ENDS" and house.get(f"{RBAC}/clusterroles/look-{house.node.name}") is None


def test_a_new_namespace_comes_with_all_that_is_in_it(house: House) -> None:
    house.namespace["name"] = f"{house.node.name}-new"
    house.done()
    assert house.get(f"{RBAC}/namespaces/{house.node.name}-new/rolebindings/readers")
    assert house.done()["changed"] is False


def test_what_the_server_refuses_is_told_by_its_object_before_anything_is_changed(house: House) -> None:
    house.namespace["labels"] = {"team": "no value of a label"}
    before = house.versions()
    stopped = house.run()
    assert stopped["code"] == "POLICIES_REFUSED" and f"namespace/{house.node.name}" in stopped["msg"] and house.versions() == before
