# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoint of the contract suite, for machines that are real: `python -m backing.aws.endpoint --help`.

Targets are as the backing says, one that is deregistered drains for as long as its group says, and boots are counted, which the API
itself does not show: ``PUT /_backing/health`` sets ``{group: {instance: [state, reason, description]}}``, ``GET /_backing/boots`` gives
``{instance: how often it was told to boot again}``.
"""

from __future__ import annotations

import collections
import json
from typing import Any

from clouds.aws import endpoint
from moto.ec2.models import EC2Backend
from moto.elbv2.models import ELBv2Backend, FakeHealthStatus, FakeTargetGroup

_DELAY = "deregistration_delay.timeout_seconds"


class Reality:
    """What the backing has said, and what it asks for."""

    def __init__(self) -> None:
        self.health: dict[str, dict[str, list[str]]] = {}
        self.boots: collections.Counter[str] = collections.Counter()
        # (group, instance) -> when it was deregistered
        self.drained: dict[tuple[str, str], float] = {}


def add_reality(world: endpoint.World, reality: Reality) -> None:
    """Change moto's classes, after the contract's endpoint has."""
    health, listed = FakeTargetGroup.health_for, ELBv2Backend.describe_target_health
    register, deregister = FakeTargetGroup.register, FakeTargetGroup.deregister
    reboot = EC2Backend.reboot_instances

    def is_draining(group: Any, instance: str) -> bool:
        since = reality.drained.get((group.arn, instance))
        return since is not None and world.clock.now() - since < float(group.attributes.get(_DELAY) or 300)

    def register_(self: Any, targets: list[dict[str, Any]]) -> None:
        register(self, targets)
        for target in targets:
            reality.drained.pop((self.arn, target["Id"]), None)

    def deregister_(self: Any, targets: list[dict[str, Any]]) -> None:
        deregister(self, targets)
        for target in targets:
            reality.drained[self.arn, target["Id"]] = world.clock.now()
            reality.health.get(self.arn, {}).pop(target["Id"], None)

    def health_for(self: Any, target: dict[str, Any], ec2_backend: Any) -> Any:
        found = health(self, target, ec2_backend)
        if is_draining(self, target["Id"]):
            found.status, found.reason = "draining", "Target.DeregistrationInProgress"
        elif found.status in ("healthy", "initial"):
            said = reality.health.get(self.arn, {}).get(target["Id"])
            state, reason, description = said or ("initial", "Elb.RegistrationInProgress", "Target registration is in progress")
            found.status, found.reason, found.description = state, reason or None, description or None
        return found

    def describe_target_health(self: Any, target_group_arn: str, targets: list[dict[str, Any]]) -> list[FakeHealthStatus]:
        found = listed(self, target_group_arn, targets)
        group = self.target_groups[target_group_arn]
        leaving = [] if targets else [item for number, item in group.deregistered_targets.items() if is_draining(group, number)]
        return [*found, *(group.health_for(item, self.ec2_backend) for item in leaving)]

    def reboot_instances(self: Any, instance_ids: list[str]) -> Any:
        reality.boots.update(instance_ids)
        return reboot(self, instance_ids)

    FakeTargetGroup.register, FakeTargetGroup.deregister = register_, deregister_  # type: ignore[method-assign]
    FakeTargetGroup.health_for = health_for  # type: ignore[method-assign]
    ELBv2Backend.describe_target_health = describe_target_health  # type: ignore[method-assign]
    EC2Backend.reboot_instances = reboot_instances  # type: ignore[method-assign]


class Application(endpoint.Application):
    def __init__(self, world: endpoint.World) -> None:
        super().__init__(world)
        self.reality = Reality()
        add_reality(world, self.reality)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if not path.startswith("/_backing/"):
            return super().__call__(environ, start_response)
        with self.lock:
            reply: Any = {}
            if path == "/_backing/health":
                self.reality.health = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            elif path == "/_backing/boots":
                reply = dict(self.reality.boots)
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(reply).encode()]


if __name__ == "__main__":
    endpoint.Application = Application  # type: ignore[misc]
    endpoint.main()
