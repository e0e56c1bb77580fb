# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions of clusters in vSphere: what comes out, and the exact text of what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import DefinitionErrors

STOCK = """\
plugin: flotilla.kubernetes.cluster
schema: 1
name: stock
cloud: vsphere
kubernetes_version: "1.36.3"
control_plane:
  count: 3
  machine: {cpus: 2, memory_gib: 8}
pools:
  - name: general
    count: 3
    machine: {cpus: 4, memory_gib: 16, disk_gib: 100, extra_disks_gib: [200]}
image: {id: templates/debian-13}
api_endpoint:
  address: 10.20.0.5
access:
  ssh_private_key_file: ~/.ssh/stock
vsphere:
  datacenter: dc-1
  cluster: compute-1
  network: k8s-nodes
"""
NSX = """\
nsx:
  tier0: tenant-a
  ip_block: nodes-a
  floating_ip_pool: floating-a
"""
ADDRESSES = "  addresses: {cidr: 10.20.0.0/24, gateway: 10.20.0.1, ranges: [10.20.0.20-10.20.0.29]}\n"
PATH = Path("/foundation/clusters/stock.yml")


def definition(text=STOCK):
    return load.Loader(read=lambda _path: text).load(PATH).definition


def errors(text):
    with pytest.raises(DefinitionErrors) as caught:
        definition(text)
    return [line.replace("/foundation/clusters/", "") for line in str(caught.value).splitlines()[1:]]


def test_what_was_left_out_has_its_default():
    found = definition()
    assert found["vsphere"] == {
        "server": None,
        "datacenter": "dc-1",
        "cluster": "compute-1",
        "network": "k8s-nodes",
        "zones": {},
        "clone": "full",
        "anti_affinity": "preferred",
        "firmware": None,
        "secure_boot": None,
        "tags": {},
    }
    assert found["api_endpoint"]["provider"] == "kube_vip" and found["api_endpoint"]["port"] == 6443
    assert found["control_plane"]["zones"] == found["pools"][0]["zones"] == ["default"]


def test_everything_that_can_be_said_is_taken():
    text = STOCK.replace("  machine: {cpus: 2, memory_gib: 8}\n", "  machine: {cpus: 2, memory_gib: 8}\n  zones: [a, b, c]\n")
    text = text.replace("  cluster: compute-1\n", "") + ADDRESSES
    text += (
        "  server: vcenter.example.com\n  folder: kubernetes/stock\n  datastore_cluster: ssd\n  clone: linked\n  anti_affinity: required\n"
        "  firmware: efi\n  secure_boot: true\n"
        "  zones:\n    a: {cluster: compute-1}\n    b: {cluster: compute-2, datastore: vsan-2}\n"
        "    c: {cluster: compute-3, host_group: rack 1}\n"
    )
    found = definition(text)["vsphere"]
    assert found["zones"]["c"] == {"cluster": "compute-3", "host_group": "rack 1"}
    assert found["addresses"]["ranges"] == ["10.20.0.20-10.20.0.29"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "vsphere:\n  datacenter: dc-1\n  cluster: compute-1\n  network: k8s-nodes\n",
            "",
            ["stock.yml:1: vsphere.datacenter: is missing: the datacenter of the machines, such as dc-1."],
        ),
        ("  cluster: compute-1\n", "", ["stock.yml:18: vsphere.cluster: is missing: the compute cluster of the machines."]),
        (
            "  network: k8s-nodes\n",
            "  zones: {default: {cluster: compute-2}}\n",
            ["stock.yml:18: vsphere.network: is missing: the port group of the machines (zone default has none of its own)."],
        ),
        (
            "cpus: 2, memory_gib: 8",
            "size: large, memory_gib: 8",
            [
                "stock.yml:8: control_plane.machine.cpus: is missing: the number of virtual CPUs, such as 4.",
                "stock.yml:8: control_plane.machine.size: is not for cloud: vsphere; write cpus and memory_gib.",
            ],
        ),
        (
            "image: {id: templates/debian-13}\n",
            "",
            [
                "stock.yml:1: image: names no template, and vSphere has none of its own: set id to the name or path of yours, such as "
                "debian-13."
            ],
        ),
        (
            "image: {id: templates/debian-13}\n",
            "image: {family: debian-13, content_library: images}\n",
            ["stock.yml:13: image: names no item of the content library images: set id to the item's name, such as debian-13."],
        ),
        (
            "  network: k8s-nodes\n",
            "  network: k8s-nodes\n  tags: {environment: 7}\n",
            [
                "stock.yml:22: vsphere.tags.environment: is 7 (a whole number); must be the name of a tag of at most 256 characters; quote "
                'numbers. Quote it: "7".'
            ],
        ),
        (
            "  address: 10.20.0.5\n",
            "  provider: cloud\n",
            [
                "stock.yml:15: api_endpoint.provider: is cloud, and vSphere has no load balancer of its own; choose kube_vip, "
                "haproxy_keepalived or external, or let NSX have one: add the section nsx, or a network profile that has it."
            ],
        ),
        (
            "  address: 10.20.0.5\n",
            "  provider: avi\n",
            [
                "stock.yml:15: api_endpoint.provider: is avi, which is not in this release yet; allowed: cloud, kube_vip, "
                "haproxy_keepalived or external."
            ],
        ),
        (
            "  address: 10.20.0.5\n",
            "  address: 10.20.0.5\n  allowed_cidrs: [10.0.0.0/8]\n",
            ["stock.yml:16: api_endpoint.allowed_cidrs: has no effect with cloud: vsphere, which has no firewall of its own; remove it."],
        ),
        (
            "  network: k8s-nodes\n",
            "  network: k8s-nodes\n  firmware: bios\n  secure_boot: true\n",
            ["stock.yml:23: vsphere.secure_boot: is true, which needs firmware: efi."],
        ),
        (
            "  network: k8s-nodes\n",
            "  network: k8s-nodes\n  datastore: one\n  datastore_cluster: two\n",
            ["stock.yml:23: vsphere.datastore_cluster: stands next to datastore; write only one of them."],
        ),
        (
            "  network: k8s-nodes\n",
            "  network: k8s-nodes\n  zones: {rack-9: {host_group: rack-9}}\n",
            ["stock.yml:22: vsphere.zones.rack-9: is the place of a zone that no machine is in; remove it or add the zone to a pool."],
        ),
    ],
)
def test_what_is_wrong_is_said(old, new, expected):
    assert old in STOCK
    assert errors(STOCK.replace(old, new)) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "gateway: 10.20.0.1",
            "gateway: 10.21.0.1",
            ["stock.yml:22: vsphere.addresses.gateway: is 10.21.0.1, which is not in 10.20.0.0/24."],
        ),
        (
            "10.20.0.20-10.20.0.29",
            "10.20.0.20-10.20.0.24",
            [
                "stock.yml:22: vsphere.addresses.ranges: have 5 addresses, and the definition has 6 machines; add a range, with some to "
                "spare for replacements."
            ],
        ),
        (
            "10.20.0.20-10.20.0.29",
            "10.20.0.2-10.20.0.29",
            [
                "stock.yml:22: vsphere.addresses.ranges[0]: is 10.20.0.2-10.20.0.29, and 10.20.0.5 is api_endpoint.address; leave it out "
                "of the range."
            ],
        ),
        (
            "10.20.0.20-10.20.0.29",
            "10.20.0.250-10.20.0.255",
            [
                "stock.yml:22: vsphere.addresses.ranges[0]: is 10.20.0.250-10.20.0.255, and 10.20.0.255 is no address of a machine in "
                "10.20.0.0/24."
            ],
        ),
        ("cidr: 10.20.0.0/24", "cidr: 10.244.0.0/24", None),
    ],
)
def test_addresses_that_are_wrong(old, new, expected):
    found = errors((STOCK + ADDRESSES).replace(old, new))
    assert found == expected if expected else any("overlaps with network.pod_cidrs[0]" in line for line in found)


def test_cpus_are_for_vsphere_only():
    text = STOCK[: STOCK.index("vsphere:\n")].replace("cloud: vsphere", "cloud: gcp")
    assert any("machine.cpus: is for cloud: vsphere; elsewhere machine.size says it." in line for line in errors(text))


# The same cluster with its network in NSX.
ON_NSX = STOCK.replace("  network: k8s-nodes\n", "").replace("  address: 10.20.0.5\n", "  allowed_cidrs: [10.8.0.0/16]\n")
ON_NSX = ON_NSX.replace("access:\n", "access:\n  allowed_cidrs: [10.9.0.0/24]\n") + NSX


def test_with_nsx_the_cloud_has_a_load_balancer_and_makes_the_network():
    found = definition(ON_NSX)
    assert found["api_endpoint"]["provider"] == "cloud" and found["nsx"]["tier0"] == "tenant-a" and "network" not in found["vsphere"]
    assert definition(ON_NSX.replace("  allowed_cidrs: [10.8.0.0/16]\n", "  provider: kube_vip\n  address: 10.20.0.5\n"))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "  cluster: compute-1\n",
            "  cluster: compute-1\n  network: k8s-nodes\n",
            "vsphere.network: stands next to nsx, which makes the machines' segments; remove one of them.",
        ),
        (
            "  cluster: compute-1\n",
            "  cluster: compute-1\n  zones: {default: {network: k8s-nodes}}\n",
            "vsphere.zones.default.network: stands next to nsx, which makes the machines' segments; remove one of them.",
        ),
        (
            "  cluster: compute-1\n",
            "  cluster: compute-1\n" + ADDRESSES,
            "vsphere.addresses: is for a network of yours; with nsx, whose segments they are of, nsx.addresses says it. Remove it.",
        ),
        (
            "  allowed_cidrs: [10.8.0.0/16]\n",
            "  address: 10.20.0.5\n",
            "api_endpoint.address: is not for provider: cloud, whose load balancer has its own; remove it or change provider.",
        ),
        (
            "  allowed_cidrs: [10.8.0.0/16]\n",
            "  visibility: public\n",
            "api_endpoint.visibility: has no effect with cloud: vsphere, which gives machines and load balancers private addresses; "
            "remove it.",
        ),
        (
            "  tier0: tenant-a\n",
            "  tier0: tenant-a\n  firewall: false\n",
            "access.allowed_cidrs: has no effect with nsx.firewall: false; remove it, or let NSX have a firewall.",
        ),
    ],
)
def test_what_does_not_go_with_nsx(old, new, expected):
    assert ON_NSX.count(old) == 1
    (found,) = errors(ON_NSX.replace(old, new))
    assert found.partition(": ")[2] == expected
