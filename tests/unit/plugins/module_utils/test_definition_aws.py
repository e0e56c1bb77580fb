# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions of clusters on AWS: what comes out, and the exact text of what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import DefinitionErrors

PAYMENTS = """\
plugin: flotilla.kubernetes.cluster
schema: 1
name: payments
cloud: aws
kubernetes_version: "1.36.3"
control_plane:
  count: 3
  machine: {size: m7i.large}
  zones: [eu-west-1a, eu-west-1b, eu-west-1c]
pools:
  - name: general
    count: 5
    machine: {size: m7i.xlarge, disk_gib: 200, spot: true}
access:
  ssh_private_key_file: ~/.ssh/payments
aws:
  region: eu-west-1
"""
OWN = """\
  vpc: {id: vpc-0123456789abcdef0}
  subnets: {machines: {ids: [subnet-0123456789abcdef0]}}
"""
PATH = Path("/foundation/clusters/payments.yml")


def definition(text=PAYMENTS, path=PATH):
    return load.Loader(read=lambda _path: text).load(path).definition


def errors(text):
    with pytest.raises(DefinitionErrors) as caught:
        definition(text)
    return [line.replace("/foundation/clusters/", "") for line in str(caught.value).splitlines()[1:]]


def changed(old, new):
    assert PAYMENTS.count(old) == 1
    return PAYMENTS.replace(old, new)


def test_what_was_left_out_has_its_default():
    found = definition()
    assert found["aws"] == {
        "region": "eu-west-1",
        "vpc_cidr": "10.20.0.0/16",
        "nat_gateways": "per_zone",
        "public_machines": False,
        "subnets": {},
        "security_groups": {"control_plane": [], "worker": [], "load_balancer": []},
        "instance_profiles": {"control_plane": None, "worker": None},
        "hosted_zone_id": None,
        "kms_key_id": None,
        "deletion_protection": True,
        "tags": {},
    }
    assert found["pools"][0]["zones"] == found["control_plane"]["zones"] == ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
    assert found["control_plane"]["machine"] == {"size": "m7i.large"}  # the hash of what the user wrote holds no default of ours
    assert found["image"] == {"family": "debian-13"}


def test_an_own_vpc_is_not_one_that_is_made():
    assert {"vpc_cidr", "nat_gateways"}.isdisjoint(definition(PAYMENTS + OWN)["aws"])


def test_public_machines_need_no_nat_gateway():
    found = definition(PAYMENTS + "  public_machines: true\n")
    assert found["aws"]["nat_gateways"] == "none"


def test_everything_that_can_be_said_is_taken():
    text = PAYMENTS.replace("access:\n", "access:\n  address: public\n  allowed_cidrs: [198.51.100.0/24]\n") + (
        "  vpc: {tags: {Name: shared}}\n"
        "  subnets: {machines: {tags: {tier: private}}, load_balancer: {ids: [subnet-0a1b2c3d]}}\n"
        "  security_groups: {control_plane: [sg-0123abcd], worker: [sg-0123abcd], load_balancer: [sg-4567cdef]}\n"
        "  instance_profiles: {control_plane: payments-control-plane, worker: payments-worker}\n"
        "  hosted_zone_id: Z0123456789ABCDEFGHIJ\n"
        "  kms_key_id: arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab\n"
        "  tags: {cost-centre: '4711', Owner: payments}\n"
        "image: {ssm_parameter: '/aws/service/debian/release/13/latest/amd64'}\n"
        "api_endpoint: {visibility: public, allowed_cidrs: [203.0.113.0/24, 0.0.0.0/0], dns_name: api.payments.example.com, port: 443}\n"
    )
    assert definition(text)["aws"]["tags"] == {"cost-centre": "4711", "Owner": "payments"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  machine: {size: m7i.large}\n",
            "",
            "6: control_plane.machine.size: is missing: the instance type of these machines, such as m7i.large.",
        ),
        (
            "size: m7i.xlarge, ",
            "",
            "13: pools[0].machine.size: is missing: the instance type of these machines, such as m7i.large.",
        ),
        (
            "  zones: [eu-west-1a, eu-west-1b, eu-west-1c]\n",
            "",
            "6: control_plane.zones: is missing: the availability zones of the machines, such as [eu-west-1a, eu-west-1b, eu-west-1c].",
        ),
        ("[eu-west-1a, ", "[us-east-1a, ", "9: control_plane.zones[0]: is us-east-1a, which is no zone of aws.region eu-west-1."),
        (
            "{size: m7i.large}",
            "{size: m7i.large, spot: true}",
            "8: control_plane.machine.spot: is true, but a control plane whose machines may be taken back loses its etcd; remove it.",
        ),
        (
            "access:\n  ssh_private_key_file: ~/.ssh/payments\n",
            "",
            "1: access: has neither ssh_private_key_file nor ssh_public_keys, so nobody could log in to the machines; write one of them.",
        ),
        (
            "  ssh_private_key_file: ~/.ssh/payments\n",
            "  ssh_public_keys: [AAAA]\n",
            "15: access.ssh_public_keys[0]: is AAAA; must be a public key in one line, such as ssh-ed25519 AAAA... ops@example.com.",
        ),
        ("aws:\n  region: eu-west-1\n", "", "1: aws.region: is missing: the region of the machines, such as eu-west-1."),
        ("  region: eu-west-1\n", "  tags: {}\n", "16: aws.region: is missing: region of the machines."),
        ("  region: eu-west-1\n", "  region: EU\n", "17: aws.region: is EU; must be a region such as eu-west-1."),
        (
            "  region: eu-west-1\n",
            "  region: eu-west-1\n  vpc_cidr: 172.16.0.0/12\n",
            "18: aws.vpc_cidr: is 172.16.0.0/12; must be an IPv4 network between /16 and /22.",
        ),
        (
            "  region: eu-west-1\n",
            "  region: eu-west-1\n  vpc_cidr: 10.244.0.0/16\n",
            "18: aws.vpc_cidr: is 10.244.0.0/16 and overlaps with network.pod_cidrs[0] (10.244.0.0/16); "
            "choose networks that have no address in common.",
        ),
        (
            "  region: eu-west-1\n",
            "  region: eu-west-1\n  vpc: {id: vpc-0123abcd}\n",
            "16: aws.subnets.machines: is missing: the subnets of the machines in your VPC, by ids or by tags.",
        ),
        (
            "  region: eu-west-1\n",
            "  region: eu-west-1\n  nat_gateways: single\n" + OWN,
            "18: aws.nat_gateways: is for a VPC that is made, and aws.vpc names one of yours; remove one.",
        ),
        (
            "  region: eu-west-1\n",
            "  region: eu-west-1\n  vpc: {id: vpc-0123abcd, tags: {a: b}}\n  subnets: {machines: {ids: [subnet-0123abcd]}}\n",
            "18: aws.vpc: has id and tags; write only one of them.",
        ),
        (
            "  region: eu-west-1\n",
            "  region: eu-west-1\n  vpc: {}\n  subnets: {machines: {ids: [subnet-0123abcd]}}\n",
            "18: aws.vpc: is empty; write id or tags.",
        ),
        (
            "  region: eu-west-1\n",
            "  region: eu-west-1\n  vpc: {tags: {}}\n  subnets: {machines: {ids: [subnet-0123abcd]}}\n",
            "18: aws.vpc.tags: is empty, which every one would match; name a tag.",
        ),
        (
            "  region: eu-west-1\n",
            "  region: eu-west-1\n  subnets: {machines: {ids: [subnet-0123abcd]}}\n",
            "18: aws.subnets.machines: needs aws.vpc, the VPC that they are in.",
        ),
        (
            "  region: eu-west-1\n",
            "  region: eu-west-1\n  public_machines: true\n  nat_gateways: single\n",
            "19: aws.nat_gateways: is single, but machines with public addresses need none; remove it, or public_machines.",
        ),
        (
            "  region: eu-west-1\n",
            "  region: eu-west-1\n  tags: {flotilla-uid: x}\n",
            "18: aws.tags.flotilla-uid: begins with flotilla-, which is kept for others; choose another key.",
        ),
        (
            "  region: eu-west-1\n",
            "  region: eu-west-1\n  hosted_zone_id: Z0123\n",
            "18: aws.hosted_zone_id: needs api_endpoint.dns_name, the record's name.",
        ),
        (
            "access:\n",
            "api_endpoint: {visibility: public}\naccess:\n",
            "14: api_endpoint.allowed_cidrs: is empty, so nobody outside the VPC would reach the API; name the networks that may.",
        ),
        (
            "access:\n",
            "api_endpoint: {allowed_cidrs: [10.0.0.1/8]}\naccess:\n",
            "14: api_endpoint.allowed_cidrs[0]: is 10.0.0.1/8, which is not how the network is written; write 10.0.0.0/8.",
        ),
        (
            "access:\n",
            "api_endpoint: {provider: kube_vip, address: 10.20.0.9}\naccess:\n",
            "14: api_endpoint.provider: is kube_vip, whose address moves by ARP, which a VPC does not have; choose cloud or external.",
        ),
        (
            "access:\n",
            "access:\n  address: public\n",
            "15: access.address: is public, which machines have with aws.public_machines: true only.",
        ),
        (
            "access:\n",
            "image: {family: debian-13, id: ami-0123abcd}\naccess:\n",
            "14: image: has family and id; write only one of them.",
        ),
        (
            "access:\n",
            "image: {famly: debian-13}\naccess:\n",
            '14: image.famly: unknown key; did you mean "family"? Known here: content_library, family, id, ssm_parameter.',
        ),
        ("access:\n", "access:\n  bastion: {port: 22}\n", "15: access.bastion.host: is missing: its address or name."),
    ],
)
def test_a_wrong_input_gives_one_clear_error(old, new, message):
    assert errors(changed(old, new)) == [f"payments.yml:{message}"]


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("api_endpoint: {visibility: public}", "api_endpoint.visibility"),
        ("api_endpoint: {dns_name: api.example.com}", "api_endpoint.dns_name"),
        ("api_endpoint: {allowed_cidrs: [10.0.0.0/8]}", "api_endpoint.allowed_cidrs"),
        ("access: {ssh_public_keys: [ssh-ed25519 AAAA]}", "access.ssh_public_keys"),
        ("access: {allowed_cidrs: [10.0.0.0/8]}", "access.allowed_cidrs"),
        ("access: {address: public}", "access.address"),
        ("access: {bastion: {host: bastion.example.com}}", "access.bastion"),
        ("image: {id: ami-0123abcd}", "image.id"),
        ("image: {ssm_parameter: /x}", "image.ssm_parameter"),
        ("image: {family: debian-13, content_library: images}", "image.content_library"),
        ("pools: [{name: a, count: 1, image: {family: debian-13}}]", "pools[0].image"),
    ],
)
def test_what_has_no_effect_elsewhere_is_refused_there(line, path):
    text = (
        'plugin: flotilla.kubernetes.cluster\nschema: 1\nname: x\ncloud: local\nkubernetes_version: "1.36.3"\ncontrol_plane: {count: 1}\n'
        f"local: {{network_cidr: 172.30.86.0/24}}\n{line}\n"
    )
    assert errors(text) == [f"payments.yml:8: {path}: has no effect with cloud: local; remove it."]


def test_the_network_of_a_vpc_has_room_for_the_machines_of_every_zone():
    small = PAYMENTS + "  vpc_cidr: 10.20.0.0/22\nnetwork: {pod_cidrs: [10.244.0.0/15]}\n"
    # Subnets of /25 hold 123 machines; zones a and b get one of the control planes each and a third of the pool.
    assert definition(small.replace("count: 5", "count: 366"))["pools"][0]["count"] == 366
    assert errors(small.replace("count: 5", "count: 367")) == [
        "payments.yml:18: aws.vpc_cidr: is 10.20.0.0/22, so the subnet in eu-west-1a is a /25 with room for 123 machines, "
        "but up to 124 stand in it; choose a larger network, or more zones."
    ]
    assert definition(small.replace("10.20.0.0/22", "10.20.0.0/21").replace("count: 5", "count: 367"))


def test_a_vpc_has_so_many_zones():
    zones = ", ".join(f"eu-west-1{letter}" for letter in "defgh")
    assert errors(PAYMENTS.replace("count: 5\n", f"count: 5\n    zones: [{zones}]\n")) == [
        "payments.yml:9: control_plane.zones: make 8 zones together with those of the pools; a VPC has room for 7."
    ]


def test_public_machines_do_not_reach_a_public_endpoint_that_is_for_few():
    text = PAYMENTS + "  public_machines: true\napi_endpoint: {visibility: public, allowed_cidrs: [203.0.113.0/24]}\n"
    (error,) = errors(text)
    assert error.startswith("payments.yml:19: api_endpoint.visibility: is public, and machines with public addresses of their own")
    assert definition(text.replace("203.0.113.0/24", "0.0.0.0/0"))


def test_aws_has_ipv4_addresses_only():
    assert errors(PAYMENTS + "network: {pod_cidrs: ['fd00:1::/56'], service_cidrs: ['fd00:2::/112'], plugin: none}\n") == [
        f"payments.yml:18: network.{key}: holds an IPv6 network, but machines of the cloud aws have IPv4 addresses only."
        for key in ("pod_cidrs", "service_cidrs")
    ]
    assert errors(PAYMENTS.replace("access:\n", "access:\n  allowed_cidrs: ['fd00::/8']\n")) == [
        "payments.yml:15: access.allowed_cidrs[0]: is fd00::/8; load balancers and machines of aws have IPv4 addresses only."
    ]


def test_a_choice_of_a_cluster_replaces_that_of_its_class(tmp_path):
    for name in ("clusters", "cluster_classes"):
        (tmp_path / name).mkdir()
    (tmp_path / "cluster_classes/big.yml").write_text(
        "plugin: flotilla.kubernetes.cluster\nschema: 1\nkind: cluster_class\nimage: {family: debian-13}\n"
        "aws: {vpc: {tags: {a: b}}, subnets: {machines: {tags: {a: b}}}, tags: {from: class}}\n"
    )
    path = tmp_path / "clusters/payments.yml"
    path.write_text(PAYMENTS + OWN + "  tags: {own: tag}\nclass: big\nimage: {id: ami-0123abcd}\n")
    found = load.load_file(path)
    assert found["image"] == {"id": "ami-0123abcd"}
    assert found["aws"]["vpc"] == {"id": "vpc-0123456789abcdef0"}
    assert found["aws"]["subnets"] == {"machines": {"ids": ["subnet-0123456789abcdef0"]}}
    assert found["aws"]["tags"] == {"from": "class", "own": "tag"}
