# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU time of this process for 1,000 definitions, and for an inventory of 10,000 machines; the cloud's answer is there at once."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import yaml
from report import Figure

COLLECTIONS = Path(__file__).resolve().parents[2] / "collection"

DEFINITIONS, MACHINES = 1000, 10_000
# Of the time in which PyYAML's C parser alone reads the same files.
RATIO = 15.0
ROUNDS = 3

DEFINITION = """\
plugin: flotilla.kubernetes.cluster
schema: 1
name: c{number}
cloud: {cloud}
class: production
kubernetes_version: "1.36.3"
control_plane:
  count: 3
  machine: {{size: m7i.large, disk_gib: 100}}
  zones: [eu-west-1a, eu-west-1b, eu-west-1c]
pools:
  - name: general
    count: {count}
    machine: {{size: m7i.xlarge}}
    labels: {{tier: web}}
    taints: [{{key: dedicated, value: web, effect: NoSchedule}}]
network: {{profile: default}}
access: {{ssh_user: ops, ssh_private_key_file: ~/.ssh/ops}}
aws: {{region: eu-west-1}}
"""
CLASS = """\
plugin: flotilla.kubernetes.cluster
schema: 1
kind: cluster_class
pools: [{name: general, labels: {owner: platform}}]
security: {audit: {max_age_days: 90}}
"""
PROFILE = """\
plugin: flotilla.kubernetes.cluster
schema: 1
kind: network_profile
network: {pod_cidrs: [10.128.0.0/10], service_cidrs: [10.96.0.0/16]}
"""


def measure(folder: Path) -> list[Figure]:
    """Return a figure for loading, one for its ratio to plain parsing, and one for the inventory."""
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader([str(COLLECTIONS)])  # before the first import of a collection: it makes all those that follow
    with tempfile.TemporaryDirectory(dir=folder) as name:
        fleet = Path(name) / "fleet"
        write(fleet, DEFINITIONS, count=5)
        single = Path(name) / "single"
        write(single, 1, count=MACHINES - 3)
        return [*loading(fleet), inventory(single / "clusters/c0.yml")]


def write(folder: Path, number: int, count: int) -> None:
    """Write a foundation with clusters, a class and a profile."""
    files = {f"clusters/c{index}.yml": DEFINITION.format(number=index, cloud="aws", count=min(count, 4999)) for index in range(number)}
    if count > 4999:  # a pool has at most 5,000 machines
        more = f"  - {{name: more, count: {count - 4999}, machine: {{size: m7i.xlarge}}}}\nnetwork:"
        files["clusters/c0.yml"] = files["clusters/c0.yml"].replace("network:", more)
    for name, text in {**files, "cluster_classes/production.yml": CLASS, "network_profiles/default.yml": PROFILE}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def loading(folder: Path) -> list[Figure]:
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load

    files = sorted(folder.rglob("*.yml"))
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    definitions, ours = best(lambda: load.load_fleet([folder]))
    if len(definitions) != DEFINITIONS:
        raise RuntimeError(f"{len(definitions)} definitions were loaded, not {DEFINITIONS}")
    _parsed, floor = best(lambda: [yaml.load(path.read_bytes(), Loader=loader) for path in files])
    reference = f"{DEFINITIONS} definitions; PyYAML's {loader.__name__} alone: {floor:.2f} s"
    return [
        Figure("definition-load", ours, 5.0, unit="s", reference=reference),
        Figure("definition-load-ratio", ours / floor, RATIO, reference=reference),
    ]


def inventory(path: Path) -> Figure:
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.model import Machine
    from ansible_collections.flotilla.kubernetes.plugins.plugin_utils import _fleet

    machines = [machine(Machine, index) for index in range(MACHINES)]
    cloud = mock.Mock(observe_machines=mock.Mock(return_value=machines), default_private_key=lambda _definition: "/key")
    with mock.patch.object(_fleet, "provider", lambda _cloud: cloud):
        manager, seconds = best(lambda: InventoryManager(loader=DataLoader(), sources=[str(path)]))
    if len(manager.groups["cluster_c0"].get_hosts()) != MACHINES or cloud.observe_machines.call_count != ROUNDS:
        raise RuntimeError("the inventory has not all machines, or asked the cloud more than once")
    return Figure("inventory-10000-machines", seconds, 20.0, unit="s", reference=f"{MACHINES} machines in one cluster, one read")


def machine(kind: type, index: int) -> object:
    control_plane = index < 3
    return kind(
        id=f"i-{index:017x}",
        name=f"c0-general-{index:08x}",
        cluster="c0",
        pool="control-plane" if control_plane else ("general" if index < 5002 else "more"),
        role="control_plane" if control_plane else "worker",
        zone=f"eu-west-1{'abc'[index % 3]}",
        state="running",
        addresses={"private": f"10.20.{index // 250}.{index % 250 + 4}", "public": None},
        host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI",
        spec_hash="v1-0123456789ab",
        uid="0123456789abcdef",
    )


def best(work: Callable[[], object]) -> tuple[object, float]:
    """Return the last result and the least CPU time of some rounds, in seconds."""
    times = []
    for _round in range(ROUNDS):
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    return result, min(times)
