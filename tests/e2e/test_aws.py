# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster in AWS, through the API of moto's server, whose machines and load balancer are real: `make e2e-aws`."""

from __future__ import annotations

import pytest
from backing.picture import HEALTHY
from backing.stage import Stage
from clouds.aws.inventory import client
from on_cloud import OnCloud

pytestmark = pytest.mark.full


class TestAws(OnCloud):
    cloud = "aws"
    cidr = "10.61.0.0/16"
    kinds = {"vpc", "subnet", "instance", "volume", "security group", "load balancer", "target group", "nat gateway"}
    makes = {"ec2:RunInstances": 2, "elasticloadbalancing:CreateLoadBalancer": 1}
    leaves = "elasticloadbalancing:DeregisterTargets"
    ends = "ec2:TerminateInstances"

    def healthy(self, stage: Stage) -> set[str]:
        elb = client("elbv2", stage.place.direct)
        group = elb.describe_target_groups(Names=[f"{stage.name}-api"])["TargetGroups"][0]["TargetGroupArn"]
        entries = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return {entry["Target"]["Id"] for entry in entries if entry["TargetHealth"]["State"] == HEALTHY}
