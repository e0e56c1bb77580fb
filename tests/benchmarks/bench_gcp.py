# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`gcp_machines` against the Compute Engine of the tests: calls, growth, pace, and `google.cloud.gcp_compute_instance` on the same task.

google.cloud's modules know Google's own address only, so the endpoint is their proxy.
"""

from __future__ import annotations

import json
import math
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
PROJECT, REGION = "contract", "us-central1"
ZONES = (f"{REGION}-a", f"{REGION}-b", f"{REGION}-c")
SIZE, IMAGE = "e2-standard-2", "projects/debian-cloud/global/images/debian-13-trixie-v20261015"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs bench"
TOKEN, DISK = "fake-token-bench", 20

FEW, MANY, PAGE = 10, 1000, 500
FLEET, LATENCY, OPERATION = 20, 100, 5
MEMORY = 400.0
WAITS = ("zone_operations.wait",)


def allowed(count: int) -> float:
    """Return how many calls a create of machines in one pool may take besides waiting on Google."""
    return 6 + count / 20


def definition(count: int, zones: int) -> dict[str, Any]:
    """Return the part of a merged definition that the modules read: one pool."""
    pool = {"name": "general", "count": count, "machine": {"size": SIZE, "disk_gib": DISK}, "zones": list(ZONES[:zones])}
    return {
        "name": "bench",
        "foundation": "bench",
        "cloud": "gcp",
        "control_plane": {"count": 0, "machine": {"size": SIZE}, "zones": list(ZONES[:zones])},
        "pools": [pool],
        "image": {"id": IMAGE},
        "network": {"plugin": "flannel"},
        "api_endpoint": {"provider": "cloud", "port": 6443, "visibility": "private", "allowed_cidrs": []},
        "access": {"ssh_user": "ops", "ssh_public_keys": [KEY]},
        "gcp": {"project": PROJECT, "region": REGION, "subnet_cidr": "10.20.0.0/20"},
    }


def measure(folder: Path) -> list[Any]:
    """Return the figures; ``folder`` keeps the server's log and the output of the playbooks."""
    import late

    with late.started("gcp_endpoint.py", folder) as there:
        return [*growth(there), *pace(there), *comparison(there, folder)]


def child(there: Server, count: int, zones: int) -> dict[str, Any]:
    """Make machines and keep them, in a process of its own."""
    variables = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{there.url}/compute/v1/", "no_proxy": "127.0.0.1"}
    command = [sys.executable, __file__, str(count), str(zones)]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))


def growth(there: Server) -> list[Any]:
    from report import Figure

    runs = {}
    for count, zones in ((FEW, 1), (MANY, 1), (FEW, 3), (MANY, 3)):
        there.reset(0, 1)
        runs[count, zones] = child(there, count, zones)
    figures = []
    for (count, zones), run in runs.items():
        made, kept = run["create"], run["no-op"]
        name = f"gcp-calls-create-{count}{'-in-3-zones' if zones > 1 else ''}"
        figures.append(Figure(name, made["calls"], allowed(count), reference=f"6 + n/20; and {made['waiting']} while waiting", details=run))
        pages = math.ceil(count / PAGE)
        figures.append(Figure(name.replace("create", "no-op"), kept["calls"], 8 + pages, reference=f"8 + {pages} pages", details=run))
    memory = runs[MANY, 1]["memory"]
    figures.append(Figure(f"gcp-memory-{MANY}", memory, MEMORY, unit="MB", reference="highest resident set, Python and SDK included"))
    return figures


def pace(there: Server) -> list[Any]:
    from report import Figure

    figures = []
    for zones in (1, 3):
        there.reset(LATENCY, OPERATION)
        run = child(there, FLEET, zones)
        limit = 2 * OPERATION + 0.05 * FLEET
        reference = f"2 x {OPERATION} s, which an operation takes, and 50 ms per machine; {LATENCY} ms per call"
        name = f"gcp-time-create-{FLEET}{'-in-3-zones' if zones > 1 else ''}"
        figures.append(Figure(name, run["create"]["seconds"], limit, unit="s", reference=reference, details=run))
    return figures


def comparison(there: Server, folder: Path) -> list[Any]:
    import rival
    from clouds.gcp.account import UNIVERSE, write_account

    instance = {
        "name": "bench-{{ item }}",
        "machine_type": SIZE,
        "zone": ZONES[0],
        "project": PROJECT,
        "auth_kind": "accesstoken",
        "access_token": TOKEN,
        "disks": [
            {
                "auto_delete": True,
                "boot": True,
                "initialize_params": {"source_image": IMAGE, "disk_size_gb": DISK, "disk_type": "pd-balanced"},
            }
        ],
        "network_interfaces": [{"subnetwork": {"selfLink": f"projects/{PROJECT}/regions/{REGION}/subnetworks/bench"}}],
        "shielded_instance_config": {"enable_secure_boot": True, "enable_vtpm": True, "enable_integrity_monitoring": True},
        "metadata": {"ssh-keys": f"ops:{KEY}"},
        "tags": {"items": ["bench-worker"]},
        "labels": {"fleet": "bench"},
    }

    def empty() -> None:
        there.reset(LATENCY, OPERATION)
        child(there, 0, 1)

    key = folder / "key.json"
    write_account(key, there.url)
    environment = {
        **there.environment,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{there.url}/compute/v1/",
        "GOOGLE_APPLICATION_CREDENTIALS": str(key),
        "GOOGLE_CLOUD_UNIVERSE_DOMAIN": UNIVERSE,
    }
    ground = rival.Ground(empty, lambda: described(there), lambda: sum(there.counted().values()), environment)
    ours = rival.Task("flotilla.kubernetes.gcp_machines", {"cluster": definition(FLEET, 1), "wait_for": "running"})
    theirs = rival.Task("google.cloud.gcp_compute_instance", instance)
    return rival.compare("gcp", ours, theirs, FLEET, folder, ground)


def described(there: Server) -> list[dict[str, Any]]:
    """Return what machines there are, by what they are and not by who made them."""
    from clouds.gcp.rules import collection_of, key_of, short

    things = there.ask("/_endpoint/inventory")
    machines = []
    for machine in (body for key, body in things.items() if collection_of(key) == "instances"):
        disks = [things[key_of(disk["source"], PROJECT)] for disk in machine["disks"]]
        machines.append(
            {
                "status": machine["status"],
                "zone": short(machine["zone"]),
                "size": short(machine["machineType"]),
                "disks": [[disk["sizeGb"], short(disk["type"]), short(disk["sourceImage"])] for disk in disks],
                "kept": [disk for disk in machine["disks"] if not disk.get("autoDelete")],
                "subnetworks": [short(interface["subnetwork"]) for interface in machine["networkInterfaces"]],
                "public": [interface["accessConfigs"] for interface in machine["networkInterfaces"] if interface.get("accessConfigs")],
                "shielded": sorted(key for key, value in (machine.get("shieldedInstanceConfig") or {}).items() if value),
                "tags": machine["tags"]["items"],
                "marked": bool(machine.get("labels")),
                "login": "ssh-keys" in {item["key"] for item in machine["metadata"]["items"]},
            }
        )
    return machines


def grow(count: int, zones: int) -> dict[str, Any]:
    """Make the network, and so many machines in it, which are then kept."""
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.gcp import machines, network
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.gcp.session import Session
    from google.oauth2.credentials import Credentials

    class Logged(Session):
        def __init__(self) -> None:
            super().__init__(PROJECT, REGION, credentials=Credentials(TOKEN))
            self.log: list[str] = []

        def call(self, service: str, method: str, body: Any = None, **parameters: Any) -> dict[str, Any]:
            self.log.append(f"{service}.{method}")
            return super().call(service, method, body, **parameters)

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
        last = max((number for number, call in enumerate(log) if call == "instances.bulk_insert"), default=len(log))
        waiting = sum(call in WAITS for call in log) + log[last:].count("instances.aggregated_list")
        found[what] = {"calls": len(log) - waiting, "waiting": waiting, "seconds": seconds, "log": log}
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "collection"))
    print(json.dumps(grow(*map(int, sys.argv[1:]))))
