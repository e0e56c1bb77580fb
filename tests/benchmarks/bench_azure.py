# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`azure_machines` against the Resource Manager of the tests: API calls, growth from 10 to 200 machines, and how long a create takes."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LOCATION = "westeurope"
ZONES = tuple(f"{LOCATION}-{number}" for number in (1, 2, 3))
SIZE, IMAGE = "Standard_D2s_v5", "Debian:debian-13:13-gen2:latest"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs bench"

# The endpoint keeps no indexes: a thousand machines would measure it.
FEW, MANY, PAGE = 10, 200, 200
FLEET, LATENCY, OPERATION = 20, 100, 5
MEMORY = 400.0
CREATE, READS = "compute:virtual_machines.begin_create_or_update", ("compute:virtual_machines.list", "network:network_interfaces.list")


def definition(count: int, zones: int) -> dict[str, Any]:
    """Return the part of a merged definition that the modules read: one pool."""
    pool = {"name": "general", "count": count, "machine": {"size": SIZE, "disk_gib": 40}, "zones": list(ZONES[:zones])}
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
    """Return the figures; ``folder`` keeps the server's log."""
    with endpoint(folder) as there:
        return [*growth(there), *pace(there)]


@contextlib.contextmanager
def endpoint(folder: Path) -> Iterator[dict[str, Any]]:
    ready = folder / "endpoint"
    ready.unlink(missing_ok=True)
    with (folder / "endpoint.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, str(ROOT / "tests/benchmarks/azure_endpoint.py"), str(ready)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the endpoint does not start, see {folder}/endpoint.log")
            time.sleep(0.1)
        yield json.loads(ready.read_text(encoding="utf-8"))
    finally:
        process.terminate()
        process.wait()


def reset(there: dict[str, Any], latency: int, operation: int) -> None:
    request = urllib.request.Request(f"{there['url']}/_bench/{latency}/{operation}", method="POST")
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60).read()


def child(there: dict[str, Any], count: int, zones: int) -> dict[str, Any]:
    """Make machines and keep them, in a process of its own."""
    command = [sys.executable, __file__, there["subscription"], str(count), str(zones)]
    variables = {**os.environ, **there["environment"], "no_proxy": "127.0.0.1"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))


def growth(there: dict[str, Any]) -> list[Any]:
    from report import Figure

    runs = {}
    for count, zones in ((FEW, 1), (MANY, 1), (FEW, 3)):
        reset(there, 0, 1)
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


def pace(there: dict[str, Any]) -> list[Any]:
    from report import Figure

    figures = []
    for zones in (1, 3):
        reset(there, LATENCY, OPERATION)
        run = child(there, FLEET, zones)
        limit = 2 * OPERATION + 0.05 * FLEET
        reference = f"2 x {OPERATION} s, which an operation takes, and 50 ms per machine; {LATENCY} ms per call"
        name = f"azure-time-create-{FLEET}{'-in-3-zones' if zones > 1 else ''}"
        figures.append(Figure(name, run["create"]["seconds"], limit, unit="s", reference=reference, details=run))
    return figures


def grow(subscription: str, count: int, zones: int) -> dict[str, Any]:
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.azure import machines, network
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.azure.session import Session

    class Logged(Session):
        def __init__(self) -> None:
            super().__init__(subscription)
            self.log: list[str] = []

        def call(self, service: str, operation: str, *names: str, **parameters: Any) -> dict[str, Any]:
            self.log.append(f"{service}:{operation}")
            return super().call(service, operation, *names, **parameters)

    wanted = definition(count, zones)
    network.present(Logged(), wanted)
    found: dict[str, Any] = {}
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
    print(json.dumps(grow(sys.argv[1], *map(int, sys.argv[2:]))))
