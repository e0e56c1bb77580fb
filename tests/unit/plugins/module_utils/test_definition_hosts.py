# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a definition: names, groups and variables are an interface that playbooks of users rely on."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import hosts, load

TEXT = """\
plugin: flotilla.kubernetes.cluster
schema: 1
name: my-demo
cloud: local
kubernetes_version: "1.36.3"
control_plane: {count: 1}
pools: [{name: web-a, count: 1}]
local: {network_cidr: 172.30.86.0/24}
"""


@pytest.fixture
def definition():
    return load.Loader(read=lambda _path: TEXT).load(Path("/lab/clusters/my-demo.yml")).definition


def machine(**fields):
    return {
        "id": "0123456789ab",
        "name": "my-demo-web-a-456789ab",
        "cluster": "my-demo",
        "pool": "web-a",
        "role": "worker",
        "zone": "eu-west.1",
        "state": "running",
        "addresses": {"private": "172.30.86.10", "public": None},
        "host_key": "ssh-ed25519 AAAA",
        **fields,
    }


def test_the_host_of_a_cluster_has_no_connection_variables(definition):
    host = hosts.cluster_host(definition)
    assert host.name == "my-demo.cluster"
    assert host.groups == ["flotilla_clusters"]
    assert host.variables == {"flotilla_cluster": definition, "flotilla_enabled": True}


def test_the_host_of_a_worker(definition):
    host = hosts.machine_host(definition, machine(), "/key", "/known")
    assert host.name == "my-demo-web-a-456789ab"
    assert host.groups == ["flotilla", "cluster_my_demo", "cluster_my_demo__pool_web_a", "zone_eu_west_1", "cloud_local"]
    assert host.variables == {
        "ansible_connection": "ssh",
        "ansible_host": "172.30.86.10",
        "ansible_port": 22,
        "ansible_user": "flotilla",
        "ansible_ssh_private_key_file": "/key",
        "ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=15 -o ServerAliveCountMax=4",
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=yes -o UserKnownHostsFile=/known",
        "flotilla_node_name": "my-demo-web-a-456789ab",
        "flotilla_machine": machine(),
        "flotilla_cluster": definition,
        "flotilla_enabled": True,
    }


def test_a_control_plane_is_in_its_own_group_and_in_no_pool(definition):
    host = hosts.machine_host(definition, machine(role="control_plane", pool="control-plane"), "/key", "/known")
    assert host.groups[1:3] == ["cluster_my_demo", "cluster_my_demo__control_plane"]


def test_a_path_with_a_blank_survives_both_ansible_and_ssh(definition):
    host = hosts.machine_host(definition, machine(), "/key", "/home/a b/known")
    assert host.variables["ansible_ssh_common_args"].endswith("""-o 'UserKnownHostsFile="/home/a b/known"'""")


def test_a_group_name_is_valid_whatever_a_cloud_says(definition):
    host = hosts.machine_host(definition, machine(pool="{{ x }}", zone="a b/c"), "/key", "/known")
    assert host.groups[2:4] == ["cluster_my_demo__pool____x___", "zone_a_b_c"]


def test_known_hosts_holds_every_address_once_and_no_machine_without_key():
    machines = [
        machine(),
        machine(addresses={"private": "10.0.0.9", "public": "198.51.100.9"}),
        machine(),
        machine(host_key="", addresses={"private": "10.0.0.8", "public": None}),
        machine(addresses={}),
    ]
    assert hosts.known_hosts(machines) == "10.0.0.9 ssh-ed25519 AAAA\n172.30.86.10 ssh-ed25519 AAAA\n198.51.100.9 ssh-ed25519 AAAA\n"
    assert hosts.known_hosts([]) == ""
