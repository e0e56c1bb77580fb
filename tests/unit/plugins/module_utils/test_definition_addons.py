# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions with add-ons: what is filled in, what a cluster class gives and a cluster takes away, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.filter.addon_names import addon_names
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import DefinitionErrors

HEAD = """\
plugin: flotilla.kubernetes.cluster
schema: 1
name: demo
kubernetes_version: "1.36.3"
"""
LOCAL = f"{HEAD}cloud: local\ncontrol_plane: {{count: 1}}\nlocal: {{network_cidr: 172.30.86.0/24}}\n"
PATH = Path("/foundation/clusters/demo.yml")


def loaded(addons: str, head: str = LOCAL) -> dict:
    return load.Loader(read=lambda _path: f"{head}addons:\n{addons}").load(PATH).definition["addons"]


def errors(addons: str, head: str = LOCAL) -> list[str]:
    with pytest.raises(DefinitionErrors) as caught:
        loaded(addons, head)
    return [line.replace("/foundation/clusters/", "") for line in str(caught.value).splitlines()[1:]]


def test_a_name_is_enough_and_the_rest_is_filled_in():
    assert loaded("  metrics-server: {}\n  local-path: {values: {path: /srv/volumes}}\n") == {
        "metrics-server": {"enabled": True, "values": {"replicas": 1}},
        "local-path": {"enabled": True, "values": {"path": "/srv/volumes", "default_class": True, "reclaim_policy": "Delete"}},
        "own": [],
    }


def test_a_cluster_takes_away_what_its_class_gives(tmp_path):
    texts = {
        "clusters/demo.yml": f"{LOCAL}class: small\naddons:\n  metallb: {{enabled: false}}\n"
        "  local-path: {values: {default_class: false}}\n",
        "cluster_classes/small.yml": "plugin: flotilla.kubernetes.cluster\nschema: 1\nkind: cluster_class\naddons:\n  metrics-server: {}\n"
        "  metallb: {values: {addresses: [172.30.86.200-172.30.86.210]}}\n  local-path: {values: {path: /srv}}\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = load.Loader().load(tmp_path / "clusters/demo.yml").definition["addons"]
    assert found["local-path"]["values"] == {"path": "/srv", "default_class": False, "reclaim_policy": "Delete"}
    assert addon_names(found) == ["metrics-server", "local-path"]


def test_what_is_unknown_is_named_with_what_is_near():
    (line,) = errors("  metric-server: {}\n")
    assert "addons.metric-server" in line and "metrics-server" in line
    (line,) = errors("  local-path: {values: {pfad: /srv}}\n")
    assert "addons.local-path.values.pfad" in line
    (line,) = errors("  local-path: {values: {path: srv}}\n")
    assert "an absolute path such as /srv/volumes" in line
    (line,) = errors("  metallb: {}\n")
    assert "addons.metallb" in line and "values" in line


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        ("172.30.86.210-172.30.86.200", "it ends before it begins"),
        ("172.30.86.300-172.30.86.310", "no range of addresses"),
        ("172.30.86.10/24", "no range of addresses"),
        ("172.30.86.10-fd00::1", "different families"),
        ("10.244.3.0/24", "overlaps network.pod_cidrs 10.244.0.0/16"),
        ("10.90.0.1-10.100.0.1", "overlaps network.service_cidrs 10.96.0.0/12"),
        ("172.30.86.200/29, 172.30.86.204-172.30.86.220", "overlaps 172.30.86.200/29"),
    ],
)
def test_addresses_of_services_are_nobody_elses(addresses, said):
    (line,) = errors(f"  metallb: {{values: {{addresses: [{addresses}]}}}}\n")
    assert "addons.metallb.values.addresses[" in line and said in line and "demo.yml:" in line


def test_addresses_of_both_families_are_taken():
    addresses = ["172.30.86.200-172.30.86.210", "172.30.86.224/28", "fd00:1::/120"]
    assert (
        loaded(f"  metallb: {{values: {{addresses: [{', '.join(map(repr, addresses))}]}}}}\n")["metallb"]["values"]["addresses"]
        == addresses
    )


def test_ones_own_are_files_next_to_the_definition_and_inherit_by_name(tmp_path):
    own = (
        "  own:\n    - {name: echo, manifests: [../addons/echo.yml], version: 1.4.2}\n    - {name: shop, manifests: [../addons/echo.yml]}\n"
    )
    texts = {
        "clusters/demo.yml": f"{LOCAL}class: small\naddons:\n  own:\n    - {{name: echo, enabled: false}}\n",
        "cluster_classes/small.yml": f"plugin: flotilla.kubernetes.cluster\nschema: 1\nkind: cluster_class\naddons:\n{own}",
        "addons/echo.yml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: echo}\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text, encoding="utf-8")
    echo, shop = load.Loader().load(tmp_path / "clusters/demo.yml").definition["addons"]["own"]
    assert (echo["name"], echo["enabled"], echo["version"]) == ("echo", False, "1.4.2")
    assert shop == {"name": "shop", "enabled": True, "manifests": [str(tmp_path / "addons/echo.yml")]}


def test_ones_own_have_names_of_their_own_and_files_that_are_there():
    (line,) = errors("  own:\n    - {name: echo, manifests: [echo.yml]}\n")
    assert "addons.own[0].manifests[0]" in line and "there is no file" in line
    (line,) = [line for line in errors("  own:\n    - {name: metallb, manifests: [a.yml]}\n") if "manifests[0]" not in line]
    assert "addons.own[0].name" in line and "an add-on of the collection" in line
    two = "  own:\n    - {name: echo, manifests: [a.yml]}\n    - {name: echo, manifests: [b.yml]}\n"
    (line,) = [line for line in errors(two) if "manifests[0]" not in line]
    assert "a second time" in line
    (line,) = errors("  own:\n    - {name: echo}\n")
    assert "manifests" in line


def test_a_cloud_with_load_balancers_of_its_own_refuses_metallb():
    head = (
        f"{HEAD}cloud: aws\ncontrol_plane: {{count: 3, machine: {{size: m7i.large}}}}\naws: {{region: eu-west-1, vpc_cidr: 10.20.0.0/16}}\n"
    )
    found = [line for line in errors("  metallb: {values: {addresses: [10.20.0.200-10.20.0.210]}}\n", head) if "metallb" in line]
    assert len(found) == 1 and "carry only addresses that aws gave" in found[0]
    assert not [line for line in errors("  metallb: {enabled: false, values: {addresses: [x]}}\n", head) if "carry only" in line]


@pytest.mark.parametrize(
    ("values", "where", "said"),
    [
        ("storage_class: fast", "storage_class", "set storage, too"),
        ("storage: 20GB", "storage", "20Gi"),
        ("retention: forever", "retention", "15d"),
        ("retain: 15d", "retain", "retention"),
    ],
)
def test_what_is_wrong_of_prometheus_is_named(values, where, said):
    (line,) = errors(f"  prometheus: {{values: {{{values}}}}}\n")
    assert f"addons.prometheus.values.{where}" in line and said in line and "demo.yml:" in line
