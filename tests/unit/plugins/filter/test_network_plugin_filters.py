# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.kubernetes.plugins.filter.network_plugin import network_plugin
from ansible_collections.flotilla.kubernetes.plugins.filter.network_plugin_manifest import network_plugin_manifest
from ansible_collections.flotilla.kubernetes.plugins.filter.network_plugin_secrets import network_plugin_secrets

MANIFEST = """---
kind: Namespace
apiVersion: v1
metadata:
  name: kube-flannel
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: kube-flannel-cfg
data:
  cni-conf.json: |
    {"name": "cbr0"}
  net-conf.json: |
    {
      "Network": "10.244.0.0/16",
      "Backend": {"Type": "vxlan"}
    }
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: kube-flannel-ds
spec:
  template:
    spec:
      containers:
      - name: kube-flannel
        env:
        - name: EVENT_QUEUE_DEPTH
          value: "5000"
        readinessProbe:
          httpGet: {path: /readyz, port: healthz}
          initialDelaySeconds: 5
          periodSeconds: 10
"""


def flannel_manifest(text: str, pod_cidr: str, api_endpoint: dict[str, Any] | None = None) -> str:
    return network_plugin_manifest(text, "flannel", {"pod_cidr": pod_cidr, "api_endpoint": api_endpoint or {}})


def by_kind(text: str) -> dict[str, Any]:
    return {entry["kind"]: entry for entry in yaml.safe_load_all(text)}


def environment(text: str) -> dict[str, str]:
    (container,) = by_kind(text)["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"]}


def probe(objects: dict[str, Any]) -> dict[str, Any]:
    return objects["DaemonSet"]["spec"]["template"]["spec"]["containers"][0].pop("readinessProbe")


def test_the_network_of_the_pods_and_the_probe_are_set_and_everything_else_stays() -> None:
    before, after = by_kind(MANIFEST), by_kind(flannel_manifest(MANIFEST, "10.8.0.0/14"))
    assert probe(after) == {**probe(before), "initialDelaySeconds": 1, "periodSeconds": 2}
    assert json.loads(after["ConfigMap"]["data"].pop("net-conf.json")) == {"Network": "10.8.0.0/14", "Backend": {"Type": "vxlan"}}
    del before["ConfigMap"]["data"]["net-conf.json"]
    assert after == before


def test_flannel_asks_the_stable_address_of_the_api() -> None:
    address = {"host": "10.0.0.5", "port": 6443}
    once = flannel_manifest(MANIFEST, "10.244.0.0/16", address)
    assert environment(once) == {"KUBERNETES_SERVICE_HOST": "10.0.0.5", "KUBERNETES_SERVICE_PORT": "6443", "EVENT_QUEUE_DEPTH": "5000"}
    assert environment(flannel_manifest(once, "10.244.0.0/16", {"host": "api.example.com", "port": 443})) == {
        "KUBERNETES_SERVICE_HOST": "api.example.com",
        "KUBERNETES_SERVICE_PORT": "443",
        "EVENT_QUEUE_DEPTH": "5000",
    }


@pytest.mark.parametrize("text", ["", "kind: [", "kind: ConfigMap\ndata: {}\n", "- 1\n", MANIFEST.replace('"Network"', "Network")])
def test_what_is_no_manifest_of_flannel_is_said(text: str) -> None:
    with pytest.raises(AnsibleFilterError, match=r"no manifest of flannel .* playbook bundle_build"):
        flannel_manifest(text, "10.244.0.0/16")


def test_what_is_known_of_a_plugin_and_of_the_users_own() -> None:
    assert network_plugin("flannel") == {
        "manifest": "kube-flannel.yml",
        "network_policy": False,
        "has_secrets": False,
        "system_namespaces": ["kube-system", "kube-flannel"],
    }
    assert (
        network_plugin("ncp")["system_namespaces"] == ["kube-system", "kube-flannel", "nsx-system"] and network_plugin("ncp")["has_secrets"]
    )
    assert network_plugin("none")["network_policy"] is None and network_plugin("none")["system_namespaces"] == [
        "kube-system",
        "kube-flannel",
    ]
    with pytest.raises(AnsibleFilterError, match="no network plugin flanel in this release; take one of flannel, kube-router"):
        network_plugin("flanel")


def test_secrets_are_made_of_credentials_and_what_is_missing_is_named_without_the_rest() -> None:
    credentials = {"certificate": "CERT", "private_key": "KEY", "authority": "CA"}
    (secret,) = yaml.safe_load_all(network_plugin_secrets(credentials, "ncp"))
    assert secret["kind"] == "Secret" and secret["data"] == {"tls.crt": "Q0VSVA==", "tls.key": "S0VZ", "tls.ca": "Q0E="}
    assert network_plugin_secrets({}, "flannel") == ""
    with pytest.raises(AnsibleFilterError, match="network_plugin_credentials has no authority") as caught:
        network_plugin_secrets({"certificate": "CERT", "private_key": "s3cret"}, "ncp")
    assert "s3cret" not in str(caught.value) and caught.value.__cause__ is None
