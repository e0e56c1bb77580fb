# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy in docs/aws.md allows the calls that are made; moto checks none, so the calls are compared."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.aws import load_balancer, machines, network

PAGE = Path(__file__).resolve().parents[3] / "docs" / "aws.md"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHostKeyOfATest"


def documented() -> set[str]:
    policy = json.loads(re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)[0])
    actions = [statement["Action"] for statement in policy["Statement"]]
    return {action for entry in actions for action in ([entry] if isinstance(entry, str) else entry)}


def test_a_cluster_lives_and_dies_within_the_documented_policy(session, ec2, definition):
    definition["image"] = {"id": next(e["ImageId"] for e in ec2.describe_images()["Images"] if e.get("Architecture") == "x86_64")}
    network.present(session, definition)
    machines.present(session, definition, wait_timeout=60, check_mode=True)
    made = machines.present(session, definition, wait_timeout=60, scan=lambda _definition, _machine: KEY)
    members = [{"id": m["id"], "address": m["addresses"]["private"]} for m in made.value["machines"] if m["role"] == "control_plane"]
    load_balancer.present(session, definition, members)
    load_balancer.present(session, definition, members[1:], drain_timeout=1)
    (worker,) = network.present(session, definition, check_mode=True).value["security_groups"]["worker"]
    everybody = {"IpProtocol": "tcp", "FromPort": 23, "ToPort": 23, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=worker, IpPermissions=[everybody])
    definition["aws"]["nat_gateways"] = "single"
    network.present(session, definition)
    network.absent(session, definition, check_mode=True)
    load_balancer.absent(session, definition)
    machines.absent(session, definition)
    network.absent(session, definition)
    made_calls = {call.replace("elbv2:", "elasticloadbalancing:") for call in session.calls}
    assert len(made_calls) > 40
    assert made_calls <= documented(), made_calls - documented()
