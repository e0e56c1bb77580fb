# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters in vSphere with networks in NSX, by the role and the playbooks: a vCenter and a manager that know of each other."""

from __future__ import annotations

import contextlib
import os
import sys
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import outside
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.nsx import session as sessions
from clouds import tls, wire
from clouds.clock import Clock
from clouds.faults import Answer, Request
from clouds.nsx import site
from clouds.nsx.compute import ComputeManager
from clouds.nsx.manager import PASSWORD, USER, Manager
from clouds.vsphere.account import COMPUTE, DATACENTER, IMAGES, VsphereEndpoint
from clouds.vsphere.dialect import VsphereDialect
from pyVmomi import vim, vmodl

HOST_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs"
# What a machine would say of itself, as nobody answers at its address here.
SCAN = f'#!/bin/sh\nfor address; do :; done\necho "$address ssh-ed25519 {HOST_KEY}"\n'
ROLE = """\
- hosts: "{{ lookup('flotilla.kubernetes.targets', 'cluster', limit='refuse') }}"
  connection: local
  gather_facts: false
  vars:
    # As the collection's own playbooks have it.
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - ansible.builtin.include_role:
        name: flotilla.kubernetes.infrastructure
        tasks_from: preflight
    - ansible.builtin.include_role:
        name: flotilla.kubernetes.infrastructure
    - ansible.builtin.debug:
        msg: "the API is at {{ flotilla_api_endpoint.host }}"
"""
# As a run does before it takes a control plane away.
DRAIN = """\
- hosts: "{{ lookup('flotilla.kubernetes.targets', 'cluster', limit='refuse') }}"
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - ansible.builtin.include_role:
        name: flotilla.kubernetes.infrastructure
        tasks_from: observe
    - ansible.builtin.debug:
        msg: "observed {{ flotilla_machines | length }} machines, the API is at {{ flotilla_api_endpoint.host }}"
    - ansible.builtin.include_role:
        name: flotilla.kubernetes.infrastructure
        tasks_from: load_balancer
      vars:
        infrastructure_drained: "{{ flotilla_machines | selectattr('role', 'eq', 'control_plane') | map(attribute='id') }}"
"""
MACHINE = {"cpus": 2, "memory_gib": 4}
TENANTS = {"payments": "a", "ledger": "b"}
LIMIT = 600


@dataclass
class World:
    """Two endpoints, a foundation with a network profile for each tenant, and what was asked of the endpoints."""

    manager: Manager
    compute: ComputeManager
    endpoint: VsphereEndpoint
    folder: Path
    vcenter: list[str] = field(default_factory=list)

    def profile(self, tenant: str, **changes: Any) -> None:
        nsx = {
            "tier0": f"tenant-{tenant}",
            "ip_block": f"nodes-{tenant}",
            "segments": {"control_plane": {"size": 16}, "worker": {"size": 64}},
            "floating_ip_pool": f"floating-{tenant}",
            "dns_servers": ["10.1.1.53"],
            "tags": {"team": "platform"},
            **changes,
        }
        head = {"plugin": "flotilla.kubernetes.cluster", "schema": 1, "kind": "network_profile"}
        path = self.folder / f"network_profiles/tenant-{tenant}.yml"
        path.write_text(yaml.safe_dump({**head, "api_endpoint": {"allowed_cidrs": ["10.8.0.0/16"]}, "nsx": nsx}), encoding="utf-8")

    def cluster(self, name: str, **changes: Any) -> Path:
        path = self.folder / f"clusters/{name}.yml"
        definition = {
            "plugin": "flotilla.kubernetes.cluster",
            "schema": 1,
            "name": name,
            "cloud": "vsphere",
            "kubernetes_version": "1.36.3",
            "control_plane": {"count": 1, "machine": MACHINE},
            "pools": [{"name": "general", "count": 1, "machine": MACHINE}],
            "image": {"id": IMAGES[0]},
            "network": {"profile": f"tenant-{TENANTS[name]}"},
            "access": {"ssh_user": "ops", "ssh_public_keys": [f"ssh-ed25519 {HOST_KEY} ops"], "allowed_cidrs": ["10.9.0.0/24"]},
            "vsphere": {"datacenter": DATACENTER, "cluster": COMPUTE},
        }
        path.write_text(yaml.safe_dump({**definition, **changes}), encoding="utf-8")
        return path

    def _run(self, arguments: list[str]) -> tuple[outside.Run, list[str]]:
        """Run something and return how it ended, and the calls that may have changed something at one of the endpoints."""
        self.manager.log.clear()
        self.vcenter.clear()
        done = outside.command(
            "ansible-playbook",
            *arguments,
            environment={"ANSIBLE_TIMEOUT": "2", "FLOTILLA_CACHE": str(self.folder / "cache")},
            timeout=LIMIT,
        )
        return done, [*self.manager.changes(), *self.vcenter]

    def role(self, name: str, *options: str, text: str = ROLE) -> tuple[outside.Run, list[str]]:
        play = self.folder / "role.yml"
        play.write_text(text, encoding="utf-8")
        return self._run(["-i", str(self.folder / f"clusters/{name}.yml"), str(play), *options])

    def playbook(self, playbook: str, name: str, *options: str) -> tuple[outside.Run, list[str]]:
        return self._run(["-i", str(self.folder / f"clusters/{name}.yml"), f"flotilla.kubernetes.{playbook}", *options])

    def nsx(self, name: str) -> dict[str, Any]:
        """Return what NSX has of a cluster, by its path, whatever its tags are."""
        return {path: thing for path, thing in self.manager.dump().items() if f"flotilla-{name}" in path}

    def vsphere(self, name: str) -> list[str]:
        """Return what the vCenter has of a cluster."""
        client = self.endpoint.client
        found = [rule.name for rule in client.named(vim.ClusterComputeResource, COMPUTE).configurationEx.rule or ()]
        for kind in (vim.VirtualMachine, vim.dvs.DistributedVirtualPortgroup):
            for one in client.all(kind):
                # The simulator goes on listing what is gone.
                with contextlib.suppress(vmodl.fault.ManagedObjectNotFound):
                    found.append(one.name)
        return sorted(part for part in found if part.startswith((f"{name}-", f"flotilla.{name}.", f"flotilla-{name}-")))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = Clock.create(tmp_path / "clock", 1)
    manager = site.create(clock)
    manager.lag = manager.index_lag = 0.1
    endpoint, dialect = VsphereEndpoint(), VsphereDialect()
    folder = tmp_path / "foundation"
    for name in ("clusters", "network_profiles", "bin"):
        (folder / name).mkdir(parents=True)
    scan = folder / "bin/ssh-keyscan"
    scan.write_text(SCAN, encoding="utf-8")
    scan.chmod(0o755)
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(endpoint.endpoint(clock, tmp_path))
        assert isinstance(url, str)
        endpoint.prepare(url)
        compute = ComputeManager(manager, lambda: endpoint.client)
        made = World(manager, compute, endpoint, folder)
        hand_on = wire.forward(url)

        def vcenter(request: Request) -> Answer | None:
            call = dialect.call(request)
            if call.mutates:
                made.vcenter.append(call.action)
            return hand_on(request)

        wires = wire.Wire()
        stack.enter_context(wires.installed())
        (tmp_path / "nsx").mkdir()
        authority, own = tls.make_certificates(tmp_path / "nsx")
        front = tls.Front(own)
        stack.callback(front.close)
        front.to = urllib.parse.urlsplit(wires.publish(compute)).port or 0
        variables = {
            **endpoint.environment(wires.publish(vcenter)),
            sessions.MANAGER: front.url.removeprefix("https://"),
            sessions.USER: USER,
            sessions.PASSWORD: PASSWORD,
            sessions.AUTHORITY: str(authority),
            "NO_PROXY": "127.0.0.1",
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }
        stack.enter_context(mock.patch.dict(os.environ, variables))
        yield made


@pytest.mark.slow
def test_two_clusters_at_two_tier0s_live_and_one_dies(world: World) -> None:
    """Predicted, made, left alone, changed and removed; the other tenant's cluster stays as it is."""
    for name, tenant in TENANTS.items():
        world.profile(tenant)
        world.cluster(name)
    empty = world.manager.dump()

    done, changes = world.playbook("cluster_plan", "payments", "--check")
    assert done.status == 0 and changes == [], done.output
    rows = [line.split() for line in done.output.splitlines() if line.startswith(("CLOUD ", "MACHINES "))]
    assert [row[1] for row in rows] == ["network", "API", "a", "a"], done.output
    assert world.vsphere("payments") == [] and world.manager.dump() == empty

    for name, tenant in TENANTS.items():
        done, changes = world.role(name)
        assert done.status == 0, done.output
        # What counts them counts: this is the positive control of the runs further down that may change nothing.
        assert any(line.startswith("PATCH /infra/tier-1s/") for line in changes) and "CloneVM_Task" in changes
        things, machines = world.nsx(name), world.vsphere(name)
        assert things[f"/infra/tier-1s/flotilla-{name}"]["tier0_path"] == f"/infra/tier-0s/tenant-{tenant}"
        # The address is there before a machine is.
        calls = [line for line in world.manager.log if "lb-virtual-servers" in line and not line.startswith("GET")]
        assert calls and len([one for one in machines if one.startswith(f"{name}-")]) == 2
        on = {path.rsplit("-", 1)[-1]: names for path, names in world.compute.machines().items() if f"-{name}-" in path}
        assert [one.startswith(f"{name}-control-plane-") for one in on["plane"]] == [True]
        assert [one.startswith(f"{name}-general-") for one in on["worker"]] == [True]
        (member,) = things[f"/infra/lb-pools/flotilla-{name}-api"]["members"]
        assert member["admin_state"] == "ENABLED"
        server = things[f"/infra/lb-virtual-servers/flotilla-{name}-api"]
        assert f"the API is at {server['ip_address']}" in done.output
    other = world.nsx("ledger"), world.vsphere("ledger")

    done, changes = world.role("payments")
    assert done.status == 0 and done.changed == 0 and changes == [], f"{changes} {done.output}"

    pool, server = (f"/infra/lb-{kind}/flotilla-payments-api" for kind in ("pools", "virtual-servers"))
    done, changes = world.role("payments", text=DRAIN)
    assert done.status == 0 and set(changes) == {f"PUT {pool}"}, f"{changes} {done.output}"
    assert f"observed 2 machines, the API is at {world.nsx('payments')[server]['ip_address']}" in done.output
    assert [one["admin_state"] for one in world.nsx("payments")[pool]["members"]] == ["GRACEFUL_DISABLED"]

    world.profile("a", dns_servers=["10.1.1.54"], load_balancer_size="MEDIUM")
    predicted, changes = world.role("payments", "--check")
    assert predicted.status == 0 and predicted.changed >= 2 and changes == [], predicted.output
    before = world.vsphere("payments")
    done, changes = world.role("payments")
    assert done.status == 0 and done.changed >= 2, done.output
    things = world.nsx("payments")
    assert things["/infra/lb-services/flotilla-payments"]["size"] == "MEDIUM"
    for role in ("control-plane", "worker"):
        subnet = things[f"/infra/segments/flotilla-payments-{role}"]["subnets"][0]
        assert subnet["dhcp_config"]["dns_servers"] == ["10.1.1.54"]
    # The same machines, and members, in the same places.
    assert world.vsphere("payments") == before and not any(line.startswith(("Clone", "Destroy")) for line in changes)
    # Whoever was drained serves again.
    assert [one["admin_state"] for one in things[pool]["members"]] == ["ENABLED"]

    # What can not change is refused before anything is.
    world.profile("a", tier0="tenant-b")
    done, changes = world.role("payments")
    assert done.status != 0 and "NSX_FIXED" in done.output and changes == [], done.output
    world.profile("a")

    there = world.nsx("payments"), world.vsphere("payments")
    predicted, changes = world.playbook("cluster_delete", "payments", "-e", "flotilla_confirm=payments", "--check")
    assert predicted.status == 0 and predicted.changed >= 3 and changes == [], f"{changes} {predicted.output}"
    assert (world.nsx("payments"), world.vsphere("payments")) == there
    done, _changes = world.playbook("cluster_delete", "payments", "-e", "flotilla_confirm=payments")
    assert done.status == 0, done.output
    assert (world.nsx("payments"), world.vsphere("payments")) == ({}, [])
    done, changes = world.playbook("cluster_delete", "payments", "-e", "flotilla_confirm=payments")
    assert done.status == 0 and done.changed == 0 and changes == [], f"{changes} {done.output}"
    assert (world.nsx("ledger"), world.vsphere("ledger")) == other
    assert {path: thing for path, thing in world.manager.dump().items() if path in empty} == empty
