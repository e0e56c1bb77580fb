# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example on AWS's endpoint."""

from __future__ import annotations

from clouds.aws.account import AwsEndpoint
from clouds.cloud import CLUSTER, Wanted
from clouds.judge import Machine
from clouds.runner import Task


class Adapter(AwsEndpoint):
    """:param defect: one of the example's `DEFECTS`."""

    def __init__(self, defect: str = "") -> None:
        self.defect = defect
        self.makes_machines = True
        self.prepared: list[str] = []

    def prepare(self, url: str) -> None:
        super().prepare(url)
        self.prepared = self.images(url)

    def _task(self, wanted: Wanted, **options: str) -> list[Task]:
        arguments = {
            "name": CLUSTER,
            "zones": list(self.zones),
            "counts": wanted.machines,
            "image": self.prepared[wanted.image],
            "defect": self.defect,
        }
        return [Task("clouds.examples.example_cluster", "example_cluster", {**arguments, **options})]

    def apply(self, wanted: Wanted) -> list[Task]:
        return self._task(wanted)

    def destroy(self, wanted: Wanted) -> list[Task]:
        return self._task(wanted, state="absent")

    def replace(self, wanted: Wanted, machine: Machine, defer: bool = False) -> list[Task]:
        return [] if defer else self._task(wanted, replace=machine.id)

    def defer(self, wanted: Wanted, plan_id: str = "") -> list[Task]:
        return []

    def remove(self, wanted: Wanted, ids: list[str]) -> list[Task]:
        return []
