# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules themselves, in check mode so that nothing waits in real time."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args


def run(name: str, capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    module = importlib.import_module(f"ansible_collections.flotilla.kubernetes.plugins.modules.{name}")
    with patch_module_args({**arguments, "_ansible_check_mode": True}), pytest.raises(SystemExit):
        module.main()
    return dict(json.loads(capsys.readouterr().out))


@pytest.mark.usefixtures("endpoint")
def test_check_mode_on_an_empty_account_predicts_everything(capsys, ec2, definition):
    definition["image"] = {"id": next(e["ImageId"] for e in ec2.describe_images()["Images"] if e.get("Architecture") == "x86_64")}
    before = ec2.describe_vpcs()["Vpcs"]
    network = run("aws_network", capsys, cluster=definition)
    assert network["changed"] and network["differs"] and network["diff"]["after"]["vpc"] == "10.20.0.0/16"
    balancer = run("aws_load_balancer", capsys, cluster=definition, members=[{"id": "i-1", "address": "10.20.0.9"}])
    assert balancer["changed"] and balancer["endpoint"]["port"] == 6443
    machines = run("aws_machines", capsys, cluster=definition)
    assert machines["changed"] and len(machines["planned"]) == 5 and len(machines["steps"]) == 5
    assert machines["leaving"] == [] and len(machines["plan_id"]) == 12
    outdated = run("aws_machines", capsys, cluster=definition, plan_id="0123456789ab")
    assert outdated["code"] == "MACHINES_PLAN_OUTDATED"
    gone = run("aws_machines", capsys, cluster=definition, state="absent", ids=["i-0123456789abcdef0"])
    assert not gone["changed"] and gone["machines"] == []
    assert "state=absent" in run("aws_machines", capsys, cluster=definition, ids=[])["msg"]
    for name in ("aws_network", "aws_load_balancer", "aws_machines"):
        assert not run(name, capsys, cluster=definition, state="absent")["changed"]
    assert run("aws_image_info", capsys, region="eu-west-1", id=definition["image"]["id"])["image"]["id"] == definition["image"]["id"]
    assert ec2.describe_vpcs()["Vpcs"] == before


@pytest.mark.usefixtures("endpoint")
def test_wrong_credentials_are_told_with_a_remedy(capsys, definition, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    result = run("aws_network", capsys, cluster=definition)
    assert result["failed"] and result["code"] == "AWS_UNAUTHORISED" and "~/.aws" in result["remedy"]


def test_a_definition_without_region_is_refused(capsys, definition):
    del definition["aws"]["region"]
    assert run("aws_machines", capsys, cluster=definition)["code"] == "AWS_REGION"
