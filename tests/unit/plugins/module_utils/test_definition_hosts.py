# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a definition: names, groups and variables are an interface that playbooks of users rely on."""

from __future__ import annotations

import shlex
import subprocess
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
        "ansible_pipelining": True,
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


def test_the_policy_of_a_definition_says_which_address_ansible_uses(definition):
    both = machine(addresses={"private": "10.0.0.1", "public": "198.51.100.1"})
    assert hosts.machine_host(definition, both, "/key", "/known").variables["ansible_host"] == "10.0.0.1"
    definition["access"]["address"] = "public"
    assert hosts.machine_host(definition, both, "/key", "/known").variables["ansible_host"] == "198.51.100.1"
    assert hosts.ssh_address(definition, machine()) == ""
    assert hosts.ssh_address(definition, machine(ssh_address="node.example.com")) == "node.example.com"


@pytest.mark.parametrize(
    ("bastion", "command"),
    [
        ({"host": "b.example.com", "port": 22}, "-i ~/'.ssh/my key' -p 22 -W '[%h]:%p' flotilla@b.example.com"),
        (
            {"host": "192.0.2.1", "port": 2222, "user": "jump", "ssh_private_key_file": "/etc/100%"},
            "-i /etc/100%% -p 2222 -W '[%h]:%p' jump@192.0.2.1",
        ),
    ],
)
def test_ssh_goes_through_the_bastion_with_its_own_key(definition, bastion, command):
    definition["access"]["bastion"] = bastion
    variables = hosts.machine_host(definition, machine(), "~/.ssh/my key", "/known").variables
    assert variables["ansible_host"] == "172.30.86.10"
    options = shlex.split(variables["ansible_ssh_common_args"])
    said = subprocess.run(["ssh", "-G", "-F", "none", *options, "172.30.86.10"], capture_output=True, text=True, check=True).stdout
    (proxy,) = [line for line in said.splitlines() if line.startswith("proxycommand ")]
    assert proxy == (
        "proxycommand ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o ServerAliveInterval=15 -o ServerAliveCountMax=4 " + command
    )
