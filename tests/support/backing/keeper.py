# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop of a backing: look at the cloud, make it so."""

from __future__ import annotations

import sys
import threading
import time
import traceback

from backing.balancers import BALANCER, CLOSED, DRAIN, READY, Balancers, Server, pool
from backing.health import Checker
from backing.machines import MACHINE, Machines
from backing.network import RESOLVER, Network
from backing.picture import DRAINING, HEALTHY, RUNNING, STOPPED, Cloud, Group, Health, Instance, Picture
from backing.podman import Host

PERIOD = 1.0


class Keeper:
    """Keeps what runs on this host to what a cloud's API says.

    :param name: of the backing, on this host.
    :param image: of machines, balancers and resolver.
    :param strict: whether no target reaches itself through a balancer, however that is set: in some clouds it can not be set.
    """

    def __init__(self, cloud: Cloud, name: str, image: str, strict: bool = True) -> None:
        self.cloud = cloud
        self.strict = strict
        self.host = Host(name)
        self.network = Network(self.host, image)
        self.machines = Machines(self.host, image, self.network.name)
        self.balancers = Balancers(self.host, image, self.network.name)
        self.checker = Checker()
        # What this host was last made like.
        self._made: Picture | None = None
        self._boots: dict[str, int] = {}
        # Addresses of balancers that machines were made to take for their own.
        self._taken: dict[str, tuple[str, ...]] = {}
        self._reported: dict[str, dict[str, Health]] = {}

    def run(self, stopped: threading.Event) -> None:
        """Go on until ``stopped``; what fails is said and tried again."""
        while not stopped.wait(PERIOD):
            try:
                self.step()
            except Exception:
                say(traceback.format_exc())

    def step(self) -> None:
        """Look once and make it so. What changes on this host alone stays: a machine that was cut off by hand is dead."""
        picture = self.cloud.look()
        if picture != self._made:
            self._made = None
            if picture.network is None:
                self._clear()
            else:
                self.network.ensure(picture.network, picture.resolver)
                self.network.answer(_names(picture))
                self._keep_machines(picture)
                self.balancers.ensure(picture.balancers, picture.resolver)
            self._made = picture
        self._keep_targets(picture)

    def _clear(self) -> None:
        """The cloud has no network, so nothing that could be in one."""
        self._boots.clear()
        self.balancers.ensure((), "")
        self._keep_machines(Picture())
        self.network.remove()

    def _keep_machines(self, picture: Picture) -> None:
        there, volumes = self.host.containers(MACHINE), self.host.volumes()
        wanted = {instance.id: instance for instance in picture.instances}
        gone = sorted({*there, *volumes.values()} - set(wanted))
        if gone:
            say(f"{', '.join(gone)}: gone")
            containers = [there[thing].name for thing in gone if thing in there]
            self.host.remove(containers, [name for name, thing in volumes.items() if thing in gone])
        for thing in gone:
            self._taken.pop(thing, None)
        for instance in picture.instances:
            container = there.get(instance.id)
            booted = self._boots.setdefault(instance.id, instance.boots)
            if container is None:
                if instance.state == RUNNING:
                    self._create(instance, picture.resolver)
            elif instance.state == STOPPED and container.running:
                say(f"{instance.id}: switched off")
                self.machines.stop(container.name)
            elif instance.state == RUNNING and not container.running:
                say(f"{instance.id}: switched on")
                self._start(instance, container.name)
            elif instance.state == RUNNING and booted != instance.boots:
                say(f"{instance.id}: booted again")
                self.machines.stop(container.name)
                self._start(instance, container.name)
            self._boots[instance.id] = instance.boots

    def _start(self, instance: Instance, container: str) -> None:
        self._taken.pop(instance.id, None)
        self.machines.start(container)

    def _create(self, instance: Instance, resolver: str) -> None:
        began = time.monotonic()
        # A volume without a machine is one of a creation that was killed.
        self.host.remove([], [name for name, thing in self.host.volumes().items() if thing == instance.id])
        self.machines.create(instance, self.cloud.user_data(instance.id), resolver)
        say(f"{instance.id}: runs at {instance.address}, made in {time.monotonic() - began:.1f} s")

    def _keep_targets(self, picture: Picture) -> None:
        addresses = {instance.id: instance.address for instance in picture.instances}
        self.checker.watch(
            {
                (group.id, target.instance): (addresses[target.instance], group.check)
                for group in picture.groups.values()
                for target in group.targets
                if target.instance in addresses and not target.draining
            }
        )
        health = {
            group.id: {t.instance: self._health(group, t.instance, t.draining) for t in group.targets} for group in picture.groups.values()
        }
        for balancer in picture.balancers:
            servers = {}
            for number in set(balancer.listeners.values()) & set(picture.groups):
                group = picture.groups[number]
                itself = not (self.strict or group.keeps_client)
                for target in group.targets:
                    if target.instance in addresses:
                        state = _state(group, health[number], target.instance)
                        servers[pool(number), target.instance] = Server(addresses[target.instance], target.port, state, itself)
            self.balancers.serve(balancer.name, servers)
        self._keep_taken(picture)
        if health != self._reported:
            for number, targets in health.items():
                for instance, now in targets.items():
                    if self._reported.get(number, {}).get(instance) != now:
                        say(f"{instance}: {now.state}")
            self.cloud.report(health)
            self._reported = health

    def _keep_taken(self, picture: Picture) -> None:
        """Have the targets of a balancer take its addresses for their own, where that is how the cloud hands on its packets."""
        wanted: dict[str, set[str]] = {}
        for balancer in picture.balancers:
            for number in set(balancer.listeners.values()) & set(picture.groups):
                for target in picture.groups[number].targets:
                    if balancer.taken and not target.draining:
                        wanted.setdefault(target.instance, set()).update(balancer.taken)
        running = {instance.id: tuple(sorted(wanted.get(instance.id, ()))) for instance in picture.instances if instance.state == RUNNING}
        changed = {instance: addresses for instance, addresses in running.items() if self._taken.get(instance, ()) != addresses}
        there = self.host.containers(MACHINE) if changed else {}
        for instance, addresses in changed.items():
            if instance in there and there[instance].running:
                self.machines.take(there[instance].name, addresses)
                self._taken[instance] = addresses

    def _health(self, group: Group, instance: str, draining: bool) -> Health:
        if draining:
            return Health(DRAINING, "Target.DeregistrationInProgress", "Target deregistration is in progress")
        return self.checker.health(group.id, instance)

    def sweep(self) -> None:
        """Remove everything of this backing from this host, whoever made it and however that ended."""
        containers = [found.name for kind in (BALANCER, MACHINE, RESOLVER) for found in self.host.containers(kind).values()]
        self.host.remove(containers, list(self.host.volumes()))
        self.network.remove()


def _names(picture: Picture) -> dict[str, tuple[str, ...]]:
    machines = {instance.hostname: (instance.address,) for instance in picture.instances}
    named = [balancer for balancer in picture.balancers if balancer.host not in balancer.addresses]
    return {**machines, **{balancer.host: balancer.addresses for balancer in named}, **picture.names}


def _state(group: Group, health: dict[str, Health], instance: str) -> str:
    """Return what a balancer does with a target: the healthy ones get connections, or in some clouds all of them where none is."""
    now = health[instance].state
    if now == DRAINING:
        return DRAIN
    if now == HEALTHY or (group.fails_open and HEALTHY not in {other.state for other in health.values()}):
        return READY
    return DRAIN if group.keeps_open else CLOSED


def say(text: str) -> None:
    for line in text.splitlines():
        print(f"{time.strftime('%H:%M:%S')} {line}", flush=True, file=sys.stdout)
