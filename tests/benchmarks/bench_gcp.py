# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`gcp_machines` against the Compute Engine of the tests: calls, growth, pace, and `google.cloud.gcp_compute_instance` on the same task.

google.cloud's modules know Google's own address only, so the endpoint is their proxy.
"""

from __future__ import annotations

import contextlib
import json
import math
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
PROJECT, REGION = "contract", "us-central1"
ZONES = (f"{REGION}-a", f"{REGION}-b", f"{REGION}-c")
SIZE, IMAGE = "e2-standard-2", "projects/debian-cloud/global/images/debian-13-trixie-v20261015"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs bench"

FEW, MANY, PAGE = 10, 1000, 500
FLEET, LATENCY, OPERATION = 20, 100, 5
MEMORY = 400.0
WAITS = ("zone_operations.wait",)


def allowed(count: int) -> float:
    """Return how many calls a create of machines in one pool may take besides waiting on Google."""
    return 6 + count / 20


def definition(count: int, zones: int) -> dict[str, Any]:
    """Return the part of a merged definition that the modules read: one pool."""
    pool = {"name": "general", "count": count, "machine": {"size": SIZE, "disk_gib": 20}, "zones": list(ZONES[:zones])}
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
    """Return the figures; ``folder`` keeps the server's log."""
    with endpoint(folder) as url:
        return [*growth(url), *pace(url), *comparison(url, folder)]


@contextlib.contextmanager
def endpoint(folder: Path) -> Iterator[str]:
    ready = folder / "endpoint"
    ready.unlink(missing_ok=True)
    with (folder / "endpoint.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, str(ROOT / "tests/benchmarks/gcp_endpoint.py"), str(ready)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the endpoint does not start, see {folder}/endpoint.log")
            time.sleep(0.1)
        yield ready.read_text(encoding="utf-8")
    finally:
        process.kill()
        process.wait()


def reset(url: str, latency: int, operation: int) -> None:
    request = urllib.request.Request(f"{url}/_bench/{latency}/{operation}", method="POST")
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60).read()


def child(url: str, count: int, zones: int) -> dict[str, Any]:
    """Make machines and keep them, in a process of its own."""
    variables = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{url}/compute/v1/", "no_proxy": "127.0.0.1"}
    command = [sys.executable, __file__, str(count), str(zones)]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))


def growth(url: str) -> list[Any]:
    from report import Figure

    runs = {}
    for count, zones in ((FEW, 1), (MANY, 1), (FEW, 3), (MANY, 3)):
        reset(url, 0, 1)
        runs[count, zones] = child(url, count, zones)
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


def pace(url: str) -> list[Any]:
    from report import Figure

    figures = []
    for zones in (1, 3):
        reset(url, LATENCY, OPERATION)
        run = child(url, FLEET, zones)
        limit = 2 * OPERATION + 0.05 * FLEET
        reference = f"2 x {OPERATION} s, which an operation takes, and 50 ms per machine; {LATENCY} ms per call"
        name = f"gcp-time-create-{FLEET}{'-in-3-zones' if zones > 1 else ''}"
        figures.append(Figure(name, run["create"]["seconds"], limit, unit="s", reference=reference, details=run))
    return figures


def comparison(url: str, folder: Path) -> list[Any]:
    """Compare whole playbook runs that make and keep machines, all with the same latency."""
    import rival
    from clouds.gcp.account import UNIVERSE, write_account

    subnet = f"projects/{PROJECT}/regions/{REGION}/subnetworks/bench"
    disk = {"auto_delete": True, "boot": True, "initialize_params": {"source_image": IMAGE, "disk_size_gb": 20, "disk_type": "pd-balanced"}}
    instance = {
        "name": "bench-{{ item }}",
        "machine_type": SIZE,
        "zone": ZONES[0],
        "project": PROJECT,
        "auth_kind": "accesstoken",
        "access_token": "fake-token-bench",
        "disks": [disk],
        "network_interfaces": [{"subnetwork": {"selfLink": subnet}}],
        "labels": {"fleet": "bench"},
    }

    def empty() -> None:
        reset(url, LATENCY, OPERATION)
        child(url, 0, 1)

    key = folder / "key.json"
    write_account(key, url)
    environment = {
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{url}/compute/v1/",
        "GOOGLE_APPLICATION_CREDENTIALS": str(key),
        "GOOGLE_CLOUD_UNIVERSE_DOMAIN": UNIVERSE,
        "HTTPS_PROXY": url,
        "REQUESTS_CA_BUNDLE": str(folder / "endpoint.pem"),
        "no_proxy": "127.0.0.1",
    }
    ours = rival.Task("flotilla.kubernetes.gcp_machines", {"cluster": definition(FLEET, 1), "wait_for": "running"})
    theirs = rival.Task("google.cloud.gcp_compute_instance", instance)
    return rival.compare("gcp", ours, theirs, FLEET, folder, empty, lambda: sum(counted(url).values()), environment)


def counted(url: str) -> dict[str, int]:
    """Return what was called since the last time."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}/_bench", timeout=60) as answer:
        return dict(json.load(answer))


def grow(count: int, zones: int) -> dict[str, Any]:
    """Make the network, and so many machines in it, which are then kept."""
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.gcp import machines, network
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.gcp.session import Session
    from google.oauth2.credentials import Credentials

    class Logged(Session):
        def __init__(self) -> None:
            super().__init__(PROJECT, REGION, credentials=Credentials("fake-token-bench"))
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
