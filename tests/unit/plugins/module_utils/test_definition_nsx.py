# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The section `nsx` of definitions: where it may stand, and the exact text of what is wrong."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import defaults, load, network_plugin_rules, nsx_rules, schema
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import DefinitionErrors, path_text

PROFILE = """\
plugin: flotilla.kubernetes.cluster
schema: 1
kind: network_profile
network:
  pod_cidrs: [10.244.0.0/16]
nsx:
  manager: nsx.example.com
  tier0: Tenant A
  ip_block: /infra/ip-blocks/nodes-a
  segments:
    worker: {size: 64}
  floating_ip_pool: floating a
  dns_servers: [10.1.1.53]
  tags: {team: payments}
"""
GOOD = {
    "cloud": "vsphere",
    "control_plane": {"count": 3},
    "pools": [{"name": "general", "count": 5}],
    "api_endpoint": {"provider": "cloud"},
    "access": {"allowed_cidrs": ["10.9.0.0/24"], "bastion": None},
    "nsx": {"tier0": "tenant-a", "ip_block": "nodes", "floating_ip_pool": "floating"},
}


def profile(text):
    return load.Loader(read=lambda _path: text).load(Path("/foundation/network_profiles/tenant-a.yml"))


def errors(text):
    with pytest.raises(DefinitionErrors) as caught:
        profile(text)
    return [line.split("tenant-a.yml:")[-1] for line in str(caught.value).splitlines()[1:]]


def problems(**sections):
    """Return what the rules say about a good definition in which sections are others."""
    data = copy.deepcopy(GOOD)
    for name, section in sections.items():
        data[name] = {**data[name], **section} if isinstance(section, dict) and isinstance(data.get(name), dict) else section
    data = defaults.fill(data, {"type": "object", "properties": {"nsx": schema.NSX}})
    found = []
    nsx_rules.nsx(data, lambda path, message, *_rest, **_more: found.append(f"{path_text(path)}: {message}"))
    return found


def test_a_network_profile_has_it_for_each_tenant():
    assert profile(PROFILE) is None


def test_what_was_left_out_has_its_default():
    found = defaults.fill({"nsx": {"tier0": "a"}}, {"type": "object", "properties": {"nsx": schema.NSX}})["nsx"]
    assert found == {
        "tier0": "a",
        **dict.fromkeys(("manager", "tier1", "edge_cluster", "transport_zone", "ip_block", "floating_ip_pool", "domain_name")),
        "load_balancer_address": None,
        "load_balancer_service": None,
        "load_balancer_size": "SMALL",
        "segments": {"control_plane": {}, "worker": {}},
        "addresses": "dhcp",
        "dns_servers": [],
        "outbound": "snat",
        "firewall": True,
        "container_ip_blocks": [],
        "ncp_options": {},
        "tags": {},
    }


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("manager: nsx.example.com", "manager: https://nsx", "nsx.manager: is https://nsx; must be host or host:port."),
        ("tier0: Tenant A", "tier0: /infra", "must be a name, an id or a policy path such as /infra/tier-0s/tenant-a"),
        ("size: 64", "size: 65", "nsx.segments.worker.size"),
        ("tier0: Tenant A", "tier_0: Tenant A", 'did you mean "tier0"?'),
        ("team: payments", "team: 7", "quote numbers"),
    ],
)
def test_wrong_values_are_told_with_what_is_allowed(old, new, said):
    assert PROFILE.count(old) == 1
    (line,) = errors(PROFILE.replace(old, new))
    assert said in line


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({}, []),
        ({"nsx": {"tier0": None}}, ["nsx.tier0: is missing: the Tier-0 of the cluster's tenant."]),
        ({"nsx": {"tier0": None, "tier1": "mine"}}, []),
        (
            {"nsx": {"tier1": "mine", "edge_cluster": "edges"}},
            ["nsx.edge_cluster: is for a Tier-1 that is made, and nsx.tier1 names yours; remove one."],
        ),
        (
            {"nsx": {"load_balancer_service": "theirs"}},
            ["nsx.load_balancer_service: is that of a Tier-1 of yours, which nsx.tier1 does not name; name it, or remove this."],
        ),
        ({"cloud": "aws"}, ["nsx: is the network of clusters on vsphere; the cluster has cloud: aws. Remove the section."]),
        (
            {"nsx": {"segments": {"control_plane": {"cidr": "10.1.0.0/28"}}}},
            ["nsx.segments.control_plane.cidr: is there, and nsx.ip_block gives the network; remove one."],
        ),
        (
            {"nsx": {"ip_block": None, "segments": {"worker": {"size": 64}}}},
            [
                "nsx.segments.control_plane.cidr: is missing: an IPv4 network such as 10.20.0.0/24, or name an nsx.ip_block.",
                "nsx.segments.worker.size: is how much is taken from nsx.ip_block, which is not there; write cidr, or name a block.",
            ],
        ),
        (
            {"pools": [{"count": 60}], "nsx": {"segments": {"worker": {"size": 64}}}},
            ["nsx.segments.worker.size: has 64 addresses, room for 59 machines, but there are 60; choose a larger one."],
        ),
        ({"pools": [{"count": 59}], "nsx": {"segments": {"worker": {"size": 64}}}}, []),
        (
            {"nsx": {"floating_ip_pool": None}},
            ["nsx.floating_ip_pool: is missing: the IP pool of the outbound address, which nsx.outbound: snat needs."],
        ),
        (
            {"nsx": {"floating_ip_pool": None, "outbound": "routed"}},
            ["nsx.floating_ip_pool: is missing: the IP pool of the API load balancer's address; or set nsx.load_balancer_address."],
        ),
        ({"nsx": {"floating_ip_pool": None, "outbound": "routed", "load_balancer_address": "10.0.0.9"}}, []),
        ({"nsx": {"floating_ip_pool": None, "outbound": "routed"}, "api_endpoint": {"provider": "kube_vip"}}, []),
        (
            {"access": {"allowed_cidrs": []}},
            [
                "access.allowed_cidrs: is empty, so the firewall of nsx.firewall would let nobody outside the cluster log in to its "
                "machines; name the networks that Ansible comes from."
            ],
        ),
        ({"access": {"allowed_cidrs": []}, "nsx": {"firewall": False}}, []),
        (
            {"nsx": {"tags": {"flotilla-x": "1"}}},
            ["nsx.tags.flotilla-x: begins with flotilla-, which is kept for others; choose another scope."],
        ),
    ],
)
def test_rules_between_fields(sections, said):
    assert problems(**sections) == said


def test_the_room_of_a_segment_with_a_network_of_its_own():
    found = []

    def room(text, role="control_plane", **endpoint):
        import ipaddress

        found.clear()
        data = {**GOOD, "api_endpoint": endpoint}
        path = ("nsx", "segments", role, "cidr")
        nsx_rules.segment_room(path, ipaddress.ip_network(text), data, lambda path, message, *_rest, **_more: found.append(message))
        return list(found)

    assert room("10.1.0.0/28") == room("10.1.0.0/24", "worker") == []
    assert room("10.1.0.0/29") == ["is 10.1.0.0/29; must be an IPv4 network between /20 and /28."]
    assert room("10.1.0.0/28", provider="kube_vip", address="10.1.0.9") == []
    assert room("10.1.0.0/28", provider="kube_vip", address="10.2.0.9") == [
        "is 10.2.0.9, which is not in the control planes' segment 10.1.0.0/28, where they hand it on; choose one of it."
    ]


def ncp_problems(nsx=(), plugin="ncp", provided=("manifest", "image_archives"), source="auto"):
    """Return what the rules of network plugins say about a good definition whose section `nsx` has other values."""
    bundle = {"source": source, **({"network_plugin": dict.fromkeys(provided, ["x"])} if provided else {})}
    section = {**GOOD["nsx"], "manager": "nsx.example.com", **dict(nsx)}
    data = {**GOOD, "kubernetes_version": "1.36.3", "network": {"plugin": plugin}, "bundle": bundle, "nsx": section}
    found = []
    network_plugin_rules.network_plugin(data, lambda path, message, *_rest, **_more: found.append(f"{path_text(path)}: {message}"))
    return found


def test_ncp_may_stand_in_a_network_profile():
    profile(PROFILE.replace("pod_cidrs: [10.244.0.0/16]", "plugin: ncp") + "  container_ip_blocks: [pods-a]\n")


def test_ncp_needs_what_it_can_not_know_itself():
    assert ncp_problems() == []
    assert ncp_problems({"manager": None}) == ["nsx.manager: is missing: NCP does not know the controller's environment."]
    assert ncp_problems({"tier0": "Tenant A"}) == [
        "nsx.tier0: is Tenant A, a display name, and NCP reads ids only; write its id or policy path."
    ]
    assert ncp_problems({"tier0": "/infra/tier-0s/tenant-a"}) == []
    assert ncp_problems(provided=()) == [
        "bundle.network_plugin.manifest: is missing: the manifest of the network plugin ncp, as nobody publishes them.",
        "bundle.network_plugin.image_archives: is missing: the images of the network plugin ncp, as nobody publishes them.",
    ]
    assert ncp_problems(provided=(), source="directory") == []


def test_no_secret_of_ncp_stands_in_a_definition():
    found = ncp_problems({"ncp_options": {"nsx_v3": {"nsx_api_password": "s3cret", "subnet_prefix": 25}}})
    assert found == ["nsx.ncp_options.nsx_v3.nsx_api_password: would be read by everybody; NCP logs in with network_plugin_credentials."]


def test_what_only_ncp_reads_is_refused_with_another_plugin():
    assert ncp_problems({"container_ip_blocks": ["pods"]}, plugin="flannel", provided=()) == [
        "nsx.container_ip_blocks: is for the network plugin ncp; the cluster has flannel. Remove it."
    ]


def test_a_plugin_is_not_for_a_kubernetes_that_is_older_than_its_makers_say(monkeypatch):
    newer = dataclasses.replace(network_plugin_rules.PLUGINS["flannel"], since="1.37")
    monkeypatch.setitem(network_plugin_rules.PLUGINS, "flannel", newer)
    assert ncp_problems(plugin="flannel", provided=()) == [
        "network.plugin: is flannel, whose makers support Kubernetes 1.37 or newer; the cluster has 1.36.3."
    ]
