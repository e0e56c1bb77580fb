# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions of machines that exist already and of the API endpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.existing.machines import observe_machines
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import hosts, load
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import DefinitionErrors

EXISTING = """\
plugin: flotilla.kubernetes.cluster
schema: 1
name: prod
cloud: existing
kubernetes_version: "1.36.3"
pools:
  - {name: web, zones: [rack-b]}
api_endpoint: {provider: kube_vip, address: 10.0.0.5}
access: {ssh_user: ops}
existing:
  machines:
    - {address: 10.0.0.11, role: control_plane, zone: rack-a, node_name: cp1}
    - {address: 10.0.0.21, pool: web}
    - {address: 10.0.0.22, pool: web, ssh_address: web2.example.com, ssh_port: 2222}
"""
LOCAL = """\
plugin: flotilla.kubernetes.cluster
schema: 1
name: demo
cloud: local
kubernetes_version: "1.36.3"
control_plane: {count: 3}
api_endpoint: {provider: haproxy_keepalived, address: 172.30.86.5}
local: {network_cidr: 172.30.86.0/24}
"""
PATH = Path("/foundation/clusters/prod.yml")


def definition(text=EXISTING):
    return load.Loader(read=lambda _path: text).load(PATH).definition


def errors(text):
    with pytest.raises(DefinitionErrors) as caught:
        load.Loader(read=lambda _path: text).load(PATH)
    return [line.replace("/foundation/clusters/", "") for line in str(caught.value).splitlines()[1:]]


def changed(text, *pairs):
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def test_counts_and_names_follow_from_the_list():
    found = definition()
    assert found["control_plane"]["count"] == 1
    assert [pool["count"] for pool in found["pools"]] == [2]
    assert [machine["node_name"] for machine in found["existing"]["machines"]] == ["cp1", "prod-web-10-0-0-21", "prod-web-10-0-0-22"]


def test_machines_have_the_shape_of_every_cloud():
    first, second, third = (machine.as_dict() for machine in observe_machines(definition()))
    assert (first["role"], first["pool"], first["zone"], first["state"]) == ("control_plane", "control-plane", "rack-a", "running")
    assert (second["role"], second["pool"], second["zone"]) == ("worker", "web", "rack-b")
    assert (third["addresses"]["private"], third["ssh_address"], third["ssh_port"]) == ("10.0.0.22", "web2.example.com", 2222)


@pytest.mark.parametrize(
    ("decides", "options"),
    [
        ("known_hosts", "-o StrictHostKeyChecking=yes"),
        ("accept_new", "-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/known/prod"),
    ],
)
def test_hosts_are_reached_where_and_as_the_definition_says(decides, options):
    found = definition(EXISTING.replace("existing:\n", f"existing:\n  host_keys: {decides}\n", 1))
    machine = observe_machines(found)[2].as_dict()
    host = hosts.machine_host(found, machine, "", "/known/prod")
    assert host.groups == ["flotilla", "cluster_prod", "cluster_prod__pool_web", "zone_rack_b", "cloud_existing"]
    assert (host.variables["ansible_host"], host.variables["ansible_port"]) == ("web2.example.com", 2222)
    assert host.variables["ansible_ssh_common_args"] == options
    assert host.variables["ansible_ssh_private_key_file"] == ""


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (
            [("    - {address: 10.0.0.21, pool: web}", "    - {address: 10.0.0.22, pool: web}")],
            "prod.yml:14: existing.machines[2].address: is 10.0.0.22, as is that of the machine in line 13; every machine is listed once.",
        ),
        (
            [("    - {address: 10.0.0.21, pool: web}", "    - {address: 10.0.0.21, pool: web, node_name: cp1}")],
            "prod.yml:13: existing.machines[1].node_name: is cp1, as is that of the machine in line 12; every machine is listed once.",
        ),
        (
            [("{address: 10.0.0.21, pool: web}", "{address: 10.0.0.21, pool: wep}")],
            'prod.yml:13: existing.machines[1].pool: is wep, which is not among the pools; did you mean "web"?',
        ),
        (
            [("{address: 10.0.0.21, pool: web}", "{address: 10.0.0.21}")],
            "prod.yml:13: existing.machines[1]: has neither role nor pool; write role: control_plane or pool: <name of a pool>.",
        ),
        (
            [("{address: 10.0.0.21, pool: web}", "{address: 10.0.0.21, role: control_plane}")],
            "prod.yml:11: existing.machines: has 2 machines with role: control_plane; allowed: 1, 3, 5 or 7, because etcd "
            "needs a majority.",
        ),
        (
            [("{name: web, ", "{name: web, count: 5, ")],
            "prod.yml:7: pools[0].count: is 5, but the list existing.machines with pool: web has 2; leave the count out, or list as many.",
        ),
        (
            [("pools:\n", "control_plane: {count: 3}\npools:\n")],
            "prod.yml:6: control_plane.count: is 3, but the list existing.machines with role: control_plane"
            " has 1; leave the count out, or list "
            "as many.",
        ),
        (
            [("10.0.0.21", "10.0.0.321")],
            "prod.yml:13: existing.machines[1].address: is 10.0.0.321; must be an IPv4 address.",
        ),
        (
            [("10.0.0.21", "10.244.0.21")],
            "prod.yml:13: existing.machines[1].address: is 10.244.0.21, which lies in network.pod_cidrs (10.244.0.0/16); change "
            "one of them.",
        ),
        (
            [("provider: kube_vip, address: 10.0.0.5", "port: 6443")],
            "prod.yml:8: api_endpoint.provider: is cloud, but machines that exist have no load balancer of a cloud; choose kube_vip, "
            "haproxy_keepalived or external.",
        ),
        (
            [("address: 10.0.0.5", "address: 10.0.0.11")],
            "prod.yml:8: api_endpoint.address: is 10.0.0.11, which is the own address of a machine; choose a free address of the control "
            "planes' network.",
        ),
        (
            [("address: 10.0.0.5", "address: api.example.com")],
            "prod.yml:8: api_endpoint.address: is api.example.com; must be an IPv4 address.",
        ),
        (
            [("address: 10.0.0.5", "port: 6443")],
            "prod.yml:8: api_endpoint.address: is missing: the address of the API endpoint, which provider: kube_vip needs.",
        ),
        (
            [("address: 10.0.0.5", "address: 10.0.0.5, port: 8443")],
            "prod.yml:8: api_endpoint.port: is 8443; kube-vip hands on the address of the API servers themselves, which listen on 6443.",
        ),
        (
            [("{name: web, ", "{name: web, machine: {size: large}, ")],
            "prod.yml:7: pools[0].machine.size: machines of the cloud existing have no such setting; remove it.",
        ),
        (
            [("existing:\n", "local: {network_cidr: 172.30.1.0/24}\nexisting:\n")],
            "prod.yml:10: local: is the section of another cloud; the cluster has cloud: existing. Remove the section or change cloud.",
        ),
    ],
)
def test_a_wrong_list_or_endpoint_gives_one_clear_error(pairs, message):
    assert errors(changed(EXISTING, *pairs)) == [message]


def test_haproxy_has_a_port_of_its_own():
    assert definition(LOCAL)["api_endpoint"]["port"] == 8443
    assert definition(LOCAL.replace("172.30.86.5}", "172.30.86.5, port: 9443}"))["api_endpoint"]["port"] == 9443
    assert definition(EXISTING)["api_endpoint"]["port"] == 6443


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (
            [("172.30.86.5}", "172.30.86.5, port: 6443}")],
            "prod.yml:7: api_endpoint.port: is 6443, which Kubernetes uses on the same machines; choose another, such as 8443.",
        ),
        (
            [("172.30.86.5}", "172.30.86.12}")],
            "prod.yml:7: api_endpoint.address: is 172.30.86.12; choose one from 172.30.86.4 to 172.30.86.9, which"
            " local.network_cidr keeps free.",
        ),
        (
            [("provider: haproxy_keepalived, ", "")],
            "prod.yml:7: api_endpoint.address: is not for provider: cloud, whose load balancer has its own; remove it or change provider.",
        ),
        (
            [("provider: haproxy_keepalived", "interface: eth0, provider: external")],
            "prod.yml:7: api_endpoint.interface: is not for provider: external; remove it.",
        ),
    ],
)
def test_an_endpoint_of_another_cloud_follows_the_same_rules(pairs, message):
    assert errors(changed(LOCAL, *pairs)) == [message]


def test_an_external_endpoint_may_have_a_name():
    assert definition(changed(LOCAL, ("haproxy_keepalived, address: 172.30.86.5", "external, address: api.example.com")))


def test_two_clusters_can_not_have_one_machine(tmp_path):
    for name in ("one", "two"):
        path = tmp_path / "clusters" / f"{name}.yml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(EXISTING.replace("name: prod", f"name: {name}"), encoding="utf-8")
    with pytest.raises(DefinitionErrors, match=r"existing.machines\[0\].address: is the machine 10.0.0.11, which the cluster one"):
        load.load_fleet([tmp_path])


def test_machines_are_replaced_only_where_a_cloud_makes_them_and_with_a_successor():
    place = "pools[0].rollout"
    (line,) = errors(EXISTING.replace("zones: [rack-b]", "zones: [rack-b], rollout: {strategy: replace}"))
    assert "prod.yml:7" in line and f"{place}.strategy: is replace, but with cloud: existing nobody makes machines" in line
    pools = "pools: [{{name: w, count: 2, rollout: {rollout}}}]\nlocal:"
    (line,) = errors(LOCAL.replace("local:", pools.format(rollout="{strategy: replace, max_surge: 0}")))
    assert "prod.yml:8" in line and f"{place}.max_surge: is 0, but with strategy: replace" in line
    (line,) = errors(LOCAL.replace("local:", pools.format(rollout="{max_surge: 25%}")))
    assert f"{place}.max_surge: has no effect with strategy: in_place" in line
    assert "max_surge: is none; must be" in errors(LOCAL.replace("local:", pools.format(rollout="{strategy: replace, max_surge: none}")))[0]
    for rollout in ("{strategy: replace}", "{strategy: replace, max_surge: 100%}", "{max_surge: 0}"):
        assert definition(LOCAL.replace("local:", pools.format(rollout=rollout)))["pools"]
