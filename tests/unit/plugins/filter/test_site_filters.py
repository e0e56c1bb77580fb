# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the filters for the settings of a site."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.kubernetes.plugins.filter.no_proxy import no_proxy
from ansible_collections.flotilla.kubernetes.plugins.filter.registry_hosts import registry_hosts

LOGIN = {"username": "user", "password": 'p"w'}
HEADER = f'Authorization = "Basic {base64.b64encode(b"user:p" + bytes([34]) + b"w").decode()}"'


def by_path(found: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    return {
        entry["dest"].removeprefix("/etc/containerd/certs.d/"): {**entry, "secret": kind == "secret_files"}
        for kind, files in found.items()
        for entry in files
    }


def test_mirrors_of_a_registry_stand_in_their_order_in_one_file():
    mirrors = [
        {"registry": "docker.io", "url": "https://one.example.com"},
        {"registry": "quay.io", "url": "https://one.example.com"},
        {"registry": "docker.io", "url": "https://two.example.com/v2/hub", "override_path": True},
    ]
    files = by_path(registry_hosts(mirrors))
    assert list(files) == ["docker.io/hosts.toml", "quay.io/hosts.toml"] and not files["docker.io/hosts.toml"]["secret"]
    assert files["docker.io/hosts.toml"]["content"] == (
        "# Written by the Ansible role flotilla.kubernetes.containerd.\n\n"
        '[host."https://one.example.com"]\n  capabilities = ["pull", "resolve"]\n\n'
        '[host."https://two.example.com/v2/hub"]\n  capabilities = ["pull", "resolve"]\n  override_path = true\n'
    )


def test_credentials_go_to_their_host_only():
    mirrors = [
        {"registry": "docker.io", "url": "https://one.example.com:5000"},
        {"registry": "quay.io", "url": "https://two.example.com"},
    ]
    files = by_path(registry_hosts(mirrors, {"one.example.com:5000": LOGIN}))
    assert files["docker.io/hosts.toml"]["secret"] and HEADER in files["docker.io/hosts.toml"]["content"]
    assert not files["quay.io/hosts.toml"]["secret"] and "Authorization" not in files["quay.io/hosts.toml"]["content"]


@pytest.mark.parametrize(
    ("host", "folder", "url"),
    [
        ("registry.example.com:5000", "registry.example.com_5000_", "https://registry.example.com:5000"),
        ("docker.io", "docker.io", "https://registry-1.docker.io"),
    ],
)
def test_credentials_of_no_mirror_are_for_the_registry_itself(host, folder, url):
    files = by_path(registry_hosts([], {host: LOGIN}))
    assert f'[host."{url}"]' in files[f"{folder}/hosts.toml"]["content"] and HEADER in files[f"{folder}/hosts.toml"]["content"]


def test_a_certificate_lies_next_to_the_file_that_names_it():
    mirrors = [{"registry": "docker.io", "url": "https://one.example.com", "ca_file": "/ca.pem"}]
    files = by_path(registry_hosts(mirrors, {}, {"/ca.pem": "PEM"}))
    (path,) = (name for name in files if name.startswith("docker.io/ca-"))
    assert files[path]["content"] == "PEM\n" and f'ca = "/etc/containerd/certs.d/{path}"' in files["docker.io/hosts.toml"]["content"]


@pytest.mark.parametrize(
    ("url", "login", "message"),
    [("http://one.example.com", LOGIN, "unencrypted"), ("https://one.example.com", {"username": "user"}, "password")],
)
def test_credentials_that_can_not_be_used_are_refused_without_showing_them(url, login, message):
    with pytest.raises(AnsibleFilterError) as caught:
        registry_hosts([{"registry": "docker.io", "url": url}], {"one.example.com": login})
    assert message in str(caught.value) and "one.example.com" in str(caught.value) and 'p"w' not in str(caught.value)


DEFINITION = {
    "cloud": "local",
    "local": {"network_cidr": "172.30.86.0/24", "egress": "deny"},
    "network": {"pod_cidrs": ["10.244.0.0/16"], "service_cidrs": ["10.96.0.0/12"]},
    "site": {"proxy": {"no_proxy": [".corp.example.com"]}},
}
MACHINES = [{"addresses": {"private": "192.0.2.7", "public": None}}]


def test_the_networks_of_a_cluster_its_endpoint_and_the_sites_own_are_reached_directly():
    wanted = {
        "localhost",
        ".svc",
        ".cluster.local",
        "169.254.169.254",
        "10.244.0.0/16",
        "10.96.0.0/12",
        "172.30.86.0/24",
        "api.example.com",
    }
    found = no_proxy(DEFINITION, "api.example.com", MACHINES)
    assert wanted | {".corp.example.com"} <= set(found) and len(found) == len(set(found))
    # A machine more must not restart containerd on the others.
    assert "192.0.2.7" not in found


def test_without_a_network_of_their_own_machines_are_listed():
    assert "192.0.2.7" in no_proxy({**DEFINITION, "cloud": "existing"}, "", MACHINES)
    assert "localhost" in no_proxy(None)
