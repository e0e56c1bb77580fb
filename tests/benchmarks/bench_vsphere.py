# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`vsphere_machines` on govmomi's simulator: calls among many machines of others, and `community.vmware.vmware_guest` on the same task."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clouds.vsphere.account import VsphereEndpoint

ROOT = Path(__file__).resolve().parents[2]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs bench"
CPUS, MEMORY = 2, 4  # GiB
FEW, FLEET = 10, 20
CLONE = 2000  # milliseconds that a clone takes
CALLS, NO_OP_RATIO = 10, 1 / 20


def definition(count: int) -> dict[str, Any]:
    """Return the part of a merged definition that the modules read: one pool."""
    from clouds.vsphere.account import COMPUTE, DATACENTER, IMAGES, NETWORK

    machine = {"cpus": CPUS, "memory_gib": MEMORY}
    pool = {"name": "general", "count": count, "machine": machine, "zones": [COMPUTE]}
    return {
        "name": "bench",
        "foundation": "bench",
        "cloud": "vsphere",
        "control_plane": {"count": 0, "machine": machine, "zones": [COMPUTE]},
        "pools": [pool],
        "image": {"id": IMAGES[0]},
        "network": {"plugin": "flannel"},
        "api_endpoint": {"provider": "kube_vip", "address": "10.20.0.5", "port": 6443},
        "access": {"ssh_user": "ops", "ssh_public_keys": [KEY]},
        "vsphere": {"datacenter": DATACENTER, "cluster": COMPUTE, "network": NETWORK},
    }


def measure(folder: Path) -> list[Any]:
    """Return the figures; ``folder`` keeps the simulator's log and the output of the playbooks."""
    sys.path.insert(0, str(ROOT / "collection"))
    return [*growth(folder), *comparison(folder)]


@contextlib.contextmanager
def endpoint(folder: Path, foreign: int) -> Iterator[tuple[VsphereEndpoint, str]]:
    """Run a vCenter with so many machines of others, and two templates."""
    from clouds.clock import Clock
    from clouds.vsphere.account import VsphereEndpoint

    made = VsphereEndpoint(machines=foreign // 2)
    with made.endpoint(Clock.create(folder / "clock", 1), folder) as url:
        made.prepare(url)
        yield made, url


def environment(there: VsphereEndpoint, url: str) -> dict[str, str]:
    return {**there.environment(url), "NO_PROXY": "127.0.0.1"}


def growth(folder: Path) -> list[Any]:
    from report import Figure

    figures, seconds = [], {}
    for foreign in (10, 1000):
        with endpoint(folder, foreign) as (there, url):
            command = [sys.executable, __file__, str(FEW)]
            variables = {**os.environ, **environment(there, url)}
            done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
        run = json.loads(done.stdout)
        seconds[foreign] = run["no-op"]["seconds"]
        kept = sum(run["no-op"]["calls"].values())
        reference = f"{FEW} machines among {foreign} of others: {seconds[foreign]:.2f} s"
        figures.append(Figure(f"vsphere-calls-no-op-among-{foreign}", kept, CALLS, reference=reference, details=run))
    return figures


def comparison(folder: Path) -> list[Any]:
    import peers
    import rival
    from clouds.vsphere.account import COMPUTE, DATACENTER, IMAGES, NETWORK
    from report import Figure

    machine = {
        "name": "bench-{{ item }}",
        "template": IMAGES[0],
        "datacenter": DATACENTER,
        "cluster": COMPUTE,
        "folder": f"/{DATACENTER}/vm",
        "hardware": {"num_cpus": CPUS, "memory_mb": MEMORY * 1024},
        "networks": [{"name": NETWORK}],
        "advanced_settings": [{"key": "guestinfo.fleet", "value": "bench"}],
        "state": "poweredon",
    }
    with endpoint(folder, 10) as (there, url):
        others: set[str] = set()

        def found() -> list[Any]:
            return [thing for thing in there.dump(url) if thing.kind == "machine"]

        def empty() -> None:
            there.prepare(url)
            assert there.simulator
            there.simulator.put("delay", {"CloneVm": CLONE})
            others.clear()
            others.update(thing.id for thing in found())

        def described() -> list[dict[str, Any]]:
            keys = ("template", "cpus", "memory", "state", "disks", "folder", "pool")
            return [{key: thing.attributes[key] for key in keys} for thing in found() if thing.id not in others]

        ground = rival.Ground(empty, described, lambda: 0, environment(there, url))
        ours = rival.Task("flotilla.kubernetes.vsphere_machines", {"cluster": definition(FLEET), "wait_for": "running"})
        theirs = rival.Task("community.vmware.vmware_guest", machine)
        figures = rival.compare("vsphere", ours, theirs, FLEET, folder, ground)
        empty()
        for name in ("create", "no-op"):
            started = time.monotonic()
            counted = peers.play(folder / f"{name}.yml", [{ours.module: ours.options}], ground.environment, ours.python)
            took = time.monotonic() - started
        if counted["changed"]:
            raise RuntimeError("the second run changed something")
    loop = figures[0].details["seconds"]["loop"]
    reference = f"{took:.1f} s to {loop:.1f} s of vmware_guest, loop, over {FLEET}"
    return [*figures, Figure("vsphere-no-op-to-loop", took / loop, NO_OP_RATIO, reference=reference)]


def grow(count: int) -> dict[str, Any]:
    """Make so many machines, which are then kept."""
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.vsphere import machines
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.vsphere.session import Session

    found: dict[str, Any] = {}
    for what in ("create", "no-op"):
        session = Session("127.0.0.1")
        started = time.monotonic()
        result = machines.present(session, definition(count), wait_timeout=600, wait_for="running")
        found[what] = {"seconds": time.monotonic() - started, "calls": dict(session.calls)}
        if len(result.value["machines"]) != count or result.changed != (what == "create"):
            raise RuntimeError(f"{len(result.value['machines'])} machines, changed={result.changed}")
    return found


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "collection"), str(ROOT / "tests/support")]
    print(json.dumps(grow(int(sys.argv[1]))))
