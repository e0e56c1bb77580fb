# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found wrong with machines that exist already."""

from __future__ import annotations

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.existing import findings

DEFINITION = {"access": {"ssh_user": "ops"}, "api_endpoint": {"address": "10.0.0.5", "port": 6443}}


def machine(name, address, role="worker"):
    return {"name": name, "role": role, "addresses": {"private": address}, "ssh_address": address, "ssh_port": 22}


MACHINES = [machine("cp1", "10.0.0.11", "control_plane"), machine("w1", "10.0.0.21")]


def look(number, **fields):
    return {
        "machine_id": f"id{number}",
        "product_uuid": f"uuid{number}",
        "macs": [f"52:54:00:00:00:{number}"],
        "addresses": ["10.0.0.11", "127.0.0.1"] if number == 11 else ["10.0.0.21", "127.0.0.1"],
        "listening": {"22": "sshd"},
        "membership": "none",
        "api_endpoint": "",
        **fields,
    }


def found(first=None, second=None):
    return [(finding.code, finding.object, finding.message) for finding in findings(DEFINITION, MACHINES, {"cp1": first, "w1": second})]


def test_good_machines_give_no_finding():
    assert found(look(11), look(21)) == []
    member = {"membership": "member", "api_endpoint": "10.0.0.5:6443", "listening": {"10250": "kubelet", "6443": "kube-apiserver"}}
    assert found(look(11, **member), look(21, **member)) == []
    assert found(look(11, membership="unfinished", listening={"6443": "kube-apiserver"}), look(21)) == []


@pytest.mark.parametrize(
    ("second", "code", "part"),
    [
        (
            {"unreachable": True, "msg": "Failed to connect:\n  timed out"},
            "MACHINE_UNREACHABLE",
            "can not be reached: Failed to connect: timed out",
        ),
        ({"msg": "Missing sudo password", "failed": False}, "MACHINE_NOT_ROOT", "can not be worked on as root: Missing sudo password"),
        ({}, "MACHINE_UNREACHABLE", "nobody looked at it"),
        (look(21, machine_id="id11"), "MACHINE_ID_TWICE", "has the same machine id as cp1: id11."),
        (look(21, product_uuid="uuid11"), "MACHINE_UUID_TWICE", "has the same product uuid as cp1: uuid11."),
        (look(21, macs=["52:54:00:00:00:11"]), "MACHINE_MAC_TWICE", "has the same mac as cp1: 52:54:00:00:00:11."),
        (look(21, addresses=["10.9.9.9"]), "MACHINE_ADDRESS_FOREIGN", "does not have this address, but 10.9.9.9."),
        (look(21, listening={"10250": "nginx"}), "MACHINE_PORT_TAKEN", "has the TCP port 10250 in use by nginx."),
        (
            look(21, membership="member", api_endpoint="10.7.7.7:6443"),
            "MACHINE_IN_OTHER_CLUSTER",
            "is a member of the cluster at 10.7.7.7:6443, not of the one at 10.0.0.5:6443.",
        ),
    ],
)
def test_each_finding_names_the_machine_and_what_is_wrong(second, code, part):
    ((found_code, name, message),) = found(look(11), second)
    assert (found_code, name) == (code, "w1")
    assert message.startswith("The machine w1 (10.0.0.21) ") and part in message


def test_a_worker_may_have_what_only_control_planes_need():
    taken = {"6443": "other", "2379": "other"}
    assert found(look(11), look(21, listening=taken)) == []
    assert [code for code, _name, _message in found(look(11, listening=taken), look(21))] == ["MACHINE_PORT_TAKEN"] * 2


def test_machines_without_a_product_uuid_are_not_alike():
    assert found(look(11, product_uuid=""), look(21, product_uuid="")) == []


def test_every_machine_is_judged():
    assert len(found({"unreachable": True, "msg": "a"}, {"unreachable": True, "msg": "b"})) == 2
