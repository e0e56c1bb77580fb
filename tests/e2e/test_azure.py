# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster in Azure, through a strict Resource Manager, whose machines and load balancer are real: `make e2e-azure`."""

from __future__ import annotations

import pytest
from backing.stage import Stage
from clouds.azure.inventory import find_out, group_id
from on_cloud import OnCloud

pytestmark = pytest.mark.full


class TestAzure(OnCloud):
    cloud = "azure"
    cidr = "172.30.234.0/24"
    kinds = {
        *("resource group", "virtualNetworks", "networkSecurityGroups", "applicationSecurityGroups", "natGateways", "publicIPAddresses"),
        *("virtualMachines", "networkInterfaces", "disks", "loadBalancers"),
    }
    makes = {
        "PUT Microsoft.Compute/virtualMachines": 5,
        "PUT Microsoft.Network/loadBalancers": 1,
        "PUT Microsoft.Network/networkInterfaces": 3,
    }
    # That by which another one joins is of the same kind.
    leaves = "PUT Microsoft.Network/networkInterfaces"
    ends = "DELETE Microsoft.Compute/virtualMachines"

    def node_names(self, stage: Stage) -> dict[str, str]:
        # A machine is named by us, and its id comes from Azure.
        return {instance.id: instance.hostname for instance in stage.picture().instances}

    def healthy(self, stage: Stage) -> set[str]:
        balancer = f"{group_id(f'flotilla-{stage.name}')}/providers/Microsoft.Network/loadBalancers/{stage.name}-api"
        answer = find_out(stage.place.direct, f"{balancer}/loadBalancingRules/api/health")
        well = {entry["ipAddress"] for entry in answer["loadBalancerBackendAddresses"] if entry["state"] == "Up"}
        return {instance.id for instance in stage.picture().instances if instance.address in well}
