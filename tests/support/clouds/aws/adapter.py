# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's modules on AWS's endpoint."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load

from clouds.aws.account import AwsEndpoint
from clouds.aws.inventory import REGION
from clouds.cloud import CLUSTER, WORKERS, Wanted
from clouds.judge import Machine
from clouds.runner import Task

MODULES = "ansible_collections.flotilla.kubernetes.plugins.modules"


class Adapter(AwsEndpoint):
    def __init__(self) -> None:
        self.prepared: list[str] = []
        self.makes_machines = importlib.util.find_spec(f"{MODULES}.aws_machines") is not None

    def prepare(self, url: str) -> None:
        super().prepare(url)
        self.prepared = self.images(url)

    def definition(self, wanted: Wanted) -> dict[str, Any]:
        """Return the merged definition, as the modules get it from an inventory."""
        written = {
            "plugin": "flotilla.kubernetes.cluster",
            "schema": 1,
            "name": CLUSTER,
            "cloud": "aws",
            "kubernetes_version": "1.36.3",
            "control_plane": {"count": wanted.control_planes, "machine": {"size": "m5.large"}, "zones": list(self.zones)},
            "pools": [{"name": WORKERS, "count": wanted.workers, "machine": {"size": "m5.large"}, "zones": list(self.zones[:2])}],
            "image": {"id": self.prepared[wanted.image]},
            "api_endpoint": {"provider": "cloud"},
            "access": {"ssh_public_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs contract"]},
            "aws": {"region": REGION, "vpc_cidr": "10.20.0.0/16"},
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
        machines = [self._machines(wanted, removal="now", roll_out=True)] if self.makes_machines else []
        return [self._task("aws_network", wanted), self._task("aws_load_balancer", wanted), *machines]

    def destroy(self, wanted: Wanted) -> list[Task]:
        names = ["aws_machines"] if self.makes_machines else []
        return [self._task(name, wanted, state="absent") for name in (*names, "aws_load_balancer", "aws_network")]

    def replace(self, wanted: Wanted, machine: Machine, defer: bool = False) -> list[Task]:
        return [self._machines(wanted, removal="defer" if defer else "now", replace=[machine.id])]

    def defer(self, wanted: Wanted, plan_id: str = "") -> list[Task]:
        return [self._machines(wanted, removal="defer", plan_id=plan_id)]

    def remove(self, wanted: Wanted, ids: list[str]) -> list[Task]:
        return [self._task("aws_machines", wanted, state="absent", ids=ids)]

    def _machines(self, wanted: Wanted, **options: Any) -> Task:
        return self._task("aws_machines", wanted, wait_for="running", **options)
