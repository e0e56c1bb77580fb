# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`azure_machines` against the Resource Manager of the tests: calls, growth, pace, and `azure_rm_virtualmachine` on the same task.

azure.azcollection's modules know Azure's own addresses only, so the endpoint is their proxy, and ours. A machine's interface is made by the
module that makes the machine; ours also puts it behind a network security group, which theirs can not without one for each machine.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from late import Server

ROOT = Path(__file__).resolve().parents[2]
LOCATION = "westeurope"
ZONES = tuple(f"{LOCATION}-{number}" for number in (1, 2, 3))
SIZE, IMAGE = "Standard_D2s_v5", "Debian:debian-13:13-gen2:latest"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs bench"
DISK = 40

# The endpoint keeps no indexes: a thousand machines would measure it.
FEW, MANY, PAGE = 10, 200, 200
FLEET, LATENCY, OPERATION = 20, 100, 5
MEMORY = 400.0
CREATE, READS = "compute:virtual_machines.begin_create_or_update", ("compute:virtual_machines.list", "network:network_interfaces.list")


def definition(count: int, zones: int) -> dict[str, Any]:
    """Return the part of a merged definition that the modules read: one pool."""
    pool = {"name": "general", "count": count, "machine": {"size": SIZE, "disk_gib": DISK}, "zones": list(ZONES[:zones])}
    return {
        "name": "bench",
        "foundation": "bench",
        "cloud": "azure",
        "control_plane": {"count": 0, "machine": {"size": SIZE}, "zones": list(ZONES[:zones])},
        "pools": [pool],
        "image": {"id": IMAGE},
        "network": {"plugin": "flannel"},
        "api_endpoint": {"provider": "cloud", "port": 6443, "visibility": "private", "allowed_cidrs": []},
        "access": {"ssh_user": "ops", "ssh_public_keys": [KEY]},
        "azure": {"location": LOCATION, "vnet_cidr": "10.20.0.0/16", "outbound": "nat_gateway"},
    }


def measure(folder: Path) -> list[Any]:
    """Return the figures; ``folder`` keeps the server's log and the output of the playbooks."""
    import late

    with late.started("azure_endpoint.py", folder) as there:
        return [*growth(there), *pace(there), *comparison(there, folder)]


def environment(there: Server) -> dict[str, str]:
    from clouds.azure import offers

    return {**there.environment, **offers.LOGIN}


def child(there: Server, count: int, zones: int) -> dict[str, Any]:
    """Make machines and keep them, in a process of its own."""
    command = [sys.executable, __file__, str(count), str(zones)]
    variables = {**os.environ, **environment(there)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))


def growth(there: Server) -> list[Any]:
    from report import Figure

    runs = {}
    for count, zones in ((FEW, 1), (MANY, 1), (FEW, 3)):
        there.reset(0, 1)
        runs[count, zones] = child(there, count, zones)
    figures = []
    for (count, zones), run in runs.items():
        made, kept = run["create"], run["no-op"]
        name = f"azure-calls-create-{count}{'-in-3-zones' if zones > 1 else ''}"
        reference = f"12 + 3n; and {made['waiting']} while waiting"
        figures.append(Figure(name, made["calls"], 12 + 3 * count, reference=reference, details=run))
        pages = 2 * -(-count // PAGE)
        figures.append(Figure(name.replace("create", "no-op"), kept["calls"], 8 + pages, reference=f"8 + {pages} pages", details=run))
    memory = runs[MANY, 1]["memory"]
    figures.append(Figure(f"azure-memory-{MANY}", memory, MEMORY, unit="MB", reference="highest resident set, Python and SDK included"))
    return figures


def pace(there: Server) -> list[Any]:
    from report import Figure

    figures = []
    for zones in (1, 3):
        there.reset(LATENCY, OPERATION)
        run = child(there, FLEET, zones)
        limit = 2 * OPERATION + 0.05 * FLEET
        reference = f"2 x {OPERATION} s, which an operation takes, and 50 ms per machine; {LATENCY} ms per call"
        name = f"azure-time-create-{FLEET}{'-in-3-zones' if zones > 1 else ''}"
        figures.append(Figure(name, run["create"]["seconds"], limit, unit="s", reference=reference, details=run))
    return figures


def comparison(there: Server, folder: Path) -> list[Any]:
    import peers
    import rival

    group, network = "flotilla-bench", "bench-vnet"
    publisher, offer, sku, version = IMAGE.split(":")
    machine = {
        "resource_group": group,
        "name": "bench-{{ item }}",
        "location": LOCATION,
        "zones": [ZONES[0].rpartition("-")[2]],
        "vm_size": SIZE,
        "image": {"publisher": publisher, "offer": offer, "sku": sku, "version": version},
        "managed_disk_type": "Premium_LRS",
        "os_disk_size_gb": DISK,
        "virtual_network_name": network,
        "subnet_name": "nodes",
        "public_ip_allocation_method": "Disabled",
        "created_nsg": False,
        "security_profile": {"security_type": "TrustedLaunch", "uefi_settings": {"secure_boot_enabled": True, "v_tpm_enabled": True}},
        "admin_username": "ops",
        "ssh_password_enabled": False,
        "ssh_public_keys": [{"path": "/home/ops/.ssh/authorized_keys", "key_data": KEY}],
        "tags": {"fleet": "bench"},
    }

    def empty() -> None:
        there.reset(LATENCY, OPERATION)
        child(there, 0, 1)

    ground = rival.Ground(empty, lambda: described(there), lambda: sum(there.counted().values()), environment(there))
    ours = rival.Task("flotilla.kubernetes.azure_machines", {"cluster": definition(FLEET, 1), "wait_for": "running"})
    theirs = rival.Task("azure.azcollection.azure_rm_virtualmachine", machine, str(peers.azcollection() / "bin/python"))
    return rival.compare("azure", ours, theirs, FLEET, folder, ground)


def described(there: Server) -> list[dict[str, Any]]:
    """Return what machines there are, by what they are and not by who made them."""
    from clouds.azure import inventory

    things, _documents = inventory.read(there.url)
    interfaces = {thing.id: thing.attributes for thing in things if thing.kind == "networkInterfaces"}
    machines = []
    for thing in things:
        if thing.kind == "virtualMachines":
            about = thing.attributes
            _number, _deletion, *disk = about["disk"]
            own = [interfaces[number] for number, _deletion in about["interfaces"]]
            machines.append(
                {
                    **{key: about[key] for key in ("state", "power", "size", "image", "machine_zone", "security", "priority", "identity")},
                    "disk": disk,
                    "subnets": [interface["subnets"] for interface in own],
                    "public": [interface["public"] for interface in own],
                    "marked": bool(thing.tags),
                }
            )
    return machines


def grow(count: int, zones: int) -> dict[str, Any]:
    """Make the network, and so many machines in it, which are then kept."""
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.azure import machines, network
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.azure.session import Session

    class Logged(Session):
        def __init__(self) -> None:
            super().__init__(os.environ["AZURE_SUBSCRIPTION_ID"])
            self.log: list[str] = []

        def call(self, service: str, operation: str, *names: str, **parameters: Any) -> dict[str, Any]:
            self.log.append(f"{service}:{operation}")
            return super().call(service, operation, *names, **parameters)

    wanted = definition(count, zones)
    network.present(Logged(), wanted)
    found: dict[str, Any] = {}
    if not count:
        return found
    for what in ("create", "no-op"):
        started = time.monotonic()
        session = Logged()
        result = machines.present(session, wanted, wait_timeout=600, wait_for="running")
        seconds = time.monotonic() - started
        if len(result.value["machines"]) != count or result.changed != (what == "create"):
            raise RuntimeError(f"{len(result.value['machines'])} machines, changed={result.changed}")
        log = session.log
        last = max((number for number, call in enumerate(log) if call == CREATE), default=len(log))
        waiting = sum(call in READS for call in log[last:])
        found[what] = {"calls": len(log) - waiting, "waiting": waiting, "seconds": seconds, "log": log}
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "collection"))
    print(json.dumps(grow(*map(int, sys.argv[1:]))))
