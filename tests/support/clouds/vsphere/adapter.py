# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's modules on a simulated vCenter."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load

from clouds.cloud import CLUSTER, WORKERS, Wanted
from clouds.judge import Machine
from clouds.runner import Task
from clouds.vsphere.account import COMPUTE, DATACENTER, IMAGES, NETWORK, THEIRS, VsphereEndpoint

MODULES = "ansible_collections.flotilla.kubernetes.plugins.modules"
MACHINE = {"cpus": 2, "memory_gib": 4}


class Adapter(VsphereEndpoint):
    makes_machines = True

    def definition(self, wanted: Wanted) -> dict[str, Any]:
        """Return the merged definition, as the modules get it from an inventory."""
        written = {
            "plugin": "flotilla.kubernetes.cluster",
            "schema": 1,
            "name": CLUSTER,
            "cloud": "vsphere",
            "kubernetes_version": "1.36.3",
            "control_plane": {"count": wanted.control_planes, "machine": MACHINE, "zones": list(self.zones)},
            "pools": [{"name": WORKERS, "count": wanted.workers, "machine": MACHINE, "zones": list(self.zones[:2])}],
            "image": {"id": IMAGES[wanted.image]},
            "api_endpoint": {"address": "10.20.0.5"},
            "access": {"ssh_public_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs contract"]},
            "vsphere": {
                "datacenter": DATACENTER,
                "cluster": COMPUTE,
                "network": NETWORK,
                "tags": {"environment": "contract", THEIRS[0]: THEIRS[1]},
                "zones": {zone: {"host_group": zone} for zone in self.zones},
            },
        }
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "foundation/clusters" / f"{CLUSTER}.yml"
            path.parent.mkdir(parents=True)
            path.write_text(yaml.safe_dump(written), encoding="utf-8")
            merged = load.load_file(path)
        assert merged
        # The folder's name is the foundation's, but part of it is drawn by tempfile.
        return {**merged, "foundation": "contract-foundation"}

    def _task(self, name: str, wanted: Wanted, **options: Any) -> Task:
        return Task(f"{MODULES}.{name}", f"flotilla.kubernetes.{name}", {"cluster": self.definition(wanted), **options})

    def apply(self, wanted: Wanted) -> list[Task]:
        machines = self._machines_task(wanted, removal="now", roll_out=True)
        return [self._task("vsphere_load_balancer", wanted), machines]

    def destroy(self, wanted: Wanted) -> list[Task]:
        return [self._task(name, wanted, state="absent") for name in ("vsphere_machines", "vsphere_load_balancer")]

    def replace(self, wanted: Wanted, machine: Machine, defer: bool = False) -> list[Task]:
        return [self._machines_task(wanted, removal="defer" if defer else "now", replace=[machine.id])]

    def defer(self, wanted: Wanted, plan_id: str = "") -> list[Task]:
        return [self._machines_task(wanted, removal="defer", plan_id=plan_id)]

    def remove(self, wanted: Wanted, ids: list[str]) -> list[Task]:
        return [self._task("vsphere_machines", wanted, state="absent", ids=ids)]

    def _machines_task(self, wanted: Wanted, **options: Any) -> Task:
        return self._task("vsphere_machines", wanted, wait_for="running", **options)
