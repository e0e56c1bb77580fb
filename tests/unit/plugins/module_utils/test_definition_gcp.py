# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions of clusters in Google Cloud: what comes out, and the exact text of what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import DefinitionErrors

PAYMENTS = """\
plugin: flotilla.kubernetes.cluster
schema: 1
name: payments
cloud: gcp
kubernetes_version: "1.36.3"
control_plane:
  count: 3
  machine: {size: e2-standard-2}
  zones: [europe-west1-b, europe-west1-c, europe-west1-d]
pools:
  - name: general
    count: 5
    machine: {size: e2-standard-4, disk_gib: 200, spot: true, extra_disks_gib: [100]}
access:
  ssh_private_key_file: ~/.ssh/payments
gcp:
  project: payments-production
  region: europe-west1
"""
OWN = "  network: {name: shared, subnetwork: nodes, project: network-host}\n"
PATH = Path("/foundation/clusters/payments.yml")


def definition(text=PAYMENTS):
    return load.Loader(read=lambda _path: text).load(PATH).definition


def errors(text):
    with pytest.raises(DefinitionErrors) as caught:
        definition(text)
    return [line.replace("/foundation/clusters/", "") for line in str(caught.value).splitlines()[1:]]


def test_what_was_left_out_has_its_default():
    found = definition()
    assert found["gcp"] == {
        "project": "payments-production",
        "region": "europe-west1",
        "subnet_cidr": "10.20.0.0/20",
        "secondary_ranges": {},
        "nat": True,
        "public_machines": False,
        "service_accounts": {"control_plane": None, "worker": None},
        "scopes": ["https://www.googleapis.com/auth/compute", "https://www.googleapis.com/auth/devstorage.read_only"],
        "disk_type": "pd-balanced",
        "kms_key": None,
        "secure_boot": True,
        "labels": {},
    }
    assert found["pools"][0]["zones"] == found["control_plane"]["zones"]
    assert found["image"] == {"family": "debian-13"}


def test_an_own_network_is_not_one_that_is_made():
    found = definition(PAYMENTS + OWN)["gcp"]
    assert {"subnet_cidr", "nat"}.isdisjoint(found)
    assert found["network"] == {"name": "shared", "subnetwork": "nodes", "project": "network-host"}


def test_public_machines_need_no_nat():
    assert definition(PAYMENTS + "  public_machines: true\n")["gcp"]["nat"] is False


def test_everything_that_can_be_said_is_taken():
    text = PAYMENTS + (
        "  secondary_ranges: {pods: 10.64.0.0/14}\n"
        "  service_accounts: {control_plane: control-plane@payments-production.iam.gserviceaccount.com}\n"
        "  scopes: [https://www.googleapis.com/auth/cloud-platform]\n"
        "  disk_type: pd-ssd\n"
        "  kms_key: projects/keys/locations/europe-west1/keyRings/disks/cryptoKeys/nodes\n"
        "  secure_boot: false\n"
        "  labels: {team: payments}\n"
        "image: {id: projects/debian-cloud/global/images/debian-13-trixie-v20261015}\n"
        "api_endpoint: {visibility: public, allowed_cidrs: [198.51.100.0/24]}\n"
    )
    assert definition(text)["gcp"]["labels"] == {"team": "payments"}


REFUSED = [
    ("name: payments", "name: 1payments", "payments.yml:3: name: is 1payments; names in Google Cloud begin with a letter."),
    (
        "[europe-west1-b, europe-west1-c, europe-west1-d]",
        "[europe-west1-b, us-central1-a]",
        "payments.yml:9: control_plane.zones[1]: is us-central1-a, which is no zone of gcp.region europe-west1.",
    ),
    (
        "  machine: {size: e2-standard-2}\n",
        "",
        "payments.yml:6: control_plane.machine.size: is missing: the machine type of these machines, such as e2-standard-4.",
    ),
    (
        "  ssh_private_key_file: ~/.ssh/payments\n",
        "  ssh_user: ops\n",
        "payments.yml:14: access: has neither ssh_private_key_file nor ssh_public_keys, so nobody could log in to the machines; "
        "write one of them.",
    ),
    (
        "gcp:\n",
        "gcp:\n  labels: {goog-x: a}\n",
        "payments.yml:17: gcp.labels.goog-x: begins with goog, which is kept for others; choose another key.",
    ),
    (
        "gcp:\n",
        "api_endpoint: {visibility: public}\ngcp:\n",
        "payments.yml:16: api_endpoint.allowed_cidrs: is empty, so nobody outside the VPC network would reach the API; "
        "name the networks that may.",
    ),
    (
        "gcp:\n",
        "api_endpoint: {port: 8443}\ngcp:\n",
        "payments.yml:16: api_endpoint.port: is 8443, but a load balancer of Google Cloud passes connections on to the port that they came "
        "to, which is 6443; remove it.",
    ),
    (
        "gcp:\n",
        "api_endpoint: {dns_name: api.example.com}\ngcp:\n",
        "payments.yml:16: api_endpoint.dns_name: has no effect with cloud: gcp; remove it.",
    ),
    (
        "gcp:\n",
        "gcp:\n  subnet_cidr: 10.20.0.0/30\n",
        "payments.yml:17: gcp.subnet_cidr: is 10.20.0.0/30; must be an IPv4 network between /16 and /28.",
    ),
    (
        "gcp:\n",
        "gcp:\n  secondary_ranges: {pods: 10.20.8.0/24}\n",
        "payments.yml:17: gcp.secondary_ranges.pods: is 10.20.8.0/24 and overlaps with gcp.subnet_cidr (10.20.0.0/20); choose networks "
        "that have no address in common.",
    ),
    (
        "gcp:\n",
        f"gcp:\n{OWN}  nat: true\n",
        "payments.yml:18: gcp.nat: is for a network that is made, and gcp.network names one of yours; remove one.",
    ),
    (
        "gcp:\n",
        "gcp:\n  public_machines: true\n  nat: true\n",
        "payments.yml:18: gcp.nat: is true, but machines with public addresses need none; remove it, or public_machines.",
    ),
    (
        "access:\n",
        "access:\n  address: public\n",
        "payments.yml:15: access.address: is public, which machines have with gcp.public_machines: true only.",
    ),
    (
        "machine: {size: e2-standard-2}",
        "machine: {size: e2-standard-2, spot: true}",
        "payments.yml:8: control_plane.machine.spot: is true, but a control plane whose machines may be taken back loses its etcd; "
        "remove it.",
    ),
    (
        "gcp:\n",
        "image: {ssm_parameter: /aws/x}\ngcp:\n",
        "payments.yml:16: image.ssm_parameter: has no effect with cloud: gcp; remove it.",
    ),
    (
        "gcp:\n",
        "image: {id: debian-13, content_library: images}\ngcp:\n",
        "payments.yml:16: image.content_library: has no effect with cloud: gcp; remove it.",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), REFUSED, ids=[message.split(": ")[1] for _old, _new, message in REFUSED])
def test_what_is_wrong_is_said(old, new, message):
    assert PAYMENTS.count(old) == 1
    assert [line.strip() for line in errors(PAYMENTS.replace(old, new))] == [message]


def test_the_section_has_to_be_there():
    text = PAYMENTS[: PAYMENTS.index("gcp:\n")]
    assert errors(text) == ["payments.yml:1: gcp.project: is missing: the project of the machines, such as payments-production."]


def test_the_subnetwork_has_room():
    text = PAYMENTS.replace("count: 5", "count: 50").replace("gcp:\n", "gcp:\n  subnet_cidr: 10.20.0.0/28\n")
    said = "is 10.20.0.0/28 with room for 11 machines, but the definition has 53; choose a larger network."
    assert errors(text) == [f"payments.yml:17: gcp.subnet_cidr: {said}"]
