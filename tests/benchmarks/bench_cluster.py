# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How lean and fast a create and a run without changes are, next to a bare floor that is measured in turn with them.

FLOTILLA_BENCH_CLUSTER=1+1 measures a smaller cluster and FLOTILLA_BENCH_ROUNDS=1 fewer rounds, for work on the benchmark itself; the
bars are those of 3+2.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import journal
import outside
from played import floor, play
from processes import Process, Sampler, idle_share, program
from report import Figure

NAME = "test-bench"
FLOOR = "test-bench-floor"
CIDR = "172.30.244.0/24"
VERSION = "1.36.3"
# Rounds differ by less than this share on a quiet machine; when they do not, a third one decides.
NOISE = 0.08
HERE = Path(__file__).resolve().parent
# sftp-server takes the files and images of the bundle.
IN_MACHINES = ("kubeadm", "ctr", "sftp-server")
BOOT_VERBS = (b"create", b"cp", b"start")
# What a machine, the load balancer and the resolver serve once they have booted.
BOOTED = (b"sshd", b"haproxy", b"dnsmasq")


def measure(folder: Path) -> list[Figure]:
    """Return the figures; ``folder`` keeps journals and logs."""
    control_planes, workers = (int(part) for part in os.environ.get("FLOTILLA_BENCH_CLUSTER", "3+2").split("+"))
    inventory = folder / "inventory"
    outside.write_definition(
        inventory,
        NAME,
        control_plane={"count": control_planes},
        pools=[{"name": "workers", "count": workers}],
        local={"network_cidr": CIDR},
    )
    # The bundle and the node image are not what is measured here.
    play(folder, inventory, "bundle_build", "bundle")
    image = _node_image(folder, inventory)
    rounds: list[dict[str, Any]] = []
    wanted = int(os.environ.get("FLOTILLA_BENCH_ROUNDS", "0"))
    try:
        while len(rounds) < (wanted or 2) or (not wanted and len(rounds) < 3 and _noisy(rounds)):
            rounds.append(_round(folder, inventory, image, len(rounds) + 1, control_planes, workers))
    finally:
        _delete(folder, inventory)
    return figures(rounds)


def figures(rounds: list[dict[str, Any]]) -> list[Figure]:
    """Return the figures of rounds that were measured (pure)."""
    create, floor, again = (statistics.median(one[key] for one in rounds) for key in ("create", "floor", "again"))
    loads = {f"round {number}": one["load"] for number, one in enumerate(rounds, 1)}
    seconds = {key: [round(one[key], 1) for one in rounds] for key in ("create", "floor", "again")}
    last = rounds[-1]
    return [
        _results("create-results-per-node", 40, last["create_counts"]),
        _results("no-op-results-per-node", 20, last["again_counts"]),
        Figure(
            "create-to-floor",
            create / floor,
            1.4,
            reference=f"create {create:.1f} s, bare floor {floor:.1f} s, medians of {len(rounds)}",
            details={"seconds": seconds, "floor": last["floor_phases"], "load": loads},
        ),
        Figure(
            "no-op-to-create",
            again / create,
            0.2,
            reference=f"no-op {again:.1f} s, create {create:.1f} s, medians of {len(rounds)}",
            details={"seconds": seconds, "load": loads},
        ),
        Figure(
            "create-waiting",
            statistics.median(one["idle"] for one in rounds),
            0.3,
            reference="share of the create in which no kubeadm, image or boot command ran",
            details={"shares": [round(one["idle"], 3) for one in rounds], "longest_gaps": last["gaps"]},
        ),
    ]


def _results(name: str, limit: float, counts: dict[str, journal.Count]) -> Figure:
    """Return how many task results the node with the most of them had."""
    nodes = {host: count for host, count in counts.items() if not host.endswith(".cluster")}
    most = max(nodes.values(), key=lambda count: count.results)
    own = next((count for host, count in counts.items() if host not in nodes), journal.Count(0, 0))
    return Figure(
        name,
        most.results,
        limit,
        reference=f"and {most.skipped} skipped; the cluster's own host: {own.results} and {own.skipped} skipped",
        details={host: vars(count) for host, count in counts.items()},
    )


def _round(folder: Path, inventory: Path, image: str, number: int, control_planes: int, workers: int) -> dict[str, Any]:
    settings = outside.settings()
    _delete(folder, inventory)
    # Each before its measurement, the own work of the minute before included: what differs much between them was not measured alike.
    load = {"floor": _load()}
    phases = _floor(folder / f"floor-{number}", image, control_planes, workers)
    _delete(folder, inventory)
    _restore(settings)
    load["create"] = _load()
    with Sampler(wanted=_works, states=_boots) as sampler:
        began = time.time()
        create = play(folder, inventory, "cluster_apply", f"create-{number}")
        ended = time.time()
    load["no-op"] = _load()
    again = play(folder, inventory, "cluster_apply", f"again-{number}")
    assert again.changed == 0, f"the second run changed something: {again.recap}"
    one = {
        "load": load,
        "floor": phases["total"],
        "floor_phases": phases,
        "create": create.seconds,
        "again": again.seconds,
        "idle": idle_share(sampler.busy, began, ended),
        "gaps": _gaps(sampler.busy, journal.read(folder / f"create-{number}.jsonl")),
        "create_counts": journal.counts(journal.read(folder / f"create-{number}.jsonl")),
        "again_counts": journal.counts(journal.read(folder / f"again-{number}.jsonl")),
    }
    times = ", ".join(
        f"{name} {seconds:.1f} s (load {load[name]:g})"
        for name, seconds in {"floor": one["floor"], "create": one["create"], "no-op": one["again"]}.items()
    )
    print(f"round {number}: {times}", flush=True)
    return one


def _load() -> float:
    return round(os.getloadavg()[0], 1)


def _noisy(rounds: list[dict[str, Any]]) -> bool:
    return any(
        max(values) - min(values) > NOISE * min(values) for values in ([one[key] for one in rounds] for key in ("create", "floor", "again"))
    )


def _node_image(folder: Path, inventory: Path) -> str:
    """Have the local cloud make its node image, which is not what is measured here, and return its name."""
    _delete(folder, inventory)
    made = outside.command(
        "ansible", "-i", str(inventory), f"{NAME}.cluster", "-c", "local", "-e", "ansible_python_interpreter={{ ansible_playbook_python }}",
        "-m", "flotilla.kubernetes.local_network", "-a", json.dumps({"cluster": "{{ flotilla_cluster }}"}),
    )  # fmt: skip
    assert made.status == 0, made.output[-5000:]
    image = outside.host("podman", "inspect", "--format", "{{.ImageName}}", f"flotilla-{NAME}-services").strip()
    _delete(folder, inventory)
    return image


def _floor(folder: Path, image: str, control_planes: int, workers: int) -> dict[str, float]:
    """Make the bare cluster and return the seconds of its phases."""
    outside.host("rm", "-rf", str(folder))
    folder.mkdir(parents=True)
    bundle = outside.cache() / "bundles" / VERSION
    arguments = ("create", FLOOR, CIDR, image, str(bundle), str(folder), str(control_planes), str(workers))
    return floor("floor.sh", *arguments, timeout=1800)


def _delete(folder: Path, inventory: Path) -> None:
    outside.host(str(HERE / "floor.sh"), "delete", FLOOR)
    if any(outside.left_of(NAME).values()):
        play(folder, inventory, "cluster_delete", "delete", "-e", f"flotilla_confirm={NAME}")


def _restore(before: dict[str, str]) -> None:
    """Give the host back the settings that the floor's kubelets changed."""
    changed = [f"{key}={before[key]}" for key, value in outside.settings().items() if key in before and before[key] != value]
    if changed:
        outside.host("sysctl", "--quiet", "--write", *changed)


def _works(process: Process) -> bool:
    """Tell whether a create waits for this process: kubeadm, what carries and imports images and files, what makes and starts machines."""
    name = program(process.command)
    if name in IN_MACHINES:
        return _machine(process).startswith(f"{NAME}-")
    words = process.command.split(b"\0")
    return name == "podman" and NAME.encode() in process.command and any(verb in words for verb in BOOT_VERBS)


def _boots(processes: Iterable[Process]) -> set[str]:
    """Return the containers of the cluster that have an init and do not serve yet: a create waits for their boot."""
    commands: dict[str, list[bytes]] = {}
    for process in processes:
        commands.setdefault(_machine(process), []).append(process.command)
    return {
        f"boot of {name}"
        for name, own in commands.items()
        if NAME in name and any(program(command) == "init" for command in own) and not any(sign in one for one in own for sign in BOOTED)
    }


def _machine(process: Process) -> str:
    """Return the name of the container that a process runs in, or nothing."""
    container = re.search(r"libpod-([0-9a-f]{64})", process.cgroup)
    return _container_name(container[1]) if container else ""


@cache
def _container_name(container: str) -> str:
    """Return a container's name: other clusters may work on this host at the same time."""
    return outside.host("podman", "inspect", "--type", "container", "--format", "{{.Name}}", container, check=False).strip()


def _gaps(busy: list[tuple[float, frozenset[str]]], entries: list[journal.Entry]) -> list[str]:
    """Return the tasks in which most of the time went by while nothing ran that a create has to wait for."""
    waits: Counter[str] = Counter()
    for (moment, programs), (after, _programs) in zip(busy, busy[1:]):
        if not programs:
            running = [entry for entry in entries if entry.began <= moment < entry.ended]
            waits[f"{running[0].play}: {running[0].task}" if running else "between tasks"] += after - moment
    return [f"{seconds:5.1f} s {task}" for task, seconds in waits.most_common(15)]
