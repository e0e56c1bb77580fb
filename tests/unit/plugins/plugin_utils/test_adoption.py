# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a foreign cluster shows becomes a definition that the rules of definitions take; what does not fit is said."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._adoption import Adoption, Seen, adopt

TAINT = {"key": "node-role.kubernetes.io/control-plane", "value": "", "effect": "NoSchedule"}
DEDICATED = {"key": "dedicated", "value": "batch", "effect": "NoSchedule"}
CONFIGURATION: dict[str, Any] = {
    "apiVersion": "kubeadm.k8s.io/v1beta4",
    "kind": "ClusterConfiguration",
    "clusterName": "shop",
    "kubernetesVersion": "v1.36.3",
    "controlPlaneEndpoint": "10.0.0.5:6443",
    "networking": {"podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/12", "dnsDomain": "cluster.local"},
    "certificatesDir": "/etc/kubernetes/pki",
    "imageRepository": "registry.k8s.io",
    "apiServer": {"extraArgs": [{"name": "goaway-chance", "value": "0.001"}]},
}


def node(number: int, **changes: Any) -> dict[str, Any]:
    name = f"node-{number}"
    control_plane = number < 10
    return {
        "name": name,
        "control_plane": control_plane,
        "ready": True,
        "schedulable": True,
        "addresses": [f"10.0.0.{number}"],
        "kubelet_version": "1.36.3",
        "architecture": "amd64",
        "os": "linux",
        "runtime": "containerd://2.2.1",
        "labels": {"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", **changes.pop("labels", {})},
        "taints": changes.pop("taints", [TAINT] if control_plane else []),
        "pod_cidrs": [f"10.244.{number}.0/24"],
        **changes,
    }


def cluster(*nodes: dict[str, Any], flags: dict[str, list[str]] | None = None, **changes: Any) -> dict[str, Any]:
    configuration = {**copy.deepcopy(CONFIGURATION), **changes}
    return {
        "address": "10.0.0.1",
        "port": 6443,
        "documents": {"ClusterConfiguration": yaml.safe_dump({key: value for key, value in configuration.items() if value is not None})},
        "flags": {"kube-apiserver": {"secure-port": ["6443"], **(flags or {})}},
        "nodes": list(nodes),
        "api_server_versions": {entry["name"]: "1.36.3" for entry in nodes if entry["control_plane"]},
        "network_plugins": ["flannel"],
    }


def machine(number: int, pool: str = "", **ssh: Any) -> Seen:
    look = {"machine_id": f"id-{number}", "addresses": ["127.0.0.1", f"10.0.0.{number}"], "api_endpoint": "10.0.0.5:6443"}
    address = {"connection": "ssh", "host": f"10.0.0.{number}", "port": 22, "user": "ops", "key": "", "arguments": ""}
    return Seen(f"host-{number}", number < 10, look, {**address, **ssh}, pool=pool)


def adopted(tmp_path: Path, *nodes: dict[str, Any], machines: list[Seen] | None = None, **changes: Any) -> Adoption:
    nodes = nodes or (node(1), node(11))
    seen = [machine(int(entry["addresses"][0].rpartition(".")[2])) for entry in nodes] if machines is None else machines
    return adopt("shop", cluster(*nodes, **changes), seen, tmp_path / "clusters/shop.yml")


def codes(found: list[Any]) -> set[str]:
    return {finding.code for finding in found}


def test_a_plain_cluster_becomes_a_definition_that_is_valid(tmp_path):
    adoption = adopted(tmp_path)
    assert adoption.refusals == []
    assert codes(adoption.findings) == {"ADOPT_NETWORK_PLUGIN_KEPT", "ADOPT_SECRETS_PLAIN"}
    path = tmp_path / "clusters/shop.yml"
    path.parent.mkdir()
    path.write_text(adoption.text(), encoding="utf-8")
    definition = load.load_file(path)
    assert definition["kubernetes_version"] == "1.36.3" and definition["cloud"] == "existing"
    assert definition["control_plane"]["count"] == 1 and definition["control_plane"]["taints"] == []
    assert definition["control_plane"]["extra_args"]["kube-apiserver"] == {"goaway-chance": "0.001"}
    assert [(pool["name"], pool["count"]) for pool in definition["pools"]] == [("workers", 1)]
    assert definition["network"]["pod_cidrs"] == ["10.244.0.0/16"] and definition["network"]["plugin"] == "none"
    endpoint = definition["api_endpoint"]
    assert (endpoint["provider"], endpoint["address"], endpoint["port"]) == ("external", "10.0.0.5", 6443)
    assert definition["access"]["ssh_user"] == "ops"
    assert definition["existing"]["settings"] == "keep"
    assert definition["existing"]["machines"][0]["node_name"] == "node-1"
    assert definition["security"]["encryption_at_rest"] is False and definition["security"]["audit"]["enabled"] is False


def test_nodes_keep_names_such_as_clouds_give_them(tmp_path):
    adoption = adopted(tmp_path, node(1, name="ip-10-0-0-1.ec2.internal"), node(11, name="ip-10-0-0-11.ec2.internal"))
    path = tmp_path / "clusters/shop.yml"
    path.parent.mkdir()
    path.write_text(adoption.text(), encoding="utf-8")
    names = [machine["node_name"] for machine in load.load_file(path)["existing"]["machines"]]
    assert names == ["ip-10-0-0-1.ec2.internal", "ip-10-0-0-11.ec2.internal"]


def test_what_was_not_taken_over_stands_in_the_file(tmp_path):
    text = adopted(tmp_path, clusterName="kubernetes").text()
    assert "\n# ADOPT_CLUSTER_NAME name: The cluster calls itself kubernetes, its definition shop. " in text
    assert yaml.safe_load(text)["name"] == "shop"


def test_workers_that_are_alike_are_a_pool_named_by_what_tells_them_apart(tmp_path):
    nodes = [
        node(1),
        node(11, labels={"tier": "web"}),
        node(12, labels={"tier": "web"}),
        node(13, labels={"tier": "batch"}, taints=[DEDICATED]),
    ]
    pools = adopted(tmp_path, *nodes).definition["pools"]
    assert pools == [{"name": "web", "labels": {"tier": "web"}}, {"name": "batch", "labels": {"tier": "batch"}, "taints": [DEDICATED]}]
    machines = adopted(tmp_path, *nodes).definition["existing"]["machines"]
    assert [entry.get("pool") for entry in machines] == [None, "web", "web", "batch"]


def test_pools_that_nothing_names_are_numbered(tmp_path):
    nodes = [node(1), node(11), node(12, taints=[DEDICATED])]
    assert [pool["name"] for pool in adopted(tmp_path, *nodes).definition["pools"]] == ["workers", "workers-2"]


def test_pools_by_the_users_own_groups_take_over_what_all_their_nodes_have(tmp_path):
    nodes = [node(1), node(11, labels={"tier": "web", "rack": "1"}), node(12, labels={"tier": "web", "rack": "2"})]
    adoption = adopted(tmp_path, *nodes, machines=[machine(1), machine(11, "general"), machine(12, "general")])
    assert adoption.definition["pools"] == [{"name": "general", "labels": {"tier": "web"}}]
    (left,) = [finding for finding in adoption.findings if finding.code == "ADOPT_LABELS_LEFT"]
    assert left.message == "Not all of the nodes of pool general have the same rack."


def test_labels_that_no_kubelet_may_set_are_left_out_and_named(tmp_path):
    adoption = adopted(tmp_path, node(1), node(11, labels={"tier": "web", "node-role.kubernetes.io/edge": ""}))
    assert adoption.refusals == [] and adoption.definition["pools"][0]["labels"] == {"tier": "web"}
    (left,) = [finding for finding in adoption.findings if finding.code == "ADOPT_VALUE_LEFT"]
    assert left.object.startswith("pools[0].labels") and "edge" in left.object


def test_flags_that_the_definition_has_another_place_for_are_left_out_and_named(tmp_path):
    arguments = {"apiServer": {"extraArgs": {"oidc-issuer-url": "https://login.example.com", "goaway-chance": "0.001"}}}
    adoption = adopted(tmp_path, **arguments, flags={"oidc-issuer-url": ["https://login.example.com"]})
    assert adoption.refusals == []
    assert adoption.definition["control_plane"]["extra_args"] == {"kube-apiserver": {"goaway-chance": "0.001"}}
    assert {"ADOPT_VALUE_LEFT", "ADOPT_OIDC_KEPT"} <= codes(adoption.findings)


def test_passing_taints_and_zones(tmp_path):
    gone = {"key": "node.kubernetes.io/unreachable", "value": "", "effect": "NoExecute"}
    adoption = adopted(tmp_path, node(1), node(11, taints=[gone], ready=False, labels={"topology.kubernetes.io/zone": "rack-1"}))
    assert adoption.definition["pools"] == [{"name": "workers"}]
    assert adoption.definition["existing"]["machines"][1]["zone"] == "rack-1"
    assert "ADOPT_NODE_NOT_READY" in codes(adoption.findings)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"etcd": {"external": {"endpoints": ["https://10.0.0.9:2379"]}}}, "ADOPT_ETCD_EXTERNAL"),
        ({"certificatesDir": "/srv/pki"}, "ADOPT_CERTIFICATES_ELSEWHERE"),
    ],
)
def test_clusters_that_no_playbook_could_work_with_are_refused(tmp_path, change, code):
    adoption = adopted(tmp_path, **change)
    assert codes(adoption.refusals) == {code} and adoption.definition == {}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"os": "windows"}, "ADOPT_NODE_OS"),
        ({"runtime": "cri-o://1.35"}, "ADOPT_RUNTIME"),
        ({"name": "node-11.cluster"}, "ADOPT_NODE_NAME"),
        ({"name": f"ip-10-0-0-11.{51 * 'x'}"}, "ADOPT_NODE_NAME"),
        ({"control_plane": True}, "ADOPT_ROLE_DIFFERS"),
    ],
)
def test_nodes_that_can_not_be_machines_are_refused(tmp_path, change, code):
    assert codes(adopted(tmp_path, node(1), node(11, **change)).refusals) == {code}


def test_machines_and_nodes_have_to_match_and_all_misfits_are_said_at_once(tmp_path):
    silent = Seen("host-12", False, {}, {}, reason="Connection timed out")
    adoption = adopted(tmp_path, node(1), node(11), node(12), machines=[machine(1), machine(13), silent])
    found = {(finding.code, finding.object) for finding in adoption.refusals}
    assert found == {
        ("ADOPT_MACHINE_UNREACHABLE", "host-12"),
        ("ADOPT_MACHINE_NO_NODE", "host-13"),
        ("ADOPT_NODE_WITHOUT_MACHINE", "node-11"),
        ("ADOPT_NODE_WITHOUT_MACHINE", "node-12"),
    }
    assert "Connection timed out" in "".join(finding.message for finding in adoption.refusals)


def test_an_even_number_of_control_planes_is_refused_by_the_rules_of_definitions(tmp_path):
    adoption = adopted(tmp_path, node(1), node(2))
    assert codes(adoption.refusals) == {"ADOPT_DEFINITION_REFUSED"} and "etcd needs a majority" in adoption.refusals[0].message


def test_a_cluster_without_an_endpoint_of_its_own_or_addresses_of_pods(tmp_path):
    adoption = adopted(tmp_path, controlPlaneEndpoint=None, networking={"serviceSubnet": "10.96.0.0/12"})
    assert adoption.definition["api_endpoint"] == {"provider": "external", "address": "10.0.0.1", "port": 6443}
    assert adoption.definition["network"]["pod_cidrs"] == ["10.244.1.0/24"]
    assert {"ADOPT_NO_ENDPOINT", "ADOPT_POD_CIDRS_UNKNOWN", "ADOPT_OTHER_WAY"} <= codes(adoption.findings)


def test_versions_that_differ_are_a_finding(tmp_path):
    adoption = adopted(tmp_path, node(1), node(11, kubelet_version="1.35.9"))
    (found,) = [finding for finding in adoption.findings if finding.code == "ADOPT_VERSIONS_DIFFER"]
    assert "kubelet of node-11 1.35.9" in found.message and adoption.definition["kubernetes_version"] == "1.36.3"


def test_foreign_keys_of_secrets_are_never_taken_for_ours(tmp_path):
    adoption = adopted(tmp_path, flags={"encryption-provider-config": ["/etc/kubernetes/enc/enc.yaml"], "audit-policy-file": ["/x"]})
    assert adoption.definition["security"]["encryption_at_rest"] is True and adoption.definition["security"]["audit"] == {"enabled": True}
    assert "/etc/kubernetes/enc/enc.yaml" in "".join(finding.message for finding in adoption.findings)


@pytest.mark.parametrize(
    ("arguments", "access", "host_keys"),
    [
        ("-o ProxyJump=jump@bastion.example.com:2222", {"host": "bastion.example.com", "user": "jump", "port": 2222}, "known_hosts"),
        ("-J bastion.example.com -o StrictHostKeyChecking=accept-new", {"host": "bastion.example.com"}, "accept_new"),
        ("-oStrictHostKeyChecking=no", None, "accept_new"),
    ],
)
def test_the_way_in_is_that_of_the_inventory(tmp_path, arguments, access, host_keys):
    adoption = adopted(
        tmp_path, machines=[machine(1, arguments=arguments), machine(11, arguments=arguments, host="node.example.com", port=2222)]
    )
    assert adoption.definition["access"].get("bastion") == access
    assert adoption.definition["existing"]["host_keys"] == host_keys
    assert adoption.definition["existing"]["machines"][1]["ssh_address"] == "node.example.com"
    assert adoption.definition["existing"]["machines"][1]["ssh_port"] == 2222


@pytest.mark.parametrize("arguments", ["-o ProxyCommand='ssh -W %h:%p bastion'", "-J one,two"])
def test_a_way_in_that_no_definition_knows_is_a_finding(tmp_path, arguments):
    adoption = adopted(tmp_path, machines=[machine(1, arguments=arguments), machine(11, arguments=arguments)])
    assert "ADOPT_BASTION" in codes(adoption.findings) and "bastion" not in adoption.definition["access"]


def test_different_logins_and_files_of_host_keys_are_findings(tmp_path):
    other = machine(11, user="root", arguments="-o UserKnownHostsFile=/srv/known_hosts")
    adoption = adopted(tmp_path, machines=[machine(1), other])
    assert {"ADOPT_ACCESS_DIFFERS", "ADOPT_KNOWN_HOSTS"} <= codes(adoption.findings)
    assert adoption.definition["access"]["ssh_user"] == "ops"


def test_other_connections_than_ssh_are_refused(tmp_path):
    assert "ADOPT_CONNECTION" in codes(adopted(tmp_path, machines=[machine(1), machine(11, connection="podman")]).refusals)
