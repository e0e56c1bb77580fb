# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What manifests of network plugins are rendered to, and which plugin runs, by a real API server."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import control_plane
import go_module
import pytest
import yaml
from ansible_collections.flotilla.kubernetes.plugins.filter.network_plugin_manifest import network_plugin_manifest
from ansible_collections.flotilla.kubernetes.plugins.filter.network_plugin_secrets import network_plugin_secrets
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import catalogue
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import manifest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.network_plugins.table import PLUGINS
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.released import pinned
from ansible_collections.flotilla.kubernetes.plugins.modules import network_plugin_info

SETTINGS = {"cluster": "demo", "pod_cidr": "10.244.0.0/16", "api_endpoint": {"host": "10.0.0.5", "port": 6443}}


@pytest.fixture
def kubeconfig(server, tmp_path, monkeypatch) -> Path:
    """The administrator's, for the kubectl of the bundle."""
    monkeypatch.setenv("PATH", f"{control_plane.bundle(tmp_path) / 'bin/amd64'}{os.pathsep}{os.environ['PATH']}")
    folder = server.authority.folder
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [
            {"name": "test", "cluster": {"server": f"https://127.0.0.1:{server.port}", "certificate-authority": str(server.authority.file)}}
        ],
        "users": [{"name": "test", "user": {"client-certificate": f"{folder / 'admin'}.crt", "client-key": f"{folder / 'admin'}.key"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def released(name: str) -> str:
    """Return the manifest that a plugin's Go module has."""
    plugin = PLUGINS[name]
    version = {**catalogue.RELEASES[0].components, **catalogue.NETWORK_PLUGINS}[plugin.components[0]]
    text = (go_module.folder(plugin.components[0], version) / plugin.module_path).read_text(encoding="utf-8")
    return pinned(text, plugin.images, version)


@pytest.mark.skipif(not shutil.which("go"), reason="the manifests are in Go modules")
@pytest.mark.parametrize("name", [name for name, plugin in PLUGINS.items() if plugin.compiled])
def test_an_api_server_takes_what_is_rendered_and_sees_no_difference_afterwards(server, kubeconfig, name):
    text = network_plugin_manifest(released(name), name, SETTINGS)
    plugin, wanted = PLUGINS[name], [item for item in yaml.safe_load_all(text) if item["kind"] == "DaemonSet"]
    assert manifest.difference(text, kubeconfig, 60)
    manifest.apply(text, kubeconfig, 60)
    assert manifest.difference(text, kubeconfig, 60) == ""
    status, made = server.call("GET", f"/apis/apps/v1/namespaces/{plugin.namespace}/daemonsets/{plugin.daemon_set}")
    assert status == 200, made
    # Nothing that is rendered was dropped as a field that is not known.
    assert contains(made["spec"]["template"]["spec"], wanted[0]["spec"]["template"]["spec"])
    # Further tests have a cluster without it.
    server.call("DELETE", f"/apis/apps/v1/namespaces/{plugin.namespace}/daemonsets/{plugin.daemon_set}")


def contains(there: Any, wanted: Any) -> bool:
    """Return whether everything wanted is there; API servers add defaults."""
    if isinstance(wanted, dict):
        return all(key in there and contains(there[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return len(there) == len(wanted) and all(contains(one, other) for one, other in zip(there, wanted))
    return there == wanted


def test_a_secret_comes_with_the_rest_and_is_never_shown(server, kubeconfig):
    namespace = yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "nsx-system"}})
    manifest.apply(namespace, kubeconfig, 60)
    for key in ("first-key", "second-key"):
        text = network_plugin_secrets({"certificate": "CERT", "private_key": key, "authority": "CA"}, "ncp")
        shown = manifest.difference(text, kubeconfig, 60)
        assert shown and "Zmlyc3Qta2V5" not in shown and "c2Vjb25kLWtleQ" not in shown and key not in shown
        manifest.apply(text, kubeconfig, 60)
    status, made = server.call("GET", "/api/v1/namespaces/nsx-system/secrets/nsx-secret")
    assert status == 200 and made["data"]["tls.key"] == "c2Vjb25kLWtleQ=="


def daemon_set(name: str) -> dict[str, Any]:
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "registry.k8s.io/pause:3.10"}]}}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": labels}, "template": pod}}


def test_which_plugin_runs_and_which_policies_have_no_effect(node, ask):
    assert ask(network_plugin_info, wanted="kube-router")["network_plugins"] == [], "a new cluster may have any"
    place = f"/apis/apps/v1/namespaces/{node.name}/daemonsets"
    node.call("POST", place, daemon_set("kube-flannel-ds"))
    assert ask(network_plugin_info, wanted="flannel")["notice"] == ""
    policy = {"metadata": {"name": "deny"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}
    node.call("POST", f"/apis/networking.k8s.io/v1/namespaces/{node.name}/networkpolicies", policy)
    found = ask(network_plugin_info, wanted="flannel")
    assert found["unenforced"] == [f"{node.name}/deny"] and found["warnings"] == [found["notice"]]
    assert found["notice"].startswith(f"A NetworkPolicy of the cluster has no effect ({node.name}/deny)") and not found["changed"]
    other = ask(network_plugin_info, wanted="kube-router")
    assert other["failed"] and other["code"] == "NETWORK_PLUGIN_OTHER" and "Set network.plugin back to flannel" in other["msg"]
    assert "failed" not in ask(network_plugin_info, wanted="manifests")
    # kube-router beside it enforces them.
    node.call("POST", place, daemon_set("kube-router"))
    assert ask(network_plugin_info, wanted="flannel")["unenforced"] == []
    node.call("DELETE", place)
