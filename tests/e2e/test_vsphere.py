# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster in vSphere, through govmomi's simulator of a vCenter, whose machines are real: `make e2e-vsphere`."""

from __future__ import annotations

import pytest
from backing.stage import Stage
from conftest import wait_for
from on_cloud import PORT, OnCloud

pytestmark = pytest.mark.full


class TestVsphere(OnCloud):
    """The control planes hand on the API's address by kube-vip, so there is no load balancer."""

    cloud = "vsphere"
    cidr = "172.30.227.0/24"
    address = "172.30.227.5"
    kinds = {"machine", "disk", "rule", "group"}
    makes = {"CloneVM_Task": 5, "ReconfigureComputeResource_Task": 1}
    leaves = ""
    ends = "Destroy_Task"
    helpers = 1

    def node_names(self, stage: Stage) -> dict[str, str]:
        return {instance.id: instance.hostname for instance in stage.picture().instances}

    def holders(self, stage: Stage) -> set[str]:
        """Return the machines that have the API's address."""
        return {
            machine
            for machine in stage.machines()
            if f" {self.address}/" in stage.run_on(machine, "ip", "-4", "-oneline", "address", "show")
        }

    def healthy(self, stage: Stage) -> set[str]:
        holders, planes = self.holders(stage), set(stage.control_planes)
        return planes if len(holders) == 1 and holders < planes else holders

    def test_the_load_balancer_is_a_real_one(self, stage: Stage) -> None:
        """It is an address that one control plane has, and another one takes over when that one's API server is gone."""
        (holder,) = self.holders(stage)
        worker = stage.machines("workers")[0]
        ask = ("curl", "--silent", "--insecure", "--max-time", "3", "--retry", "60", "--retry-all-errors", "--retry-delay", "1")
        url = f"https://{self.address}:{PORT}/livez"
        assert stage.run_on(worker, *ask, url) == "ok"
        manifest, aside = "/etc/kubernetes/manifests/kube-vip.yaml", "/root/kube-vip.yaml"
        stage.run_on(holder, "mv", manifest, aside)
        try:
            wait_for("another control plane has the address", lambda: bool(self.holders(stage) - {holder}), 180)
            assert stage.run_on(worker, *ask, url) == "ok"
        finally:
            stage.run_on(holder, "mv", aside, manifest)
        wait_for("only one has it", lambda: self.healthy(stage) == set(stage.control_planes), 180)
