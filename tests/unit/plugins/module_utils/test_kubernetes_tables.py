# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a version knows: the tables against facts of Kubernetes' release notes, and the findings that come out of them.

The whole tables are compared with the real programs in tests/integration/test_kubernetes_tables.py.
"""

from __future__ import annotations

import json

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import catalogue
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import tables
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.tables import DEPRECATED, LOCKED, REMOVED, UNKNOWN
from hypothesis import given
from hypothesis import strategies as st

MINORS = tables.minors()
PAIRS = list(zip(MINORS, MINORS[1:]))


def kinds(found):
    return {finding.subject: finding.kind for finding in found}


def test_every_release_of_the_catalogue_has_its_own_table():
    assert {tables.table(release.kubernetes).version for release in catalogue.RELEASES} == {
        release.kubernetes for release in catalogue.RELEASES
    }
    assert set(MINORS) == {release.minor for release in catalogue.RELEASES}, "a table without a release"


@pytest.mark.parametrize("minor", MINORS)
def test_a_table_is_whole(minor):
    there = tables.table(minor)
    assert set(there.flags) == set(tables.COMPONENTS)
    for component, least in {"kube-apiserver": 150, "kube-controller-manager": 130, "kube-proxy": 40, "kube-scheduler": 45}.items():
        assert len(there.flags[component]) > least
    assert {"etcd-servers", "v", "version", "feature-gates"} <= set(there.flags["kube-apiserver"])
    assert {"config", "node-ip", "v", "version", "feature-gates"} <= set(there.flags["kubelet"])
    assert len(there.gates("kubelet")) > 150
    assert {"AllAlpha", "AllBeta"} <= set(there.gates("kube-proxy"))
    assert there.admission_plugins["PodSecurity"] is True
    assert there.admission_plugins["AlwaysDeny"] is False
    assert {
        "v1 Pod",
        "apps/v1 Deployment",
        "apiextensions.k8s.io/v1 CustomResourceDefinition",
        "apiregistration.k8s.io/v1 APIService",
    } <= set(there.kinds())
    assert there.apis["v1/pods"]["namespaced"] and not there.apis["v1/nodes"]["namespaced"]
    kubelet = there.configuration["kubelet.config.k8s.io/v1beta1 KubeletConfiguration"]
    assert {"kind", "maxPods", "authentication.anonymous.enabled", "reservedMemory[].numaNode", "evictionHard"} <= kubelet


@pytest.mark.parametrize("minor", MINORS)
def test_a_file_is_written_for_people_who_read_diffs(minor):
    text = (tables.FOLDER / f"{minor}.json").read_text(encoding="utf-8")
    data = json.loads(text)
    entries = [data["admission_plugins"], data["apis"], data["feature_gates"], data["removed_kinds"], *data["flags"].values()]
    for section in entries:
        assert list(section) == sorted(section)
    assert len(text.splitlines()) > sum(map(len, entries)), "one entry per line"


@pytest.mark.parametrize("version", ["1.9.0", "1.20", "2.0.0", "1.99.3"])
def test_an_unknown_minor_names_the_known_ones(version):
    with pytest.raises(FlotillaError) as caught:
        tables.table(version)
    assert caught.value.code == "KUBERNETES_MINOR_UNKNOWN"
    assert ", ".join(MINORS) in str(caught.value)


def test_what_release_notes_say_of_apis():
    # https://kubernetes.io/docs/reference/using-api/deprecation-guide/
    flow = "flowcontrol.apiserver.k8s.io"
    for version in MINORS:
        found = tables.manifests(
            [
                (f"{flow}/v1beta3", "FlowSchema"),
                (f"{flow}/v1beta1", "FlowSchema"),
                ("policy/v1beta1", "PodDisruptionBudget"),
                ("extensions/v1beta1", "Ingress"),
                ("v1", "Endpoints"),
            ],
            version,
        )
        assert [str(finding) for finding in found] == [
            "extensions/v1beta1 Ingress is not served since Kubernetes 1.22; use networking.k8s.io/v1 Ingress.",
            f"{flow}/v1beta1 FlowSchema is not served since Kubernetes 1.26; use {flow}/v1 FlowSchema.",
            f"{flow}/v1beta3 FlowSchema is not served since Kubernetes 1.32; use {flow}/v1 FlowSchema.",
            "policy/v1beta1 PodDisruptionBudget is not served since Kubernetes 1.25; use policy/v1 PodDisruptionBudget.",
            "v1 Endpoints is deprecated since Kubernetes 1.33; use discovery.k8s.io/v1 EndpointSlice.",
        ]
        assert [finding.kind for finding in found] == [REMOVED, REMOVED, REMOVED, REMOVED, DEPRECATED]
        assert [finding.fatal for finding in found] == [True, True, True, True, False]
    assert tables.removed_apis("1.35.4", "1.36.3") == {"scheduling.k8s.io/v1alpha1/workloads": "scheduling.k8s.io/v1alpha2 Workload"}
    assert tables.deprecated_apis("1.36.3")["v1/endpoints"] == "discovery.k8s.io/v1 EndpointSlice"
    assert tables.deprecated_apis("1.36.3")["v1/componentstatuses"] == ""


def test_what_a_later_minor_brings_is_not_there_yet():
    (found,) = tables.manifests([("admissionregistration.k8s.io/v1", "MutatingAdmissionPolicy")], "1.35.4")
    assert (found.kind, found.message) == (UNKNOWN, "is not served by Kubernetes 1.35 yet; 1.36 brings it.")
    assert tables.manifests([("admissionregistration.k8s.io/v1", "MutatingAdmissionPolicy")], "1.36.3") == []
    (flag,) = tables.arguments("kube-scheduler", {"tls-curve-preferences": "X25519"}, "1.35.4")
    assert (flag.kind, flag.message) == (UNKNOWN, "is no flag of kube-scheduler in Kubernetes 1.35 yet (1.36 has it); remove it.")
    assert tables.arguments("kube-scheduler", {"tls-curve-preferences": "X25519"}, "1.36.3") == []


def test_custom_resources_and_lists_are_no_concern_of_the_tables():
    mine = [("example.com/v1", "Thing"), ("v1", "List"), ("cert-manager.io/v1", "Certificate"), ("policy/v1", "Eviction")]
    assert tables.manifests(mine, MINORS[-1]) == []
    (found,) = tables.manifests([*mine, ("apps/v9", "Deployment")], MINORS[-1])
    assert (found.subject, found.suggestion) == ("apps/v9 Deployment", "apps/v1 Deployment")


def test_what_release_notes_say_of_feature_gates():
    # Locked in 1.36; removed in 1.36 after it was locked in 1.33; kubeadm's own.
    assert tables.table("1.35").gates("kubelet")["ProcMountType"] == {"default": True, "stage": "BETA"}
    assert tables.table("1.36").gates("kubelet")["ProcMountType"] == {"default": True, "locked": True, "stage": "GA"}
    assert tables.locked_feature_gates("kubelet", "1.35.4", "1.36.3")["ProcMountType"] is True
    assert tables.locked_feature_gates("kubelet", "1.35.4", "1.36.3")["GitRepoVolumeDriver"] is False
    assert "TopologyAwareHints" in tables.removed_feature_gates("kube-proxy", "1.35.4", "1.36.3")
    assert tables.removed_feature_gates("kubeadm", "1.35.4", "1.36.3") == ["ControlPlaneKubeletLocalMode"]


def test_feature_gates():
    given = {"ProcMountType": False, "UserNamespacesSupport": True, "TopologyAwareHints": True, "NoSuchGate": True, "MemoryQos": True}
    found = tables.feature_gates("kubelet", {**given, "CPUManagerPolicyAlphaOptions": True}, "1.36.3")
    assert kinds(found) == {
        "ProcMountType": LOCKED,
        "UserNamespacesSupport": DEPRECATED,
        "TopologyAwareHints": REMOVED,
        "NoSuchGate": UNKNOWN,
        "MemoryQos": UNKNOWN,
    }
    by_name = {finding.subject: finding for finding in found}
    assert by_name["MemoryQos"].suggestion == "MemoryQoS"
    assert str(by_name["ProcMountType"]) == "ProcMountType is true in Kubernetes 1.36 (GA) and can not be changed any more; remove it."
    assert "1.35 has it" in by_name["TopologyAwareHints"].message


def test_the_gates_of_kubeadm_are_its_own():
    assert kinds(tables.feature_gates("kubeadm", {"ControlPlaneKubeletLocalMode": True}, "1.36.3")) == {
        "ControlPlaneKubeletLocalMode": REMOVED
    }
    assert kinds(tables.feature_gates("kubelet", {"ControlPlaneKubeletLocalMode": True}, "1.36.3")) == {
        "ControlPlaneKubeletLocalMode": UNKNOWN
    }
    assert not [found for found in tables.feature_gates("kubeadm", {"ControlPlaneKubeletLocalMode": True}, "1.35.4") if found.fatal]


def test_a_component_may_have_a_default_of_its_own():
    # In 1.34 kube-controller-manager turned WatchListClient on for itself.
    there = tables.table("1.34")
    assert there.gates("kube-controller-manager")["WatchListClient"]["default"] is True
    assert there.gates("kubelet")["WatchListClient"]["default"] is False


def test_what_release_notes_say_of_flags():
    # Deprecated since 1.27, "will be removed in 1.35".
    assert tables.removed_flags("kubelet", "1.34.4", "1.35.4") == ["pod-infra-container-image"]
    (before,) = tables.arguments("kubelet", {"pod-infra-container-image": "x"}, "1.34.4")
    (after,) = tables.arguments("kubelet", {"pod-infra-container-image": "x"}, "1.36.3")
    assert (before.kind, after.kind) == (DEPRECATED, REMOVED)
    assert "will be removed in 1.35" in before.message
    assert after.message == "is no flag of kubelet in Kubernetes 1.36 any more (1.34 has it); remove it."


def test_arguments_and_the_lists_in_them():
    arguments = {
        "audit_log_maxage": 30,
        "profilng": "false",
        "apiserver-count": 3,
        "feature-gates": "NoSuchGate=true, kube:ProcMountType=false,AllAlpha=true,wardle:Mine=true",
        "enable-admission-plugins": "NodeRestriction,PodSecurityPolicy",
        "disable-admission-plugins": "",
    }
    found = tables.arguments("kube-apiserver", arguments, "1.36.3")
    assert kinds(found) == {
        "--profilng": UNKNOWN,
        "--apiserver-count": DEPRECATED,
        "NoSuchGate": UNKNOWN,
        "ProcMountType": LOCKED,
        "PodSecurityPolicy": UNKNOWN,
    }
    assert str(found[0]) == "--profilng is no flag of kube-apiserver in Kubernetes 1.36; did you mean --profiling?"


def test_configuration_files():
    document = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "maxPods": 50,
        "evictionHard": {"memory.available": "100Mi"},
        "reservedMemory": [{"numaNode": 0, "limits": {"memory": "1Gi"}}, {"numaNodes": 1}],
        "authentication": {"anonymous": {"enabled": False}, "webhok": {}},
        "featureGates": {"ProcMountType": False},
        "tlsCurvePreferences": ["X25519"],
    }
    assert kinds(tables.configuration(document, "1.36.3")) == {
        "reservedMemory[].numaNodes": UNKNOWN,
        "authentication.webhok": UNKNOWN,
        "ProcMountType": LOCKED,
    }
    assert kinds(tables.configuration(document, "1.35.4")) == {
        "reservedMemory[].numaNodes": UNKNOWN,
        "authentication.webhok": UNKNOWN,
        "tlsCurvePreferences": UNKNOWN,
    }
    assert tables.configuration({"apiVersion": "v1", "kind": "ConfigMap", "daata": 1}, "1.36.3") == []


def test_a_kubeadm_configuration():
    documents = [
        {"kind": "InitConfiguration", "nodeRegistration": {"kubeletExtraArgs": [{"name": "pod-infra-container-image", "value": "x"}]}},
        {
            "kind": "ClusterConfiguration",
            "apiServer": {"extraArgs": [{"name": "nope", "value": ""}, {"name": "profiling", "value": "false"}], "certSANs": []},
            "controllerManager": {},
            "featureGates": {"Nope": True},
        },
        {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "conntrack": {"maxPerCore": 0, "mni": 0}},
    ]
    found = tables.kubeadm_documents(documents, "1.36.3")
    assert [(place, finding.subject) for place, finding in found] == [
        ("InitConfiguration.nodeRegistration.kubeletExtraArgs", "--pod-infra-container-image"),
        ("ClusterConfiguration.apiServer.extraArgs", "--nope"),
        ("ClusterConfiguration.featureGates", "Nope"),
        ("KubeProxyConfiguration", "conntrack.mni"),
    ]


@pytest.mark.parametrize(("old", "new"), PAIRS)
@given(data=st.data())
def test_what_is_said_to_be_removed_is_in_the_old_one_only(old, new, data):
    component = data.draw(st.sampled_from(tables.COMPONENTS))
    flags = data.draw(st.lists(st.sampled_from(sorted(tables.table(old).flags[component])), unique=True))
    fatal = {finding.subject for finding in tables.arguments(component, dict.fromkeys(flags, ""), new) if finding.fatal}
    assert fatal == {f"--{flag}" for flag in set(flags) & set(tables.removed_flags(component, old, new))}
    assert not [finding for finding in tables.arguments(component, dict.fromkeys(flags, ""), old) if finding.fatal]


@pytest.mark.parametrize("minor", MINORS)
@given(data=st.data())
def test_the_default_of_a_gate_is_never_refused_and_its_opposite_if_locked(minor, data):
    gates = tables.table(minor).gates("kubelet")
    chosen = data.draw(st.lists(st.sampled_from(sorted(gates)), unique=True))
    assert not [f for f in tables.feature_gates("kubelet", {name: gates[name]["default"] for name in chosen}, minor) if f.fatal]
    opposite = tables.feature_gates("kubelet", {name: not gates[name]["default"] for name in chosen}, minor)
    assert {f.subject for f in opposite if f.fatal} == {name for name in chosen if gates[name].get("locked")}


@pytest.mark.parametrize("minor", MINORS)
@given(name=st.text(min_size=1))
def test_any_other_name_is_refused(minor, name):
    if name.replace("_", "-") not in tables.table(minor).flags["kubelet"]:
        (found,) = tables.arguments("kubelet", {name: ""}, minor)
        assert found.fatal and minor in found.message
    if name not in tables.table(minor).gates("kubelet"):
        (found,) = tables.feature_gates("kubelet", {name: True}, minor)
        assert found.fatal and minor in found.message


@pytest.mark.parametrize("minor", MINORS)
def test_a_replacement_is_served(minor):
    there = tables.table(minor)
    for name, replacement in {**tables.deprecated_apis(minor), **tables.removed_apis(MINORS[0], minor)}.items():
        assert replacement == "" or replacement in there.kinds(), name
