# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of add-ons, from their manifests and the values of a definition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleLookupError
from ansible_collections.flotilla.kubernetes.plugins.lookup import addons as lookup
from ansible_collections.flotilla.kubernetes.plugins.lookup.addons import DOCUMENTATION, LookupModule
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import catalogue
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.addons.table import ADDONS

METRICS = {
    "apiservice.yaml": {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1beta1.metrics.k8s.io"}},
    "deployment.yaml": {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "metrics-server", "namespace": "kube-system"},
        "spec": {"template": {"spec": {"containers": [{"name": "metrics-server"}]}}},
    },
    "rbac.yaml": {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "metrics-server", "namespace": "kube-system"}},
    "service.yaml": {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "metrics-server"}, "spec": {"ports": [{"port": 443}]}},
}
LOCAL_PATH = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "local-path-storage"}},
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "local-path-config", "namespace": "local-path-storage"},
        "data": {"config.json": '{"nodePathMap": [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": ["/opt"]}]}'},
    },
    {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "local-path"}, "reclaimPolicy": "Delete"},
]
WRITTEN = Path(lookup.__file__).parents[2] / "roles/bundle/files/modules"
METALLB = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "metallb-system"}}]


@pytest.fixture
def bundle(tmp_path: Path) -> dict[str, Any]:
    files = {
        **{f"addons/metrics-server/{name}": [item] for name, item in METRICS.items()},
        "addons/local-path/local-path-storage.yaml": LOCAL_PATH,
        "addons/metallb/metallb-native.yaml": METALLB,
    }
    for name in ("node-exporter", "prometheus"):
        text = (WRITTEN / name / catalogue.ADDONS[name] / f"{name}.yaml").read_text(encoding="utf-8")
        files[f"addons/{name}/{name}.yaml"] = list(yaml.safe_load_all(text))
    for name, objects in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    manifest = {"files": [{"kind": "addon", "path": name} for name in files], "components": dict.fromkeys(ADDONS, "1.0.0")}
    return {"directory": str(tmp_path), "manifest": manifest}


@pytest.fixture(autouse=True)
def options() -> None:
    """Tell Ansible the options of the plugin, as its loader does."""
    documented = yaml.safe_load(DOCUMENTATION)["options"]
    constants.config.initialize_plugin_configuration_definitions("lookup", "flotilla.kubernetes.addons", documented)


def looked_up(section: dict[str, Any], bundle: dict[str, Any]) -> list[dict[str, Any]]:
    plugin = LookupModule()
    plugin._load_name = "flotilla.kubernetes.addons"
    return plugin.run([section], bundle=bundle)


def of_kind(found: dict[str, Any], kind: str) -> dict[str, Any]:
    (item,) = (item for item in found["objects"] if item["kind"] == kind)
    return item


def test_one_replica_is_as_its_makers_have_it_and_two_are_apart(bundle):
    (one,) = looked_up({"metrics-server": {}}, bundle)
    assert one["name"] == "metrics-server" and one["version"] == "1.0.0" and len(one["objects"]) == 4
    label = {"k8s-app": "metrics-server"}
    assert all(item["metadata"]["labels"] == label for item in one["objects"])
    spec = of_kind(one, "Deployment")["spec"]
    assert spec["selector"] == {"matchLabels": label} and spec["template"]["metadata"]["labels"] == label and spec["replicas"] == 1
    assert of_kind(one, "Service")["spec"]["selector"] == label
    (two,) = looked_up({"metrics-server": {"values": {"replicas": 2}}}, bundle)
    assert of_kind(two, "PodDisruptionBudget")["spec"] == {"minAvailable": 1, "selector": {"matchLabels": label}}
    assert "podAntiAffinity" in of_kind(two, "Deployment")["spec"]["template"]["spec"]["affinity"]


def test_prometheus_keeps_what_it_is_told_to_where_it_is_told_to(bundle):
    (small,) = looked_up({"prometheus": {}}, bundle)
    spec = of_kind(small, "Deployment")["spec"]["template"]["spec"]
    assert {"name": "data", "emptyDir": {}} in spec["volumes"] and "PersistentVolumeClaim" not in {one["kind"] for one in small["objects"]}
    assert spec["containers"][0]["args"][2:] == ["--storage.tsdb.retention.time=15d"]
    values = {"storage": "20Gi", "storage_class": "fast", "retention": "1y", "otlp": True}
    (large,) = looked_up({"prometheus": {"values": values}}, bundle)
    spec = of_kind(large, "Deployment")["spec"]["template"]["spec"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "prometheus"}} in spec["volumes"]
    assert spec["containers"][0]["args"][2:] == ["--storage.tsdb.retention.time=1y", "--web.enable-otlp-receiver"]
    claim = of_kind(large, "PersistentVolumeClaim")["spec"]
    assert claim["storageClassName"] == "fast" and claim["resources"] == {"requests": {"storage": "20Gi"}}


def test_prometheus_starts_anew_with_another_configuration_only(bundle):
    def annotations() -> dict[str, str]:
        (found,) = looked_up({"prometheus": {"values": {"retention": "2d"}}}, bundle)
        return of_kind(found, "Deployment")["spec"]["template"]["metadata"]["annotations"]

    before = annotations()
    assert annotations() == before
    path = Path(bundle["directory"]) / "addons/prometheus/prometheus.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("scrape_interval: 30s", "scrape_interval: 15s"), encoding="utf-8")
    assert annotations() != before


def test_volumes_are_in_the_folder_that_is_asked_for(bundle):
    (found,) = looked_up({"local-path": {"values": {"path": "/srv", "default_class": False, "reclaim_policy": "Retain"}}}, bundle)
    assert json.loads(of_kind(found, "ConfigMap")["data"]["config.json"])["nodePathMap"][0]["paths"] == ["/srv"]
    assert of_kind(found, "Namespace")["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "privileged"}, "for hostPath"
    storage_class = of_kind(found, "StorageClass")
    assert storage_class["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "false"}
    assert storage_class["reclaimPolicy"] == "Retain"


def test_addresses_are_announced(bundle):
    (found,) = looked_up({"metallb": {"values": {"addresses": ["10.0.0.10-10.0.0.20"]}}}, bundle)
    assert of_kind(found, "IPAddressPool")["spec"]["addresses"] == ["10.0.0.10-10.0.0.20"]
    assert of_kind(found, "L2Advertisement")["spec"] == {"ipAddressPools": [of_kind(found, "IPAddressPool")["metadata"]["name"]]}


def test_they_come_in_the_order_of_the_table_and_without_those_that_are_switched_off(bundle):
    section = {"metallb": {"values": {"addresses": ["10.0.0.0/28"]}}, "local-path": {"enabled": False}, "metrics-server": {}}
    assert [one["name"] for one in looked_up(section, bundle)] == ["metrics-server", "metallb"]


def test_ones_own_come_last_from_their_files(bundle, tmp_path):
    path = tmp_path / "echo.yml"
    path.write_text(yaml.safe_dump_all(METALLB + LOCAL_PATH[1:]), encoding="utf-8")
    own = [{"name": "echo", "manifests": [str(path)]}, {"name": "off", "enabled": False, "manifests": ["/no/such"]}]
    catalogue, echo = looked_up({"metrics-server": {}, "own": own}, bundle)
    assert catalogue["name"] == "metrics-server" and echo["name"] == "echo" and echo["objects"] == METALLB + LOCAL_PATH[1:]
    assert len(echo["version"]) == 12
    assert looked_up({"own": [{**own[0], "version": "1.4.2"}]}, bundle)[0]["version"] == "1.4.2"
    path.write_text("a: [", encoding="utf-8")
    with pytest.raises(AnsibleLookupError, match="manifests of the add-on echo can not be used"):
        looked_up({"own": own[:1]}, bundle)


def test_a_bundle_that_lacks_one_or_has_another_file_in_its_place_is_named(bundle):
    bundle["manifest"]["files"] = [file for file in bundle["manifest"]["files"] if "metallb" not in file["path"]]
    with pytest.raises(AnsibleLookupError, match="has no add-on metallb.*bundle_build"):
        looked_up({"metallb": {}}, bundle)
    path = Path(bundle["directory"]) / "addons/local-path/local-path-storage.yaml"
    for text in ("a: [", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(AnsibleLookupError, match="local-path of the bundle .* can not be used"):
            looked_up({"local-path": {}}, bundle)
