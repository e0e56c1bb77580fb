# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`aws_machines` against moto's server: API calls, growth from 10 to 1,000 machines, and `amazon.aws.ec2_instance` on the same task.

amazon.aws is that of the package `ansible`, in a Python environment of its own in the cache, where both sides of the comparison run.
"""

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

import yaml

ROOT = Path(__file__).resolve().parents[2]
REGION, ZONES = "eu-west-1", ("eu-west-1a", "eu-west-1b", "eu-west-1c")
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": REGION, "no_proxy": "127.0.0.1"}
SIZE, KEY = "m5.large", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLs bench"

FEW, MANY = 10, 1000
FLEET, LATENCY, ROUNDS = 20, 100, 3
MEMORY, PER_MACHINE, LONGEST = 300.0, 0.020, 3.0
LOOP_RATIO = 0.1


def allowed(count: int) -> float:
    """Return how many calls a create of machines in one pool may take besides waiting."""
    return 6 + count / 50


def definition(count: int, zones: int, image: str) -> dict[str, Any]:
    """Return the part of a merged definition that the modules read: one pool."""
    pool = {"name": "general", "count": count, "machine": {"size": SIZE, "disk_gib": 20}, "zones": list(ZONES[:zones])}
    return {
        "name": "bench",
        "foundation": "bench",
        "cloud": "aws",
        "control_plane": {"count": 0, "machine": {"size": SIZE}, "zones": list(ZONES[:zones])},
        "pools": [pool],
        "image": {"id": image},
        "network": {"plugin": "flannel"},
        "api_endpoint": {"provider": "cloud", "port": 6443, "visibility": "private", "allowed_cidrs": []},
        "access": {"ssh_user": "ops", "ssh_public_keys": [KEY]},
        "aws": {"region": REGION, "vpc_cidr": "10.20.0.0/16", "nat_gateways": "none"},
    }


def measure(folder: Path) -> list[Any]:
    """Return the figures; ``folder`` keeps the server's log and the output of the playbooks."""
    with endpoint(folder) as url:
        return [*growth(url), *comparison(url, folder)]


@contextlib.contextmanager
def endpoint(folder: Path) -> Iterator[str]:
    ready = folder / "endpoint"
    ready.unlink(missing_ok=True)
    with (folder / "endpoint.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, str(ROOT / "tests/benchmarks/aws_endpoint.py"), str(ready)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"moto's server does not start, see {folder}/endpoint.log")
            time.sleep(0.1)
        yield ready.read_text(encoding="utf-8")
    finally:
        process.kill()
        process.wait()


def ask(url: str, reset_to: int | None = None) -> dict[str, int]:
    """Return what was called since the last time; with ``reset_to`` (milliseconds) empty the account too."""
    path, method = ("/_bench", "GET") if reset_to is None else (f"/_bench/{reset_to}", "POST")
    request = urllib.request.Request(f"{url}{path}", method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        return dict(json.load(answer))


def child(url: str, work: str, *arguments: object) -> dict[str, Any]:
    """Return what a part of this file prints that runs in a process of its own."""
    command = [sys.executable, __file__, work, *map(str, arguments)]
    done = subprocess.run(
        command, env={**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL": url}, capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))


def growth(url: str) -> list[Any]:
    from report import Figure

    runs = {}
    for count, zones in ((FEW, 1), (MANY, 1), (FEW, 3), (MANY, 3)):
        ask(url, reset_to=0)
        runs[count, zones] = child(url, "grow", count, zones)
    figures = []
    for (count, zones), run in runs.items():
        made, kept = run["create"], run["no-op"]
        # One call makes machines in one zone.
        most = allowed(count) + zones - 1
        name = f"aws-calls-create-{count}{'-in-3-zones' if zones > 1 else ''}"
        spread = f"6 + n/50, and one for each zone more: {zones}" if zones > 1 else "6 + n/50"
        figures.append(Figure(name, made["calls"], most, reference=f"{spread}; and {made['waiting']} while waiting", details=run))
        if zones > 1:
            continue
        figures.append(Figure(f"aws-calls-no-op-{count}", kept["calls"], 6, details=run))
        for what, part in run.items():
            if what != "memory" and count == MANY:
                limit = LONGEST * part["longest"] + PER_MACHINE * count
                reference = f"{LONGEST:g} x the longest call ({part['longest']:.1f} s) + {1000 * PER_MACHINE:g} ms per machine"
                figures.append(Figure(f"aws-time-{what}-{count}", part["seconds"], limit, unit="s", reference=reference))
    for what in ("create", "no-op"):
        few, many = (runs[count, 1][what]["calls"] + runs[count, 1][what]["waiting"] for count in (FEW, MANY))
        reference = f"{few} calls for {FEW} machines, {many} for {MANY}; linear is {MANY / FEW:g}"
        figures.append(Figure(f"aws-calls-growth-{what}", many / few, MANY / FEW, reference=reference))
    figures.append(
        Figure(
            f"aws-memory-{MANY}", runs[MANY, 1]["memory"], MEMORY, unit="MB", reference="highest resident set, Python and boto3 included"
        )
    )
    return figures


def comparison(url: str, folder: Path) -> list[Any]:
    """Compare whole playbook runs that make and keep machines, all with the same latency and in the same environment."""
    from report import Figure

    plays = write_plays(folder)
    seconds: dict[tuple[str, str], list[float]] = {}
    calls: dict[tuple[str, str], int] = {}
    for number in range(ROUNDS):
        for form in ("ours", "exact_count", "loop"):
            if form == "loop" and number:
                continue  # it takes a minute
            ask(url, reset_to=LATENCY)
            base = child(url, "network")
            for what in ("create", "no-op"):
                ask(url)
                started = time.monotonic()
                run_play(url, folder, plays[form], base, changed=what == "create")
                seconds.setdefault((form, what), []).append(time.monotonic() - started)
                calls[form, what] = sum(ask(url).values())
            made = child(url, "count")["machines"]
            if made != FLEET:
                raise RuntimeError(f"{form} made {made} machines, not {FLEET}")
    figures = []
    for what in ("create", "no-op"):
        # What else the machine does only makes a run longer, and the loop, which is as long as many runs, feels it in any case.
        ours, bulk, loop = (min(seconds[form, what]) for form in ("ours", "exact_count", "loop"))
        details = {
            "seconds": {" ".join(key): value for key, value in seconds.items()},
            "calls": {" ".join(key): n for key, n in calls.items()},
        }
        figures += [
            Figure(
                f"aws-{what}-to-loop",
                ours / loop,
                LOOP_RATIO,
                reference=f"{ours:.1f} s to {loop:.1f} s of ec2_instance looped over {FLEET}",
                details=details,
            ),
            Figure(
                f"aws-{what}-to-exact-count",
                ours / bulk,
                1.0,
                reference=f"{ours:.1f} s to {bulk:.1f} s of ec2_instance with exact_count",
                details=details,
            ),
            Figure(
                f"aws-{what}-calls-to-exact-count",
                calls["ours", what],
                calls["exact_count", what] - 1,
                reference=f"{calls['exact_count', what]} calls of ec2_instance with exact_count",
            ),
        ]
    return figures


def write_plays(folder: Path) -> dict[str, Path]:
    """Write a playbook for each form of the same wish."""
    instance = {
        "state": "running",
        "region": REGION,
        "image_id": "{{ image }}",
        "instance_type": SIZE,
        "vpc_subnet_id": "{{ subnet }}",
        "security_group": "{{ group }}",
        "volumes": [
            {
                "device_name": "{{ root_device }}",
                "ebs": {"volume_size": 20, "volume_type": "gp3", "encrypted": True, "delete_on_termination": True},
            }
        ],
        "metadata_options": {"http_tokens": "required", "http_put_response_hop_limit": 1},
    }
    filters = {"tag:fleet": "bench", "instance-state-name": ["pending", "running"]}
    tasks: dict[str, dict[str, Any]] = {
        "ours": {"flotilla.kubernetes.aws_machines": {"cluster": "{{ definition }}", "wait_for": "running"}},
        "exact_count": {"amazon.aws.ec2_instance": {**instance, "exact_count": FLEET, "tags": {"fleet": "bench"}, "filters": filters}},
        "loop": {
            "amazon.aws.ec2_instance": {**instance, "name": "bench-{{ item }}", "tags": {"fleet": "bench"}},
            "loop": list(range(FLEET)),
            "loop_control": {"label": "{{ item }}"},
        },
    }
    paths = {}
    for form, task in tasks.items():
        play = {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "tasks": [
                {**task, "register": "made"},
                {"ansible.builtin.assert": {"that": "made.changed == wanted | bool", "quiet": True}},
            ],
        }
        paths[form] = folder / f"{form}.yml"
        paths[form].write_text(yaml.safe_dump([play]), encoding="utf-8")
    return paths


def run_play(url: str, folder: Path, play: Path, base: dict[str, Any], changed: bool) -> None:
    import peers

    (folder / "ansible.cfg").touch()
    variables = folder / "variables.json"
    variables.write_text(
        json.dumps({**base, "wanted": changed, "ansible_python_interpreter": str(peers.ansible() / "bin/python")}), encoding="utf-8"
    )
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    done = subprocess.run(
        [str(peers.ansible() / "bin/ansible-playbook"), "-i", "localhost,", "-e", f"@{variables}", str(play)],
        env={
            **clean,
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": url,
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collection"),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    play.with_suffix(".log").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"{play} failed: {done.stdout[-1500:]}{done.stderr[-500:]}")


# What runs in a process of its own.


def work(name: str, arguments: list[str]) -> dict[str, Any]:
    sys.path.insert(0, str(ROOT / "collection"))
    if name == "grow":
        return grow(*map(int, arguments))
    if name == "network":
        return lay_ground(FLEET, 1)[1]
    import boto3

    pages = boto3.client("ec2").get_paginator("describe_instances").paginate()
    states = [entry["State"]["Name"] for page in pages for reservation in page["Reservations"] for entry in reservation["Instances"]]
    return {"machines": states.count("running")}


def lay_ground(count: int, zones: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make the network; return the definition and what a task needs."""
    import boto3
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.aws import network
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.aws.session import Session

    images = boto3.client("ec2").describe_images(Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"]
    image = min((entry for entry in images if entry.get("RootDeviceName")), key=lambda entry: entry["ImageId"])
    wanted = definition(count, zones, image["ImageId"])
    made = network.present(Session(REGION), wanted).value
    parts = {"subnet": made["subnets"]["private"][ZONES[0]], "group": made["security_groups"]["worker"][0]}
    return wanted, {**parts, "image": image["ImageId"], "root_device": image["RootDeviceName"], "definition": wanted}


def grow(count: int, zones: int) -> dict[str, Any]:
    """Make machines and keep them, in this process."""
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.aws import machines
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.aws.session import Session

    class Timed(Session):
        def __init__(self) -> None:
            super().__init__(REGION)
            self.log: list[tuple[str, float]] = []

        def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
            started = time.monotonic()
            try:
                return super().call(service, operation, **parameters)
            finally:
                self.log.append((operation, time.monotonic() - started))

    wanted, _parts = lay_ground(count, zones)
    found: dict[str, Any] = {}
    for what in ("create", "no-op"):
        session = Timed()
        started = time.monotonic()
        result = machines.present(session, wanted, wait_timeout=600, wait_for="running")
        seconds = time.monotonic() - started
        if len(result.value["machines"]) != count or result.changed != (what == "create"):
            raise RuntimeError(f"{len(result.value['machines'])} machines, changed={result.changed}")
        operations = [operation for operation, _seconds in session.log]
        last = max((number for number, operation in enumerate(operations) if operation == "run_instances"), default=len(operations))
        waiting = operations[last:].count("describe_instances")
        found[what] = {
            "calls": len(operations) - waiting,
            "waiting": waiting,
            "seconds": seconds,
            "longest": max(duration for _operation, duration in session.log),
            "log": session.log,
        }
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


if __name__ == "__main__":
    print(json.dumps(work(sys.argv[1], sys.argv[2:])))
